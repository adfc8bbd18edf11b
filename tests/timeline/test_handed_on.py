"""Records, scenarios and weights are handed on as they are: nothing is encoded, parsed or copied again on the way."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import pytest
from pydantic import BaseModel
from torch import nn

import simulator.tensors
from simulator.loop.run import open_run, play
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.scenario import overrides
from simulator.scenario.model import Scenario

from .conftest import SMALL

#: two arms, each with its twin, three periods: twelve records
KEYS: dict[str, Any] = SMALL | {
    "name": "handed-on",
    "periods": 2,
    "defenses": [{"use": "scripted", "surface": "inspector", "otherwise": "keep"}],
    "in_process": True,
    "gate": {"use": "accuracy", "tolerance": 1.0},
    "probes": [{"use": "attack-success"}],
    "arms": {"slow": {}, "fast": {"recipe.update.epochs": 2}},
}
RECORDS = 2 * 2 * 3


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Dumps and validations of records and scenarios, by class, in this process."""
    counts: Counter[str] = Counter()
    model_dump, validate, build = BaseModel.model_dump, BaseModel.model_validate.__func__, BaseModel.__init__

    def dump(self: BaseModel, **options: Any) -> dict[str, Any]:
        counts[f"{type(self).__name__} dumped"] += 1
        return model_dump(self, **options)

    def validated(cls: type[BaseModel], value: Any, **options: Any) -> BaseModel:
        counts[f"{cls.__name__} validated"] += 1
        return validate(cls, value, **options)

    def built(self: BaseModel, /, **values: Any) -> None:
        counts[f"{type(self).__name__} validated"] += 1
        build(self, **values)

    monkeypatch.setattr(BaseModel, "model_dump", dump)
    monkeypatch.setattr(BaseModel, "model_validate", classmethod(validated))
    monkeypatch.setattr(BaseModel, "__init__", built)
    return counts


def play_all() -> None:
    overrides._arm.cache_clear()  # arms that another test resolved
    scenario = Scenario.model_validate(KEYS)
    registry, ledger = MemoryRegistry(), MemoryLedger()
    played = play(open_run(scenario, registry, ledger, "run"), scenario, registry, ledger, processes=0)
    assert sum(map(len, played.values())) == RECORDS


def test_a_record_is_validated_once_and_dumped_at_most_twice(counted: Counter[str]) -> None:
    play_all()
    assert counted["PeriodRecord validated"] == RECORDS
    assert counted["PeriodRecord dumped"] <= 2 * RECORDS


def test_a_scenario_is_parsed_once_and_so_is_each_of_its_arms(counted: Counter[str]) -> None:
    play_all()
    assert counted["Scenario validated"] <= 1 + 2  # what is written, and each arm
    assert counted["Scenario dumped"] <= 1 + 2


def test_no_state_dict_is_copied_more_than_twice_a_period(monkeypatch: pytest.MonkeyPatch) -> None:
    copies: Counter[tuple[int, int]] = Counter()
    period, weights_of = 0, simulator.tensors.weights_of
    models: list[nn.Module] = []  # held, so that no two have one id

    def copied(model: nn.Module) -> dict[str, Any]:
        models.append(model)
        copies[period, id(model)] += 1
        return weights_of(model)

    def listen(event: Any) -> None:
        nonlocal period
        if event.kind == "period-committed" and event.control == "none":
            period = event.period + 1

    for module in _users_of_weights():
        monkeypatch.setattr(f"{module}.weights_of", copied)
    scenario = Scenario.model_validate(KEYS | {"arms": {"main": {}}})
    registry, ledger = MemoryRegistry(), MemoryLedger()
    play(open_run(scenario, registry, ledger, "run"), scenario, registry, ledger, processes=0, listen=listen)
    assert max(copies.values()) <= 2


def _users_of_weights() -> list[str]:
    """The modules loaded that hold `weights_of`."""
    named = list(sys.modules.items())
    return [name for name, module in named if name.startswith("simulator.") and hasattr(module, "weights_of")]


def test_a_milestone_is_told_the_net_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Net attack success decides whether a version is erased; the raw one may be high on a model that merely lags."""
    told: list[set[str]] = []

    def noted(past: Any, readings: dict[str, Any], period: int, last: int) -> bool:
        told.append(set(readings))
        return False

    monkeypatch.setattr("simulator.loop.period.is_milestone", noted)
    play_all()
    assert told
    assert all({"backdoor/attack_success", "backdoor/net_attack_success"} <= names for names in told)
