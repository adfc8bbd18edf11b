"""`ebbdoor study`: play a study, print its settings and verdicts, write it as a document."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows import settings
from flows.commands import completion
from flows.commands.output import Format, FormatOption, print_json, print_table, say
from flows.commands.run import INTERRUPTED, AcceptChangedCode, NoPrefect, Overrides
from flows.displays.base import all_of
from flows.displays.study import Counted, StudyMode, study_display
from flows.overrides import as_mapping
from flows.runs.folder import shown
from flows.studies.executors import EXECUTORS
from simulator.errors import ScenarioError

if TYPE_CHECKING:
    from flows.studies.execute import StudyOrder
    from simulator.study.changed_column import Changed
    from simulator.study.model import Study
    from simulator.study.timelines import PlayedTimeline

StudyName = Annotated[
    str,
    typer.Argument(metavar="STUDY", help="A study's name, or a .yaml file.", autocompletion=completion.studies),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="The study's folder.", show_default="studies/NAME in the workspace"),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        metavar="N",
        help="Timelines at a time; of cohort, processes.",
        show_default="the study's, else by cores",
    ),
]
Executor = Annotated[str, typer.Option("--executor", help=f"Who plays the timelines: {', '.join(EXECUTORS)}.")]
Quick = Annotated[bool, typer.Option("--quick", help="Only the subset that the study names.")]
Document = Annotated[
    Path | None, typer.Option("--document", metavar="FILE.md", help="Write verdicts, tables and plots as Markdown too.")
]
DisplayMode = Annotated[
    StudyMode | None,
    typer.Option("--display", help="How progress is shown.", show_default="live on a terminal, plain elsewhere"),
]


def study(
    name: StudyName,
    overrides: Overrides = [],  # noqa: B006 - typer copies it
    out: Out = None,
    workers: Workers = None,
    executor: Executor = "processes",
    quick: Quick = False,
    no_prefect: NoPrefect = False,
    document: Document = None,
    format_: FormatOption = Format.table,
    display: DisplayMode = None,
    accept_changed_code: AcceptChangedCode = False,
) -> None:
    """Play a study: a grid of scenarios x seeds. Given again, it goes on from the timelines that are complete."""
    from flows.studies.execute import StudyOrder
    from simulator.study.load import load_study
    from simulator.study.run import UnfinishedStudy, read_played

    _expect_markdown(document)
    values = load_study(name, overrides)
    given = as_mapping(overrides)
    folder = settings.study_folder(values.name, out, settings.use_workspace())
    try:
        order = StudyOrder(values, name, folder, given, executor, workers, quick, accept_changed_code, no_prefect)
        _play(order, display)
    except UnfinishedStudy as unfinished:
        _report(values, unfinished.played, folder, format_, None)
        unfinished.add_note(f"What is complete is kept in {shown(folder)}, its tables too; the same command goes on.")
        raise
    _report(values, read_played(values, folder, quick), folder, format_, document)


def _expect_markdown(document: Path | None) -> None:
    """Refuse a document that cannot be written before hours of work, not after."""
    if document is not None and document.suffix != ".md":
        raise ScenarioError(f"expected --document to name an .md file, got '{document}'; rename it")
    if document is not None and not document.absolute().parent.is_dir():
        raise ScenarioError(f"expected --document to lie in a folder, got none for '{document}'; make the folder first")


def _play(order: StudyOrder, mode: StudyMode | None) -> None:
    from flows.studies.execute import execute_study

    counted = Counted()
    try:
        with study_display(mode, f"{order.study.name} · {shown(order.folder)}") as display:
            execute_study(order, all_of([counted, display]), say)
    except KeyboardInterrupt:
        again = shlex.join(["ebbdoor", *sys.argv[1:]])
        say(f"\nStopped. {counted.words} in {shown(order.folder)}, and safe. Go on with:\n  {again}")
        raise typer.Exit(INTERRUPTED) from None


def _report(
    study: Study, played: Sequence[PlayedTimeline], folder: Path, format_: Format, document: Path | None
) -> None:
    """Print the settings and the verdicts, and where the files lie."""
    from simulator.study.changed_column import COLUMN, changed_notes, changed_of
    from simulator.study.claims.sentences import sentence, to_json
    from simulator.study.claims.weigh import verdicts
    from simulator.study.results import settings_rows, settings_texts
    from simulator.study.run import changed_code_of

    changed = changed_code_of(folder)
    if document is not None:
        _write_document(study, played, document, changed)
    kept = changed_of(played, changed)
    rows, judged = settings_rows(played), verdicts(study, played)
    if format_ is Format.json:
        values = {"study": study.name, "folder": shown(folder), "settings": rows, "verdicts": to_json(judged)}
        print_json({**values, COLUMN: kept})
        return
    texts = settings_texts(rows)
    if texts:
        print_table(list(texts[0]), texts)
    for claim in judged.claims:
        typer.echo(sentence(claim))
    for note in changed_notes(kept):
        say(note)
    say(f"\ntables, verdicts and report: {shown(folder)}")


def _write_document(study: Study, played: Sequence[PlayedTimeline], document: Path, changed: Changed) -> None:
    """Write the Markdown; in the command that it quotes, an absolute path is reduced to its last part."""
    from simulator.study.claims.weigh import verdicts
    from simulator.study.document.write import write_document

    given = (Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:])
    about = {"Command": f"`{shlex.join(['ebbdoor', *given])}`"}
    files = write_document(study, played, verdicts(study, played), document, about, changed)
    say(f"document: {shown(files[0])}, with {len(files) - 2} pictures and its verdicts beside it")
