"""fedsim: federated simulation of on-device recommendation.

>>> import fedsim
>>> done = fedsim.run("quickstart", rounds=2)  # doctest: +SKIP
>>> done.ledger.groupby("round").downlink_bytes.sum()  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedsim.engine.run import Run, resume, run
    from fedsim.errors import FedsimError
    from fedsim.papers import paper
    from fedsim.scenario import load_scenario
    from fedsim.study import compare

__all__ = ["FedsimError", "Run", "compare", "load_scenario", "paper", "resume", "run"]

_HOMES = {
    "FedsimError": "fedsim.errors",
    "Run": "fedsim.engine.run",
    "compare": "fedsim.study",
    "load_scenario": "fedsim.scenario",
    "paper": "fedsim.papers",
    "resume": "fedsim.engine.run",
    "run": "fedsim.engine.run",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: torch and flwr take seconds."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'fedsim' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List what is imported on demand, too."""
    return sorted({*globals(), *__all__})
