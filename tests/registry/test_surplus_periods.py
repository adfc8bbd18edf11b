"""A twin's last period is taken back where its arm was killed before its own; more than one was lost by somebody."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import StoreError
from simulator.loop.resume import bring_back, resumed
from simulator.production.registry.base import Entry, Ledger, RunHead
from simulator.production.registry.folder import FolderLedger
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.records import LineageKey

MAIN, TWIN = LineageKey(arm="main"), LineageKey(arm="main", control="paced")


@pytest.fixture(params=["memory", "folder"])
def committed(request: Any, tmp_path: Path, head: RunHead, record: Any) -> Callable[[int, int], Ledger]:
    """Return a ledger in which the arm and its twin have committed so many periods."""

    def ledger_of(arm: int, twin: int) -> Ledger:
        ledger: Ledger = MemoryLedger() if request.param == "memory" else FolderLedger(tmp_path)
        ledger.open(head)
        for line, count in ((MAIN, arm), (TWIN, twin)):
            for period in range(count):
                one = record(period, line=line)
                ledger.commit(Entry(one, one.digest()))
        return ledger

    return ledger_of


def counts(ledger: Ledger) -> tuple[int, int]:
    return len(ledger.entries(MAIN)), len(ledger.entries(TWIN))


def test_one_surplus_period_of_a_twin_is_taken_back(committed: Any, head: RunHead) -> None:
    ledger, registry = committed(2, 3), MemoryRegistry()
    registry.open(head)
    for key, (state, _) in resumed(ledger, head, "main").items():
        bring_back(registry, ledger, key, state)
    assert counts(ledger) == (2, 2)


@pytest.mark.parametrize(("arm", "twin"), [(1, 3), (0, 2), (3, 1)])
def test_more_are_kept_and_the_loss_is_told(committed: Any, head: RunHead, arm: int, twin: int) -> None:
    ledger = committed(arm, twin)
    with pytest.raises(StoreError, match="nothing is played or taken back: restore it, or remove the run"):
        resumed(ledger, head, "main")
    assert counts(ledger) == (arm, twin)


def test_what_somebody_put_beside_the_periods_stays(tmp_path: Path, head: RunHead, record: Any) -> None:
    ledger = FolderLedger(tmp_path)
    ledger.open(head)
    for period in range(2):
        one = record(period)
        ledger.commit(Entry(one, one.digest()))
    folder = tmp_path / head.run / "main"
    others = ["notes.json", "1.json", "0001.json.bak", "0001.txt"]
    for name in others:
        (folder / name).write_text("mine")
    ledger.forget_after(MAIN, 0)
    assert {path.name for path in folder.iterdir()} == {"0000.json", *others}
