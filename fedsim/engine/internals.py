"""The only place that touches what flwr does not promise to keep.

A `Message` takes its sender from `TaskIdentity`, `Grid.run` is typed by `Run`, and an
Error reply is coded by `ErrorCode`; none of them is public. They are pinned with flwr's
minor version and checked by ``tests/fedsim/engine/test_contract.py``.
"""

from __future__ import annotations

from importlib.metadata import version

from fedsim.errors import RunError

PINNED = "1.41"
"""Minor version of flwr whose internals are used here."""


def check_version(installed: str) -> None:
    """Refuse another minor version of flwr than the pinned one.

    Raises
    ------
    RunError
        `installed` is not a version ``1.41.*``.
    """
    if installed.split(".")[:2] != PINNED.split("."):
        raise RunError(
            f"flwr {installed} is installed, but fedsim's grids use internals of flwr "
            f"{PINNED}.*; install it with: pip install 'flwr=={PINNED}.*'"
        )


check_version(version("flwr"))

try:
    from flwr.app.message import make_message
    from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
    from flwr.supercore.run import Run
    from flwr.supercore.task_identity import TaskIdentity
except ImportError as error:
    raise RunError(
        f"flwr {version('flwr')} lacks what fedsim's grids need ({error}); "
        f"reinstall it with: pip install --force-reinstall 'flwr=={PINNED}.*'"
    ) from error

__all__ = [
    "PINNED",
    "SUPERLINK_NODE_ID",
    "ErrorCode",
    "Run",
    "TaskIdentity",
    "check_version",
    "identify",
    "make_message",
]


def identify(run_id: int, node_id: int) -> None:
    """Say who sends the messages this process creates; without it `Message` refuses."""
    TaskIdentity.task_id = 1
    TaskIdentity.run_id = run_id
    TaskIdentity.node_id = node_id
