"""Where what is dear to compute is kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return ``$FEDSIM_CACHE``, or else ``fedsim`` in the user's cache folder."""
    named = os.environ.get("FEDSIM_CACHE")
    if named:
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "fedsim"
