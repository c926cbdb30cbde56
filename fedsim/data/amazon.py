"""Amazon ratings (``user,item,rating,timestamp`` lines) and reviews (``.json``, ``.json.gz``).

McAuley, Targett, Shi, van den Hengel: Image-based recommendations on styles and
substitutes. SIGIR 2015. https://jmcauley.ucsd.edu/data/amazon. All ratings are positives;
users and items with fewer than 10 are dropped until none is left (10-core).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json

from fedsim.data._recorded import Least, Log, RecordedConfig, RecordedDataset
from fedsim.data.reading import (
    Column,
    codes,
    find_data,
    find_malformed,
    first_line,
    read_columns,
    unreadable,
)

_COLUMNS = (
    Column("user", "text"),
    Column("item", "text"),
    Column("rating", "number"),
    Column("timestamp"),
)
_FIELDS = {"reviewerID": pa.string(), "asin": pa.string(), "unixReviewTime": pa.int64()}
_REVIEW = 'expected one JSON object with "reviewerID", "asin" and "unixReviewTime" (integer)'


class AmazonConfig(RecordedConfig):
    """Options of `amazon`."""

    k_core: Least = 10
    """Drop users and items with fewer interactions until none is left; 0 drops none."""


class Amazon(RecordedDataset):
    """Ratings or reviews of products; interests are clusters of items."""

    Config = AmazonConfig

    def read(self) -> Log:
        """Read a file of reviews, if its name has ``.json``, else of ratings."""
        file = find_data(
            self.config.path, "see https://jmcauley.ucsd.edu/data/amazon for its files"
        )
        reviews = ".json" in file.suffixes
        table = list((_read_reviews(file) if reviews else _read_ratings(file)).values())
        users, user_names = codes(table[0])
        items, item_names = codes(table[1])
        return Log(users, items, table[-1].to_numpy(), user_names, item_names)

    @classmethod
    def examples(cls, folder: Path) -> Iterable[AmazonConfig]:
        """Yield a file of ratings and the same as reviews."""
        rows = [(f"A{u}", f"B{(u * 3 + s * s) % 13}", 100 + s) for u in range(20) for s in range(8)]
        ratings, reviews = folder / "ratings.csv", folder / "reviews.json.gz"
        ratings.write_text("".join(f"{u},{i},4.0,{t}\n" for u, i, t in rows))
        with gzip.open(reviews, "wt") as file:
            for user, item, time in rows:
                fields = {"reviewerID": user, "asin": item, "overall": 4, "unixReviewTime": time}
                file.write(json.dumps(fields) + "\n")
        for path in (ratings, reviews):
            yield cls.Config(name="amazon", path=path, k_core=2, clusters=3)


def _read_ratings(file: Path) -> dict[str, Any]:
    first = first_line(file)
    header = first.lower().startswith("user")
    return read_columns(file, _COLUMNS, ",", skip_lines=int(header))


def _read_reviews(file: Path) -> dict[str, Any]:
    try:
        table = pa.json.read_json(
            file,
            pa.json.ReadOptions(block_size=1 << 24),
            pa.json.ParseOptions(
                explicit_schema=pa.schema(_FIELDS), unexpected_field_behavior="ignore"
            ),
        )
    except (pa.ArrowInvalid, OSError) as error:
        find_malformed(file, _check_review)
        raise unreadable(file, error) from error
    if any(table.column(name).null_count for name in _FIELDS):
        find_malformed(file, _check_review)
    return {name: table.column(name).combine_chunks() for name in _FIELDS}


def _check_review(line: str) -> str | None:
    try:
        review = json.loads(line)
        texts = isinstance(review["reviewerID"], str) and isinstance(review["asin"], str)
        return None if texts and type(review["unixReviewTime"]) is int else _REVIEW
    except (ValueError, KeyError, TypeError):
        return _REVIEW
