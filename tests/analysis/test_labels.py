from __future__ import annotations

import pytest

from analysis.labels import by_difference


@pytest.mark.parametrize(
    ("settings", "labels"),
    [
        ([{"strategy.keep": 0.2}, {"strategy.keep": 0.1}], ["diet, keep 0.2", "diet, keep 0.1"]),
        ([{}, {"strategy.keep": 0.1}], ["diet", "diet, keep 0.1"]),
        (
            [{"strategy.codec.name": "delta", "strategy.codec.base.name": "raw",
              "strategy.codec.base.model": "a"},
             {"strategy.codec.name": "entropy", "strategy.codec.base.name": None}],
            ["diet, codec delta", "diet, codec entropy"],
        ),
        (
            [{"request.name": "always", "a.x": 1, "strategy.keep": 1.0},
             {"request.name": "on_drift", "a.x": 2, "strategy.keep": 0.5, "request.at": 0.3}],
            ["diet, request always, keep 1, x 1", "diet, request on_drift, keep 0.5, x 2"],
        ),
        (
            [{"train.lr": 0.1, "strategy.lr": 0.1}, {"train.lr": 0.2, "strategy.lr": 0.3}],
            ["diet, strategy.lr 0.1, train.lr 0.1", "diet, strategy.lr 0.3, train.lr 0.2"],
        ),
        ([{"strategy.shared": True}, {"strategy.shared": False}],
         ["diet, shared on", "diet, shared off"]),
        ([{"keep": 0.1}, {"keep": 0.1 + 1e-12}], ["diet, keep 0.1", "diet, keep 0.1, variant 2"]),
        ([{"keep": 0.1}, {"keep": 0.1}], ["diet", "diet"]),
    ],
)  # fmt: skip
def test_labels_name_what_differs_and_no_more(
    settings: list[dict[str, object]], labels: list[str]
) -> None:
    assert by_difference(["diet", "diet"], settings) == labels


def test_a_label_that_needs_more_settings_gets_them() -> None:
    names = ["a", "b", "c", "d"]
    one = dict.fromkeys(names, 1)
    found = by_difference(["m"] * 3, [one, one | dict.fromkeys(names[:3], 2), one | {"d": 2}])
    assert found == ["m, a 1, b 1, c 1, d 1", "m, a 2, b 2, c 2, d 1", "m, a 1, b 1, c 1, d 2"]
