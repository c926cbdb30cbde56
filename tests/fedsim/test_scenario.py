import errno
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.errors import ConfigError
from fedsim.overrides import set_dotted, split_override
from fedsim.paper_toml import load_paper
from fedsim.scenario import (
    ScenarioConfig,
    build,
    digest,
    find_scenario,
    load_scenario,
    shipped_scenarios,
)

SYNTHETIC = {"data": {"name": "synthetic"}, "strategy": {"name": "static"}}
SHIPPED = {
    "quickstart",
    "ml100k",
    "interest_drift",
    "interest_drift_real",
    "ood_users",
    "channels",
    "amazon_games",
}


def test_the_promised_scenarios_are_shipped() -> None:
    assert set(shipped_scenarios()) >= SHIPPED


@pytest.mark.parametrize("name", sorted(shipped_scenarios()))
def test_a_shipped_scenario_loads_and_says_what_it_shows(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert scenario.description
    text = find_scenario(name).read_text()
    comment = text[: text.index("description")]
    assert all(line.startswith("#") for line in comment.splitlines())
    assert f"fedsim run {name}" in comment or f"fedsim compare {name}" in comment


@pytest.mark.parametrize("name", sorted(shipped_scenarios()))
def test_a_scenario_comes_back_from_its_dump(name: str) -> None:
    scenario = load_scenario(name)
    assert ScenarioConfig.model_validate(scenario.model_dump(mode="json")) == scenario


def test_a_file_is_named_after_itself(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("data = 'synthetic'\nstrategy = 'static'\n")
    assert load_scenario(file).name == "mine"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rouns": 3}, "unknown key 'rouns'; did you mean 'rounds'?"),
        ({"population.edge": 3}, "unknown key 'population.edge'; did you mean 'edges'?"),
        ({"data.item": 3}, "unknown key 'data.item'; did you mean 'items'?"),
        ({"strategy.extra_epoch": 3}, "did you mean 'extra_epochs'?"),
        ({"rounds": "many"}, "'rounds' = 'many': Input should be a valid integer"),
        ({"rounds": 0}, "'rounds' = 0: Input should be greater than or equal to 1"),
        ({"population.ood_fraction": 1.5}, "'population.ood_fraction' = 1.5: Input should be less"),
        ({"stream.history": "all"}, "'stream.history' = 'all': Input should be a valid number"),
        ({"evaluation.ks": []}, "'evaluation.ks' = []: give at least one cut-off, and each once"),
        ({"evaluation.ks": [5, 5]}, "'evaluation.ks' = [5, 5]: give at least one cut-off"),
        ({"evaluation.candidates": 10_000_000}, "'evaluation.candidates' = 10000000: Input"),
        (
            {"budget.bytes_per_round": 100, "budget.burst_bytes": 60},
            "burst_bytes = 60 is less than bytes_per_round = 100",
        ),
        ({"train.lr": math.inf}, "'train.lr' = inf: Input should be a finite number"),
        (
            {"drift.name": "sudden", "drift.at": math.nan},
            "'drift.at' = nan: Input should be a finite number",
        ),
        (
            {"population.devices": {"4g": math.inf}},
            "'population.devices.4g' = inf: Input should be",
        ),
        ({"channels": []}, "'channels' = []: give at least one channel"),
        ({"evaluation.exclude": "last"}, "'none', 'window' or 'seen'"),
        ({"population.devices": {"6g": 1}}, "unknown device class '6g'; did you mean '5g'?"),
        ({"channels": [{"name": "a"}, {"name": "a"}]}, "channels need distinct names"),
        ({"channels": [{"nam": "a"}]}, "unknown key 'channels.0.nam'; did you mean 'name'?"),
        ({"name": "a b"}, "'name' = 'a b'"),
    ],
)
def test_a_mistake_is_one_line_with_key_value_and_rule(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        build(SYNTHETIC, changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "typo", "family", "meant"),
    [
        ("strategy.name", "dieet", "strategies", "diet"),
        ("strategy.codec.name", "bitmsk", "codecs", "bitmask"),
        ("drift.name", "suden", "drifts", "sudden"),
        ("data.name", "synthetics", "datasets", "synthetic"),
        ("model.name", "sasrek", "backbones", "sasrec"),
        ("request.name", "allways", "policies", "always"),
    ],
)
def test_an_unknown_plugin_is_named_with_its_nearest(
    key: str, typo: str, family: str, meant: str
) -> None:
    changes: dict[str, object] = {key: typo}
    if key.startswith("strategy.codec"):
        changes = {"strategy.name": "diet", key: typo}
    message = f"unknown name '{typo}' in family '{family}'; did you mean '{meant}'?"
    with pytest.raises(ConfigError, match=re.escape(message)) as told:
        build(SYNTHETIC, changes)
    assert f"'{key.removesuffix('.name')}" in str(told.value)


def test_a_plugin_without_a_name_lists_the_family() -> None:
    with pytest.raises(ConfigError, match=r"names no member of 'datasets'.*synthetic"):
        build({"data": {"items": 60}})


@pytest.mark.parametrize("changes", [{"model.dim": 24}, {"model": {"dim": 24}}])
def test_options_of_a_default_plugin_need_no_name(changes: dict[str, object]) -> None:
    model = build(SYNTHETIC, changes).model
    assert (model.name, model.model_dump()["dim"]) == ("sasrec", 24)
    assert build({**SYNTHETIC, "model": {"dim": 24}}).model == model


def test_a_typo_in_options_of_a_default_plugin_is_told() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'model\.dimm'; did you mean 'dim'"):
        build(SYNTHETIC, {"model.dimm": 24})


@pytest.mark.parametrize("section", ["strategy", "strategy.name"])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_plugin_is_chosen_before_its_options_in_any_order(section: str, reverse: bool) -> None:
    pairs: list[tuple[str, object]] = [(section, "diet"), ("strategy.keep", 0.2)]
    pairs += [("strategy.codec.name", "bitmask")]
    strategy = build(SYNTHETIC, dict(reversed(pairs) if reverse else pairs)).strategy.model_dump()
    assert (strategy["name"], strategy["keep"]) == ("diet", 0.2)
    assert strategy["codec"]["name"] == "bitmask"


def test_several_mistakes_are_all_told() -> None:
    with pytest.raises(ConfigError, match=r"population\.edges.*rouns"):
        build(SYNTHETIC, {"rouns": 3, "population.edges": -1})


@pytest.mark.parametrize("text", ["strategy.keep", "", "=3", "keep 0.2"])
def test_a_malformed_override_says_its_form(text: str) -> None:
    with pytest.raises(ConfigError, match=f"override '{re.escape(text)}' is not of the form"):
        load_scenario("quickstart", [text])


def test_a_missing_file_names_the_nearest_shipped_scenario(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no scenario file 'quickstat'; did you mean"):
        load_scenario("quickstat")


def test_a_file_that_may_not_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    file = tmp_path / "mine.toml"
    file.write_text("rounds = 3\n")
    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(ConfigError, match=r"mine\.toml: cannot be read: Permission denied; mend"):
        load_scenario(file)


def test_a_file_that_is_no_toml_says_where(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("rounds = \n")
    with pytest.raises(ConfigError, match=r"bad\.toml: not valid TOML.*line 1"):
        load_scenario(file)
    file.write_bytes(b"\xff\xfe\x00")
    for load in (load_scenario, load_paper):
        with pytest.raises(ConfigError, match=r"bad\.toml: not valid TOML"):
            load(str(file))


def test_changes_win_over_overrides_and_both_over_the_file() -> None:
    scenario = load_scenario("quickstart", ["rounds=3", "seed=5"], {"seed": 6})
    assert (scenario.rounds, scenario.seed) == (3, 6)


def test_another_plugin_leaves_the_old_ones_options_behind() -> None:
    table = {"drift": {"name": "sudden", "at": 0.5}}
    set_dotted(table, "drift.name", "none")
    assert table == {"drift": {"name": "none"}}
    set_dotted(table, "drift.name", "none")
    assert table == {"drift": {"name": "none"}}


def test_a_bare_name_grows_into_a_table() -> None:
    table: dict[str, object] = {"strategy": "diet"}
    set_dotted(table, "strategy.keep", 0.2)
    assert table == {"strategy": {"name": "diet", "keep": 0.2}}


@given(st.recursive(st.integers() | st.booleans() | st.text("ab c"), st.lists, max_leaves=5))
def test_an_override_reads_its_value_as_toml(value: object) -> None:
    import json

    assert split_override(f"a.b={json.dumps(value)}") == ("a.b", value)


def test_a_scenario_is_the_same_however_it_is_computed() -> None:
    plain = build(SYNTHETIC)
    assert build(SYNTHETIC, {"engine.grid": "ray"}).identity() == plain.identity()
    assert build(SYNTHETIC, {"description": "words"}).identity() == plain.identity()
    assert build(SYNTHETIC, {"seed": 1}).identity() != plain.identity()


def test_runs_from_before_there_was_hold_out_keep_their_names() -> None:
    """The dump, which names a run and its cache entries, has the key only where it is set."""
    plain = build(SYNTHETIC)
    assert "hold_out" not in plain.model_dump(mode="json")["stream"]
    assert build(SYNTHETIC, {"stream.hold_out": 0}).identity() == plain.identity()
    held = build(SYNTHETIC, {"stream.hold_out": 2})
    assert held.identity() != plain.identity()
    assert ScenarioConfig.model_validate(held.model_dump(mode="json")) == held
    with pytest.raises(ConfigError, match=r"'stream\.hold_out' = -1"):
        build(SYNTHETIC, {"stream.hold_out": -1})


def test_a_digest_depends_on_no_order() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_a_scenario_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        build(SYNTHETIC).rounds = 3  # type: ignore[misc]


def test_a_number_names_an_entry_of_a_list() -> None:
    table = {**SYNTHETIC, "channels": [{"name": "home", "genres": ["Drama"]}, {"name": "video"}]}
    channels = build(table, {"channels.1.name": "shop", "channels.0.genres": ["War"]}).channels
    assert [(c.name, c.genres) for c in channels] == [("home", ("War",)), ("shop", ())]
    for wrong in ("channels.2.name", "channels.home", "channels.name"):
        with pytest.raises(ConfigError, match=rf"'{wrong}': '.*' names no entry of a list of 2"):
            build(table, {wrong: "x"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"population.devices": {}}, r"'population' = .*name at least one device class.*2g"),
        ({"population.edges": 10**12}, r"'population\.edges' = .*less than or equal to 1000000000"),
        ({"population.ood_fraction": 1.0}, r"'population\.ood_fraction' = 1\.0: .*less than 1"),
        ({"evaluation.ks": 10}, r"'evaluation\.ks' = 10: give a list, as in \[10\]"),
        ({"name": "a b"}, r"'name' = 'a b': use letters, digits"),
    ],
)
def test_mistakes_say_how_to_mend_them(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(SYNTHETIC, changes)


def test_a_missing_section_and_a_wrong_suffix_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'data' is missing; add it"):
        build({"rounds": 3})
    (tmp_path / "b.txt").write_text("rounds = 3")
    with pytest.raises(ConfigError, match=r"its name must end in \.toml"):
        load_scenario(tmp_path / "b.txt")
