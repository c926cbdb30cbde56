from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """Start Ray once for all tests, with cores for a few grids side by side."""
    ray = pytest.importorskip("ray")
    from fedsim.engine.cluster import OBJECT_STORE_BYTES, start_ray

    assert start_ray(4, "local", OBJECT_STORE_BYTES)
    yield
    ray.shutdown()
