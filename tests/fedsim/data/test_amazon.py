from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from fedsim.data.amazon import Amazon, AmazonConfig
from fedsim.errors import DataError
from tests.worlds import world

ROWS = [("A2", "B1", 30), ("A1", "B2", 10), ("A2", "B2", 20), ("A1", "B1", 10)]
RATINGS = "".join(f"{user},{item},5.0,{time}\n" for user, item, time in ROWS)


def load(path: Path, k_core: int = 0) -> Amazon:
    config = AmazonConfig(name="amazon", path=path, k_core=k_core, clusters=2)
    return Amazon(config, world(data=config))


def review(user: object, item: object, time: object) -> str:
    fields = {"overall": 5.0, "reviewerID": user, "asin": item, "unixReviewTime": time}
    return json.dumps(fields | {"reviewText": 'fine, "good"'})


def write_reviews(path: Path, lines: list[str]) -> Path:
    text = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.mark.parametrize("header", ["", "user,item,rating,timestamp\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_ratings_are_read(tmp_path: Path, header: str, packed: bool) -> None:
    path = tmp_path / ("ratings.csv.gz" if packed else "ratings.csv")
    text = (header + RATINGS).encode()
    path.write_bytes(gzip.compress(text) if packed else text)
    streams = load(path).streams(0, np.array([0, 1]))
    # In order of appearance: users A2, A1; items B1, B2.
    assert streams.items.tolist() == [2, 1, 2, 1]
    assert streams.times is not None
    assert streams.times.tolist() == [20, 30, 10, 10]


@pytest.mark.parametrize("name", ["reviews.json", "reviews.json.gz"])
def test_reviews_give_the_same_as_ratings(tmp_path: Path, name: str) -> None:
    (tmp_path / "ratings.csv").write_text(RATINGS)
    reviews = write_reviews(tmp_path / name, [review(*row) for row in ROWS])
    a = load(tmp_path / "ratings.csv").streams(0, np.array([0, 1]))
    b = load(reviews).streams(0, np.array([0, 1]))
    assert np.array_equal(a.items, b.items)
    assert a.times is not None
    assert b.times is not None
    assert np.array_equal(a.times, b.times)


@pytest.mark.parametrize(
    "line",
    ["{", "[1]", review(1, "B1", 3), review("A", "B", "late"), review("A", "B", None), "{}"],
)
def test_a_malformed_review_is_named(tmp_path: Path, line: str) -> None:
    path = write_reviews(tmp_path / "r.json.gz", [review("A", "B", 1), line])
    with pytest.raises(DataError, match=r"r\.json\.gz, line 2: expected one JSON object"):
        load(path)


def test_a_malformed_rating_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(RATINGS + "A1,B1,five,3\n")
    with pytest.raises(DataError, match=r"r\.csv, line 5: expected user \(text\),item"):
        load(tmp_path / "r.csv")


def test_a_broken_archive_is_an_error(tmp_path: Path) -> None:
    packed = gzip.compress(RATINGS.encode() * 50)
    for name in ("r.csv.gz", "r.json.gz"):
        (tmp_path / name).write_bytes(packed[: len(packed) // 2])
        with pytest.raises(DataError, match=name):
            load(tmp_path / name)


def test_k_core_goes_on_until_everything_left_has_enough(tmp_path: Path) -> None:
    # B3 has one rating; without it A3 has one; without that B1 and B2 keep two each.
    rows = [*ROWS, ("A3", "B3", 1), ("A3", "B1", 2)]
    path = tmp_path / "ratings.csv"
    path.write_text("".join(f"{u},{i},1,{t}\n" for u, i, t in rows))
    dataset = load(path, k_core=2)
    assert dataset.num_edges == 2
    assert dataset.channels[0].num_items == 2
    assert load(path).num_edges == 3


def test_nothing_left_of_the_core_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text(RATINGS)
    with pytest.raises(DataError, match=r"no interaction is left .*k_core = 10"):
        load(tmp_path / "ratings.csv", k_core=10)
