"""Why a figure of `summary.json` is null: one text for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.observer.evidence import NET, Evidence
from simulator.observer.survival import Survival

_MEMORY = (NET, "backdoor/relearned_net_attack_success", "backdoor/relearned_unrelated_net_attack_success")
_NEVER = "net attack success never reached the threshold"
#: figures that hold alarms against the true drift
AGAINST_DRIFT = ("alarm_delay", "false_alarms", "drift_episodes", "missed_episodes", "undrifted_periods")
UNKNOWN_DRIFT = "the data arrived as files, whose true drift is not known"
_NO_UPDATE = "some planted arm is not followed over any update"
_UNKNOWN = "net attack success is undefined in some periods"

Part = Mapping[str, Any]


def reasons(part: Part, found: Evidence, finals: Mapping[str, str], life: Mapping[str, Survival]) -> dict[str, str]:
    """Return one text for every null of an arm's `part`; `finals` are the readings of its `final_*` figures."""
    last, head = found.records[-1], next(iter(life.values()))
    missing = found.missing()
    texts = {key: found.reading(last, name).reason for key, name in finals.items()}
    texts |= dict.fromkeys(("planted", "highest_net_attack_success", "highest_known_net_attack_success"), missing)
    texts |= {
        "exposure": missing or _behind_screens(found),
        "dormant": next((why for name in _MEMORY if (why := found.reading(last, name).reason)), None),
        "cost_per_update": "no update was promoted",
    }
    lives = {threshold: _why(one, missing) for threshold, one in life.items() if one.updates is None}
    texts |= dict.fromkeys(("survival_updates", "survival_periods"), _joined(lives))
    means = {t: lives.get(t, _NO_UPDATE) for t, value in part["restricted_mean_updates"].items() if value is None}
    texts |= {"restricted_mean_updates": _joined(means)}
    between = {threshold: _why(one, missing) for threshold, one in life.items() if one.between is None}
    texts |= {"survival_updates_between": _joined(between)}
    never = f"net attack success never reached {100 * head.threshold:g} %" if head.reached is False else missing
    texts |= dict.fromkeys(("erased", "revived", "revived_periods", "revived_at_least", "planted_period"), never)
    texts |= dict.fromkeys(AGAINST_DRIFT, UNKNOWN_DRIFT if part["undrifted_periods"] is None else "there is no monitor")
    if part["false_alarms"] is not None:
        texts["alarm_delay"] = "no alarm while there was drift" if part["drift_episodes"] else "there was no drift"
    return {key: texts.get(key) or _UNKNOWN for key, value in part.items() if _holds_null(value)}


def _why(one: Survival, missing: str | None) -> str:
    return _NEVER if one.reached is False else missing or _UNKNOWN


def _joined(by_threshold: Mapping[str, str]) -> str | None:
    """Return the one text of all thresholds, or each with its threshold."""
    if len(set(by_threshold.values())) < 2:
        return next(iter(by_threshold.values()), None)
    return "; ".join(f"at {threshold}: {text}" for threshold, text in by_threshold.items())


def _behind_screens(found: Evidence) -> str | None:
    return found.missing("backdoor/screened_net_attack_success")


def _holds_null(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and any(item is None for item in value.values()))
