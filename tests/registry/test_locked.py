"""A lock holds for the length of its block, however the block ends, and says who else holds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.errors import RunHeldError, StoreError
from simulator.production.registry.base import RunHead
from simulator.production.registry.folder import FolderLedger
from simulator.production.registry.locked import locked, locked_folder, noting_failure


class Ended(Exception):
    """Why a block ended."""


class Unreleased:
    """Stands for a ledger whose store fails when the lock is given back."""

    def hold(self, run: str, *, take_over: bool = False) -> None:
        self.held = (run, take_over)

    def release(self) -> None:
        raise StoreError("expected the store to answer, got none")


def test_a_run_is_locked_inside_the_block_alone(tmp_path: Path, head: RunHead) -> None:
    ledger = FolderLedger(tmp_path)
    ledger.open(head)
    with locked(ledger, head.run):
        assert FolderLedger(tmp_path).holder(head.run) is not None
    assert ledger.holder(head.run) is None


def test_a_block_that_raises_gives_its_lock_back(tmp_path: Path, head: RunHead) -> None:
    ledger = FolderLedger(tmp_path)
    ledger.open(head)
    with pytest.raises(Ended), locked(ledger, head.run):
        raise Ended
    assert ledger.holder(head.run) is None


def test_a_release_that_fails_too_is_noted_on_the_first_error() -> None:
    ledger = Unreleased()
    with pytest.raises(Ended) as raised, locked(ledger, "run", take_over=True):
        raise Ended
    assert ledger.held == ("run", True)
    assert raised.value.__notes__ == ["After that: expected the store to answer, got none"]
    with pytest.raises(StoreError, match="expected the store to answer"), locked(ledger, "run"):
        pass


def test_only_failures_of_a_store_are_noted() -> None:
    error = Ended()
    with pytest.raises(ValueError, match="another"), noting_failure(error):
        raise ValueError("another")


def test_a_locked_folder_is_refused_with_who_holds_it(tmp_path: Path) -> None:
    with locked_folder(tmp_path, "one", "timeline 'one'") as ledger:
        assert ledger.holder("one") is not None
        note = (tmp_path / "one" / "writer.json").read_text()
    assert ledger.holder("one") is None
    elsewhere = note.replace('"host": "', '"host": "not-')
    (tmp_path / "one" / "writer.json").write_text(elsewhere)
    with pytest.raises(RunHeldError, match=r"expected timeline 'one' to be free, .* delete .*writer\.json"), \
            locked_folder(tmp_path, "one", "timeline 'one'"):  # fmt: skip
        pass
