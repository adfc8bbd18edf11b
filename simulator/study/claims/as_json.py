"""`verdicts.json`: every claim with its verdict, every figure with the values of each seed it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from simulator.study.claims.values import JudgedClaim, SideValues, StudyVerdicts, Value, Weighed

__all__ = ["to_json"]


def to_json(found: StudyVerdicts) -> dict[str, Any]:
    """Return the verdicts as JSON values. `holds` is `yes`, `no` or `undecided`; what is undefined is null."""
    return {"study": found.study, "alpha": found.alpha, "claims": [_claim(item) for item in found.claims]}


def _claim(item: JudgedClaim) -> dict[str, Any]:
    spec, verdict = item.spec, item.verdict
    return {
        "id": spec.id,
        "sentence": spec.sentence,
        "holds": verdict.holds,
        "reason": verdict.reason,
        "direction": spec.direction,
        "gate": spec.gate,
        "corrected_p": verdict.corrected_p,
        **_weighed(item.weighed),
        "published": spec.published,
        "beside": [{"note": one.note, **_weighed(weighed)} for one, weighed in item.beside],
    }


def _weighed(weighed: Weighed) -> dict[str, Any]:
    found = weighed.finding
    return {
        "endpoint": asdict(found.claim.endpoint),
        "one": _side(weighed.one),
        "other": _side(weighed.other),
        "pairs": found.n,
        "estimate": found.estimate,
        "interval": asdict(found.interval),
        "p": found.p,
        "smallest_p": found.smallest_p,
        "effects": asdict(found.effects),
        "left_out": {str(seed): why for seed, why in weighed.left_out.items()},
        "notes": list(weighed.notes),
        "undefined": found.reason,
    }


def _side(side: SideValues) -> dict[str, Any]:
    return {"name": side.name, "settings": list(side.settings), "by_seed": _by_seed(side.by_seed)}


def _by_seed(values: Mapping[int, Value]) -> dict[str, Any]:
    return {str(seed): asdict(value) for seed, value in sorted(values.items())}
