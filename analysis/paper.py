"""Table: accuracy as papers print it, one row per method."""

from __future__ import annotations

import pandas as pd

from analysis.aggregate import metric_column
from analysis.load import Source, load
from analysis.paired import label_accuracy
from analysis.table import Table


def paper(source: Source, *, k: int | None = None) -> Table:
    """Return NDCG@K and Hit@K of every label: means over seeds, intervals over edges."""
    runs = load(source)
    names = [metric_column(runs, metric, k) for metric in ("ndcg", "hit")]
    measured = {name: label_accuracy(runs, column) for column, name in names}
    numbers, text = [], []
    for label in runs.labels:
        seeds = len({info.seed for info in runs.infos if info.label == label})
        row: dict[str, object] = {"label": label, "seeds": seeds}
        shown = {"strategy": label, "seeds": str(seeds)}
        for name, accuracy in measured.items():
            each = accuracy.of(label)
            row |= {name: each.value, f"{name}_low": each.low, f"{name}_high": each.high}
            shown[name] = each.text()
        numbers.append(row)
        text.append(shown)
    note = "Means over seeds; brackets: 95 % bootstrap intervals over edges."
    title = f"{' and '.join(name for _, name in names)} of {len(runs.labels)} methods"
    return Table("paper", title, pd.DataFrame(numbers), pd.DataFrame(text), note)
