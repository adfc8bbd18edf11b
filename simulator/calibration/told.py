"""What a calibration came to, in words and as values."""

from __future__ import annotations

import json
import shlex
from typing import Any

import yaml

from simulator.calibration.calibrate import Calibrated, most_frequent


def sentences(found: Calibrated) -> list[str]:
    """Return what was set on what, what can be promised, and what cannot."""
    count, control = len(found.looks), found.control
    lost = sum(control.lost) / count
    before = "not set" if found.before is None else found.before
    seeds = ", ".join(str(one.seed) for one in found.lineages)
    lines = [
        f"{found.option} = {found.value} ({found.flags} it is flagged; before: {before}), set on {count} clean updates "
        f"of {len(found.lineages)} lineage{'s' if len(found.lineages) > 1 else ''} (seeds {seeds})",
        f"of these it flags {_percent(lost)} of the {found.unit}, before {_percent(found.lost_before)}",
        f"of {_next(found)} it flags at most {_percent(control.expected)} on average, if these are like those",
    ]
    if control.at_most is not None:
        lines.append(
            f"with 95 % confidence this one threshold flags at most {_percent(control.at_most)} of such updates, were "
            "they independent"
        )
    else:
        lines.append(f"the update that lost most lost {_percent(max(control.lost))} of its {found.unit}")
    if found.silent:
        lines.append(f"in other periods it judged nothing: {most_frequent(found.silent)}")
    lines.append("updates of one lineage resemble each other, so these hold only roughly with few lineages (--seeds)")
    return lines


def snippet(found: Calibrated) -> str:
    """Return YAML to paste into a scenario, with what it rests on as comments."""
    comments = "".join(f"# {line}\n" for line in (f"calibrated at a rate of {found.rate:g}", *sentences(found)))
    entry = yaml.safe_dump(found.use, default_flow_style=True, sort_keys=False, width=float("inf"))
    return f"{comments}defenses:\n- {entry}"


def option_of_run(found: Calibrated) -> str:
    """Return the option of `ebbdoor run` that says the same; JSON is YAML."""
    return f"--set {shlex.quote(f'defenses={json.dumps([found.use])}')}"


def values(found: Calibrated) -> dict[str, Any]:
    """Return everything as JSON values; `scores` are the highest of each update by seed and period."""
    control = found.control
    return {
        "defenses": [found.use],
        "option": found.option,
        "value": found.value,
        "before": found.before,
        "flags": found.flags,
        "unit": found.unit,
        "rate": found.rate,
        "updates": len(found.looks),
        "expected_at_most": control.expected,
        "at_most_with_95_percent": control.at_most,
        "lost": list(control.lost),
        "lost_before": found.lost_before,
        "lineages": [
            {
                "seed": one.seed,
                "highest": {str(period): look.scores[0] for period, look in one.looks.items()},
                "silent": dict(one.silent),
            }
            for one in found.lineages
        ],
    }


def _next(found: Calibrated) -> str:
    return "the next clean updates" if found.unit == "updates" else f"the {found.unit} of the next clean update"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
