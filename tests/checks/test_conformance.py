"""Every plug-in that is installed, ours like anybody's, passes the checks of its kind."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest

from simulator.checks import check, kind_of
from simulator.checks.material import MATRIX
from simulator.scenario import catalog

MEMBERS = [(kind, name) for kind in catalog.KINDS for name in catalog.names(kind)]

#: defense -> options with which it searches or trains for less long than at its defaults: what is checked (shapes,
#: repetition, inputs left alone, needs declared) does not depend on how long
SHORTER: dict[str, dict[str, int]] = {
    "anp": {"steps": 20},
    "bti-dbf": {"mask_steps": 30, "restarts": 2, "steps": 20},
    "fine-pruning": {"epochs": 2},
    "fine-tuning": {"epochs": 2},
    "fst": {"epochs": 4},
    "i-bau": {"rounds": 2, "steps": 2, "terms": 2},
    "nad": {"teacher": 2, "epochs": 2},
    "neural-cleanse": {"restarts": 2, "steps": 20},
    "neural-cleanse-unlearning": {"steps": 20, "epochs": 2},
    "sau": {"steps": 2, "epochs": 2},
    "trigger-difference": {"restarts": 2, "steps": 20},
}


def test_every_kind_has_members() -> None:
    assert {kind for kind, _ in MEMBERS} == set(catalog.KINDS)


def test_shapes_are_those_of_grey_and_coloured_images_of_ten_and_of_twenty_six_classes() -> None:
    assert {(case.channels, case.classes) for case in MATRIX} >= set(product((1, 3), (10, 26)))


def test_every_kind_that_decides_can_be_scripted_and_left_out() -> None:
    for kind in ("monitors", "policies", "campaigns", "gates", "defenses"):
        assert "scripted" in catalog.names(kind)
    for kind in ("attacks", "campaigns", "defenses", "drifts", "gates", "monitors"):
        assert "none" in catalog.names(kind)


@pytest.mark.parametrize(("kind", "name"), MEMBERS, ids=[f"{kind}-{name}" for kind, name in MEMBERS])
def test_member_conforms(kind: str, name: str) -> None:
    conforms(kind, name, SHORTER.get(name) if kind == "defenses" else None)


@pytest.mark.slow  # minutes in all; other options of the same classes are checked above
@pytest.mark.parametrize("name", SHORTER)
def test_defense_conforms_at_its_defaults(name: str) -> None:
    conforms("defenses", name)


def conforms(kind: str, name: str, given: Mapping[str, Any] | None = None) -> None:
    results = check(kind, name, given)
    assert len(results) > 4
    assert [f"{result.name}: {result.message}" for result in results if not result.passed] == []


@pytest.mark.parametrize(("kind", "name"), MEMBERS, ids=[f"{kind}-{name}" for kind, name in MEMBERS])
def test_kind_is_found_without_being_told(kind: str, name: str) -> None:
    assert kind_of(catalog.names(kind)[name]) == kind


@pytest.mark.parametrize(("kind", "name"), MEMBERS, ids=[f"{kind}-{name}" for kind, name in MEMBERS])
def test_class_is_final(kind: str, name: str) -> None:
    member = catalog.resolve(kind, name)
    assert not inspect.isclass(member) or getattr(member, "__final__", False)
