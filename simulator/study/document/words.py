"""The texts of a study's document: figures of each claim, and where and with what the study was played.

The template holds the order and the fixed sentences.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from simulator.observer.measures import DASH, spans
from simulator.study.claims.sentences import (
    WORDS,
    amount,
    asked,
    interval_text,
    p_of,
    p_text,
    power_text,
    simultaneous_text,
)
from simulator.study.claims.values import JudgedClaim, SideValues, Value, Weighed
from simulator.study.results import bounded_spread, with_bounds
from simulator.study.statistics.values import Effects
from simulator.study.timelines import PlayedTimeline, Timeline
from simulator.system.instructions import played_with, processor

#: packages whose versions the document names
_PACKAGES = ("ebbdoor", "torch", "torchvision", "numpy", "scipy")

#: how far a native mean over seeds moved between two kinds of processor (docs/operations.md)
OTHER_PROCESSORS: Final = (
    "native figures differ between processors: survival in updates of the setting slanted-triangular of the study "
    "permanence, seeds 100 to 104, was 1 2 1 3 1 (mean 1.6) on an Intel processor with AVX-512 and 2 3 2 3 3 "
    "(mean 2.6) on the same one answering as an AMD Zen 3; under numerics: portable 1 2 1 2 1 (mean 1.4) on both"
)


def changes(played: Sequence[PlayedTimeline]) -> list[dict[str, str]]:
    """Return one row a setting: what its arm and its grid point change in the study's scenario."""
    found = {one.timeline.setting: one.timeline for one in played}
    return [
        {"setting": name, "changes": "; ".join(_changed(timeline)) or "nothing"} for name, timeline in found.items()
    ]


def _changed(timeline: Timeline) -> list[str]:
    overrides = {**timeline.point, **timeline.scenario.arms[timeline.arm]}
    return [f"`{key}: {json.dumps(_without_folders(value), ensure_ascii=False)}`" for key, value in overrides.items()]


def _without_folders(value: Any) -> Any:
    """The value without folders of this machine: an absolute path is reduced to its last part."""
    if isinstance(value, str):
        return Path(value).name if Path(value).is_absolute() else value
    if isinstance(value, Mapping):
        return {key: _without_folders(item) for key, item in value.items()}
    return [_without_folders(item) for item in value] if isinstance(value, list | tuple) else value


def claim_texts(item: JudgedClaim) -> dict[str, Any]:
    """Return the texts of a claim's section."""
    verdict, spec = item.verdict, item.spec
    finding, unit = verdict.finding, verdict.claim.endpoint.unit
    return {
        "id": spec.id,
        "sentence": spec.sentence,
        "verdict": WORDS[verdict.holds],
        "reason": verdict.reason,
        "endpoint": finding.claim.endpoint.definition,
        "asked": asked(item).removeprefix("asked for "),
        "what": "a share of" if finding.claim.endpoint.kind == "share" else "one − other",
        "family": spec.family,
        "undefined": finding.claim.endpoint.undefined,
        "simultaneous": simultaneous_text(finding),
        "power": power_text(item).removeprefix("; "),
        "start": _start(item),
        "sides": [_side(side, item.weighed, unit) for side in (item.weighed.one, item.weighed.other)],
        "pairs": finding.n,
        "estimate": DASH if finding.estimate is None else amount(finding.estimate, unit),
        "interval": interval_text(finding.interval, unit),
        "method": finding.interval.method,
        "short": finding.interval.reason if finding.interval.low is not None else None,
        "p": p_of(finding),
        "corrected": p_text(verdict.corrected_p),
        "effects": _effects(finding.effects, unit),
        "left_out": _left_out(item.weighed),
        "notes": item.weighed.notes,
        "published": spec.published,
        "beside": [_beside(comparison.note, weighed) for comparison, weighed in item.beside],
    }


def verdict_row(item: JudgedClaim) -> dict[str, str]:
    """Return the claim's row of the table at the top."""
    finding, unit = item.verdict.finding, item.verdict.claim.endpoint.unit
    return {
        "id": item.spec.id,
        "sentence": item.spec.sentence,
        "verdict": WORDS[item.verdict.holds],
        "estimate": DASH if finding.estimate is None else amount(finding.estimate, unit),
        "interval": simultaneous_text(finding),
        "family": item.spec.family,
        "asked": asked(item).removeprefix("asked for "),
        "p": p_text(item.verdict.corrected_p),
        "pairs": str(finding.n),
    }


def _start(item: JudgedClaim) -> str:
    start = item.spec.start
    if start is None:
        return ""
    dose = "" if start.dose is None else f", and in dose by no more than {start.dose:g}"
    return (
        f"pairs that differ at period 0 by no more than {100 * start.attack_success:g} points of attack success{dose}"
    )


def _side(side: SideValues, weighed: Weighed, unit: str) -> dict[str, str]:
    if not side.settings:
        return {"name": f"the number {side.name}", "spread": "the same for every seed"}
    counted = [side.by_seed[seed] for seed in weighed.pairs]
    return {"name": side.name, "spread": spread(counted, unit)}


def spread(values: Sequence[Value], unit: str) -> str:
    """Return median and range; a lower bound, because of censored survivals, is marked with `>`."""
    found = bounded_spread([(value.number, value.ended) for value in values if value.number is not None])
    if found is None:
        return "no value"
    low, middle, high = with_bounds(found, lambda value: f"{100 * value:.1f}%" if unit == "share" else f"{value:.3g}")
    return f"median {middle} ({low} to {high})"


def _effects(found: Effects, unit: str) -> str:
    if found.superiority is None:
        return found.reason or DASH
    standard = f"not standardised ({found.reason})" if found.standardised is None else f"d_z {found.standardised:.2f}"
    mean = "" if found.mean is None else f"mean difference {amount(found.mean, unit)}; "
    return f"{mean}{standard}; `one` is greater in {100 * found.superiority:.0f} % of the pairs (ties count half)"


def _left_out(weighed: Weighed) -> list[str]:
    """One text a reason, with the seeds it holds for."""
    by_reason: dict[str, list[int]] = {}
    for seed, why in weighed.left_out.items():
        by_reason.setdefault(why, []).append(seed)
    return [
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}: {why}" for why, seeds in by_reason.items()
    ]


def _beside(note: str, weighed: Weighed) -> Mapping[str, str]:
    finding, unit = weighed.finding, weighed.finding.claim.endpoint.unit
    share = finding.effects.superiority
    return {
        "what": f"{weighed.one.name} − {weighed.other.name}" + (f" ({note})" if note else ""),
        "endpoint": finding.claim.endpoint.definition,
        "estimate": DASH if finding.estimate is None else amount(finding.estimate, unit),
        "interval": interval_text(finding.interval, unit),
        "superiority": DASH if share is None else f"{100 * share:.0f} %",
        "pairs": str(finding.n),
        "left_out": str(len(weighed.left_out)),
    }


def facts(played: Sequence[PlayedTimeline]) -> dict[str, str]:
    """Return name -> text of what the timelines and this machine, which writes the document, can tell."""
    seeds = sorted({one.timeline.seed for one in played})
    seconds = sum(float(one.beside.get("seconds", 0.0)) for one in played)
    threads = sorted({one.timeline.scenario.threads for one in played})
    return {
        "Date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "Machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
        "Numerics": ", ".join(sorted({one.timeline.scenario.numerics for one in played})),
        "Instruction sets": instructions_text(played),
        **_moved(played),
        "Threads of a timeline": ", ".join(map(str, threads)),
        "Versions": ", ".join(
            [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in _PACKAGES)]
        ),
        "Timelines": str(len(played)),
        "Settings": str(len({one.timeline.setting for one in played})),
        "Seeds": spans(seeds, " to "),
        "Seconds of all timelines": f"{seconds:,.0f} (those that recall what others computed count as played)",
    }


def _moved(played: Sequence[PlayedTimeline]) -> dict[str, str]:
    """What is known of how far figures move between processors, where some timeline was played natively."""
    if all(one.timeline.scenario.numerics == "portable" for one in played):
        return {}
    return {"Other processors": OTHER_PROCESSORS}


def instructions_text(played: Sequence[PlayedTimeline]) -> str:
    """Return what the timelines' libraries summed with; where machines differed, how many timelines had what."""
    counts: dict[str, int] = {}
    for one in played:
        found = played_with(entry.metadata for line in one.entries.values() for entry in line)
        for text in {"; ".join(f"{name} {how}" for name, how in used.items()) for used in found} or {"not recorded"}:
            counts[text] = counts.get(text, 0) + 1
    if len(counts) <= 1:
        return "".join(counts)
    told = " – ".join(f"{count} timelines: {text}" for text, count in counts.items())
    return f"not the same for all, so that timelines of one do not equal those of another bit for bit – {told}"
