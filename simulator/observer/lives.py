"""The figures of `summary.json` that tell how long a backdoor lived and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from simulator.observer.rows import evident
from simulator.observer.survival import THRESHOLDS, Served, Survival, dormant, survival

Part = dict[str, Any]
#: figures that the definition of an erasure, or of a dormant backdoor, decides
DEFINED = (
    *("survival_updates", "survival_periods", "survival_updates_between", "state", "erased", "revived", "planted"),
    *("planted_period", "revived_periods", "dips", "revived_at_least", "by_threshold", "restricted_mean_updates"),
    *("dormant", "censored", "reasons"),
)
#: the threshold that the plain keys (`state`, `erased`, `revived`, `planted`, `dormant`) speak about
HEADLINE = THRESHOLDS[0]
_MEMORY = ("net_attack_success", "relearned_net_attack_success", "relearned_unrelated_net_attack_success")


def lives_of(points: Sequence[Served]) -> dict[str, Survival]:
    """Return the survival at each threshold, named as in `summary.json`."""
    return {str(threshold): survival(points, threshold) for threshold in THRESHOLDS}


def life_figures(lives: Mapping[str, Survival]) -> Part:
    """Return the figures of an arm's `lives`; what the readings do not tell is None."""
    head = lives[str(HEADLINE)]
    return {
        "survival_updates": {t: one.updates for t, one in lives.items()},
        "survival_periods": {t: one.periods for t, one in lives.items()},
        "survival_updates_between": {t: one.between and list(one.between) for t, one in lives.items()},
        **_life(head),
        "revived_periods": None if head.revived is None or not head.reached else list(head.revived),
        "dips": list(head.dips),
        "revived_at_least": None if head.returns is None else head.returns[0],
        "by_threshold": {t: _known(_life(one) | {"erased_period": one.erased}) for t, one in lives.items()},
    }


def with_present_lives(part: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], twin: Iterable[Any] = ()) -> Part:
    """Return an arm's `part` of a summary as today's definitions give it, from the lines of `periods.jsonl`.

    A summary that was written before `state` existed says `censored` of every backdoor that it does not call erased,
    and counts an erasure in versions. `twin` are the lines of the arm's paced twin.
    """
    if "state" in part:
        return dict(part)
    figures = life_figures(lives_of(served_in(evident(rows, twin))))
    rest = {key: value for key, value in part.items() if key != "censored"}
    figures["dormant"] = dormant_in(part)
    why = dict(part.get("reasons", {}))
    missing = why.get("survival_updates") or "it was not known when this summary was written"
    return rest | figures | {"reasons": {**{key: missing for key in figures if figures[key] is None}, **why}}


def dormant_in(figures: Mapping[str, Any]) -> bool | None:
    """Return whether a backdoor is dormant, by the `final_*` figures of a summary or a table."""
    net, relearned, unrelated = (figures.get(f"final_{key}") for key in _MEMORY)
    return dormant(net, relearned, unrelated)


def without_definitions(summary: Mapping[str, Any]) -> Part:
    """Return a summary without the figures that later definitions may have changed."""
    arms = {
        arm: {key: value for key, value in part.items() if key not in DEFINED} for arm, part in summary["arms"].items()
    }
    return {key: value for key, value in summary.items() if key != "restricted_horizon"} | {"arms": arms}


def is_earlier(summary: Mapping[str, Any]) -> bool:
    """Return whether a summary was written before `state` existed, and counts an erasure in versions."""
    return any("state" not in part for part in summary.get("arms", {}).values())


def served_in(rows: Iterable[Mapping[str, Any]]) -> list[Served]:
    """Return what served after each period, of an arm's lines as verdicts may use them."""
    return [Served(r["period"], r["version"], r["promoted"], r["net_attack_success"]) for r in rows]


def _life(one: Survival) -> Part:
    return {
        "state": one.state,
        "erased": one.ended if one.reached else None,
        "revived": _times(one),
        "planted": one.reached,
        "planted_period": one.planted,
    }


def _times(one: Survival) -> int | None:
    """How often the backdoor came back."""
    if one.returns is None or not one.reached:
        return None
    fewest, most = one.returns
    return fewest if fewest == most else None


def _known(part: Part) -> Part:
    """Return what is defined: a life that has not ended has no `erased_period`, one never planted none of the rest."""
    return {key: value for key, value in part.items() if value is not None}
