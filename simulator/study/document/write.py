"""Writes the document and its pictures. Remarks on results come from the study's `notes`, so that they are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType

from jinja2 import Environment, PackageLoader, StrictUndefined

from simulator.study.changed_column import Changed, changed_of
from simulator.study.claims.sentences import to_json
from simulator.study.claims.values import Field, StudyVerdicts
from simulator.study.defended_settings import EXPLAINED, defended_texts
from simulator.study.document.pictures import as_svg, claim_picture
from simulator.study.document.results import VERDICTS
from simulator.study.document.theory import Compared, agreement, compared, theory_picture, theory_rows
from simulator.study.document.words import changes, claim_texts, facts, verdict_row
from simulator.study.model import Study
from simulator.study.results import settings_of, settings_texts
from simulator.study.rows import timeline_rows
from simulator.study.timelines import PlayedTimeline
from simulator.system.files import write_whole


def write_document(
    study: Study,
    played: Sequence[PlayedTimeline],
    verdicts: StudyVerdicts,
    path: Path,
    about: Mapping[str, str],
    changed: Changed = MappingProxyType({}),
) -> list[Path]:
    """Write the Markdown document `path`, with `pictures/<stem>/` and `verdicts/<stem>.json` beside it; return paths.

    `about` is laid over `words.facts` (`Date`, `Machine`, ...) and should hold the `Command` that was given; it is
    printed as it is. The study's `notes` on a claim stand in its section. `changed`: the timelines that were kept
    although code or data had been changed since. The same arguments give the same files. Raises
    `StoreUnavailableError` where nothing can be written.
    """
    folder = path.parent / "pictures" / path.stem
    formula, rows = compared(played), timeline_rows(played)
    pictures = _pictures(played, verdicts, formula)
    text = (
        _environment()
        .get_template("document.md.j2")
        .render(
            study=study,
            facts={**facts(played), **about},
            verdicts=[verdict_row(item) for item in verdicts.claims],
            counts=_counts(verdicts),
            alpha=verdicts.alpha,
            changes=changes(played),
            changed=changed_of(played, changed),
            settings=settings_texts(settings_of(rows)),
            defended=defended_texts(rows),
            defended_explained=EXPLAINED,
            claims=[claim_texts(item) for item in verdicts.claims],
            notes=study.notes,
            pictures={name: f"pictures/{path.stem}/{name}.svg" for name in pictures},
            theory={"rows": theory_rows(formula), "agreement": agreement(formula)},
        )
    )
    files = {path: text, **{folder / f"{name}.svg": picture for name, picture in pictures.items()}}
    values = json.dumps(to_json(verdicts), indent=1, ensure_ascii=False, allow_nan=False)
    files[path.parent / VERDICTS / f"{path.stem}.json"] = f"{values}\n"
    return [write_whole(file, content) for file, content in files.items()]


@cache
def _environment() -> Environment:
    environment = Environment(  # Markdown, whose reader escapes what is HTML: `cell` escapes what is Markdown
        loader=PackageLoader("simulator.study", "report/templates"),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _cell
    return environment


def _pictures(played: Sequence[PlayedTimeline], verdicts: StudyVerdicts, formula: Sequence[Compared]) -> dict[str, str]:
    by_setting = Field.of(played).by_setting
    drawn = {item.spec.id: claim_picture(item, by_setting) for item in verdicts.claims}
    if formula:
        drawn["theory"] = theory_picture(formula)
    return {name: as_svg(figure) for name, figure in drawn.items() if figure is not None}


def _counts(verdicts: StudyVerdicts) -> dict[str, int]:
    found = [item.verdict.holds for item in verdicts.claims]
    return {name: found.count(name) for name in ("yes", "no", "undecided")}


def _cell(text: str) -> str:
    """A text as a cell of a Markdown table: on one line, with `|` and `<` escaped."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
