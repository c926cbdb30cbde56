"""One self-contained page about some runs, with its figures and tables as files beside it.

The page opens offline, reads on a phone, in light and dark, and asks nothing of any network:
its content security policy allows its own two scripts by hash and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FunctionLoader
from markupsafe import Markup, escape

from analysis import looks, style
from analysis.compare import compare, differences
from analysis.findings import Finding, findings
from analysis.gallery import Picture, pictures
from analysis.load import Runs, Source, load
from analysis.summary import description, facts, headline, titles
from analysis.svg import SERIES, inline, marker_path, save
from analysis.table import Table
from analysis.timeline import timeline
from fedsim.files import write_atomic
from fedsim.nested import flat

WORDS = {
    "Edge": "One simulated device and its user.",
    "OOD edges": "Out of distribution: edges whose history the cloud never saw. It knows them from "
    "their uploads alone. All others, whose history it trained on, are in-distribution edges.",
    "Channel": "One recommender that edges use, with a catalogue of its own.",
    "Round": "One step of time. Every next item of the round is predicted before it is seen, "
    "then joins the edge's history.",
    "Upload, answer": "What an edge sends of its recent items, and what the cloud sends back.",
    "Provision": "What every edge is given once, before round 1.",
    "Ranked": "The items that the next item is ranked among: all of the channel's catalogue, or "
    "without the edge's window or all items it has seen, or so many candidates drawn from these.",
    "NDCG@K, Hit@K, MRR": "Quality of the ranking: whether the next item is among the first K "
    "(Hit), weighted by its place (NDCG), or one over its place (MRR).",
    "Own \u2212 other": "What the sampled edges lose in NDCG when they are served with another "
    "edge's answer: the measure of personalisation.",
    "MACs": "Multiply-accumulates of one inference on the edge.",
    "95 % interval": "Percentile bootstrap over edges, the same resamples for all strategies.",
}
"""What a newcomer needs to read the page."""


def write_report(source: Source, path: str | Path) -> Path:
    """Write ``report.html``, and ``figures/`` and ``tables/`` beside it; return the page.

    `path` is the page or the folder to put it in.

    Raises
    ------
    StoreError
        The folder cannot be written to.
    """
    runs, page = load(source), Path(path)
    page = page if page.suffix == ".html" else page / "report.html"
    shown = list(pictures(runs))
    for picture in shown:
        save(picture.draw, page.parent / "figures" / picture.name)
    tables = [compare(runs), *([differences(runs)] if runs.comparable else [])]
    for table in tables:
        table.write(page.parent / "tables")
    write_atomic(page, render(runs, shown, tables))
    return page


def render(runs: Runs, shown: list[Picture], tables: list[Table]) -> str:
    """Return the page."""
    charts = timeline(runs) if runs.last_round > 1 else None
    if charts:
        charts["looks"] = list(runs.looks.values())
        charts["dashes"] = [_dashes(index) for index in runs.looks.values()]
    scripts = {"js": _asset("templates/report.js")}
    if charts:
        scripts["uplot_js"] = _asset("vendor/uplot/uPlot.iife.min.js")
    page: str = _page().render(
        title=headline(runs),
        description=description(runs),
        facts=facts(runs),
        findings=_findings(runs),
        drifts=any(picture.name == "drift_response" for picture in shown),
        compare=tables[0],
        differences=tables[1] if len(tables) > 1 else None,
        sections=_sections(shown),
        best=_best(tables[0]) if len(runs.parts()) == 1 else {},
        looks=_looks(runs) if len(runs.labels) > 1 else {},
        places=runs.looks,
        charts=charts,
        charts_json=json.dumps(charts, separators=(",", ":")).replace("<", "\\u003c"),
        words=WORDS,
        scenarios=_scenarios(runs),
        environment=list(_environment(runs)),
        marker_path=marker_path,
        css=Markup(_asset("templates/report.css")),
        uplot_css=Markup(_asset("vendor/uplot/uPlot.min.css")),
        hashes=Markup(" ".join(_hash(text) for text in scripts.values())),
        **scripts,
    )
    return page


def _sections(shown: list[Picture]) -> dict[str, list[dict[str, Any]]]:
    sections: dict[str, list[dict[str, Any]]] = {}
    for each in shown:
        if not each.section:
            continue
        figure = {"name": each.name, "caption": each.caption, "body": inline(each.draw, each.name)}
        sections.setdefault(each.section, []).append(figure)
    return sections


def _page() -> Any:
    environment = Environment(
        loader=FunctionLoader(lambda name: _asset(f"templates/{name}")),
        autoescape=True,
        keep_trailing_newline=True,
    )
    environment.filters["interval"] = _interval
    return environment.get_template("report.html.j2")


def _asset(name: str) -> str:
    return files("analysis").joinpath(name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _interval(cell: object) -> Markup:
    """Set the interval of ``value [low, high]`` smaller than the value."""
    value, bracket, rest = str(cell).partition(" [")
    if not bracket:
        return escape(value)
    return Markup("{} <small>[{}</small>").format(value, rest)


def _findings(runs: Runs) -> dict[str, list[Finding]]:
    """Return what came out by kind of streams, and before all what must be known."""
    parts = runs.parts()
    names = titles(parts) if len(parts) > 1 else [""]
    remarks = [Finding("Please note", " ".join(runs.remarks))] if runs.remarks else []
    found = {name: findings(part) for name, part in zip(names, parts, strict=True)}
    return {"": remarks + found.pop("", [])} | found


def _looks(runs: Runs) -> dict[str, tuple[str, str, str]]:
    """Return of every label the colour, marker path and dashes of its swatch."""
    return {
        label: (
            f"var(--s{index % SERIES})",
            marker_path(looks.marker_of(index)),
            " ".join(map(str, _dashes(index))),
        )
        for label, index in runs.looks.items()
    }


def _best(table: Table) -> dict[str, str]:
    """Return of every column with intervals the label of the highest value, if it has any."""
    columns = [name for name in table.text.columns if f"{name}_low" in table.numbers]
    values = {name: table.numbers[name].to_numpy() for name in columns}
    return {
        name: str(table.text.iloc[int(np.nanargmax(column)), 0])
        for name, column in values.items()
        if not np.isnan(column).all()
    }


def _dashes(index: int) -> list[float]:
    dash = looks.dash_of(index)
    return [] if dash == "-" else [2 * length for length in dash[1]]


def _scenarios(runs: Runs) -> dict[str, str]:
    texts = {}
    for info in runs.infos:
        if info.path is not None and info.label not in texts:
            texts[info.label] = (info.path / "scenario.toml").read_text(encoding="utf-8")
    return texts


def _environment(runs: Runs) -> Iterator[tuple[str, str]]:
    for info in runs.infos:
        if info.path is not None:
            folder, done = "/".join(info.path.parts[-2:]), style.rounds_text(info.committed)
            yield f"{info.label}, seed {info.seed}", f"{folder} ({done})"
    for name, value in flat(runs.infos[0].env, " ").items():
        yield name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)
