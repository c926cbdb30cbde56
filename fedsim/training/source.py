"""Names the code a training depends on, so that changed code does not find old weights."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from pkgutil import iter_modules

import torch
from torch import nn

from fedsim import training

SHARED = (
    "fedsim.kernels.masked_linear",
    "fedsim.kernels.select",
    "fedsim.kernels.straight_through",
    "fedsim.rng",
    "fedsim.slices",
    "fedsim.timeline",
)
"""What trainings go through without being part of a learner."""
FOREIGN = {"torch", *sys.stdlib_module_names}
"""Packages whose versions stand for their code."""


def code_of(learner: nn.Module, *others: object) -> dict[str, str]:
    """Return what names a training's code: the learner's class, a hash of sources, torch.

    The sources are those of the classes of the learner, its submodules and `others`, of
    all these inherit, of what such a module outside fedsim imports of its own package, of
    `fedsim.training` and of what all trainings go through.
    """
    kind = type(learner)
    names = {
        base.__module__
        for part in (*learner.modules(), *others)
        for base in type(part).__mro__
        if base.__module__.partition(".")[0] not in FOREIGN
    }
    names = set(_with_imports(names))
    names |= {f"{training.__name__}.{found.name}" for found in iter_modules(training.__path__)}
    state = hashlib.blake2b(digest_size=16)
    for name in sorted(names | set(SHARED)):
        source = source_of(name).encode()
        state.update(f"{name}/{len(source)}/".encode())
        state.update(source)
    return {
        "learner": f"{kind.__module__}.{kind.__qualname__}",
        "sources": state.hexdigest(),
        "torch": torch.__version__,
    }


def _with_imports(names: Iterable[str]) -> Iterator[str]:
    """Yield modules, and what those outside fedsim import of their own package, and so on."""
    left, seen = list(names), set(names)
    while left:
        name = left.pop()
        yield name
        package = name.partition(".")[0]
        if package != "fedsim":
            nodes = ast.walk(ast.parse(source_of(name)))
            used = {each.module for each in nodes if isinstance(each, ast.ImportFrom)}
            found = {each for each in used if each and each.startswith(f"{package}.")} - seen
            seen |= found
            left += found


def source_of(module: str) -> str:
    """Return a module's source text."""
    return inspect.getsource(import_module(module))
