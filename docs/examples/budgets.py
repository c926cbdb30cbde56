"""What a byte budget and asking only on drift do to accuracy: one change a run.

python docs/examples/budgets.py [OUT]
"""

import sys

import fedsim

out = sys.argv[1] if len(sys.argv) > 1 else "runs"
small = {"rounds": 4, "population.edges": 80, "population.cell_size": 40, "train.epochs": 2}
changes = {
    "always": {},
    "budget": {"budget.bytes_per_round": 3000.0},
    "on drift": {"request.name": "on_drift"},
}
for label, change in changes.items():
    ledger = fedsim.run("quickstart", out=out, label=label, **small, **change).ledger
    ledger = ledger.query("round > 0")
    share = ledger.answered.mean()
    ndcg = ledger.ndcg_10.sum() / ledger.targets.sum()
    spent = (ledger.uplink_bytes + ledger.downlink_bytes).mean()
    print(f"{label:10} answered {share:6.1%}  {spent:7,.0f} bytes a round  NDCG@10 {ndcg:.4f}")
