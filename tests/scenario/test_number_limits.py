"""Numbers that overflow, or that no arithmetic can use, are refused for every numeric key in a sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from simulator.errors import PluginError, ScenarioError
from simulator.preflight.scenario import check_scenario
from simulator.scenario import catalog
from simulator.scenario.load import load_scenario
from simulator.scenario.model import Scenario
from simulator.scenario.overrides import scenario_of, with_value

#: keys whose value may be a number among others
_SETS: dict[str, list[str]] = {"stream.arrivals": ["stream.arrivals={folder: drop}"]}


def kinds(annotation: Any) -> list[Any]:
    return [annotation, *(inner for part in get_args(annotation) for inner in kinds(part))]


def numeric(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, type]]:
    """Every key of a number in the model, dotted, with the type of its number."""
    for name, field in model.model_fields.items():
        key, found = f"{above}{field.alias or name}", kinds(field.annotation)
        number = next((kind for kind in (float, int) if kind in found), None)
        if number is not None and name != "arms":
            yield key, number
        for kind in found if name != "defenses" else ():  # a list, whose items have a test of their own
            if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not model:
                yield from numeric(kind, f"{key}.")


KEYS = dict(numeric(Scenario))
NEVER = ["1e400", "-1e400", ".inf", "-.inf", ".nan", str(10**30), str(-(10**30)), "9" * 5000]


def test_the_keys_are_found() -> None:
    assert {"seed", "periods", "defense_seconds", "stream.arrivals.megabytes", "recipe.update.epochs"} <= KEYS.keys()
    assert KEYS["recipe.replay.share"] is float
    assert len(KEYS) > 20


@pytest.mark.parametrize("key", KEYS)
def test_no_key_takes_what_overflows_or_is_no_number(key: str) -> None:
    before = next((given for section, given in _SETS.items() if key.startswith(section)), [])
    for text in NEVER:
        with pytest.raises(ScenarioError) as said:
            load_scenario("quickstart", [*before, f"{key}={text}"])
        assert len(str(said.value).splitlines()) == 1
        assert len(str(said.value)) < 400


@pytest.mark.parametrize("text", NEVER)
def test_no_item_of_the_defenses_takes_one(text: str) -> None:
    with pytest.raises(ScenarioError) as said:
        load_scenario("quickstart", [f"defenses=[{{use: none, when: {{every: {text}}}}}]"])
    assert len(str(said.value).splitlines()) == 1
    assert len(str(said.value)) < 400


@pytest.mark.parametrize("key", KEYS)
def test_nor_where_a_program_gives_it(key: str) -> None:
    tree = with_value(scenario_of({}).tree, "stream.arrivals", {"folder": "drop"})
    for value in (math.inf, -math.inf, math.nan, 10**30, -(10**30), 10**400):
        with pytest.raises(ScenarioError, match=key.replace(".", r"\.")):
            scenario_of(with_value(tree, key, value))


@pytest.mark.parametrize("key", [key for key in KEYS if not key.startswith("stream.arrivals")])
def test_the_largest_that_a_key_may_hold_is_played_or_refused_in_a_sentence(key: str) -> None:
    largest = 200_000.0 if KEYS[key] is float else 2**63 - 1
    with suppress(ScenarioError):  # and nothing else
        check_scenario(load_scenario("quickstart", ["source={use: digits}", f"{key}={largest}"]), data=True)


def of_anything(*, value: Any = None, count: int = 0, parts: tuple[float, ...] = ()) -> None:
    """Stand for a user's plug-in, whose options have no bounds."""


@pytest.mark.parametrize("number", [2**63, -(2**63), 10**400, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize(
    ("named", "given"),
    [
        ("value", lambda number: {"value": number}),
        ("value.rate.1", lambda number: {"value": {"rate": [0, number]}}),
        ("value.inner.deep", lambda number: {"value": {"inner": {"deep": number}}}),
        ("count", lambda number: {"count": number}),
        ("parts", lambda number: {"parts": [0.5, number]}),
    ],
)
def test_no_option_of_a_users_plug_in_takes_them_either(
    named: str, given: Callable[[float], dict[str, Any]], number: float
) -> None:
    with pytest.raises(PluginError, match=rf"it: .*{re.escape(named)}") as said:
        catalog.check_options("it", of_anything, given(number))
    assert len(str(said.value).splitlines()) == 1
    assert len(str(said.value)) < 400
    assert catalog.check_options("it", of_anything, {"value": 2**63 - 1}) == {"value": 2**63 - 1}


@pytest.mark.parametrize("kind", catalog.KINDS)
def test_no_option_of_a_plug_in_takes_what_is_no_finite_number(kind: str) -> None:
    for name, where in catalog.names(kind).items():
        if not where.startswith(("simulator", "defenses")):
            continue
        for option, (hint, _) in catalog.options(catalog.resolve(kind, name)).items():
            if float in kinds(hint):
                for value in (math.inf, math.nan):
                    with pytest.raises(ScenarioError, match=option):
                        catalog.check_options("it", catalog.resolve(kind, name), {option: value})
