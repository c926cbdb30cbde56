"""A run's log: its trainings, its rounds, and what went wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedsim.errors import FedsimError
from fedsim.files import disk

LOG = "run.log"


@contextmanager
def logged(run_dir: Path) -> Iterator[None]:
    """Add to ``run.log`` what fedsim's loggers say inside, an error that ends it included.

    Warnings still reach standard error, as without a log.

    Raises
    ------
    StoreError
        The log cannot be written when it is opened; a disk that fills up later drops lines.
    """
    logger = logging.getLogger("fedsim")
    level = logger.level
    with disk(run_dir / LOG):
        handler = _Handler(run_dir / LOG, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    added = [handler] if logger.hasHandlers() else [handler, _warnings()]
    for each in added:
        logger.addHandler(each)
    logger.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield
    except FedsimError as error:
        logger.info("stopped: %s", error)
        raise
    except BaseException:
        logger.info("stopped", exc_info=True)
        raise
    finally:
        for each in added:
            logger.removeHandler(each)
        logger.setLevel(level)
        handler.close()


def _warnings() -> logging.Handler:
    """Return what Python does with warnings of loggers that have no handler."""
    assert logging.lastResort is not None
    return logging.lastResort


class _Handler(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing: what fills the disk is told by whoever writes results."""
