"""Values of a claim's sides that the readings do not tell: undefined with the reason, so the pair is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from simulator.study.claims.readings import value_of
from simulator.study.claims.values import Field, Value
from simulator.study.model import EndpointSpec
from simulator.study.timelines import PlayedTimeline

Build = Callable[..., PlayedTimeline]
NET = "backdoor/net_attack_success"
WHY = "there is no test image of source class 6"


def line(played: Build, nets: Sequence[float | str], collapsed: Sequence[float] | None = None) -> PlayedTimeline:
    readings: dict[str, Sequence[float | str]] = {NET: nets}
    if collapsed is not None:
        readings["backdoor/collapsed"] = collapsed
    return played("a", 100, [0.9] * len(nets), readings=readings)


@pytest.mark.parametrize(
    ("nets", "expected"),
    [
        ([0.9, WHY, 0.9], Value(2.0, ended=False)),
        ([0.9, WHY, 0.1], f"survival is unknown: net attack success is undefined: period 1: {WHY}"),
        ([WHY, WHY, 0.4], f"unknown whether it was planted: net attack success is undefined: periods 0-1: {WHY}"),
        ([0.4, 0.3], Value.excluded("not planted: net attack success never reached 50 %")),
    ],
)
def test_survival(played: Build, nets: Sequence[float | str], expected: Value | str) -> None:
    found = value_of(line(played, nets), "survival", EndpointSpec(measure="survival", horizon=2))
    assert found == (expected if isinstance(expected, Value) else Value.undefined(expected))


def test_a_reading_of_the_erased_version_needs_to_know_which_it_is(played: Build) -> None:
    asked = EndpointSpec(measure="clean/accuracy", over="erased")
    assert value_of(line(played, [0.9, 0.1, 0.1]), "clean/accuracy", asked) == Value(0.8)
    assert value_of(line(played, [0.9, 0.9, WHY]), "clean/accuracy", asked) == Value(0.8)  # none is erased
    unknown = value_of(line(played, [0.9, WHY, 0.1, 0.1]), "clean/accuracy", asked)
    assert (
        unknown.reason == f"unknown which version is the erased one: net attack success is undefined: period 1: {WHY}"
    )
    none = "the scenario has no attack"
    assert value_of(line(played, [none, none]), "clean/accuracy", asked) == Value(0.8)


def test_a_collapsed_version_gives_no_endpoint(played: Build) -> None:
    one = line(played, [0.9, 0.9, 0.9], collapsed=[0, 0, 1])
    why = "the model predicts one class for nearly everything"
    assert value_of(one, NET, EndpointSpec(measure=NET, over="last")) == Value.undefined(why)
    assert value_of(one, NET, EndpointSpec(measure=NET, over=1)) == Value(0.9)
    assert value_of(one, "clean/accuracy", EndpointSpec(measure="clean/accuracy", over="last")) == Value(0.8)
    mean = value_of(one, NET, EndpointSpec(measure=NET, over="mean"))
    assert mean.reason == f"undefined in 1 of 2 periods: {why}"


def test_a_column_that_is_null_says_why(played: Build) -> None:
    field = Field.of([line(played, [0.9, WHY, 0.1])])
    found = field.column("a", 100, "survival_updates_0.5")
    assert found.reason == f"'survival_updates_0.5' is undefined: period 1: {WHY}"
