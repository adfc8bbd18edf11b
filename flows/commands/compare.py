"""`ebbdoor compare`: settings of runs and studies side by side, two of them paired by seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows import settings
from flows.commands import completion
from flows.commands.output import Format, FormatOption, print_json, print_table, say
from simulator.errors import ScenarioError

if TYPE_CHECKING:
    from simulator.study.compare import Compared

#: keys that the text names; `--format json` has all
_KEYS = 12

Folders = Annotated[
    list[str],
    typer.Argument(metavar="DIR...", help="Folders, or names, of runs and studies.", autocompletion=completion.runs),
]
One = Annotated[str | None, typer.Option("--one", metavar="SETTING", help="Compare this setting, seed by seed ...")]
Other = Annotated[str | None, typer.Option("--other", metavar="SETTING", help="... with this one.")]
Measure = Annotated[
    str, typer.Option("--measure", metavar="M", help="survival, or a column of the timelines table, e.g. exposure.")
]
Picture = Annotated[
    Path | None, typer.Option("--picture", metavar="FILE", help="Draw the net ASR of all into an .svg file too.")
]


def compare(
    folders: Folders,
    one: One = None,
    other: Other = None,
    measure: Measure = "survival",
    picture: Picture = None,
    format_: FormatOption = Format.table,
) -> None:
    """Compare runs and studies: a row a setting, with the spread over its seeds, and what their scenarios differ in."""
    from flows.runs.unchanged import expect_as_committed
    from simulator.study.changed_column import COLUMN, changed_notes, changed_texts
    from simulator.study.compare import (
        as_values,
        differing_keys,
        paired,
        read_compared,
        require_comparable,
        sentence,
        unknown_notes,
    )
    from simulator.study.results import settings_of, settings_texts

    _check(one, other, picture)
    places = [_folder(name, settings.default_workspace()) for name in folders]
    found = read_compared(places)
    for place in places:
        expect_as_committed(place, settings.default_workspace())
    chosen = found if one is None or other is None else _two(found, one, other)
    require_comparable(chosen)
    finding = None if one is None else paired(chosen[0], chosen[1], measure)
    timelines = [row for setting in chosen for row in setting.rows]
    rows, keys, changed = settings_of(timelines), differing_keys(chosen), changed_texts(timelines)
    if picture is not None:
        _draw(chosen, picture)
    if format_ is Format.json:
        comparison = None if finding is None else as_values(chosen[0], chosen[1], finding)
        told = {"unknown": unknown_notes(chosen), COLUMN: changed}
        print_json({"settings": rows, "differences": keys, "comparison": comparison, **told})
        return
    texts = settings_texts(rows)
    print_table(list(texts[0]), texts)
    for note in unknown_notes(chosen) + changed_notes(changed):
        typer.echo(note)
    _print_keys(chosen, keys)
    if finding is not None:
        typer.echo(f"\n{sentence(finding)}")


def _check(one: str | None, other: str | None, picture: Path | None) -> None:
    if (one is None) != (other is None):
        raise ScenarioError("expected --one and --other together, got one of them; name two settings")
    if picture is not None and (picture.suffix != ".svg" or not picture.absolute().parent.is_dir()):
        raise ScenarioError(f"expected --picture to name an .svg file in a folder that exists, got '{picture}'")


def _folder(name: str, workspace: Path) -> Path:
    """Return the folder of a run or a study, by its path or its name in the workspace."""
    for folder in (Path(name), workspace / name, workspace / "studies" / name):
        if folder.is_dir():
            return folder.absolute()
    raise ScenarioError(f"expected the folder or name of a run or a study, got '{name}'; they lie in {workspace}")


def _two(found: Sequence[Compared], one: str, other: str) -> list[Compared]:
    from simulator.study.compare import find_setting

    if one == other:
        raise ScenarioError(f"expected two settings, got '{one}' twice; name another with --other")
    return [find_setting(found, one), find_setting(found, other)]


def _draw(chosen: Sequence[Compared], picture: Path) -> None:
    from simulator.observer.report.style import as_svg
    from simulator.study.report.overlay import overlay
    from simulator.system.files import write_whole

    write_whole(picture, as_svg(overlay({one.label: one.nets for one in chosen})))
    say(f"wrote {picture}")


def _print_keys(chosen: Sequence[Compared], keys: dict[str, list[Any]]) -> None:
    """Print in which keys the scenarios differ; of two settings also the values."""
    if len(chosen) < 2:
        return
    typer.echo("\nthe scenarios differ in" if keys else "\nthe scenarios do not differ")
    for key, values in list(keys.items())[:_KEYS]:
        typer.echo(f"  {key}" + (f": {' | '.join(map(_text, values))}" if len(chosen) == 2 else ""))
    if len(keys) > _KEYS:
        typer.echo(f"  and {len(keys) - _KEYS} more; --format json has them all")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
