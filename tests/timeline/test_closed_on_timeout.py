"""A scenario whose limits fail closed: what was not defended does not serve, and what was not screened is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import Opened

#: surface -> a defense whose every call goes beyond the passes that these tests allow
SLOW = {
    "filter": "slow_defenses:SlowFilter",
    "repair": "slow_defenses:SlowRepair",
    "inspector": "slow_defenses:SlowInspector",
    "screen": "slow_defenses:SlowScreen",
}


@pytest.fixture(autouse=True)
def _can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)


def played(surface: str, on_timeout: str, **keys: Any) -> Opened:
    """Play one update with a defense whose every call goes beyond the passes allowed."""
    limits = {"on_timeout": on_timeout, "defense_passes": 1, "in_process": True, "twins": []}
    run = Opened(periods=1, defenses=[{"use": SLOW[surface]}], **limits, **keys)
    run.play()
    return run


@pytest.mark.parametrize("surface", ["filter", "repair", "inspector"])
@pytest.mark.parametrize(("on_timeout", "action"), [("closed", "rejected"), ("pass", "promoted")])
def test_a_candidate_that_was_not_defended_is_rejected_where_the_scenario_says(
    surface: str, on_timeout: str, action: str
) -> None:
    first, second = played(surface, on_timeout, gate={"use": "none"}).records()
    assert {outcome.status for outcome in (*first.outcomes, *second.outcomes)} == {"timeout"}
    assert (second.judgement.action, second.version) == (action, 0 if action == "rejected" else 1)
    said = f"not defended: {SLOW[surface]} timed out"
    assert (second.judgement.why == said) == (on_timeout == "closed")
    assert first.version == 0  # the first version serves whatever the verdict, and says so
    assert first.judgement.why.endswith(said) == (on_timeout == "closed")


def test_a_candidate_that_was_not_defended_goes_into_no_shadow() -> None:
    run = played("repair", "closed", gate={"use": "accuracy", "tolerance": 1.0}, shadow={"periods": 2})
    assert run.records()[1].judgement.action == "rejected"
    assert run.records()[1].challenger is None


@pytest.mark.parametrize(("on_timeout", "refused"), [("closed", 1.0), ("reject", 0.0), ("pass", 0.0)])
def test_a_screen_that_is_not_finished_refuses_all_where_the_scenario_says(on_timeout: str, refused: float) -> None:
    _, second = played("screen", on_timeout).records()
    assert second.readings["clean/refused_share"].value == refused
    (outcome,) = second.outcomes
    assert outcome.status == "timeout"
    assert outcome.reason.endswith("; all images are refused") == (on_timeout == "closed")
    assert second.judgement.action == "promoted"  # a screen acts after the gate
