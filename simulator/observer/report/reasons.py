"""Why figures of the summary are missing, for people: what has the same reason is said once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def grouped_reasons(arms: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each reason of a summary's `arms`: the arms, and the figures that are missing for it.

    >>> missing = {"erased": "never reached 50 %", "revived": "never reached 50 %", "exposure": "no attack"}
    >>> grouped_reasons({"plain": {"reasons": missing}, "refitted": {"reasons": {"exposure": "no attack"}}})
    ['plain: erased, revived: never reached 50 %', 'plain, refitted: exposure: no attack']
    """
    arms_of: dict[tuple[str, str], list[str]] = {}
    for arm, part in arms.items():
        for reason, keys in _figures_of(part["reasons"]).items():
            arms_of.setdefault((", ".join(keys), reason), []).append(arm)
    return [f"{', '.join(names)}: {keys}: {reason}" for (keys, reason), names in arms_of.items()]


def _figures_of(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the figures that are missing for each reason, as people read their names."""
    found: dict[str, list[str]] = {}
    for key, reason in reasons.items():
        found.setdefault(reason, []).append(key.replace("_", " "))
    return found
