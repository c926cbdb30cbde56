"""Starts a local Ray that nobody outside this machine can reach, or joins a cluster."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import worker as ray_worker

from fedsim.errors import RunError

OBJECT_STORE_BYTES = 256 * 2**20
"""Shared memory of a local Ray; payloads pass through it and do not stay."""

REACH_S = 10.0
"""Seconds for a cluster to take a connection."""

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""No telemetry, and no advice about accelerators."""


_say = ray_worker.print_to_stdstream


def start_ray(workers: int, address: str | None, object_store_bytes: int) -> bool:
    """Make Ray ready for `workers` workers; return whether this call started it.

    A Ray that this process runs already is used as it is.

    Raises
    ------
    RunError
        No cluster answers at `address`, or Ray has fewer cores than workers.
    """
    started = not ray.is_initialized()
    if started:
        ray_worker.print_to_stdstream = _say_aside
        os.environ.update({k: os.environ.get(k, v) for k, v in QUIET.items()})
        address = address or os.environ.get("RAY_ADDRESS")
        if address and address != "local":
            _join(address)
        else:
            _start_local(workers, object_store_bytes)
    cores = int(ray.cluster_resources().get("CPU", 0))  # type: ignore[no-untyped-call]
    if cores < workers:
        if started:
            stop_ray()
        raise RunError(
            f"Ray has {cores} cores, but {workers} workers want one each; "
            f"ask for at most {cores} workers or start Ray with more"
        )
    return started


def stop_ray() -> None:
    """Leave Ray, and end it where this process started it, whatever is pressed meanwhile.

    Interrupted half-way, Ray finds its own server gone and ends this process with code 1.
    """
    with _deaf():
        ray.shutdown()


@contextmanager
def _deaf() -> Iterator[None]:
    """Heed no Ctrl-C, which Python raises in the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


def _say_aside(data: dict[str, Any], ignore_prefix: bool) -> None:
    """Say on standard error what Ray says of processes it lost: standard output is for results."""
    _say(data | {"is_err": True}, ignore_prefix)


def _join(address: str) -> None:
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        raise RunError(
            f"no Ray cluster answers at '{address}' ({error}); start one with "
            "'ray start --head', or give no address to start Ray on this machine"
        ) from error


def _knock(address: str) -> None:
    """Fail at once where nobody listens: Ray itself would try for minutes."""
    host, colon, port = address.rpartition("//")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()


def _start_local(workers: int, object_store_bytes: int) -> None:
    """Start Ray on 127.0.0.1.

    Ray replaces a loopback address by the machine's public one unless clusters are off,
    which is a switch it has for other platforms; without it, its ports are open to all.
    """
    from ray._private import ray_constants

    clusters = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        ray.init(
            address="local",
            num_cpus=workers,
            num_gpus=0,
            object_store_memory=object_store_bytes,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
        )
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = clusters
