"""`summary.json`: the outcome of a run, arm by arm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from simulator.observer.alarms import Watched, judge_alarms
from simulator.observer.evidence import NET, Evidence
from simulator.observer.lives import HEADLINE, life_figures, lives_of
from simulator.observer.summary_reasons import AGAINST_DRIFT, reasons
from simulator.observer.survival import THRESHOLDS, Survival, dormant, exposure, restricted_mean
from simulator.production.registry.base import Entry
from simulator.records import Control, LineageEnd, PeriodRecord

_SCREENED = "backdoor/screened_attack_success"
_SCREENED_NET = "backdoor/screened_net_attack_success"
_RELEARNED = "backdoor/relearned_net_attack_success"
_UNRELATED = "backdoor/relearned_unrelated_net_attack_success"
_FINAL = {
    "final_clean_accuracy": "clean/accuracy",
    "final_attack_success": "backdoor/attack_success",
    "final_net_attack_success": NET,
    "final_relearned_net_attack_success": _RELEARNED,
    "final_relearned_unrelated_net_attack_success": _UNRELATED,
    "final_collapsed": "backdoor/collapsed",
}

Lineages = dict[str, dict[Control, list[Entry]]]
Part = dict[str, Any]


def summarise(entries: Mapping[Any, Sequence[Entry]], ended: Sequence[LineageEnd] = ()) -> Part:
    """Return the summary of a run: `arms.<name>`, of committed entries by lineage (arms and controls, any keys).

    Thresholds are the strings `0.5` and `0.1`. `state` (what is known of the backdoor at the end: `alive`, `erased`,
    `censored`, `unknown` or `not planted`), `erased` (whether it ever was), `revived` (a count, its periods in
    `revived_periods`), `dips` (periods below in between, of one never erased), `planted` and `dormant` speak of 0.5;
    `by_threshold` says the same of both. The survival of one that was not erased is a lower bound. Every null has
    its text in `reasons`.
    `restricted_mean_updates` counts up to `restricted_horizon`: the shortest follow-up of the planted arms, without
    those that ended early. Where training diverged in a lineage (`ended`), `diverged` maps its name to `arm`,
    `control`, `period` and `why`; an arm that diverged in period 0 is not among `arms`.

    What the readings do not tell is null: `survival` says when that is. Readings of a backdoor count only where the
    version has a verdict (`simulator.validity`). `survival_updates_between` holds the fewest and the most updates that
    the readings allow (null: the backdoor may have outlived the run), `revived_at_least` how often it surely came back.
    """
    lineages = by_lineage(entries)
    served = {arm: _evidence(controls).served() for arm, controls in lineages.items()}
    lives = {arm: lives_of(points) for arm, points in served.items()}
    short = {end.arm for end in ended if end.control == "none"}
    horizons = {
        str(t): _horizon([(lineages[arm]["none"], life[str(t)]) for arm, life in lives.items() if arm not in short])
        for t in THRESHOLDS
    }
    return {
        "threshold": HEADLINE,
        "restricted_horizon": horizons,
        "arms": {arm: _arm(controls, lives[arm], horizons) for arm, controls in lineages.items()},
        **({"diverged": {end.lineage.name: end.model_dump(exclude={"run"}) for end in ended}} if ended else {}),
    }


def by_lineage(entries: Mapping[Any, Sequence[Entry]]) -> Lineages:
    """Return the entries by arm and control, periods in order; arms that have no lineage of their own are left out."""
    lineages: Lineages = {}
    for entry in sorted((e for part in entries.values() for e in part), key=lambda e: e.record.period):
        lineages.setdefault(entry.record.arm, {}).setdefault(entry.record.control, []).append(entry)
    order = list(dict.fromkeys(e.record.arm for part in entries.values() for e in part))
    return {arm: lineages[arm] for arm in order if "none" in lineages[arm]}


def _evidence(controls: Mapping[Control, Sequence[Entry]]) -> Evidence:
    return Evidence.of(controls["none"], controls.get("paced", ()))


def _arm(controls: Mapping[Control, list[Entry]], life: Mapping[str, Survival], horizons: Mapping[str, int]) -> Part:
    lineage, found = controls["none"], _evidence(controls)
    last = lineage[-1].record
    again, other = _value(found, last, _RELEARNED), _value(found, last, _UNRELATED)
    part: Part = {
        **life_figures(life),
        "restricted_mean_updates": {t: _restricted(one, horizons[t]) for t, one in life.items()},
        "dormant": dormant(_value(found, last, NET), again, other, HEADLINE),
        "exposure": exposure([_behind_screens(found, record) for record in found.records]),
        **_ends(found),
        "seconds": _seconds(lineage),
        "seconds_controls": sum(_seconds(twin) for control, twin in controls.items() if control != "none"),
        "updates": _updates(lineage),
        "versions": sum(entry.record.candidate is not None for entry in lineage),
        **_alarms(controls.get("free", lineage), "free" in controls),
        "cost_per_update": _cost(lineage),
        "defenses": _defenses(lineage),
    }
    return part | {"reasons": reasons(part, found, _FINAL, life)}


def _ends(found: Evidence) -> Part:
    last = found.records[-1]
    nets = [point.net for point in found.served()]
    whole = [net for net in nets if net is not None]
    return {
        "final_period": last.period,
        "final_version": last.version,
        **{key: _value(found, last, name) for key, name in _FINAL.items()},
        "highest_net_attack_success": max(whole) if len(whole) == len(nets) else None,
        "highest_known_net_attack_success": max(whole, default=None),
    }


def _restricted(one: Survival, horizon: int) -> float | None:
    if one.updates is None or horizon == 0:  # up to no update, every survival would be 0
        return None
    return restricted_mean([one.updates], [bool(one.ended)], horizon)


def _horizon(arms: Sequence[tuple[list[Entry], Survival]]) -> int:
    """Return the shortest follow-up of the planted arms, in updates; 0 without any."""
    spans = [
        _updates([e for e in lineage if one.planted is not None and e.record.period > one.planted])
        for lineage, one in arms
        if one.planted is not None
    ]
    return min(spans, default=0)


def _behind_screens(found: Evidence, record: PeriodRecord) -> float | None:
    """Net attack success after the screens; where no screen guards the version, that is the net attack success."""
    return _value(found, record, NET if _value(found, record, _SCREENED) is None else _SCREENED_NET)


def _updates(lineage: Iterable[Entry]) -> int:
    return sum(entry.record.judgement.action == "promoted" for entry in lineage if entry.record.period > 0)


def _seconds(lineage: Iterable[Entry]) -> float:
    return round(sum(sum(dict(entry.metadata.get("timing", {})).values()) for entry in lineage), 3)


def _alarms(watched: Sequence[Entry], free: bool) -> Part:
    """Alarms against the true drift: of the free twin where there is one, which decides undisturbed by the attack.

    The drift of batches that arrive as files is not known, so nothing is told of their alarms.
    """
    if any(entry.record.arrival.file is not None for entry in watched):
        return dict.fromkeys(AGAINST_DRIFT) | {"alarms_of": "free twin" if free else "arm"}
    found = judge_alarms(
        [Watched(e.record.period, e.record.signal.alarm, e.record.arrival.true_drift) for e in watched]
    )
    silent = watched[-1].record.signal.method == "none"
    return {
        "alarm_delay": None if silent else found.delay,
        "false_alarms": None if silent else found.false_alarms,
        "drift_episodes": found.episodes,
        "missed_episodes": None if silent else found.missed,
        "undrifted_periods": found.undrifted,
        "alarms_of": "free twin" if free else "arm",
    }


def _cost(lineage: Sequence[Entry]) -> Part | None:
    """Seconds of all stages, samples trained on and what the defenses counted, per update; None without an update."""
    later = [entry for entry in lineage if entry.record.period > 0]
    updates = _updates(lineage)
    if updates == 0:
        return None
    total: Counter[str] = Counter()
    for entry in later:
        total["training_samples"] += entry.record.training.get("samples") or 0  # an attacker that trains may give none
        for outcome in entry.record.outcomes:
            total.update({f"defense_{name}": count for name, count in outcome.cost.items()})
    return {"seconds": round(_seconds(later) / updates, 3), **{name: n / updates for name, n in sorted(total.items())}}


def _defenses(lineage: Iterable[Entry]) -> Part:
    """How often each defense decided what."""
    found: dict[str, Counter[str]] = {}
    for entry in lineage:
        for outcome in entry.record.outcomes:
            found.setdefault(outcome.name, Counter())[outcome.status] += 1
    return {name: dict(sorted(counts.items())) for name, counts in sorted(found.items())}


def _value(found: Evidence, record: PeriodRecord, name: str) -> float | None:
    return found.reading(record, name).value
