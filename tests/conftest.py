"""What all tests share: caches of their own, one thread, no browser windows, no deadlines."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ["MPLBACKEND"] = "Agg"

settings.register_profile(
    "fedsim", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("fedsim")

# What a shell starts in the background ignores Ctrl-C, and hands that on.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--strategy", metavar="NAME", help="check this strategy's conformance only; or file:Class"
    )


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what tests train out of the user's cache, and the user's out of tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDSIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    """Return a scenario file of two seconds: 12 edges, two rounds, a static model."""
    file = tmp_path / "tiny.toml"
    file.write_text(
        """
        rounds = 2
        strategy = "static"
        population = { edges = 12, cell_size = 5 }
        data = { name = "synthetic", items = 60, topics = 4, length = 24 }
        train = { epochs = 1, batch = 64 }
        """
    )
    return file
