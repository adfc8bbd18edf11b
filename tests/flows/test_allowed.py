"""Which of its own classes a deployment's scenario may name. Nothing is imported to find out."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from flows.allowed import check_allowed
from simulator.errors import ScenarioError
from simulator.scenario.catalog import KINDS
from simulator.scenario.model import Scenario

PLACES: dict[str, dict[str, Any]] = {
    "source": {"source": {"use": "evil:Thing"}},
    "drift": {"drift": [{"use": "rotation"}, {"use": "evil:Thing"}]},
    "attack": {"attack": {"use": "evil:Thing"}},
    "campaign": {"campaign": {"use": "evil:Thing"}},
    "monitor": {"monitor": {"use": "evil:Thing"}},
    "policy": {"policy": {"use": "evil:Thing"}},
    "network": {"recipe": {"network": {"use": "evil:Thing"}}},
    "optimizer": {"recipe": {"base": {"optimizer": {"use": "evil:Thing"}}}},
    "schedule": {"recipe": {"update": {"schedule": {"use": "evil:Thing"}}}},
    "defense": {"defenses": [{"use": "evil:Thing"}]},
    "gate": {"gate": {"use": "evil:Thing"}},
    "probe": {"probes": [{"use": "evil:Thing"}]},
    "an arm's override": {"arms": {"main": {}, "other": {"attack": {"use": "evil:Thing"}}}},
    "an arm's dotted override": {"arms": {"main": {"recipe.network.use": "evil:Thing"}}},
    "an option that is a plug-in itself": {"monitor": {"use": "none", "inner": [{"use": "evil:Thing"}]}},
}


def test_every_kind_of_plug_in_is_tried_below() -> None:
    assert set(KINDS.values()) <= PLACES.keys()


@pytest.mark.parametrize("values", PLACES.values(), ids=PLACES)
def test_a_class_of_ones_own_is_refused_wherever_it_is_named(values: dict[str, Any]) -> None:
    scenario = Scenario.model_validate(values)
    with pytest.raises(
        ScenarioError, match="got evil:Thing; have the worker started with EBBDOOR_ALLOWED_MODULES=evil"
    ):
        check_allowed(scenario, "")
    check_allowed(scenario, "evil")
    assert "evil" not in sys.modules


@pytest.mark.parametrize(
    ("named", "allowed", "accepted"),
    [
        ("pkg.part:Thing", "pkg.part:Thing", True),
        ("pkg.part:Thing", "pkg.part", True),
        ("pkg.part:Thing", "pkg", True),
        ("pkg.part:Thing", " other , pkg ", True),
        ("pkg.part:Thing", "pk", False),
        ("pkgs.part:Thing", "pkg", False),
        ("pkg.part:Thing", "pkg.part:Other", False),
        ("pkg.part:Thing", "pkg.part.deep", False),
        ("pkg.part:Thing", "pkg.", False),
        ("pkg.part:Thing", ",", False),
        (":Thing", "", False),
    ],
)
def test_a_package_allows_what_lies_below_it(named: str, allowed: str, accepted: bool) -> None:
    scenario = Scenario.model_validate({"monitor": {"use": named}})
    if accepted:
        check_allowed(scenario, allowed)
        return
    with pytest.raises(ScenarioError, match="installed or allowed"):
        check_allowed(scenario, allowed)


def test_what_is_installed_needs_no_permission_by_either_name() -> None:
    from simulator.scenario.catalog import names

    path = names("defenses")["none"]
    check_allowed(Scenario.model_validate({"defenses": [{"use": "none"}, {"use": path}]}), "")
