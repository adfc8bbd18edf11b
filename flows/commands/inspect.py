"""Commands that read and change nothing: `show`, `check`, `report`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows import settings
from flows.commands.output import Format, FormatOption, links_of, print_json, print_run, print_table, say, say_notes
from flows.commands.run import RunPlace, ScenarioName
from flows.displays.steps import steps

if TYPE_CHECKING:
    from simulator.scenario.model import Scenario

Picture = Annotated[
    Path | None, typer.Option("--picture", metavar="FILE", help="Draw the time line into an .svg file too.")
]
Trigger = Annotated[
    Path | None,
    typer.Option("--trigger", metavar="FILE", help="Draw the triggers of its attacks into a .png or .svg file too."),
]
Overrides = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")]


def show(
    scenario: ScenarioName,
    overrides: Overrides = [],  # noqa: B006 - typer copies it
    trigger: Trigger = None,
    format_: FormatOption = Format.table,
) -> None:
    """Print a scenario with every default filled in; what is printed can be run again."""
    import yaml

    from simulator.production.defending.examine import defaults_in
    from simulator.scenario.load import load_scenario
    from simulator.scenario.plugins import resolved

    read = load_scenario(scenario, overrides)
    if trigger is not None:
        _draw_triggers(read, trigger)
    values = resolved(read, defaults_in(read))
    if format_ is Format.json:
        print_json(values)
    else:
        typer.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), nl=False)


def report(
    folder: RunPlace,
    picture: Picture = None,
    format_: FormatOption = Format.table,
) -> None:
    """Write a run's report and files again from the ledger, print its tables and verdict; the run stays as it is."""
    from flows.runs.folder import find_run_folder
    from flows.runs.play import export_again
    from simulator.observer.export import read_run

    found = find_run_folder(folder, settings.use_workspace())
    export_again(found)
    if picture is not None:
        _draw(found.folder, picture)
    if format_ is Format.table:
        print_run(found)
        return
    run = read_run(found.folder)
    say_notes(run)
    links = links_of(found, dict(run.about.get("links", {})))
    print_json({"run": found.run, "summary": run.summary, "periods": list(run.rows), "links": links})


def check(
    use: Annotated[str, typer.Argument(metavar="MODULE:NAME", help="The plug-in, as a scenario names it.")],
    kind: Annotated[str | None, typer.Option("--kind", help="Its kind, where its base class does not say.")] = None,
    format_: FormatOption = Format.table,
) -> None:
    """Run the conformance checks of its kind on a plug-in of yours; a defense is tried on one small example too."""
    from simulator.checks.apart import examine_apart

    with steps(f"trying {use}"):
        found, example = examine_apart(use, kind)
    rows = [{"check": one.name, "passed": one.passed, "tried": one.tried, "message": one.message} for one in found]
    if format_ is Format.json:
        print_json(rows)
    else:
        print_table(["check", "passed", "message"], [row | {"passed": _passed(row)} for row in rows])
    for line in example:
        say(line) if format_ is Format.json else typer.echo(line)
    if not all(row["passed"] for row in rows):
        raise typer.Exit(2)


def _passed(row: Mapping[str, Any]) -> str:
    """Say whether a check passed; of one that tried nothing its message says why, in its first words."""
    if row["tried"]:
        return "yes" if row["passed"] else "NO"
    return str(row["message"]).partition(":")[0]


def _draw(folder: Path, picture: Path) -> None:
    from simulator.observer.export import read_run
    from simulator.observer.report.plots import time_line
    from simulator.observer.report.style import as_svg

    picture.write_text(as_svg(time_line(read_run(folder))), encoding="utf-8")


def _draw_triggers(scenario: Scenario, picture: Path) -> None:
    from simulator.errors import ScenarioError
    from simulator.observer.report.triggers import FORMATS, trigger_picture, triggers_of, write_picture

    if picture.suffix not in FORMATS:
        raise ScenarioError(f"expected --trigger to name a {' or '.join(FORMATS)} file, got '{picture}'; rename it")
    if not picture.absolute().parent.is_dir():
        raise ScenarioError(f"expected --trigger to lie in a folder, got none for '{picture}'; make the folder first")
    triggers = triggers_of(scenario)
    write_picture(trigger_picture(triggers), picture)
    for trigger in triggers:
        for name, value in trigger.measured.items():
            say(f"{trigger.title.replace(chr(10), ': ')}: {name} {value:.3f}")
    say(f"wrote {picture}")
