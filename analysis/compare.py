"""Tables: strategies side by side, and the differences between them over the same edges."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.aggregate import metric_column
from analysis.costs import costs
from analysis.load import Source, load
from analysis.paired import control_accuracy, label_accuracy
from analysis.settings import ranked
from analysis.statistics import NONE, Estimate
from analysis.streams import elsewhere
from analysis.style import bytes_text, seeds_text
from analysis.summary import counted
from analysis.table import Table
from analysis.training import epochs, unequal
from fedsim.errors import ConfigError, nearest

INTERVALS = "Brackets: 95 % bootstrap intervals over edges."
OTHER = (
    "Own \u2212 other: the NDCG that the sampled edges lose when served with another edge's answer."
)
ONE_SEED = (
    "A verdict from one seed decides little: intervals are over edges and leave out what "
    "training with another seed would change (fedsim compare --seeds 3)."
)


def compare(source: Source, *, k: int | None = None) -> Table:
    """Return what each label reaches and costs; means over its seeds.

    Bytes are per edge and round (uploads, answers) or per edge (kept after the last round);
    own - other is what the sampled edges lose when they are given another edge's answer.
    Training on the edge, answers too large for its memory and requests its budget could not pay
    are shown where there are any, and the epochs of training in the cloud where they differ.
    The note says which runs are unfinished and which rounds are compared.
    """
    runs = load(source)
    names = [metric_column(runs, metric, k) for metric in ("ndcg", "hit", "mrr")]
    measured = {column: label_accuracy(runs, column) for column, _ in names}
    controls = control_accuracy(runs, names[0][0])
    cost, trained = costs(runs), epochs(runs)
    differ = bool(unequal(runs))
    numbers, text = [], []
    for label in runs.labels:
        seeds = runs.seeds(label)
        estimates = {name: measured[column].of(label) for column, name in names}
        row = cost[label]
        kinds = {kind: controls.of((name, kind)) for name, kind in controls.of_label(label)}
        numbers.append(
            {"label": label, "seeds": seeds, **_spread(estimates), **row, "epochs": trained[label]}
            | {f"control_{kind}": each.value for kind, each in kinds.items()}
        )
        text.append(
            {
                "strategy": label,
                **{name: each.text() for name, each in list(estimates.items())[:2]},
                "up / round": bytes_text(row["up_bytes"]),
                "down / round": bytes_text(row["down_bytes"]),
                "provision": bytes_text(row["provision_bytes"]),
                "stored": bytes_text(row["stored_bytes"]),
                "MACs": count_text(row["macs"]),
                **_rare(row, cost),
                **({"epochs": f"{trained[label]:.3g}"} if differ else {}),
                "own \u2212 other": _signed(controls.loss(label, "other")),
            }
        )
    one = f"What {runs.labels[0]} reaches and costs"
    title = one if len(runs.labels) == 1 else f"What {counted(runs)} reach and cost"
    against = ranked(runs.infos)
    notes = [
        *runs.remarks, INTERVALS, f"{seeds_text(runs.seeds()).capitalize()}.",
        *([f"Ranked: {against}."] if against else []), *([OTHER] if controls.measured else []),
    ]  # fmt: skip
    return Table("compare", title, pd.DataFrame(numbers), pd.DataFrame(text), " ".join(notes))


def differences(
    source: Source, *, reference: str | None = None, metric: str = "ndcg", k: int | None = None
) -> Table:
    """Return each label's accuracy minus a reference's: paired bootstrap over the same edges.

    The reference is ``static`` where there is one, else the first label, unless named. A
    verdict stands beside the number of seeds it is from: intervals leave out what training
    with another seed would change.

    Raises
    ------
    ConfigError
        No run is labelled as the reference, or the runs are not on the same streams.
    """
    runs = load(source)
    if apart := elsewhere(runs.infos):
        raise ConfigError(f"only runs on the same streams have differences. {apart}")
    column, name = metric_column(runs, metric, k)
    reference = reference or ("static" if "static" in runs.labels else runs.labels[0])
    if reference not in runs.labels:
        raise ConfigError(f"no run is labelled '{reference}'; {nearest(reference, runs.labels)}")
    measured = label_accuracy(runs, column)
    others = [label for label in runs.labels if label != reference]
    found = {label: measured.difference(label, reference) for label in others}
    rows = [
        {"label": label, "reference": reference, "metric": name, "difference": each.value,
         "low": each.low, "high": each.high, "seeds": runs.seeds(label, reference)}
        for label, each in found.items()
    ]  # fmt: skip
    head = f"{name} \u2212 {reference}'s" if len(reference) < 20 else f"difference of {name}"
    text = [
        {"strategy": label, head: each.text(sign=True),
         "verdict": _verdict(each), "seeds": str(runs.seeds(label, reference))}
        for label, each in found.items()
    ]  # fmt: skip
    title = f"Difference of {name} from {reference}, over the same edges"
    few = any(runs.seeds(label, reference) == 1 for label in others)
    note = " ".join([*runs.remarks, INTERVALS, *([ONE_SEED] if few else [])])
    return Table("differences", title, pd.DataFrame(rows), pd.DataFrame(text), note)


def count_text(value: float) -> str:
    """Return a count in thousands or millions.

    >>> count_text(208_640), count_text(0), count_text(1_500_000)
    ('209 k', '0', '1.5 M')
    """
    if value != value:
        return NONE
    return bytes_text(value).removesuffix("B").rstrip()


def _spread(estimates: dict[str, Estimate]) -> dict[str, float]:
    out: dict[str, Any] = {}
    for name, each in estimates.items():
        out |= {name: each.value, f"{name}_low": each.low, f"{name}_high": each.high}
    return out


def _signed(each: Estimate | None) -> str:
    return each.text(sign=True) if each else NONE


def _rare(row: dict[str, float], cost: dict[str, dict[str, float]]) -> dict[str, str]:
    """Return the cells of costs that only some strategies and scenarios have."""
    cells = {
        "train_macs": ("MACs trained / round", count_text(row["train_macs"])),
        "too_large": ("too large", _percent(row["too_large"])),
        "refused": ("refused", _percent(row["refused"])),
    }
    return dict(cell for key, cell in cells.items() if any(c[key] > 0 for c in cost.values()))


def _percent(share: float) -> str:
    return NONE if share != share else f"{share:.1%}"


def _verdict(each: Estimate) -> str:
    if not each.excludes_zero:
        return "no clear difference"
    return "better" if each.value > 0 else "worse"
