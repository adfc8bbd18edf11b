"""`ebbdoor power`: how often a study would decide each of its claims, simulated before it is played."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.output import Format, FormatOption, print_json, print_table, say
from flows.commands.run import Overrides
from flows.commands.study import StudyName
from simulator.errors import ScenarioError

Values = Annotated[
    Path | None,
    typer.Option("--values", metavar="FILE.yaml", help=r"Lines of claim: {values: \[differences], from: TEXT}."),
]
Pilot = Annotated[
    Path | None,
    typer.Option("--pilot", metavar="DIR", help="The folder of a study with these settings, at other seeds."),
]


def power(
    name: StudyName,
    overrides: Overrides = [],  # noqa: B006 - typer copies it
    values: Values = None,
    pilot: Pilot = None,
    format_: FormatOption = Format.table,
) -> None:
    """Simulate the power of a study's claims from values seen at other seeds, as old curves or a pilot. Seeded."""
    from simulator.study.load import load_study
    from simulator.study.power import powers, read_values, values_of
    from simulator.study.run import read_played, read_study

    study, known, sources = load_study(name, overrides), {}, {}
    if pilot is not None:
        known = values_of(study, read_played(read_study(pilot), pilot))
        sources = dict.fromkeys(known, f"played in {pilot.name}")
    if values is not None:
        more, told = read_values(values)
        known, sources = known | more, sources | told
    if not known:
        raise ScenarioError("expected values to simulate from, got none; give --values FILE.yaml or --pilot DIR")
    found = powers(study, known, sources)
    if format_ is Format.json:
        print_json({"study": study.name, "alpha": study.alpha, "power": [asdict(one) for one in found]})
        return
    rows = [
        {
            "claim": one.id,
            "family": one.family,
            "pairs": str(one.pairs),
            "decided": _percent(one.decided),
            "holds": _percent(one.holds),
            "fails": _percent(one.fails),
            "from": f"{one.values} values: {one.source}" if one.values else "no values",
        }
        for one in found
    ]
    print_table(list(rows[0]), rows)
    say("Each of 1,000 repeats draws the tests of all claims, corrected by Holm's method in each family.")


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"
