from importlib.metadata import PackageNotFoundError, version

import pytest

from fedsim import doctor


def by_name() -> dict[str, doctor.Finding]:
    return {finding.what: finding for finding in doctor.examine()}


def pretend(monkeypatch: pytest.MonkeyPatch, name: str, found: str | None) -> None:
    def pretended(asked: str) -> str:
        if asked != name:
            return version(asked)
        if found is None:
            raise PackageNotFoundError(name)
        return found

    monkeypatch.setattr(doctor, "version", pretended)


def test_the_packages_here_are_those_tested_with() -> None:
    findings = by_name()
    assert findings["packages"].state == "ok"
    assert "torch" not in findings


def test_a_missing_package_is_bad_and_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, "duckdb", None)
    finding = by_name()["duckdb"]
    assert (finding.state, finding.found) == ("bad", "not installed")
    assert finding.advice.startswith("pip install -c constraints.txt 'duckdb")


def test_a_package_out_of_range_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "torch", "2.12.0")
    findings = by_name()
    assert findings["torch"].state == "bad"
    assert findings["torch"].found.startswith("2.12.0, not ")
    assert "packages" not in findings


def test_another_version_than_the_tested_one_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "scipy", "1.99.0")
    finding = by_name()["scipy"]
    assert finding.state == "note"
    assert f"tested with {doctor.constraints()['scipy']}" in finding.advice


def test_no_browser_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert by_name()["browser"].state == "note"
