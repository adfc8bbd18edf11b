"""Bounds in annotations are checked alike from a scenario and in Python, with the same sentence."""

from __future__ import annotations

import copy
import inspect
import re
from dataclasses import dataclass
from typing import Annotated, Any, final

import pytest
from pydantic import Field

from simulator.errors import PluginError
from simulator.scenario import catalog
from simulator.scenario.bounds import Bounded, Count

Share = Annotated[float, Field(gt=0, le=1)]


class Base(Bounded):
    """A kind's base class with an option of its own."""

    def __init__(self, *, at: Annotated[int, Field(ge=0)] = 1) -> None:
        self.at = at


@final
class Member(Base):
    """Hands one option to the base and keeps others."""

    def __init__(
        self,
        *,
        share: Share = 0.5,
        most: Annotated[int, Field(ge=1)] | None = None,
        rates: dict[int, Share] | None = None,
        free: Any = None,
        at: int = 1,
    ) -> None:
        super().__init__(at=at)
        self.share, self.most, self.rates, self.free = share, most, rates, free


@final
class Inherits(Base):
    """Has the constructor of its base class."""


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"share": 0}, "expected share to be above 0.0, got 0; raise it"),
        ({"share": 1.5}, "expected share to be at most 1.0, got 1.5; lower it"),
        ({"most": 0}, "expected most to be at least 1, got 0; raise it"),
        ({"rates": {"3": 2.0}}, "expected rates.3 to be at most 1.0, got 2.0; lower it"),
        (
            {"share": 0, "most": 0},
            "expected share to be above 0.0, got 0; raise it\nexpected most to be at least 1, got 0",
        ),
    ],
    ids=["not above", "too high", "too low or none", "in a mapping", "two at once"],
)
def test_same_sentence_from_scenario_and_in_python(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}") as caught:
        Member(**given)
    with pytest.raises(PluginError) as refused:
        catalog.check_options("member", Member, given)
    assert str(refused.value) == "\n".join(f"member: {line}" for line in str(caught.value).splitlines())


@pytest.mark.parametrize("share", [float("nan"), float("inf")])
def test_what_is_no_finite_number_is_outside_bounds(share: float) -> None:
    with pytest.raises(ValueError, match="expected share to be a finite number"):
        Member(share=share)


def test_bounds_of_a_base_class_are_checked_when_it_is_handed_the_option() -> None:
    for member in (Member, Inherits):
        with pytest.raises(ValueError, match=r"^expected at to be at least 0, got -1; raise it$"):
            member(at=-1)


@dataclass(frozen=True, kw_only=True)
class Fields(Bounded):
    """A plug-in that is a dataclass."""

    share: Share = 0.5
    free: Any = None


class Constructor(Fields):
    """Extends a dataclass by a constructor of its own."""

    def __init__(self, *, most: Count = 1) -> None:
        super().__init__(share=1 / most)


def test_a_constructor_of_its_own_has_the_bounds_of_its_own() -> None:
    assert Constructor(most=2).share == 0.5
    assert catalog.options(Constructor) == {"most": (int, 1)}
    with pytest.raises(ValueError, match=r"^expected most to be at least 1, got 0; raise it$"):
        Constructor(most=0)


def test_bounds_of_a_dataclass_are_checked() -> None:
    assert Fields(share=1.0).share == 1.0
    with pytest.raises(ValueError, match=r"^expected share to be above 0\.0, got 0\.0; raise it$"):
        Fields(share=0.0)
    with pytest.raises(PluginError, match=r"^member: expected share to be above 0\.0, got 0\.0; raise it$"):
        catalog.check_options("member", Fields, {"share": 0.0})


def test_values_are_not_converted_and_what_has_no_bound_is_not_looked_at() -> None:
    free = object()
    built = Member(share=1, rates={2: 1}, free=free)
    assert type(built.share) is int
    assert built.free is free
    assert built.most is None
    assert copy.deepcopy(Member(share=0.25)).share == 0.25


def test_signature_is_the_constructors_own() -> None:
    assert list(inspect.signature(Member).parameters) == ["share", "most", "rates", "free", "at"]
    assert catalog.options(Member)["share"] == (float, 0.5)


def test_annotations_that_cannot_be_read_are_left_to_the_catalogue() -> None:
    class Unreadable(Base):
        def __init__(self, *, share: Nowhere = 2.0) -> None:  # type: ignore[name-defined]  # noqa: F821
            self.share = share

    assert Unreadable(share=3.0).share == 3.0
    with pytest.raises(PluginError, match="annotations can be read"):
        catalog.check_options("member", Unreadable, {})
