"""`ebbdoor audit`: ask defenses about models that are registered already."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows import settings
from flows.commands import completion
from flows.commands.output import Format, FormatOption, print_json, print_table, say
from flows.displays.steps import Steps, steps
from simulator.errors import FLAGGED

if TYPE_CHECKING:
    from flows.audits.order import AuditOrder
    from flows.audits.perform import Audited

Models = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL_URI...", help="models:/NAME/VERSION, models:/NAME@ALIAS, models:/NAME (all of it), models:/m-ID."
    ),
]
Defenses = Annotated[
    list[str],
    typer.Option(
        "--defense",
        metavar="NAME",
        help="An inspector, repair or screen, or '{use: NAME, option: value}'.",
        autocompletion=completion.defenses,
    ),
]
Trusted = Annotated[
    str | None, typer.Option("--trusted", metavar="FILE", help="An .npz of images and labels that you trust.")
]
Images = Annotated[str | None, typer.Option("--images", metavar="FILE", help="An .npz of images for screens.")]
ArchitectureFile = Annotated[
    Path | None,
    typer.Option("--architecture", metavar="FILE", help="Of models without architecture.json: what it would hold."),
]
Seconds = Annotated[float, typer.Option("--seconds", min=1, max=200_000, help="Time limit of one defense's call.")]
Save = Annotated[
    Path | None, typer.Option("--save", metavar="DIR", help="Write repaired weights there, as .safetensors files.")
]
AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Read models that are stored as pickles, which runs code in them.")
]
NoWrite = Annotated[bool, typer.Option("--no-write", help="Leave the models in MLflow as they are.")]
FailOnFlag = Annotated[
    bool,
    typer.Option(
        "--fail-on-flag", help=f"Exit with {FLAGGED} where a model is flagged, or a defense failed or timed out."
    ),
]


def audit(
    models: Models,
    defenses: Defenses,
    trusted: Trusted = None,
    images: Images = None,
    architecture: ArchitectureFile = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the defenses' randomness.")] = 0,
    seconds: Seconds = 120.0,
    save: Save = None,
    allow_pickle: AllowPickle = False,
    no_write: NoWrite = False,
    fail_on_flag: FailOnFlag = False,
    format_: FormatOption = Format.table,
) -> None:
    """Ask inspectors, repairs and screens about registered models, yours or ebbdoor's; findings become tags on them.

    Nothing of a model is executed or unpickled here: its weights are read, and its network runs confined.
    """
    from flows.audits.order import AuditOrder, read_architecture

    given = None if architecture is None else read_architecture(architecture)
    order = AuditOrder(
        models, defenses, trusted, images, given, seed, seconds, save, pickles=allow_pickle, mark=not no_write
    )
    with steps("asking defenses") as shown:
        done = _performed(order, shown, told=format_ is Format.table)
    if format_ is Format.json:
        from flows.audits.rows import as_values

        print_json([as_values(one) for one in done])
    else:
        from flows.audits.rows import COLUMNS, as_text, summary

        print_table(COLUMNS, [as_text(one) for one in done])
        say(summary(done))
    if fail_on_flag and any(one.finding.flagged or one.finding.unheard for one in done):
        raise typer.Exit(FLAGGED)


def _performed(order: AuditOrder, shown: Steps, *, told: bool) -> list[Audited]:
    """Carry out the order; where a Prefect server is known, a flag becomes an event there."""

    def listen(one: Audited) -> None:
        shown.step()
        if told:
            shown.say(f"{one.stored.uri}: {one.finding.outcome.name}")

    workspace = settings.use_workspace()
    from flows.audits.perform import Store, perform

    store = Store(os.environ.get("MLFLOW_TRACKING_URI") or None, workspace)
    if not os.environ.get("PREFECT_API_URL"):
        return perform(order, store, listen, count=shown.expect)
    settings.mute_console()
    from flows.reporting.flags import tell_flag

    def tell(audited: Audited) -> None:
        listen(audited)
        tell_flag(audited)

    return perform(order, store, tell, count=shown.expect)
