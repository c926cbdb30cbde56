"""MovieLens 100K and 1M in their official layouts, genres and titles included.

Harper, Konstan: The MovieLens datasets: history and context. ACM TiiS 5(4), 2015.
https://doi.org/10.1145/2827872. The protocol is DIET's (Fu et al., "DIET: Customized
Slimming for Incompatible Networks in Sequential Recommendation", KDD 2024): all ratings are
positives; items with 20 or fewer interactions are dropped in one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from fedsim.data._recorded import Details, Least, Log, RecordedConfig, RecordedDataset
from fedsim.data.fetch import SOURCES
from fedsim.data.reading import Column, codes, find_data, read_columns, read_lines
from fedsim.errors import DataError

_COLUMNS = (Column("user"), Column("item"), Column("rating", "number"), Column("timestamp"))
_LAYOUTS = {"u.data": "\t", "ratings.dat": "::"}
_GENRES = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]


class MovieLensConfig(RecordedConfig):
    """Options of `movielens`."""

    path: Path = Path("ml-100k")
    """Folder of ``u.data`` (100K) or ``ratings.dat`` (1M), or that file."""
    min_item_count: Least = 21
    """Drop items with fewer interactions, in one pass."""


class MovieLens(RecordedDataset):
    """Ratings of films; interests are genres."""

    Config = MovieLensConfig

    def read(self) -> Log:
        """Read ``u.data`` or ``ratings.dat``, whichever is there."""
        self.file = self._find()
        table = read_columns(self.file, _COLUMNS, _LAYOUTS[self.file.name])
        users, user_names = codes(table["user"])
        items, item_names = codes(table["item"])
        return Log(users, items, table["timestamp"].to_numpy(), user_names, item_names)

    def read_details(self) -> Details:
        """Read ``u.item`` or ``movies.dat``; nothing is known without it."""
        old = self.file.name == "u.data"
        file = self.file.with_name("u.item" if old else "movies.dat")
        if not file.is_file():
            return Details()
        if old:
            rows = _read_details(
                file, _parse_item, "item|title|date|date|address|19 flags of genres"
            )
        else:
            rows = _read_details(file, _parse_movie, "item::title::genre|genre of the 18 genres")
        return Details(
            {item: title for item, title, _ in rows},
            {item: genres for item, _, genres in rows},
            tuple(_GENRES if old else _GENRES[1:]),
        )

    def _find(self) -> Path:
        named = [name for name in SOURCES if name == self.config.path.name]
        ways = (f"`fedsim data fetch {name}`" for name in named or SOURCES)
        place = find_data(self.config.path, f"run {' or '.join(ways)}")
        files = [place / name for name in _LAYOUTS] if place.is_dir() else [place]
        for file in files:
            if file.name in _LAYOUTS and file.is_file():
                return file
        raise DataError(f"{place}: expected a folder with u.data or ratings.dat, or that file")

    @classmethod
    def examples(cls, folder: Path) -> Iterable[MovieLensConfig]:
        """Yield the two layouts, tiny."""
        rows = [(u, (u * 7 + n * 3) % 11 + 1, 900 + n // 2) for u in range(1, 21) for n in range(8)]
        kinds = ["1", "0"] * 10
        films = [(i, f"Film {i} (19{60 + i})", kinds[i % 2 : 19 + i % 2]) for i in range(1, 12)]
        for name, mark in _LAYOUTS.items():
            (folder / name.split(".")[0]).mkdir()
            file = folder / name.split(".")[0] / name
            file.write_text("".join(mark.join(map(str, (u, i, 5, t))) + "\n" for u, i, t in rows))
            yield cls.Config(name="movielens", path=file.parent, min_item_count=2)
        (folder / "u" / "u.item").write_text(
            "".join(f"{i}|{title}||||{'|'.join(flags)}\n" for i, title, flags in films)
        )
        (folder / "ratings" / "movies.dat").write_text(
            "".join(f"{i}::{title}::Drama|War\n" for i, title, _ in films)
        )


_Row = tuple[int, str, tuple[str, ...]]


def _read_details(file: Path, parse: Callable[[str], _Row], expected: str) -> list[_Row]:
    rows = []
    for number, line in enumerate(read_lines(file, "latin-1"), start=1):
        try:
            if line:
                rows.append(parse(line))
        except ValueError:
            raise DataError(
                f"{file}, line {number}: expected {expected}, got {line[:120]!r}"
            ) from None
    return rows


def _parse_item(line: str) -> _Row:
    number, title, _, _, _, *flags = line.split("|")
    names = [genre for genre, flag in zip(_GENRES, flags, strict=True) if int(flag)]
    return int(number), title, tuple(names)


def _parse_movie(line: str) -> _Row:
    number, title, genres = line.split("::")
    names = tuple(genres.split("|"))
    if not set(names) <= set(_GENRES):
        raise ValueError
    return int(number), title, names
