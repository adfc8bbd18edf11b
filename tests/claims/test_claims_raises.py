"""Claims that cannot be weighed are refused when a study is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from simulator.study.model import Study

RANKS = {"correlation": {"of": "rate_sum", "with": "survival_updates_0.5", "settings": ["a", "b", "c"]}}
EFFECT = {"measure": "backdoor/triggered_effect"}


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"one": {}}, "exactly one of setting, value and correlation, got none"),
        ({"other": {"setting": "b", "value": 3}}, "got setting and value; give one"),
        ({"other": {"value": 3, "measure": "alarms"}}, "expected measure and over beside a setting only"),
        ({"one": {"value": 3}}, "expected `one` to be measured, got a value"),
        (
            {"endpoint": {"measure": "survival"}},
            "expected a horizon for 'survival' and 'erased' and for nothing else, got None",
        ),
        (
            {"endpoint": {**EFFECT, "horizon": 8}},
            "expected a horizon for 'survival' and 'erased' and for nothing else, got 8",
        ),
        ({"one": RANKS}, "expected correlations as sides of 'rank_correlation'"),
        ({"endpoint": {"measure": "rank_correlation"}}, "expected correlations as sides of 'rank_correlation'"),
        ({"endpoint": EFFECT, "other": RANKS}, "expected correlations as sides of 'rank_correlation'"),
        ({"one": {"setting": "a", "measure": "alarms"}}, "expected both sides of 'survival' to be survivals"),
        ({"one": {"setting": "a", "over": 3}}, "expected over beside a reading only, got it beside 'survival'"),
        (
            {"endpoint": {"measure": "exposure"}, "other": {"setting": "b", "over": "first"}},
            "expected over beside a reading only, got it beside 'exposure'",
        ),
        ({"start": {}, "other": {"value": 8}}, "expected start where both sides are settings"),
        ({"beside": [{"one": RANKS, "other": {"setting": "b"}}]}, "expected correlations as sides"),
        ({"endpoint": {"measure": "survival", "horizon": 8, "threshold": 0.3}}, "expected threshold to be one of"),
    ],
)
def test_refused(
    study: Callable[..., Study], claim: Callable[..., dict[str, Any]], keys: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValidationError, match=text):
        study(claim(**keys))


def test_two_claims_of_one_id(study: Callable[..., Study], claim: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(ValidationError, match="expected each claim to have an id of its own, got longer twice"):
        study(claim(), claim())


def test_a_note_on_no_claim(study: Callable[..., Study], claim: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(ValidationError, match="expected notes of claims, got one of 'shorter'"):
        study(claim(), notes={"shorter": "because"})


def test_notes_do_not_make_it_another_study(study: Callable[..., Study], claim: Callable[..., dict[str, Any]]) -> None:
    assert study(claim(), notes={"longer": "because"}).digest() == study(claim()).digest()
    assert study(claim(gate=1)).digest() != study(claim()).digest()
