"""Run a small scenario from Python and look at its ledger.

python docs/examples/first_run.py [OUT]
"""

import sys

import fedsim

out = sys.argv[1] if len(sys.argv) > 1 else "runs"
small = {"rounds": 3, "population.edges": 60, "population.cell_size": 30, "train.epochs": 1}

run = fedsim.run("quickstart", out=out, **small)
ledger = run.ledger  # one row per round, edge and channel; round 0 is the provision
rounds = ledger[ledger["round"] > 0].groupby("round")
print(rounds[["uplink_bytes", "downlink_bytes"]].mean().round(1))
print("NDCG@10 by round:", (rounds.ndcg_10.sum() / rounds.targets.sum()).round(4).to_dict())

# Facts of an edge are in a table of their own, so sums over channels count nothing twice.
slow = run.edges.set_index("edge").device.eq("3g")
later = ledger[ledger["round"] > 0].set_index("edge")
print("latency on 3g, ms:", round(later[slow.reindex(later.index)].latency_ms.median()))
