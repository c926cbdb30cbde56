"""Run directories as DuckDB relations over their Parquet files.

``load`` takes a run directory, several, or a ledger frame, and returns one `Runs` with the
views ``ledger``, ``edges``, ``controls`` (each with a column ``run``) and the table ``runs``
(run, label, seed). Runs of one strategy and different seeds share a label. Runs on the same
streams are read up to the last round that all of them have.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import duckdb
import pandas as pd
import pyarrow.parquet as pq

from analysis.labels import distinct_labels
from analysis.looks import places
from analysis.streams import groups, over_common_rounds, remarks
from fedsim import ledger
from fedsim.errors import RunError, StoreError
from fedsim.folders import runs_in


@runtime_checkable
class HasPath(Protocol):
    """Whatever knows its run directory."""

    @property
    def path(self) -> Path:
        """The run directory."""


T = TypeVar("T")

IN_MEMORY = 3_000_000
"""Tables of at most so many rows are read once and kept, about 100 bytes a row."""

Source: TypeAlias = "Runs | HasPath | str | os.PathLike[str] | pd.DataFrame | Iterable[Any]"
"""What every figure and table takes."""


@dataclass(frozen=True)
class RunInfo:
    """One run: where it is and what it was; it is read up to `last_round`."""

    label: str
    seed: int
    ks: tuple[int, ...]
    last_round: int
    path: Path | None = None
    scenario: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, Any] = field(default_factory=dict)
    committed: int = 0
    """Its last committed round; `last_round` may be an earlier one."""

    @property
    def planned(self) -> int:
        """How many rounds the run has when it is finished."""
        return int(self.scenario.get("rounds", self.committed))

    @property
    def strategy(self) -> str:
        """The strategy's name, the label where no scenario says it."""
        section = self.scenario.get("strategy", self.label)
        return str(section["name"] if isinstance(section, Mapping) else section)

    @property
    def name(self) -> str:
        """The scenario's name."""
        return str(self.scenario.get("name", "run"))


class Runs:
    """Several runs under one DuckDB connection; `skipped` says what was left out, and why.

    DuckDB computes on one thread, so that sums of floats have the same bits every time.
    """

    def __init__(
        self,
        infos: Sequence[RunInfo],
        tables: Mapping[str, Sequence[Any]],
        skipped: Sequence[str] = (),
    ) -> None:
        self.infos = tuple(infos)
        self.skipped = tuple(skipped)
        self._tables = tables
        self.labels = tuple(dict.fromkeys(info.label for info in infos))
        self.ks = tuple(sorted(set.intersection(*(set(info.ks) for info in infos))))
        if not self.ks:
            own = {f"{info.label} has {list(info.ks)}": None for info in infos}
            raise RunError(f"no cut-off is in all runs: {'; '.join(own)}; report them apart")
        self.last_round = max(info.last_round for info in infos)
        self._made: dict[Hashable, Any] = {}
        self._connection = duckdb.connect(config={"threads": 1})
        listing = pd.DataFrame(
            {
                "run": range(len(infos)),
                "label": [info.label for info in infos],
                "seed": [info.seed for info in infos],
            }
        )
        self._connection.register("runs", listing)
        for name, parts in tables.items():
            self._relation(name, parts)

    @property
    def k(self) -> int:
        """The cut-off figures use unless told otherwise: 10 if measured, else the first."""
        return 10 if 10 in self.ks else self.ks[0]

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, by index."""
        named = [entry["name"] for entry in self.infos[0].scenario.get("channels", [])]
        count = int(self.query("select max(channel) + 1 as n from ledger")["n"].iloc[0])
        return tuple(named[i] if i < len(named) else f"channel {i}" for i in range(count))

    @property
    def scenarios(self) -> tuple[str, ...]:
        """Distinct names of the runs' scenarios, in order."""
        return tuple(dict.fromkeys(info.name for info in self.infos))

    @property
    def comparable(self) -> bool:
        """Whether there are several labels, all on the same streams."""
        return len(self.labels) > 1 and len(groups(self.infos)) == 1

    @property
    def looks(self) -> dict[str, int]:
        """The look of every label, by index; one label looks alike whoever is beside it."""
        return dict(zip(self.labels, places(self.labels), strict=True))

    @property
    def remarks(self) -> list[str]:
        """What must be known before comparing: which runs are unfinished, or left out."""
        return remarks(self)

    def parts(self) -> list[Runs]:
        """Return the runs by the streams they are on; themselves if these are the same."""
        found = groups(self.infos)
        return [self] if len(found) == 1 else [self._part(members) for members in found]

    def populations(self) -> list[list[int]]:
        """Return the runs by number, those of the same edges together."""
        same = self.query("""
            select list(run order by run) as runs from (
                select run, count(*) as n, min(edge) as low, max(edge) as high,
                       bit_xor(hash(edge)) as mark from edges group by run)
            group by n, low, high, mark order by min(run)
        """)
        return [list(map(int, runs)) for runs in same["runs"]]

    def members(self, label: str) -> list[int]:
        """Return the runs of a label, its seeds."""
        return [i for i, info in enumerate(self.infos) if info.label == label]

    def seeds(self, *labels: str) -> int:
        """Return the number of seeds of the label that has fewest, of all unless named."""
        counts = [len({self.infos[i].seed for i in self.members(each)}) for each in labels]
        return min(counts) if labels else self.seeds(*self.labels)

    def query(self, sql: str) -> pd.DataFrame:
        """Return the answer of DuckDB to a query over the views."""
        answer = self.remember(sql, lambda: self._connection.execute(sql).df())
        return answer.copy()

    def remember(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what was made under a key before, or make it now; runs do not change."""
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made

    def _part(self, members: Sequence[int]) -> Runs:
        tables = {name: [parts[i] for i in members] for name, parts in self._tables.items()}
        return Runs([self.infos[i] for i in members], tables)

    def _relation(self, name: str, parts: Sequence[Any]) -> None:
        """Make a view of the parts, or a table where they fit into memory with ease."""
        selects = []
        for run, part in enumerate(parts):
            if isinstance(part, pd.DataFrame):
                self._connection.register(f"{name}_{run}", part)
                selects.append(f"select {run} as run, * from {name}_{run}")
            elif part:
                files = ", ".join("'" + str(file).replace("'", "''") + "'" for file in part)
                selects.append(f"select {run} as run, * from read_parquet([{files}])")
        sql = " union all by name ".join(selects)
        try:
            rows = self._connection.execute(f"select count(*) from ({sql})").fetchall()[0][0]
            kind = "table" if rows <= IN_MEMORY else "view"
            self._connection.execute(f"create {kind} {name} as {sql}")
        except duckdb.Error as error:
            said = str(error).partition("\n")[0]
            raise StoreError(
                f"the table '{name}' cannot be read: {said}; restore that file, or run the "
                "scenario anew"
            ) from error


def load(source: Source, labels: Sequence[str] | None = None) -> Runs:
    """Return the runs named: a `Runs` as it is, directories, or a ledger frame.

    A directory is a run's, or a folder of runs, of a study above all. `labels` says what
    run directories are called here, one each, whatever they were called when they began.
    A run without a committed round is left out if others have one.

    Raises
    ------
    RunError
        No run is named, none has a round, or a directory is no run directory.
    StoreError
        A round or ``edges.parquet`` is missing, or a file cannot be read.
    """
    if isinstance(source, Runs):
        return source
    if isinstance(source, pd.DataFrame):
        return _from_frame(source)
    single = isinstance(source, str | os.PathLike | HasPath)
    items = [source] if single else source
    folders = [run for item in items for run in runs_in(_folder(item))]  # type: ignore[union-attr]
    if not folders:
        raise RunError("no run to analyse; name at least one run directory, runs/NAME/TIME-HASH")
    found = [(folder, _info(folder)) for folder in folders]
    begun = [folder for folder, info in found if info.committed > 0]
    idle = [folder for folder, info in found if info.committed < 1]
    if idle and (labels is not None or not begun):
        raise RunError(f"'{idle[0]}' has no committed round yet; resume it, then analyse")
    infos = over_common_rounds([info for _, info in found if info.committed > 0])
    if labels is None:
        infos = distinct_labels(infos)
    else:
        infos = [replace(info, label=name) for info, name in zip(infos, labels, strict=True)]
    pairs = list(zip(begun, infos, strict=True))
    tables = {
        "ledger": [ledger.round_files(f, last=info.last_round) for f, info in pairs],
        "controls": [_controls(f, info) for f, info in pairs],
        "edges": [_edges(folder) for folder in begun],
    }
    return Runs(infos, tables, [f"Left out: {_short(f)} has no committed round." for f in idle])


def _folder(item: Any) -> Path:
    return Path(item.path if isinstance(item, HasPath) else item)


def _short(folder: Path) -> str:
    return "/".join(folder.resolve().parts[-2:])


def _info(folder: Path) -> RunInfo:
    file = folder / "scenario.toml"
    if not file.is_file():
        raise RunError(f"'{folder}' is no run directory: it has no scenario.toml")
    scenario = read(file, tomllib.loads, "TOML")
    if not {"name", "seed", "strategy"} <= scenario.keys():
        raise RunError(
            f"{file}: says no name, seed and strategy: restore that file, or run the scenario anew"
        )
    env_file = folder / "env.json"
    env = read(env_file, json.loads, "JSON") if env_file.is_file() else {}
    strategy = scenario["strategy"]
    name = strategy["name"] if isinstance(strategy, dict) else strategy
    last = ledger.committed_rounds(folder)
    files = ledger.round_files(folder, last=last)
    return RunInfo(
        label=str(env.get("label") or name),
        seed=int(scenario["seed"]),
        ks=tuple(ledger.cutoffs(pq.read_schema(files[-1]).names)) if files else (),
        last_round=last,
        path=folder,
        scenario=scenario,
        env=env,
        committed=last,
    )


def read(file: Path, parse: Callable[[str], Any], kind: str) -> Any:
    """Return what a file of a run says.

    Raises
    ------
    RunError
        It cannot be read, or parsed.
    """
    try:
        return parse(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{file}: cannot be read: {error.strerror}; mend its rights") from error
    except ValueError as error:
        raise RunError(
            f"the run cannot be read by this fedsim: {file}: not valid {kind}: {error}; restore "
            "that file, or run the scenario anew"
        ) from error


def _controls(folder: Path, info: RunInfo) -> Any:
    files = ledger.round_files(folder, "controls", info.last_round)
    return files or ledger.controls_schema(info.ks).empty_table().to_pandas()


def _edges(folder: Path) -> list[Path]:
    file = folder / "edges.parquet"
    if not file.is_file():
        raise StoreError(
            f"'{folder}' has no edges.parquet, the table of its edges; restore that file, "
            "or run the scenario anew"
        )
    return [file]


def _from_frame(frame: pd.DataFrame) -> Runs:
    ks = tuple(ledger.cutoffs(frame.columns))
    last = int(frame["round"].max())
    info = RunInfo(label="run", seed=0, ks=ks, last_round=last, committed=last)
    edges = pd.DataFrame({"edge": frame["edge"].unique(), "ood": False})
    edges = edges.assign(shared_downlink_bytes=0, shared_stored_bytes=0)
    controls = ledger.controls_schema(ks).empty_table().to_pandas()
    return Runs([info], {"ledger": [frame], "controls": [controls], "edges": [edges]})
