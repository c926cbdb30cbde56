"""The one family of errors fedsim raises on purpose.

A message names the value, the rule it broke and what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FedsimError(Exception):
    """Base of every error a user can cause or mend."""


class ConfigError(FedsimError):
    """A scenario, an override or an option is wrong."""


class PluginError(ConfigError):
    """A plugin is unknown or does not keep its family's contract."""


class DataError(FedsimError):
    """A data file or a stream is missing, malformed or out of range."""


class WireError(FedsimError):
    """Bytes of an upload or an answer cannot be trusted."""


class StoreError(FedsimError):
    """What an edge or the run should keep cannot be written or read."""


class RunError(FedsimError):
    """A run cannot start, go on or be resumed."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return a half sentence listing what is allowed, the closest match first.

    >>> nearest("dieet", ["static", "diet"])
    "did you mean 'diet'? allowed: diet, static"
    """
    names = sorted(allowed)
    listing = f"allowed: {', '.join(names)}" if names else "nothing is allowed here"
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'? {listing}" if close else listing
