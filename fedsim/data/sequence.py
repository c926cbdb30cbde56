"""Sequence files: one ``user item`` line per interaction, each user's in order of time.

The layout of SASRec's published data sets (Kang, McAuley: Self-attentive sequential
recommendation. ICDM 2018. https://arxiv.org/abs/1808.09781).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fedsim.data._recorded import Least, Log, RecordedConfig, RecordedDataset
from fedsim.data.reading import Column, codes, find_data, first_line, read_columns

_COLUMNS = (Column("user", "text"), Column("item", "text"))


class SequenceConfig(RecordedConfig):
    """Options of `sequence`."""

    k_core: Least = 5
    """Drop users and items with fewer interactions until none is left; 0 drops none."""


class Sequence(RecordedDataset):
    """Interactions with an order but no times; interests are clusters of items."""

    Config = SequenceConfig

    def read(self) -> Log:
        """Read the file; fields are parted by a tab or a space."""
        file = find_data(self.config.path, "give a file of lines 'user item'")
        first = first_line(file)
        table = read_columns(file, _COLUMNS, "\t" if "\t" in first else " ")
        users, user_names = codes(table["user"])
        items, item_names = codes(table["item"])
        return Log(users, items, None, user_names, item_names)

    @classmethod
    def examples(cls, folder: Path) -> Iterable[SequenceConfig]:
        """Yield a tiny file."""
        file = folder / "sequence.txt"
        rows = [
            (user, (user * 5 + step * step) % 17 + 1) for user in range(30) for step in range(9)
        ]
        file.write_text("".join(f"{user} {item}\n" for user, item in rows))
        yield cls.Config(name="sequence", path=file, k_core=3, clusters=4)
