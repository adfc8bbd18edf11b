"""A study's report: one HTML file that needs nothing else, prints to paper, and shows every seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from simulator.errors import StoreError
from simulator.observer.measures import DASH, measure
from simulator.observer.report.html import environment
from simulator.observer.report.style import as_data
from simulator.observer.survival import THRESHOLDS
from simulator.study.changed_column import Changed, changed_of
from simulator.study.claims.sides import side_name
from simulator.study.defended_settings import EXPLAINED, defended_texts
from simulator.study.model import ClaimSpec, Study
from simulator.study.report.curves import curves_of
from simulator.study.report.overview import overview
from simulator.study.report.panels import panels
from simulator.study.results import by_setting, lifetime_of, settings_of, settings_texts
from simulator.study.rows import period_rows, timeline_rows
from simulator.study.statistics.values import Claim, Interval, Verdict
from simulator.study.tables import TABLES
from simulator.study.timelines import PlayedTimeline
from simulator.system.files import write_whole

REPORT = "report.html"
#: settings of one picture
_ROWS = 8
_MEASURES = ("attack_success", "net_attack_success", "triggered_effect", "clean_accuracy")
_FILES = {
    **{f"{name}.csv, {name}.parquet": what for name, what in TABLES.items()},
    "verdicts.json": "every claim with its verdict, and the values of each seed that it rests on",
    "timelines/": "every timeline's committed records",
    "study.json": "the study after defaults, and its digest",
}


def write_report(
    folder: Path,
    study: Study,
    played: Sequence[PlayedTimeline],
    verdicts: Sequence[Verdict] = (),
    changed: Changed = MappingProxyType({}),
) -> Path:
    """Write `report.html` into the study's folder, whole or not at all, and return its path."""
    return write_whole(folder / REPORT, study_report(study, played, verdicts, changed))


def study_report(
    study: Study,
    played: Sequence[PlayedTimeline],
    verdicts: Sequence[Verdict] = (),
    changed: Changed = MappingProxyType({}),
) -> str:
    """Return the page of a study of what was `played`, with its `verdicts`; `StoreError` without a timeline.

    `changed`: the timelines that were kept although code or data had been changed since.
    """
    if not played:
        raise StoreError("expected at least one played timeline, got none; play the study first")
    rows = timeline_rows(played)
    specs = {claim.id: claim for claim in study.claims}
    return (
        environment("simulator.study.report")
        .get_template("study.html.j2")
        .render(
            study=study,
            study_text=yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
            timelines=len(rows),
            seeds=sorted({row["seed"] for row in rows}),
            settings=settings_texts(settings_of(rows)),
            defended=defended_texts(rows),
            defended_explained=EXPLAINED,
            verdicts=[_verdict(one, specs.get(one.claim.id)) for one in verdicts],
            overview=as_data(overview(rows)),
            pictures=_pictures(played, rows),
            measures=[measure(key) for key in _MEASURES],
            threshold=f"{100 * THRESHOLDS[0]:g} %",
            files=_FILES,
            changed=changed_of(played, changed),
        )
    )


def _pictures(played: Sequence[PlayedTimeline], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the settings' panels, some at a time; as data that the page embeds."""
    lives = {name: [lifetime_of(row) for row in mine] for name, mine in by_setting(rows).items()}
    longest = max((life.time for mine in lives.values() for life in mine if life is not None), default=0)
    settings = curves_of(period_rows(played), lives)
    groups = [settings[start : start + _ROWS] for start in range(0, len(settings), _ROWS)]
    return [{"settings": [one.setting for one in group], "data": as_data(panels(group, longest))} for group in groups]


def _gate(claim: Claim) -> str:
    words = {"greater": "above", "less": "below", "within": "within ±"}
    return f"{words[claim.direction]} {claim.gate:g}"


def _verdict(one: Verdict, spec: ClaimSpec | None) -> dict[str, str]:
    """Return a claim's row, as texts."""
    found, claim = one.finding, one.claim
    horizon = "" if claim.endpoint.horizon is None else f", up to {claim.endpoint.horizon:g}"
    return {
        "id": claim.id,
        "sentence": claim.sentence,
        "holds": one.holds,
        "endpoint": f"{claim.endpoint.kind} of {claim.endpoint.name} in {claim.endpoint.unit}{horizon}",
        "one": DASH if spec is None else side_name(spec.one),
        "other": DASH if spec is None else side_name(spec.other),
        "gate": _gate(claim),
        "estimate": _figure(found.estimate),
        "interval": _interval(found.interval),
        "p": _figure(one.corrected_p),
        "effect": _figure(found.effects.standardised),
        "superiority": _figure(found.effects.superiority),
        "n": str(found.n),
        "left_out": ", ".join(map(str, found.left_out)) or "none",
        "reason": one.reason,
        "published": "" if spec is None else spec.published,
    }


def _figure(value: float | None) -> str:
    return DASH if value is None else f"{value:.3g}"


def _interval(found: Interval) -> str:
    if found.low is None or found.high is None or found.level is None:
        return DASH
    return f"{found.low:.3g} to {found.high:.3g} ({100 * found.level:.3g} %)"
