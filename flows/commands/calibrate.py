"""`ebbdoor calibrate`: set the threshold of a defense on clean updates of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands import completion
from flows.commands.output import Format, FormatOption, print_json, say
from flows.commands.run import Overrides, ScenarioName
from flows.displays.steps import steps
from simulator.errors import ScenarioError

Defense = Annotated[
    str, typer.Argument(metavar="DEFENSE", help="As a scenario names it.", autocompletion=completion.defenses)
]
Rate = Annotated[float, typer.Option("--rate", help="The share of clean updates, rows or images that may be flagged.")]
Seeds = Annotated[
    int | None,
    typer.Option(
        "--seeds", min=1, metavar="N", help="Clean lineages to play.", show_default="as many as the rate needs"
    ),
]
Arm = Annotated[str | None, typer.Option("--arm", help="The arm, where the scenario has several.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the YAML into a file too.")]
Processes = Annotated[
    int | None, typer.Option("--processes", min=0, help="Worker processes; 0: none.", show_default="one")
]


def calibrate(
    defense: Defense,
    scenario: ScenarioName,
    rate: Rate = 0.05,
    seeds: Seeds = None,
    overrides: Overrides = [],  # noqa: B006 - typer copies it
    arm: Arm = None,
    out: Out = None,
    processes: Processes = None,
    format_: FormatOption = Format.table,
) -> None:
    """Set a defense's threshold on clean lineages of a scenario, at a stated false-alarm rate; print its options.

    The scenario is played without its attack, at seeds of its own; the defense is asked, and changes nothing.
    """
    from simulator.calibration.calibrate import Request
    from simulator.calibration.calibrate import calibrate as calibrated
    from simulator.calibration.told import option_of_run, snippet, values
    from simulator.scenario.load import load_scenario
    from simulator.system.files import write_whole

    if out is not None and out.is_dir():  # before the lineages are played, not after
        raise ScenarioError(f"expected --out to be a file, got the folder '{out}'; name a file in it")
    request = Request(defense, load_scenario(scenario, overrides), rate, arm, seeds)
    with steps(f"calibrating {defense}") as shown:
        found = calibrated(request, shown.say, processes=processes, done=shown.done)
    if out is not None:
        write_whole(out, snippet(found))
    if format_ is Format.json:
        print_json(values(found))
        return
    typer.echo(snippet(found), nl=False)
    say(f"\nas an option of `ebbdoor run`:\n  {option_of_run(found)}")
