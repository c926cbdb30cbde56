from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedsim.data.movielens import MovieLens, MovieLensConfig
from fedsim.data.stats import statistics
from fedsim.errors import ConfigError, DataError
from fedsim.population import Population
from tests.worlds import real_data, world


def load(path: Path, channels: list[dict[str, Any]] | None = None, **options: int) -> MovieLens:
    config = MovieLensConfig(name="movielens", path=path, **({"min_item_count": 0} | options))
    sections = {"channels": channels} if channels else {}
    return MovieLens(config, world(data=config, **sections))


def write(folder: Path, lines: str, name: str = "u.data") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(lines)
    return folder


def flags(*genres: int) -> str:
    return "|".join("1" if place in genres else "0" for place in range(19))


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """User 7 meets films 30, 10, 20 and user 2 films 10, 30, 10; film 20 is a drama and war."""
    lines = ["7 10 5 200", "2 10 1 5", "7 30 4 100", "7 20 3 200", "2 30 5 5", "2 10 4 6"]
    write(tmp_path / "ml", "".join(line.replace(" ", "\t") + "\n" for line in lines))
    rows = [("10", "Été (1990)", flags(8)), ("20", "Two", flags(8, 17)), ("30", "Three", flags(5))]
    text = "".join(f"{item}|{title}|||x|{flag}\n" for item, title, flag in rows)
    (tmp_path / "ml" / "u.item").write_text(text, encoding="latin-1")
    return tmp_path / "ml"


def test_streams_are_in_order_of_time_and_ties_in_file_order(films: Path) -> None:
    dataset = load(films)
    streams = dataset.streams(0, np.array([0, 1]))
    # Users 2 and 7; films 10, 20, 30 are items 1, 2, 3.
    assert streams.items.tolist() == [1, 3, 1, 3, 1, 2]
    assert streams.times is not None
    assert streams.times.tolist() == [5, 5, 6, 100, 200, 200]


def test_genres_and_titles_are_read(films: Path) -> None:
    (channel,) = load(films).channels
    assert channel.titles == ("", "Été (1990)", "Two", "Three")
    assert channel.interests[2, 8] == 0.5
    assert channel.interests[2, 17] == 0.5
    assert channel.interests[3, 5] == 1


def test_channels_take_the_items_of_their_genres(films: Path) -> None:
    comedies = {"name": "c", "genres": ["Comedy", "War"]}
    dataset = load(films, [{"name": "d", "genres": ["Drama"]}, comedies])
    drama, comedy = dataset.channels
    assert drama.titles == ("", "Été (1990)", "Two")
    assert comedy.titles == ("", "Two", "Three")
    assert dataset.streams(0, np.array([1])).items.tolist() == [1, 2]
    assert dataset.streams(1, np.array([1])).items.tolist() == [2, 1]
    assert dataset.streams(1, np.array([0])).items.tolist() == [2]


def test_an_unknown_genre_is_named_with_the_nearest(films: Path) -> None:
    with pytest.raises(ConfigError, match=r"no genre 'Dramma'; did you mean 'Drama'\?"):
        load(films, [{"name": "d", "genres": ["Dramma"]}])


def test_a_channel_beside_others_needs_genres(films: Path) -> None:
    with pytest.raises(ConfigError, match="channel 'b' has no genres"):
        load(films, [{"name": "a", "genres": ["Drama"]}, {"name": "b"}])


def test_a_genre_without_films_is_refused(films: Path) -> None:
    with pytest.raises(ConfigError, match=r"no item left in .* \['Horror'\]"):
        load(films, [{"name": "a", "genres": ["Horror"]}])


def test_without_film_details_interests_are_clusters(films: Path) -> None:
    (films / "u.item").unlink()
    (channel,) = load(films, clusters=2).channels
    assert channel.titles == ()
    assert channel.interests.shape == (4, 2)
    with pytest.raises(ConfigError, match="no genre 'Drama'; nothing is allowed here"):
        load(films, [{"name": "a", "genres": ["Drama"]}])


def test_rare_films_are_dropped_in_one_pass(films: Path) -> None:
    dataset = load(films, min_item_count=2)
    assert dataset.channels[0].titles == ("", "Été (1990)", "Three")
    assert dataset.streams(0, np.array([1])).items.tolist() == [2, 1]


def test_a_short_stream_is_refused_with_the_fix(films: Path) -> None:
    config = MovieLensConfig(name="movielens", path=films, min_item_count=2)
    with pytest.raises(
        DataError,
        match=r"user '7' of .* has 2 interactions; .* at least 3; set data.min_interactions = 3",
    ):
        Population(world(data=config))
    mended = config.model_copy(update={"min_interactions": 3})
    assert Population(world(data=mended)).num_edges == 1


def test_nothing_left_is_an_error(films: Path) -> None:
    with pytest.raises(DataError, match="no interaction is left with min_item_count = 9"):
        load(films, min_item_count=9)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("1\t2\t3", "u.data"),
        ("1\t2\t3\t4\t5", "u.data"),
        ("1\ttwo\t3\t4", "u.data"),
        ("1\t\t3\t4", "u.data"),
        ("1\t2\tgood\t4", "u.data"),
        ("1\t2\t3\t4.5", "u.data"),
        ("1::2::3", "ratings.dat"),
        ("1::x::3::4", "ratings.dat"),
        ("1:2:3:4", "ratings.dat"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, name: str) -> None:
    good = "1\t2\t3\t4" if name == "u.data" else "1::2::3::4"
    folder = write(tmp_path / "ml", f"{good}\n\n{good}\n{line}\n{good}\n", name)
    with pytest.raises(DataError) as error:
        load(folder)
    assert f"{name}, line 4: expected user (integer)" in str(error.value)
    assert repr(line) in str(error.value)


@pytest.mark.parametrize("line", ["1|F", f"ten|F|||x|{flags(1)}", f"1|F|||x|{flags(1)}|0"])
def test_a_malformed_film_is_named(films: Path, line: str) -> None:
    (films / "u.item").write_text(f"1|One|||x|{flags(1)}\n{line}\n")
    with pytest.raises(DataError, match=r"u\.item, line 2: expected item\|title"):
        load(films)


def test_a_film_of_an_unknown_genre_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "ml", "1::2::3::4\n", "ratings.dat")
    (folder / "movies.dat").write_text("2::Two (1990)::Drama|Opera\n")
    with pytest.raises(DataError, match=r"movies\.dat, line 1: .* got '2::Two \(1990\)::Drama"):
        load(folder)


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"u\.data: .*"):
        load(write(tmp_path / "ml", ""))


def test_a_missing_file_says_where_it_looked_and_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDSIM_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(DataError) as error:
        load(Path("ml-1m"))
    for part in (tmp_path / "ml-1m", tmp_path / "elsewhere" / "ml-1m", tmp_path / "data" / "ml-1m"):
        assert str(part) in str(error.value)
    assert "run `fedsim data fetch ml-1m`" in str(error.value)


def test_data_is_found_by_the_variable(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSIM_DATA", str(films.parent))
    assert load(Path("ml")).num_edges == 2
    assert load(Path("ml/u.data")).num_edges == 2


def test_a_folder_of_something_else_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a folder with u\.data or ratings\.dat"):
        load(tmp_path)


def test_time_slices_end_history_at_its_share_of_interactions(films: Path) -> None:
    # Times 5 5 6 100 200 200: the median is 53; two equal spans to 200.
    assert load(films).boundaries(0.5, 2).tolist() == [53, 126, 200]


def test_ml_100k_has_the_published_statistics() -> None:
    config = MovieLensConfig(name="movielens", path=real_data("ml-100k/u.data").parent)
    dataset = MovieLens(config, world(data=config))
    (row,) = statistics(dataset)
    assert (row.users, row.items, row.interactions) == (943, 927, 94_728)
    assert f"{row.mean_length:.2f}" == "100.45"
    assert f"{100 * row.sparsity:.2f}" == "89.16"
    log = dataset.read()  # before the protocol
    assert (len(log.user_names), len(log.item_names), len(log.items)) == (943, 1682, 100_000)
    titles = dataset.channels[0].titles
    genres = dataset.channels[0].interests[titles.index("Toy Story (1995)")]
    assert np.flatnonzero(genres).tolist() == [3, 4, 5]  # animation, children's, comedy
