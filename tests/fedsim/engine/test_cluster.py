import os
import signal
import threading

import pytest
import ray

from fedsim.engine.cluster import stop_ray


def test_no_ctrl_c_interrupts_the_end_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    def shutdown() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        done.append(True)

    monkeypatch.setattr(ray, "shutdown", shutdown)
    before = signal.getsignal(signal.SIGINT)
    stop_ray()
    assert done == [True]
    assert signal.getsignal(signal.SIGINT) is before


def test_ray_may_be_ended_from_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    monkeypatch.setattr(ray, "shutdown", lambda: done.append(True))
    thread = threading.Thread(target=stop_ray)
    thread.start()
    thread.join()
    assert done == [True]
