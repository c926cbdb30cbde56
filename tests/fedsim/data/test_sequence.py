from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedsim.data.sequence import Sequence, SequenceConfig
from fedsim.data.stats import statistics
from fedsim.errors import ConfigError, DataError
from fedsim.population import Population
from tests.worlds import real_data, world


def load(path: Path, **options: int) -> Sequence:
    config = SequenceConfig(name="sequence", path=path, **({"k_core": 0, "clusters": 2} | options))
    return Sequence(config, world(data=config))


@pytest.mark.parametrize("mark", [" ", "\t"])
def test_lines_are_each_users_order(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "s.txt"
    path.write_text("".join(f"{mark.join(pair)}\n" for pair in ["bx", "ay", "bz", "bx", "ax"]))
    streams = load(path).streams(0, np.array([0, 1]))
    # In order of appearance: users b, a; items x, y, z.
    assert streams.items.tolist() == [1, 3, 1, 2, 1]
    assert streams.times is None


@pytest.mark.parametrize("line", ["1", "1 2 3"])
def test_a_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "s.txt").write_text(f"1 2\n1 3\n{line}\n")
    with pytest.raises(DataError, match=r"s\.txt, line 3: expected user \(text\)<space>item"):
        load(tmp_path / "s.txt")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no data at .*none\.txt.* give a file of lines"):
        load(tmp_path / "none.txt")


def test_there_is_no_time_to_slice_by(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("1 2\n1 3\n1 2\n")
    config = SequenceConfig(name="sequence", path=tmp_path / "s.txt", k_core=0)
    with pytest.raises(DataError, match=r"no times; set stream\.slices = 'count'"):
        Population(world(data=config, stream={"slices": "time"}))


def test_it_knows_no_genres(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("1 2\n1 3\n1 2\n")
    config = SequenceConfig(name="sequence", path=tmp_path / "s.txt", k_core=0)
    with pytest.raises(ConfigError, match="knows no genre 'Drama'; nothing is allowed here"):
        Population(world(data=config, channels=[{"name": "a", "genres": ["Drama"]}]))
    with pytest.raises(ConfigError, match="channel 'a' has no genres"):
        Population(world(data=config, channels=[{"name": "a"}, {"name": "b"}]))


def test_amazon_games_has_the_published_statistics() -> None:
    path = real_data("amazon-games/Video.txt")
    config = SequenceConfig(name="sequence", path=path)
    dataset = Sequence(config, world(data=config, population={}))
    log = dataset.read()  # before the protocol
    assert (len(log.user_names), len(log.item_names), len(log.items)) == (31_013, 23_715, 287_107)
    (row,) = statistics(dataset)
    assert (row.users, row.items, row.interactions) == (24_303, 10_672, 231_780)
    assert dataset.streams(0, np.arange(row.users)).lengths.min() >= 5
