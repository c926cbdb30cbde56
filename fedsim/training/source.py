"""Names the code a training depends on, so that changed code does not find old weights."""

from __future__ import annotations

import hashlib
import inspect
import sys
from importlib import import_module
from pkgutil import iter_modules

import torch
from torch import nn

from fedsim import training

KERNELS = (
    "fedsim.kernels.masked_linear",
    "fedsim.kernels.select",
    "fedsim.kernels.straight_through",
)
"""What gradients go through without being part of a learner."""
FOREIGN = {"torch", *sys.stdlib_module_names}
"""Packages whose versions stand for their code."""


def code_of(learner: nn.Module, *others: object) -> dict[str, str]:
    """Return what names a training's code: the learner's class, a hash of sources, torch.

    The sources are those of the classes of the learner, its submodules and `others`, of
    all these inherit, of `fedsim.training` and of the kernels gradients go through.
    """
    kind = type(learner)
    names = {
        base.__module__
        for part in (*learner.modules(), *others)
        for base in type(part).__mro__
        if base.__module__.partition(".")[0] not in FOREIGN
    }
    names |= {f"{training.__name__}.{found.name}" for found in iter_modules(training.__path__)}
    state = hashlib.blake2b(digest_size=16)
    for name in sorted(names | set(KERNELS)):
        source = source_of(name).encode()
        state.update(f"{name}/{len(source)}/".encode())
        state.update(source)
    return {
        "learner": f"{kind.__module__}.{kind.__qualname__}",
        "sources": state.hexdigest(),
        "torch": torch.__version__,
    }


def source_of(module: str) -> str:
    """Return a module's source text."""
    return inspect.getsource(import_module(module))
