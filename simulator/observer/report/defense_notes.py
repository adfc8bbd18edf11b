"""What must not go unseen at the end of a run: calls of defenses that failed, and what was refused to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from simulator.observer.report.columns import version_numbers
from simulator.observer.run_export import RunExport
from simulator.production.registry.version_words import with_numbers

Row = Mapping[str, Any]

#: an arm and its twins, by how a sentence names them
_LINES: Final = {"none": "", "paced": " in the paced twin", "free": " in the free twin"}
#: how a status is said, and what a request is called where that is not its kind
_WORDS: Final = {"failed": "failed", "timeout": "reached a limit"}
_ASKED: Final = {"retrain": "retraining"}


def defense_notes(run: RunExport) -> list[str]:
    """Return a line for each defense with calls that failed, and for each that was refused something."""
    return [f"{_arm(run, arm)}{note}" for arm in run.arms for note in [*_failures(run, arm), *_refusals(run, arm)]]


def _arm(run: RunExport, arm: str) -> str:
    return f"arm {arm}: " if len(run.arms) > 1 else ""


def _failures(run: RunExport, arm: str) -> list[str]:
    """The calls that failed or reached a limit; of a twin only where the defense did neither in the arm."""
    found: dict[str, str] = {}
    for control, where in _LINES.items():
        for name, outcomes in _by_defense(run.lineage(arm, control)).items():
            lost = [one for one in outcomes if one["status"] in ("failed", "timeout")]
            if lost:
                found.setdefault(name, _failed(name, where, len(outcomes), lost))
    return list(found.values())


def _failed(name: str, where: str, calls: int, lost: Sequence[Row]) -> str:
    statuses = {one["status"] for one in lost}
    became = " or ".join(word for status, word in _WORDS.items() if status in statuses)
    why = _reasons([one["reason"].removeprefix("raised ") for one in lost])
    return f"{len(lost)} of {calls} call{'s' if calls != 1 else ''} of {name}{where} {became}: {why}"


def _refusals(run: RunExport, arm: str) -> list[str]:
    rows = run.lineage(arm)
    numbers, found = version_numbers(rows), []
    for name, outcomes in _by_defense(rows).items():
        kinds: dict[str, list[Row]] = {}
        for asked in (asked for one in outcomes for asked in one.get("requests", ())):
            kinds.setdefault(asked["kind"], []).append(asked)
        refused = [text for kind, asked in kinds.items() if (text := _refused(kind, asked, numbers))]
        if refused:
            found.append(f"{name} asked {'; '.join(refused)}")
    return found


def _refused(kind: str, asked: Sequence[Row], numbers: Mapping[int, int]) -> str:
    """Say how often a kind of request was made and refused, and why; nothing where all were granted."""
    against = [with_numbers(one["why"], numbers) for one in asked if not one["granted"]]
    if not against:
        return ""
    times = "once" if len(asked) == 1 else f"{len(asked)} times"
    count = f"{len(against)} refused" if len(against) < len(asked) else "refused" if len(asked) == 1 else "all refused"
    return f"for a {_ASKED.get(kind, kind)} {times}, {count}: {_reasons(against)}"


def _reasons(given: Sequence[str]) -> str:
    """Return the first reason, and how many others there are."""
    others = len(set(given)) - 1
    return given[0] + (f" (and {others} other reason{'s' if others > 1 else ''}, in the report)" if others else "")


def _by_defense(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for outcome in (outcome for row in rows for outcome in row["outcomes"]):
        found.setdefault(outcome["name"], []).append(outcome)
    return found
