"""Figures and tables from run directories; reads ledgers only.

Each figure is a function ``name(runs, *, ax=None) -> Axes`` and each table one that returns
a `Table`; `runs` is a run directory, several, or a ledger frame.
"""

from analysis.accuracy import accuracy
from analysis.answer_bytes import answer_bytes
from analysis.bandwidth_ecdf import bandwidth_ecdf
from analysis.bandwidth_map import bandwidth_map
from analysis.compare import compare, differences
from analysis.controls import controls
from analysis.drift_response import drift_response
from analysis.kept_bytes import kept_bytes
from analysis.load import Runs, load
from analysis.memory import memory, memory_use
from analysis.ood import ood
from analysis.paper import paper
from analysis.pareto import pareto
from analysis.part_counts import part_counts
from analysis.parts import parts
from analysis.sparsity import sparsity
from analysis.storage import storage
from analysis.table import Table
from analysis.traffic import traffic

__all__ = [
    "Runs",
    "Table",
    "accuracy",
    "answer_bytes",
    "bandwidth_ecdf",
    "bandwidth_map",
    "compare",
    "controls",
    "differences",
    "drift_response",
    "kept_bytes",
    "load",
    "memory",
    "memory_use",
    "ood",
    "paper",
    "pareto",
    "part_counts",
    "parts",
    "sparsity",
    "storage",
    "traffic",
]
