"""What a defense that looks back is handed after rejections and roll-backs, and of versions that do not serve."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from defenses.base import Context

from . import spying_defenses
from .conftest import SMALL, Opened, digests

KEYS: dict[str, Any] = {
    "in_process": True,
    "twins": [],
    "recipe": {"base": {"epochs": 1, "batch": 32}, "update": {"epochs": 1, "batch": 32}},
    "attack": {"use": "none"},
    "campaign": {"use": "none"},
}


def looking(back: int) -> dict[str, Any]:
    return {"use": "scripted", "surface": "inspector", "back": back}


def loaded(opened: Opened, period: int) -> list[int]:
    return [ordinal for ordinal, _ in opened.records()[period].outcomes[0].evidence["loaded"]]


def test_the_champion_is_handed_over_however_many_candidates_were_rejected() -> None:
    opened = Opened(
        **KEYS | {"periods": 6, "defenses": [looking(2)], "gate": {"use": "scripted", "reject": [2, 3, 4, 5]}}
    )
    for period in range(7):  # a process a period: what is needed is kept in the stores
        opened.play(until=period)
    assert [record.version for record in opened.records()] == [0, 1, 1, 1, 1, 1, 6]
    assert loaded(opened, 2) == [0, 1]
    assert loaded(opened, 6) == [0, 1, 4, 5]
    assert opened.records()[6].outcomes[0].evidence["champion"] == 1


@pytest.mark.parametrize("stops", [(), (9, 10)], ids=["undisturbed", "resumed"])
def test_after_a_roll_back_the_ancestors_of_the_champion_are_fetched(stops: tuple[int, ...]) -> None:
    """Version 7 serves again in period 9; six back are 7 to 2, of which 2 was let go of in period 8."""
    opened = Opened(**KEYS | {
        "periods": 11, "defenses": [looking(6)], "gate": {"use": "scripted", "roll_back": [9]},
        "policy": {"use": "scripted", "periods": [*range(1, 9), 11]},
        "stream": SMALL["stream"] | {"base": 120, "batch": 40},
    })  # fmt: skip
    for until in (*stops, None):
        opened.play(until=until)
    assert [record.version for record in opened.records()] == [*range(9), 7, 7, 9]
    assert 2 not in opened.records()[8].state["platform"]["kept"]
    assert loaded(opened, 10) == [2, 3, 4, 5, 6, 7, 8]
    assert loaded(opened, 11) == [2, 3, 4, 5, 6, 7, 8]


class Heard:
    """What the spies were handed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, int, str, int | None, bool]] = []
        monkeypatch.setattr(spying_defenses, "LISTENERS", [self._listen])

    def _listen(self, surface: str, context: Context) -> None:
        line, own = context.history.lineage(), context.model.state_dict()
        same = bool(line) and all(torch.equal(value, own[name]) for name, value in line[0].weights().items())
        self.calls.append((surface, context.period, context.subject, context.history.champion, same))

    def of(self, surface: str, period: int) -> set[tuple[str, int | None, bool]]:
        return {call[2:] for call in self.calls if call[:2] == (surface, period)}


def test_behind_the_screens_a_rejected_candidate_is_no_champion(monkeypatch: pytest.MonkeyPatch) -> None:
    """The history is as if it served: the model is the first of its line, its parent the second."""
    heard = Heard(monkeypatch)
    keys = {"periods": 2, "defenses": [{"use": "tests.timeline.spying_defenses:SpyScreen"}],
            "gate": {"use": "scripted", "reject": [2]}, "probes": [{"use": "attack-success"}],
            "attack": SMALL["attack"], "campaign": SMALL["campaign"]}  # fmt: skip
    Opened(**KEYS | keys).play()
    assert heard.of("screen", 1) == {("champion", 1, True)}
    assert heard.of("screen", 2) == {("champion", 1, True), ("candidate", 2, True)}


def test_behind_the_screens_a_held_version_is_the_challenger(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard(monkeypatch)
    keys = {"periods": 1, "defenses": [{"use": "tests.timeline.spying_defenses:SpyScreen"}], "shadow": {"periods": 2},
            "probes": [{"use": "attack-success"}], "attack": SMALL["attack"]}  # fmt: skip
    Opened(**KEYS | keys | {"campaign": SMALL["campaign"]}).play()
    assert heard.of("screen", 1) == {("champion", 0, True), ("challenger", 1, True)}


@pytest.mark.parametrize(
    ("start", "subject", "same"), [("champion", "champion", True), ("scratch", "candidate", False)]
)
def test_a_training_from_scratch_is_told_that_it_is_handed_no_champion(
    start: str, subject: str, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard(monkeypatch)
    keys = {"periods": 1, "recipe": KEYS["recipe"] | {"start": start}}
    Opened(**KEYS | keys | {"defenses": [{"use": "tests.timeline.spying_defenses:SpyTraining"}]}).play()
    assert heard.of("training", 1) == {(subject, 0, same)}


def test_a_resumed_run_with_rejections_is_the_undisturbed_one() -> None:
    keys = KEYS | {"periods": 4, "defenses": [looking(1)], "gate": {"use": "scripted", "reject": [1, 2, 3]}}
    whole, steps = Opened(**keys), Opened(**keys)
    expected = digests(whole.play())
    for period in range(5):
        steps.play(until=period)
    assert digests({"main": steps.ledger.entries(steps.head.lineages[0])}) == expected
