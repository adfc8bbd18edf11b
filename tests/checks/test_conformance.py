"""Every plug-in that is installed, ours like anybody's, passes the checks of its kind."""

from __future__ import annotations

import inspect

import pytest

from simulator.checks import check, kind_of
from simulator.scenario import catalog

MEMBERS = [(kind, name) for kind in catalog.KINDS for name in catalog.names(kind)]


def test_every_kind_has_members() -> None:
    assert {kind for kind, _ in MEMBERS} == set(catalog.KINDS)


def test_every_kind_that_decides_can_be_scripted_and_left_out() -> None:
    for kind in ("monitors", "policies", "campaigns", "gates", "defenses"):
        assert "scripted" in catalog.names(kind)
    for kind in ("attacks", "campaigns", "defenses", "drifts", "gates", "monitors"):
        assert "none" in catalog.names(kind)


@pytest.mark.parametrize(("kind", "name"), MEMBERS, ids=[f"{kind}-{name}" for kind, name in MEMBERS])
def test_member_conforms(kind: str, name: str) -> None:
    results = check(kind, name)
    assert len(results) > 4
    assert [f"{result.name}: {result.message}" for result in results if not result.passed] == []


@pytest.mark.parametrize(("kind", "name"), MEMBERS, ids=[f"{kind}-{name}" for kind, name in MEMBERS])
def test_kind_is_found_without_being_told(kind: str, name: str) -> None:
    assert kind_of(catalog.names(kind)[name]) == kind


@pytest.mark.parametrize(("kind", "name"), MEMBERS, ids=[f"{kind}-{name}" for kind, name in MEMBERS])
def test_class_is_final(kind: str, name: str) -> None:
    member = catalog.resolve(kind, name)
    assert not inspect.isclass(member) or getattr(member, "__final__", False)
