"""`ebbdoor numerics`: does this machine give the same bits as others under `numerics: portable`?"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flows.commands.output import Format, FormatOption, print_json, print_table, say
from flows.displays.steps import steps

Names = Annotated[
    list[str] | None, typer.Argument(metavar="TIMELINE...", help="Standard timelines to play.", show_default="all")
]


def numerics(names: Names = None, format_: FormatOption = Format.table) -> None:
    """Play the standard timelines under numerics: portable and compare their records with those of other machines.

    Nothing is written. Exit code 2 when some record has other bits.
    """
    from simulator.checks.portable.compared import check_numerics, chosen

    asked = chosen(names or ())
    with steps("playing standard timelines") as shown:
        found = check_numerics(asked, shown.say, shown.done)
    if format_ is Format.json:
        print_json(found)
    else:
        _print(found)
    if not found["same"]:
        raise typer.Exit(2)


def _print(found: dict[str, Any]) -> None:
    rows = found["timelines"]
    texts = [{**row, "same": "yes" if row["same"] else "NO", "difference": row["difference"] or ""} for row in rows]
    print_table(list(rows[0]), texts)
    for used in found["instruction_sets"]:
        say("played with " + "; ".join(f"{name} {how}" for name, how in used.items()))
    for name, where in found["other_versions"].items():
        say(f"{name} is {where['here']} here and was {where['noted']} there: other releases may give other bits")
    same = "the same bits as the noted records" if found["same"] else "other bits than the noted records"
    typer.echo(f"this machine gives {same}")
