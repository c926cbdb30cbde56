"""Strategies that end badly, each in a way of its own."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from fedsim.data.base import Streams
from fedsim.errors import ConfigError
from fedsim.setting import Arrays, Uploads
from tests.own import Own, OwnConfig


class Odd(Exception):
    """Pickled, it cannot be read again."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


class Refusing(Own):
    """Has no use for its options."""

    def fit(self, history: tuple[Streams, ...]) -> None:
        raise ConfigError("strategy.codec = dense: not today; give another")


class Failing(Own):
    """Was not foreseen to fail."""

    def fit(self, history: tuple[Streams, ...]) -> None:
        raise ZeroDivisionError("no edges")


class Closed(Own):
    """Fails with what no other process can read."""

    def fit(self, history: tuple[Streams, ...]) -> None:
        raise Odd(1, 2)


class FlagConfig(OwnConfig):
    """Options of those that look for a file."""

    flag: str = ""


class Dying(Own):
    """Loses its process in the second round: once, if there is a flag to tell so by."""

    Config = FlagConfig

    def answer(self, channel: int, uploads: Uploads, round: int) -> Arrays:
        flag = Path(self.config.flag)
        if round == 2 and not flag.is_file():
            if self.config.flag:
                flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(channel, uploads, round)


class Late(Own):
    """Has no use for its options as soon as the flag is there."""

    Config = FlagConfig

    def answer(self, channel: int, uploads: Uploads, round: int) -> Arrays:
        until = time.monotonic() + 30
        while not Path(self.config.flag).exists() and time.monotonic() < until:
            time.sleep(0.01)
        raise ConfigError("strategy.codec = dense: not any more; give another")
