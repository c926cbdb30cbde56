"""Data flows one way: the engine knows no strategy, and analysis needs ledgers only."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "fedsim": {"strategies", "scenarios", "analysis", "tests"},
    "strategies": {"scenarios", "analysis", "tests"},
    "scenarios": {"strategies", "analysis", "tests"},
    "analysis": {"strategies", "scenarios", "tests", "torch", "flwr", "ray"},
}


def imported(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text())))
    plain = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    return plain | {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_package_imports_what_lies_above_it(package: str) -> None:
    wrong = {
        f"{file.relative_to(ROOT)}: {module}"
        for file in sorted((ROOT / package).rglob("*.py"))
        for module in imported(file)
        if module.partition(".")[0] in FORBIDDEN[package]
    }
    assert not wrong


def test_analysis_runs_without_torch_flwr_or_ray() -> None:
    """Nor may they come in by way of what analysis imports of fedsim."""
    import subprocess
    import sys

    modules = sorted(
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for file in (ROOT / "analysis").rglob("*.py")
    )
    code = (
        f"import importlib, sys; [importlib.import_module(m) for m in {modules}];"
        "sys.exit(', '.join({'torch', 'flwr', 'ray'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
