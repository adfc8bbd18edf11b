"""Hand-made timelines: a test says only which readings each seed of a setting had."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from simulator.production.registry.base import Entry
from simulator.records import Arrival, Decision, Judgement, PeriodRecord, Reading, Signal
from simulator.scenario.model import Scenario
from simulator.study.model import Study
from simulator.study.timelines import PlayedTimeline, Timeline

Readings = Mapping[str, float | str]
Build = Callable[..., PlayedTimeline]


def _entry(period: int, arm: str, readings: Mapping[str, float | str], *, promoted: bool, alarm: bool) -> Entry:
    version = period if promoted else 0
    found = {
        name: Reading.undefined(value) if isinstance(value, str) else Reading.of(value)
        for name, value in readings.items()
    }
    record = PeriodRecord(
        run="run-1",
        arm=arm,
        control="none",
        period=period,
        version=version,
        parent=version - 1 if version else None,
        candidate=version if promoted else None,
        candidate_parent=None,
        arrival=Arrival(rows=100),
        signal=Signal(method="mmd", score=0.1, threshold=0.5, alarm=alarm),
        decision=Decision(retrain=promoted, why="every period"),
        judgement=Judgement(action="promoted" if promoted else "kept", why="-", serving=version),
        readings=found,
        weights="0" * 64,
        source="1" * 64,
        scenario="2" * 64,
    )
    return Entry(record, record.digest(), {"timing": {"train": 1.0}})


def make_played(
    setting: str,
    seed: int,
    nets: Sequence[float],
    *,
    start: float | None = None,
    readings: Mapping[str, Sequence[float | str]] | None = None,
    theory: Mapping[str, float | None] | None = None,
    promoted: bool = True,
    alarms: Sequence[int] = (),
) -> PlayedTimeline:
    """A timeline whose net attack success after period p is `nets[p]`; `readings` has one more list a reading.

    A text in the place of a number is the reason why there is none. `start` is the base model's attack success.
    """
    entries = []
    for period, net in enumerate(nets):
        success = start if start is not None and period == 0 else net
        found: dict[str, float | str] = {
            "clean/accuracy": 0.8,
            "backdoor/net_attack_success": net,
            "backdoor/attack_success": success,
            **{name: values[period] for name, values in (readings or {}).items()},
        }
        entries.append(_entry(period, setting, found, promoted=promoted or period == 0, alarm=period in alarms))
    timeline = Timeline(
        "tiny",
        setting,
        {},
        seed,
        setting,
        f"{setting}-s{seed}",
        Scenario(seed=seed, arms={setting: {"recipe.replay.share": 0.5}}),
    )
    return PlayedTimeline(timeline, {setting: entries}, {"seconds": 1.5, **(theory or {})})


def life(updates: int, length: int = 9) -> list[float]:
    """Net attack success of a backdoor that is erased by update number `updates`, over periods 0 to `length`."""
    return [0.9] * updates + [0.1] * (length + 1 - updates)


def make_study(*claims: dict[str, Any], **keys: Any) -> Study:
    """A study of hand-made claims; its scenario is never played."""
    return Study.model_validate({"name": "tiny", "scenario": {}, "seeds": [100], "claims": list(claims), **keys})


def make_claim(**keys: Any) -> dict[str, Any]:
    """A claim: `a` survives longer than `b`."""
    return {
        "id": "longer",
        "sentence": "a outlives b",
        "endpoint": {"measure": "survival", "horizon": 8},
        "one": {"setting": "a"},
        "other": {"setting": "b"},
        "direction": "greater",
        **keys,
    }


@pytest.fixture(scope="session")
def played() -> Build:
    """The builder of one played timeline."""
    return make_played


@pytest.fixture(scope="session")
def study() -> Callable[..., Study]:
    """The builder of a study."""
    return make_study


@pytest.fixture(scope="session")
def claim() -> Callable[..., dict[str, Any]]:
    """The builder of a claim's keys."""
    return make_claim


@pytest.fixture(scope="session")
def lives() -> Callable[..., list[PlayedTimeline]]:
    """Timelines of a setting, one for each of the survivals given, with seeds from 100 on."""

    def build(setting: str, updates: Sequence[int], **keys: Any) -> list[PlayedTimeline]:
        return [make_played(setting, 100 + i, life(count), **keys) for i, count in enumerate(updates)]

    return build
