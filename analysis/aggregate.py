"""What figures and tables have in common: ledger rows added up, by DuckDB.

Accuracies are ratios of sums over targets (every predicted item weighs the same), taken in
each run and averaged over the runs of a label (its seeds). Bytes are divided by all edges of
the population, whether or not they took part. Traffic is uploads and answers; item
embeddings (`candidate_bytes`) are always apart.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.load import Runs
from fedsim.errors import ConfigError, nearest

EDGES = {
    "all": "true",
    "known": "(run, edge) not in (select (run, edge) from edges where ood)",
    "unseen": "(run, edge) in (select (run, edge) from edges where ood)",
}
"""Which edges: everybody, the in-distribution edges, the OOD edges."""

BYTES = "(uplink_bytes + downlink_bytes)"


def metric_column(runs: Runs, metric: str = "ndcg", k: int | None = None) -> tuple[str, str]:
    """Return a metric's column and its name in print.

    Raises
    ------
    ConfigError
        The metric is unknown, or was not measured at K in every run.
    """
    if metric == "mrr":
        return "mrr", "MRR"
    k = runs.k if k is None else k
    names = {"ndcg": "NDCG", "hit": "Hit"}
    if metric not in names:
        raise ConfigError(f"unknown metric '{metric}'; {nearest(metric, [*names, 'mrr'])}")
    if k not in runs.ks:
        raise ConfigError(f"K = {k} was not measured in every run; measured: {list(runs.ks)}")
    return f"{metric}_{k}", f"{names[metric]}@{k}"


def per_round(runs: Runs, column: str, where: str = "true", points: int = 1000) -> pd.DataFrame:
    """Return accuracy per label and round: label, round, value, error, bytes.

    `error` is the standard error over edges; `bytes` is traffic per edge and round. With
    more rounds than `points`, neighbouring rounds are taken together.
    """
    step = -(-runs.last_round // points)
    return runs.query(f"""
        with edge_sums as (
            select run, (round - 1) // {step} as bin, edge, avg(round) as round,
                   min(round) as lo, max(round) as hi, sum({column}) as y,
                   sum(targets) as x, sum{BYTES} as b
            from ledger where round > 0 and {where} group by run, bin, edge),
        run_sums as (
            select run, bin, avg(round) as round, sum(y) / sum(x) as r, sum(x) as x,
                   sum(y * y) as yy, sum(x * y) as xy, sum(x * x) as xx,
                   sum(b) / count(*) / (max(hi) - min(lo) + 1) as b
            from edge_sums group by run, bin),
        run_values as (
            select *, (yy - 2 * r * xy + r * r * xx) / (x * x) as variance from run_sums)
        select label, avg(round) as round, avg(r) as value,
               sqrt(sum(greatest(variance, 0))) / count(*) as error, avg(b) as bytes
        from run_values join runs using (run) group by label, bin order by label, bin
    """)


def cumulative_bytes(runs: Runs, points: int = 200) -> pd.DataFrame:
    """Return label, round, bytes: what an edge has sent and received up to a round.

    Round 0 is the provision, what all channels share included.
    """
    frame = runs.query(f"""
        with sizes as (select run, count(*) as n, sum(shared_downlink_bytes) as shared
                       from edges group by run),
        sums as (select run, round, sum{BYTES} as b from ledger group by run, round)
        select label, round, avg((b + if(round = 0, shared, 0)) / n) as bytes
        from sums join sizes using (run) join runs using (run)
        group by label, round order by label, round
    """)
    frame["bytes"] = frame.groupby("label")["bytes"].cumsum()
    step = -(-runs.last_round // points)
    return frame[(frame["round"] % step == 0) | (frame["round"] == runs.last_round)]


def bytes_per_edge(runs: Runs, points: int = 200) -> pd.DataFrame:
    """Return label, share, bytes: quantiles over edges of the mean traffic in a round."""
    frame = runs.query(f"""
        with last as (select run, max(round) as rounds from ledger group by run),
        totals as (select run, edge, sum{BYTES} as b from ledger where round > 0
                   group by run, edge)
        select label, b / rounds as b
        from totals join last using (run) join runs using (run)
    """)
    shares = np.linspace(0, 1, points + 1)
    parts = [
        pd.DataFrame({"label": label, "share": shares, "bytes": np.quantile(group["b"], shares)})
        for label, group in frame.groupby("label")
    ]
    return pd.concat(parts, ignore_index=True)


def drift_share(runs: Runs) -> pd.DataFrame:
    """Return round, share: in which rounds interests really moved, and of how many edges."""
    return runs.query("""
        with moved as (select run, round, edge, bool_or(drift_true) as d
                       from ledger where round > 0 group by run, round, edge)
        select round, avg(d::int) as share from moved
        group by round having share > 0 order by round
    """)


def stored_bytes(runs: Runs) -> pd.DataFrame:
    """Return label, part, bytes: what an edge keeps after the last round.

    Parts are ``shared`` (once per edge), then the channels' names.
    """
    frame = runs.query("""
        with sizes as (select run, count(*) as n, avg(shared_stored_bytes) as shared
                       from edges group by run),
        last as (select run, max(round) as round from ledger group by run),
        kept as (select run, channel, sum(stored_bytes) / any_value(n) as b
                 from ledger join last using (run, round) join sizes using (run)
                 group by run, channel
                 union all select run, -1, shared from sizes)
        select label, channel, avg(b) as bytes from kept join runs using (run)
        group by label, channel order by label, channel
    """)
    names = {-1: "shared", **dict(enumerate(runs.channels))}
    frame["part"] = frame["channel"].map(names)
    return frame[["label", "part", "bytes"]]
