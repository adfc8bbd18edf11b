"""Verdicts where net attack success is missing in some periods: unknown is said, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from simulator.observer.summary import summarise
from simulator.observer.verdict import verdicts
from simulator.production.registry.base import Entry
from simulator.records import Reading

MakeEntry = Callable[..., Entry]
WHY = "there is no test image of source class 6"


def line(entry: MakeEntry, nets: Sequence[float | None]) -> list[Entry]:
    lost = {"backdoor/net_attack_success": Reading.undefined(WHY)}
    return [
        entry(period, net=net, readings=lost if net is None else None, poison=0.1 * (period == 0))
        for period, net in enumerate(nets)
    ]


@pytest.mark.parametrize(
    ("nets", "expected"),
    [
        (
            [None, None, 0.48],
            "unknown whether it was ever planted: net ASR did not reach 50.0% where it is known (highest 48.0%), and "
            f"is not known everywhere (periods 0-1: {WHY}).",
        ),
        (
            [None, 0.9, 0.99],
            "planted, in a period that is unknown; not erased by the end. How long it survived is unknown (at least 1 "
            f"update): period 0: {WHY}; net ASR 99.0% at the end.",
        ),
        (
            [0.9, None, 0.1, 0.1],
            "planted; erased. How long it survived is unknown (1 to 2 updates): "
            f"period 1: {WHY}; net ASR 10.0% at the end.",
        ),
        (
            [0.9, 0.8, None],
            f"not erased after 2 updates, as far as it is known: net ASR at the end is unknown ({WHY}).",
        ),
        (
            [0.9, 0.1, 0.1, None],
            f"erased after 1 update: net ASR at the end is unknown ({WHY}). Whether it came back is unknown.",
        ),
        (
            [0.9, 0.1, 0.1, 0.9, None, 0.9],
            "erased after 1 update, came back in period 3 and is alive at the end: net ASR 90.0% at the end.",
        ),
        (
            [0.9, 0.1, 0.1, 0.9, None, None, 0.9],
            "erased after 1 update: net ASR 90.0% at the end. It came back above the threshold at least 1 time after "
            "it was erased.",
        ),
        (
            [0.9, None, 0.1, 0.1, 0.9],
            "planted; erased. How long it survived is unknown (1 to 2 updates): "
            f"period 1: {WHY}; net ASR 90.0% at the end. It came back in period 4 and is alive at the end.",
        ),
        (
            [0.9, 0.1, 0.1, 0.9, None],
            f"erased after 1 update, came back in period 3 and what became of it then is unknown: net ASR at the end "
            f"is unknown ({WHY}).",
        ),
        ([0.9, None, 0.9], "survives all 2 updates that followed: net ASR 90.0% at the end."),
        ([None, None], f"no verdict on the backdoor: {WHY}."),
    ],
)
def test_verdicts(entry: MakeEntry, nets: Sequence[float | None], expected: str) -> None:
    summary = summarise({"main": line(entry, nets)})
    assert verdicts(summary)["main"] == f"{expected} Clean accuracy 80.0%."
    part = summary["arms"]["main"]
    missing = {
        key for key, value in part.items() if value is None or (isinstance(value, dict) and None in value.values())
    }
    assert set(part["reasons"]) == missing
    assert all(part["reasons"].values())


def test_the_highest_reading_is_unknown_where_one_is_missing(entry: MakeEntry) -> None:
    part = summarise({"main": line(entry, [0.3, None])})["arms"]["main"]
    assert (part["highest_net_attack_success"], part["highest_known_net_attack_success"]) == (None, 0.3)
    assert part["planted"] is None
    assert "planted" not in part["by_threshold"]["0.5"]
    assert part["by_threshold"]["0.1"]["planted"] is True


def test_a_mean_up_to_no_update_is_undefined(entry: MakeEntry) -> None:
    part = summarise({"main": line(entry, [0.9])})["arms"]["main"]
    assert part["restricted_mean_updates"] == {"0.5": None, "0.1": None}
    assert part["reasons"]["restricted_mean_updates"] == "some planted arm is not followed over any update"
