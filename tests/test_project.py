"""What the files around the code promise: versions, commands, documentation, examples."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires, version
from pathlib import Path
from typing import Any

import click
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.main import get_command

from fedsim import plugins
from fedsim.cli import _common, app
from fedsim.doctor import constraints
from fedsim.paper_toml import paper_specs
from fedsim.scenario import load_scenario, shipped_scenarios

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))

pytestmark = pytest.mark.skipif(
    not (ROOT / "Makefile").is_file(), reason="not in a checkout of the sources"
)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def project() -> dict[str, Any]:
    return tomllib.loads(read("pyproject.toml"))["project"]  # type: ignore[no-any-return]


# ---- packaging ----------------------------------------------------------------------------


def test_one_version_everywhere() -> None:
    assert version("fedsim-edge") == project()["version"]
    assert f"version: {project()['version']}\n" in read("CITATION.cff")


def closure(name: str, extras: frozenset[str], seen: set[str]) -> Iterator[Requirement]:
    """Yield what a distribution requires here, and what that requires, and so on."""
    for text in requires(name) or []:
        each = Requirement(text)
        wanted = any(
            each.marker is None or each.marker.evaluate({"extra": extra}) for extra in {"", *extras}
        )
        key = f"{canonicalize_name(each.name)}[{','.join(sorted(each.extras))}]"
        if wanted:
            yield each
            if key not in seen:
                seen.add(key)
                yield from closure(each.name, frozenset(each.extras), seen)


def test_constraints_pin_everything_that_is_installed() -> None:
    pinned = {canonicalize_name(name): version for name, version in constraints().items()}
    wanted = list(closure("fedsim-edge", frozenset({"dev", "test"}), set()))
    assert len(wanted) > 50
    missing = {
        each.name for each in wanted if canonicalize_name(each.name) not in {*pinned, "fedsim-edge"}
    }
    assert not missing
    wrong = {
        str(each)
        for each in wanted
        if (pin := pinned.get(canonicalize_name(each.name)))
        and not each.specifier.contains(pin, prereleases=True)
    }
    assert not wrong


def test_everything_that_is_imported_is_declared() -> None:
    own = {"fedsim", "strategies", "scenarios", "analysis"}
    imported = {
        name.partition(".")[0]
        for package in sorted(own)
        for file in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        for name in imports(node)
    }
    assert {"numpy", "torch", "flwr"} <= imported
    declared = {canonicalize_name(Requirement(text).name) for text in project()["dependencies"]}
    shipped_by = packages_distributions()
    undeclared = {
        name
        for name in imported - own - set(sys.stdlib_module_names)
        if not declared & {canonicalize_name(each) for each in shipped_by.get(name, ())}
    }
    assert not undeclared


def imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [name.name for name in node.names]
    return [str(node.module)] if isinstance(node, ast.ImportFrom) else []


def test_the_wheel_holds_all_four_packages() -> None:
    build = tomllib.loads(read("pyproject.toml"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert build["packages"] == ["fedsim", "strategies", "scenarios", "analysis"]
    assert all((ROOT / package / "py.typed").is_file() for package in build["packages"])


def test_flower_accepts_the_app() -> None:
    from flwr.common.config import validate_config

    valid, errors, _ = validate_config(
        tomllib.loads(read("pyproject.toml")), check_module=True, project_dir=ROOT
    )
    assert valid, errors


def test_the_licence_is_whole() -> None:
    text = read("LICENSE")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_make_and_ci_agree() -> None:
    targets = set(re.findall(r"^(\w+):", read("Makefile"), re.MULTILINE))
    assert {"demo", "test", "lint", "bench", "docs", "clean"} <= targets
    assert read(".ci/run").rstrip().endswith("make test")
    assert "run: .ci/run" in read(".github/workflows/ci.yml")


def test_ci_names_no_host() -> None:
    assert "://" not in read(".github/workflows/ci.yml") + read(".ci/run") + read("Makefile")


# ---- documentation ------------------------------------------------------------------------


def verbs() -> set[str]:
    root = get_command(app)
    assert isinstance(root, click.Group)
    return set(root.commands)


def test_every_verb_has_a_page() -> None:
    assert {page.stem for page in (ROOT / "docs" / "cli").glob("*.md")} == verbs()


@pytest.mark.parametrize("family", ["strategies", "codecs"])
def test_every_plugin_is_in_the_table(family: str) -> None:
    listed = set(re.findall(r"^\| `(\w+)`", read("docs/strategies.md"), re.MULTILINE))
    assert set(plugins.available(family)) <= listed


def commands() -> list[tuple[str, str]]:
    """Return where a fedsim command is shown, and the command."""
    shown = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            shown += [(page.name, line) for line in block.splitlines()]
    for name, file in {**shipped_scenarios(), **paper_specs()}.items():
        lines = file.read_text(encoding="utf-8").splitlines()
        shown += [(name, line[1:]) for line in lines if line.startswith("#   ")]
    pairs = [(place, line.split("#")[0].strip()) for place, line in shown]
    found = [(place, line.removeprefix(".venv/bin/")) for place, line in pairs]
    return [(place, line) for place, line in found if line.startswith("fedsim ")]


def parse(words: list[str]) -> tuple[str, dict[str, Any]]:
    """Parse a command without running it."""
    command: click.Command = get_command(app)
    name = words[0]
    while isinstance(command, click.Group):
        name, *words = words[1:] if words[0] == "fedsim" else words
        command = command.commands[name]
    return name, command.make_context(name, words).params


@pytest.mark.parametrize(("place", "line"), commands())
def test_a_command_that_is_shown_would_run(place: str, line: str) -> None:
    import shlex

    verb, given = parse(shlex.split(line))
    if verb not in ("run", "compare") or given.get("scenario") not in shipped_scenarios():
        return
    names = ("strategy", "rounds", "edges", "seed", "workers")
    changes = _common.changes(**{name: given.get(name) for name in names})
    strategies = (given.get("strategies") or "").split(",")
    for strategy in strategies if verb == "compare" else [None]:
        named = {"strategy.name": strategy} if strategy else {}
        load_scenario(given["scenario"], given["overrides"] or (), {**named, **changes})


def test_there_are_commands_to_test() -> None:
    assert len(commands()) > 30


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", example, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
