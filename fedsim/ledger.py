"""The ledger: what every edge paid and got, one row per round, edge and channel, as Parquet.

A run directory holds three kinds of tables:

- ``ledger/round-00003.parquet``: one row per edge and channel of that round. Round 0 is
  the provision: bytes only, no targets. A round exists when its file does, whole.
- ``controls/round-00003.parquet``: the controls measured in that round, on a sample of
  edges; written before the ledger's file, so that a committed round has them.
- ``edges.parquet``: facts of an edge, which are no fact of a channel: never repeated per
  channel, so no sum over channels counts them twice.

Rows are cut into row groups of a fixed size whatever batches they come in, so a file's bytes
depend on its rows and their order alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fedsim.errors import StoreError
from fedsim.files import replacing

VERSION = 3
"""Of the tables below; goes up when a column changes its name, type or meaning."""

ROW_GROUP = 1 << 16
"""Rows of a row group, which is also what a writer holds in memory."""

_VERSION_KEY = b"fedsim.ledger"


def schema(ks: Sequence[int]) -> pa.Schema:
    """Return the ledger's columns when ranking is measured at the cut-offs `ks`.

    ============================ =====================================================
    drift_true                   the interest mixture moved between last round and this
    drift_score                  Jensen-Shannon divergence of interests, 0..1; or null
    requested, answered          the policy asked for an answer; one arrived
    refused                      asked, but the budget could not pay
    too_large                    asked, but the answer does not fit into the memory
    stale_rounds                 rounds since the answer in use arrived
    uplink_bytes, downlink_bytes exact lengths of what was encoded (round 0: provision)
    candidate_bytes              item embeddings sent; not part of `downlink_bytes`
    stored_bytes                 what the channel keeps on the edge after the round
    memory_bytes                 room for the channel's answer; null without a limit
    paper_bits                   the answer's size by the papers' accounting (round 0: of
                                 what an edge has before any answer)
    parts                        which of an answer's parts, such as blocks, an edge holds;
                                 null where answers have no parts
    macs                         multiply-accumulates of one inference
    train_macs                   multiply-accumulates of the round's training on the edge
    targets                      next items predicted
    hit_K, ndcg_K, mrr           sums over the targets
    latency_ms                   bytes over bandwidth plus round trip; null without traffic
    ============================ =====================================================
    """
    columns = [
        ("drift_true", pa.bool_()),
        ("drift_score", pa.float32()),
        ("requested", pa.bool_()),
        ("answered", pa.bool_()),
        ("refused", pa.bool_()),
        ("too_large", pa.bool_()),
        ("stale_rounds", pa.int32()),
        ("uplink_bytes", pa.int64()),
        ("downlink_bytes", pa.int64()),
        ("candidate_bytes", pa.int64()),
        ("stored_bytes", pa.int64()),
        ("memory_bytes", pa.int64()),
        ("paper_bits", pa.int64()),
        ("parts", pa.list_(pa.bool_())),
        ("macs", pa.int64()),
        ("train_macs", pa.int64()),
        *_sums(ks),
        ("latency_ms", pa.float32()),
    ]
    return _versioned([*_KEYS, *columns])


def controls_schema(ks: Sequence[int]) -> pa.Schema:
    """Return the columns of the controls: sums per round, edge, channel and kind."""
    return _versioned([*_KEYS, ("kind", pa.string()), *_sums(ks)])


def edges_schema() -> pa.Schema:
    """Return the columns of ``edges.parquet``.

    ``shared_downlink_bytes`` and ``shared_stored_bytes`` are what all channels share (the
    frozen network), sent once and kept once; ``budget_bytes_per_round`` is null without one.
    """
    columns = [
        ("edge", pa.int64()),
        ("cell", pa.int32()),
        ("device", pa.string()),
        ("ood", pa.bool_()),
        ("shared_downlink_bytes", pa.int64()),
        ("shared_stored_bytes", pa.int64()),
        ("budget_bytes_per_round", pa.float64()),
    ]
    return _versioned(columns)


def rows(table: pa.Schema, **columns: Any) -> pa.RecordBatch:
    """Make a batch of a schema from arrays and scalars, which stand for every row.

    Columns left out are zero, false or, where a null is allowed, null; so are NaNs.

    >>> batch = rows(schema([10]), round=3, edge=[4, 5], channel=0, uplink_bytes=[20, 0])
    >>> batch.num_rows, batch["uplink_bytes"].to_pylist(), batch["drift_score"].null_count
    (2, [20, 0], 2)
    """
    if unknown := set(columns) - set(table.names):
        raise StoreError(f"no columns {sorted(unknown)} in the ledger; it has {table.names}")
    count = len(columns["edge"])
    arrays = [_column(field, columns.get(field.name), count) for field in table]
    return pa.RecordBatch.from_arrays(arrays, schema=table)


def commit_round(
    run_dir: str | Path, round: int, batches: Iterable[pa.RecordBatch | pa.Table]
) -> Path:
    """Write a round's rows, as they come, and commit it by one atomic rename.

    The order of the batches is the order of the rows: give them in the order of the cells. The
    file outlives a power cut; what else belongs to the round must be on disk before the last
    batch is given (`fedsim.files.settle`).

    Raises
    ------
    StoreError
        The disk is full or read-only, there are no rows, or a column is missing or wrong.
    """
    return _commit(_round_file(run_dir, "ledger", round), batches, schema)


def commit_controls(
    run_dir: str | Path, round: int, batches: Iterable[pa.RecordBatch | pa.Table]
) -> Path:
    """Write a round's controls atomically; call it before `commit_round`."""
    return _commit(_round_file(run_dir, "controls", round), batches, controls_schema)


def write_edges(run_dir: str | Path, batches: Iterable[pa.RecordBatch | pa.Table]) -> Path:
    """Write ``edges.parquet`` atomically, one row per edge."""
    return _commit(Path(run_dir) / "edges.parquet", batches, lambda _: edges_schema())


def committed_rounds(run_dir: str | Path) -> int:
    """Return the last committed round, 0 after the provision and -1 before it.

    Raises
    ------
    StoreError
        A round is missing among the committed ones, or a file cannot be read.
    """
    files = sorted((Path(run_dir) / "ledger").glob("round-*.parquet"))
    for expected, file in enumerate(files):
        if file.name != _name(expected):
            raise StoreError(
                f"{file.parent}: {_name(expected)} is missing but {file.name} is there; "
                "restore it, or start the run anew"
            )
        _check(file)
    return len(files) - 1


def round_files(run_dir: str | Path, table: str = "ledger", last: int | None = None) -> list[Path]:
    """Return the files of ``ledger`` or ``controls`` of rounds up to `last`, in order.

    All committed rounds, checked, unless `last` is given.
    """
    last = committed_rounds(run_dir) if last is None else last
    files = [_round_file(run_dir, table, number) for number in range(last + 1)]
    return [file for file in files if file.exists()]


def read_ledger(run_dir: str | Path) -> pd.DataFrame:
    """Return all committed rounds as one frame, in order of round and row."""
    return _read(round_files(run_dir), run_dir)


def read_controls(run_dir: str | Path) -> pd.DataFrame:
    """Return the controls of all committed rounds as one frame; empty if none."""
    booked, files = round_files(run_dir), round_files(run_dir, "controls")
    if files or not booked:
        return _read(files, run_dir)
    empty: pd.DataFrame = (
        controls_schema(cutoffs(pq.read_schema(booked[0]).names)).empty_table().to_pandas()
    )
    return empty


def read_edges(run_dir: str | Path) -> pd.DataFrame:
    """Return ``edges.parquet`` as a frame."""
    file = Path(run_dir) / "edges.parquet"
    _check(file)
    frame: pd.DataFrame = pq.read_table(file).to_pandas()
    return frame


def cutoffs(columns: Iterable[str]) -> list[int]:
    """Return the K of the columns ``hit_K``, ascending.

    >>> cutoffs(schema([20, 5]).names)
    [5, 20]
    """
    return sorted(int(name[4:]) for name in columns if name.startswith("hit_"))


_KEYS = [("round", pa.int32()), ("edge", pa.int64()), ("channel", pa.int16())]
_NULLABLE = {"drift_score", "memory_bytes", "parts", "latency_ms", "budget_bytes_per_round"}


def _sums(ks: Sequence[int]) -> list[tuple[str, pa.DataType]]:
    ranked = [(f"{metric}_{k}", pa.float64()) for k in sorted(ks) for metric in ("hit", "ndcg")]
    return [("targets", pa.int32()), *ranked, ("mrr", pa.float64())]


def _versioned(columns: Iterable[tuple[str, pa.DataType]]) -> pa.Schema:
    fields = [pa.field(name, kind, nullable=name in _NULLABLE) for name, kind in columns]
    return pa.schema(fields, metadata={_VERSION_KEY: str(VERSION).encode()})


def _name(round: int) -> str:
    return f"round-{round:05d}.parquet"


def _round_file(run_dir: str | Path, table: str, round: int) -> Path:
    return Path(run_dir) / table / _name(round)


def _column(field: pa.Field, value: Any, count: int) -> pa.Array:
    if value is None:
        if field.nullable:
            return pa.nulls(count, field.type)
        value = "" if pa.types.is_string(field.type) else 0
    if np.ndim(value) == 0:
        value = np.full(count, value)
    if pa.types.is_boolean(field.type):
        value = np.asarray(value, bool)
    if pa.types.is_list(field.type):
        value = list(value)
    return pa.array(value, field.type, from_pandas=field.nullable)


def _conform(batch: pa.RecordBatch | pa.Table, columns: pa.Schema, file: Path) -> pa.Table:
    table = pa.table(batch) if isinstance(batch, pa.RecordBatch) else batch
    try:
        return table.select(columns.names).cast(columns)
    except (KeyError, ValueError, pa.ArrowInvalid) as error:
        raise StoreError(f"rows do not fit {file}: {error}; needed: {columns.names}") from error


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        held.append(table)
        count += len(table)
        if count >= ROW_GROUP:
            joined = pa.concat_tables(held)
            full = count - count % ROW_GROUP
            yield from (joined.slice(start, ROW_GROUP) for start in range(0, full, ROW_GROUP))
            held, count = [joined.slice(full)], count - full
    if count:
        yield pa.concat_tables(held)


def _commit(
    file: Path,
    batches: Iterable[pa.RecordBatch | pa.Table],
    schema_of: Callable[[Sequence[int]], pa.Schema],
) -> Path:
    batches = iter(batches)
    first = next(batches, None)
    if first is None:
        raise StoreError(f"no rows to write to {file}; a round has a row for every edge")
    columns = schema_of(cutoffs(first.schema.names))
    tables = (_conform(batch, columns, file) for batch in chain([first], batches))
    with (
        replacing(file, sync=True) as sink,
        pq.ParquetWriter(sink, columns, compression="zstd", compression_level=3) as writer,
    ):
        for group in _groups(tables):
            writer.write_table(group, row_group_size=ROW_GROUP)
    return file


def _check(file: Path) -> None:
    try:
        metadata = pq.read_schema(file).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise StoreError(
            f"cannot read {file}: {str(error).partition('. ')[0]}; it is damaged or missing: if it "
            "is the last round's, delete it and resume, else restore it or start the run anew"
        ) from error
    found = metadata.get(_VERSION_KEY, b"none").decode()
    if found != str(VERSION):
        raise StoreError(
            f"{file} has ledger version {found}, this fedsim reads version {VERSION}; "
            "read it with the fedsim that wrote it"
        )


def _read(files: Sequence[Path], run_dir: str | Path) -> pd.DataFrame:
    if not files:
        raise StoreError(f"{run_dir}: no committed round; run it first, or resume it")
    frame: pd.DataFrame = pa.concat_tables([pq.read_table(file) for file in files]).to_pandas()
    return frame
