"""What a method costs an edge, per label."""

from __future__ import annotations

from analysis.aggregate import EDGES
from analysis.load import Runs


def costs(runs: Runs, edges: str = "all") -> dict[str, dict[str, float]]:
    """Return costs by name for every label, of the `EDGES` named.

    Per edge and round (rounds from 1): ``up_bytes``, ``down_bytes``. Per edge:
    ``provision_bytes`` (round 0, the shared part included), ``embedding_bytes`` (item
    embeddings, all rounds), ``stored_bytes`` (after the last round, the shared part once).
    ``macs`` of one inference, ``train_macs`` of a round's training; ``answer_bytes`` and
    ``answer_paper_bits`` of one answer, these of what is shipped once where nobody is answered;
    ``answered``, ``refused`` and ``too_large`` as shares of the requests (rounds from 1: nobody
    asks for the provision); median ``latency_ms``.
    """
    where = EDGES[edges]
    frame = runs.query(f"""
        with sizes as (
            select run, count(*) as n, sum(shared_downlink_bytes) as down,
                   sum(shared_stored_bytes) as stored from edges where {where} group by run),
        ends as (select run, max(round) as last from ledger group by run),
        sums as (
            select run, any_value(last) as last,
                   sum(uplink_bytes) filter (round > 0) as up,
                   sum(downlink_bytes) filter (round > 0) as down,
                   sum(uplink_bytes + downlink_bytes) filter (round = 0) as provision,
                   sum(candidate_bytes) as embeddings,
                   sum(stored_bytes) filter (round = last) as stored,
                   avg(macs) filter (round > 0) as macs,
                   avg(downlink_bytes) filter (answered and round > 0) as answer,
                   avg(paper_bits) filter (answered and round > 0) as bits,
                   avg(paper_bits) filter (round = 0) as shipped_bits,
                   avg(train_macs) filter (round > 0) as train,
                   sum(requested::int) filter (round > 0) as requested,
                   sum(answered::int) filter (round > 0) as answered,
                   sum(refused::int) filter (round > 0) as refused,
                   sum(too_large::int) filter (round > 0) as too_large,
                   median(latency_ms) filter (round > 0) as latency
            from ledger join ends using (run) where {where} group by run)
        select label, avg(up / n / last) as up_bytes, avg(sums.down / n / last) as down_bytes,
               avg((provision + sizes.down) / n) as provision_bytes,
               avg(embeddings / n) as embedding_bytes,
               avg((sums.stored + sizes.stored) / n) as stored_bytes, avg(macs) as macs,
               avg(train) as train_macs, avg(answer) as answer_bytes,
               avg(coalesce(bits, shipped_bits)) as answer_paper_bits,
               sum(answered) / nullif(sum(requested), 0) as answered,
               sum(refused) / nullif(sum(requested), 0) as refused,
               sum(too_large) / nullif(sum(requested), 0) as too_large,
               avg(latency) as latency_ms
        from sums join sizes using (run) join runs using (run) group by label
    """)
    rows = frame.set_index("label").astype(float).to_dict("index")
    return {str(label): {str(k): float(v) for k, v in row.items()} for label, row in rows.items()}
