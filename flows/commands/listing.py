"""`ebbdoor list`: presets, studies, runs and plug-ins, and of a kind of plug-in what each is for and what it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import takewhile
from typing import Annotated, Any

import typer

from flows import settings
from flows.commands import completion
from flows.commands.output import Format, FormatOption, print_json, print_table, say
from flows.commands.plugins import described, print_plugins

Kind = Annotated[
    str | None,
    typer.Argument(
        metavar="KIND",
        help="presets, studies, runs, or a kind of plug-in.",
        show_default="all but runs",
        autocompletion=completion.kinds,
    ),
]


def list_(kind: Kind = None, format_: FormatOption = Format.table) -> None:
    """List presets, studies and plug-ins; of one kind of plug-in what each is for and its parameters.

    A parameter is told with its default, its unit and the values that it may have. `runs`: those of `status`.
    """
    rows = _all() if kind is None else _of(kind)
    if format_ is Format.json:
        print_json(rows)
    elif not rows:
        say(f"no {kind} yet")
    elif "parameters" in rows[0]:
        print_plugins(rows)
    else:
        print_table(list(rows[0]), rows)


def _all() -> list[dict[str, Any]]:
    from simulator.scenario.catalog import KINDS, names
    from simulator.scenario.load import presets
    from simulator.study.load import studies

    rows = [{"kind": "presets", "name": name, "where": "simulator.scenario"} for name in presets()]
    rows += [{"kind": "studies", "name": name, "where": "simulator.scenario"} for name in studies()]
    return rows + [
        {"kind": kind, "name": name, "where": where} for kind in KINDS for name, where in names(kind).items()
    ]


def _of(kind: str) -> Sequence[Mapping[str, Any]]:
    own = {"presets": _presets, "studies": _studies, "runs": _runs}
    if kind in own:
        return own[kind]()
    from simulator.scenario.catalog import names

    return [{"name": name, "where": where, **described(kind, name)} for name, where in names(kind).items()]


def _presets() -> list[dict[str, Any]]:
    from simulator.scenario.load import load_scenario, presets

    rows = []
    for name in presets():
        scenario, text = load_scenario(name), (files("simulator.scenario") / "presets" / f"{name}.yaml").read_text()
        keys = {"source": scenario.source.use, "periods": scenario.periods, "arms": ", ".join(scenario.arms)}
        rows.append({"name": name, **keys, "what": _first_comment(text)})
    return rows


def _first_comment(text: str) -> str:
    """Return the paragraph of comments that a file begins with, on one line."""
    lines = takewhile(lambda line: line.startswith("# "), text.splitlines())
    return " ".join(line.removeprefix("# ") for line in lines)


def _studies() -> list[dict[str, Any]]:
    from simulator.study.expand import timelines_of
    from simulator.study.load import load_study, studies

    rows = []
    for study in map(load_study, studies()):
        timelines = timelines_of(study)
        settings_ = len({timeline.setting for timeline in timelines})
        counts = {"settings": settings_, "timelines": len(timelines), "claims": len(study.claims)}
        rows.append({"name": study.name, **counts, "what": study.about})
    return rows


def _runs() -> list[dict[str, Any]]:
    from flows.operate.known import listed

    return list(listed(settings.use_workspace()))
