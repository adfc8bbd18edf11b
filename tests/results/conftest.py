"""Hand-made timelines: a builder, so that a test says only what it is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from simulator.production.registry.base import Entry
from simulator.records import Arrival, Control, Decision, Judgement, LineageKey, PeriodRecord, Reading, Signal
from simulator.scenario.overrides import scenario_of
from simulator.study.timelines import PlayedTimeline, Timeline

NO_TWIN = "there is no paced twin to subtract"


def make_played(
    nets: Sequence[float | None],
    *,
    arm: str = "main",
    seed: int = 100,
    point: Mapping[str, Any] | None = None,
    clean: Sequence[float] | None = None,
    actions: Mapping[int, str] | None = None,
    drift: Mapping[int, float] | None = None,
    alarms: Mapping[str, Sequence[int]] | None = None,
    extra: Mapping[int, Mapping[str, float | None]] | None = None,
    beside: Mapping[str, Any] | None = None,
    keys: Mapping[str, Any] | None = None,
    source: str = "1" * 64,
) -> PlayedTimeline:
    """An arm with its paced twin (and a free one, where `alarms` names it), one period a net reading.

    `actions` are the gate's by period (default promoted), `drift` the rotation, `alarms` periods by control, `extra`
    readings of the arm by period (None: undefined), `keys` the scenario's own.
    """
    place, watched = dict(point or {}), dict(alarms or {})
    scenario = scenario_of(
        {"name": "s", "seed": seed, "periods": max(1, len(nets) - 1), **(keys or {}), "arms": {arm: {}}}
    )
    controls: list[Control] = ["none", "paced", *(("free",) if "free" in watched else ())]  # type: ignore[list-item]
    done, clean = dict(actions or {}), clean or [0.8] * len(nets)
    entries = {}
    for control in controls:
        line = LineageKey(arm=arm, control=control)
        version, periods = 0, []
        for period, net in enumerate(nets):
            action = done.get(period, "promoted")
            version += action == "promoted" and period > 0
            readings = {"clean/accuracy": Reading.of(clean[period]), "backdoor/attack_success": Reading.of(0.02)}
            if control == "none":
                readings["backdoor/attack_success"] = Reading.of(0.02 + (net or 0.0))
                readings["backdoor/net_attack_success"] = Reading.undefined(NO_TWIN) if net is None else Reading.of(net)
                for name, value in (extra or {}).get(period, {}).items():
                    readings[name] = Reading.undefined("not today") if value is None else Reading.of(value)
            alarm = watched.get(control)
            signal = Signal(
                method="none" if alarm is None else "mmd",
                score=None if alarm is None else 0.25,
                alarm=alarm is not None and period in alarm,
            )
            record = PeriodRecord(
                run="r",
                arm=arm,
                control=control,
                period=period,
                version=version,
                parent=None,
                candidate=version if action == "promoted" else None,
                candidate_parent=None,
                arrival=Arrival(
                    rows=100,
                    poison_rate=0.05 if control == "none" and period == 0 else 0.0,
                    true_drift={} if drift is None else {"rotation": drift.get(period, 0.0)},
                ),
                signal=signal,
                decision=Decision(retrain=action == "promoted", why="every period"),
                judgement=Judgement(action=action, why="within", serving=version),
                readings=readings,
                weights="0" * 64,
                source=source,
                scenario=scenario.digest(),
            )
            periods.append(Entry(record, record.digest(), {"timing": {"train": 1.5}}))
        entries[line.name] = periods
    setting = " ".join([arm, *(f"{key}={value}" for key, value in place.items())])
    timeline = Timeline("study", arm, place, seed, setting, f"{arm}-s{seed}", scenario)
    return PlayedTimeline(timeline, entries, {"seconds": 12.5, **(beside or {})})


@pytest.fixture(scope="session")
def played() -> Callable[..., PlayedTimeline]:
    """The builder of one played timeline."""
    return make_played
