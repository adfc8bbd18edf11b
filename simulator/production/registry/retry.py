"""A registry and a ledger that ask their store again while it does not answer; all callers are given these."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, final

from simulator.errors import StoreError, StoreUnavailableError
from simulator.production.lineage import LineageState
from simulator.production.registry.base import Entry, Ledger, Registry, RunHead, StoredRun, VersionPayload
from simulator.records import Action, LineageKey, PeriodRecord
from simulator.system.holder import Holder

#: environment variable: seconds to go on asking a store that does not answer; 0 asks once
PATIENCE = "EBBDOOR_STORE_PATIENCE"

_DEFAULT = 60.0  # rides out a registry that is away for half a minute, and is started again
_FIRST, _LONGEST = 0.5, 15.0  # seconds between two tries
_LOGGER = logging.getLogger("ebbdoor.stores")

if TYPE_CHECKING:
    from torch import Tensor

Answer = TypeVar("Answer")


@final
@dataclass(frozen=True, slots=True)
class Retry:
    """Tries again after 0.5, 1, 2, 4, 8, 15, 15 ... seconds, until `patience` seconds have passed by `clock`.

    There is no jitter: one process writes to a run, so there are no others to keep from asking at the same moment. The
    time of a try counts (a server hangs, a database is locked): there are then fewer of them. A store that was given up
    is asked once only, until it answers: a run that ends because of it closes at once.
    """

    patience: float = _DEFAULT
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    given_up: threading.Event = field(default_factory=threading.Event, compare=False)

    @staticmethod
    def from_environment() -> Retry:
        """Return the policy with the patience in `EBBDOOR_STORE_PATIENCE`; `StoreError` when that is no duration."""
        text = os.environ.get(PATIENCE, str(_DEFAULT))
        try:
            patience = float(text)
        except ValueError:
            patience = -1.0
        if not 0 <= patience <= 86_400:
            raise StoreError(f"expected {PATIENCE} to be 0 to 86400 seconds, got '{text}'; correct or unset it")
        return Retry(patience)

    @property
    def delays(self) -> tuple[float, ...]:
        """The seconds between two tries that fail at once; together `patience`."""
        found: list[float] = []
        while (left := self.patience - sum(found)) > 0:
            found.append(min(_FIRST * 2 ** len(found), _LONGEST, left))
        return tuple(found)

    def call(self, function: Callable[[], Answer], refresh: Callable[[], None]) -> Answer:
        """Return what `function` returns; after each `StoreUnavailableError` wait, `refresh`, and ask again.

        The last error is raised with a sentence that says for how long it was tried.
        """
        begun, delays = self.clock(), () if self.given_up.is_set() else self.delays
        tries, again = 0, False
        while True:
            try:
                if again:
                    refresh()
                answer = function()
                self.given_up.clear()
                return answer
            except StoreUnavailableError as error:
                spent = self.clock() - begun
                if tries == len(delays) or spent >= self.patience:
                    self.given_up.set()
                    raise _given_up(error, spent, tries + 1) from error
                delay, tries, again = delays[tries], tries + 1, True
                _LOGGER.warning(
                    "the store does not answer, trying again in %g s (%d of %d): %s", delay, tries, len(delays), error
                )
                self.sleep(delay)


@final
class RetryingRegistry(Registry):
    """The registry `inner`, asked again while its store does not answer.

    Before it is asked again it reads what the store holds: it is not known which writes of the failed call arrived.
    """

    def __init__(self, inner: Registry, retry: Retry) -> None:
        self._inner = inner
        self._retry = retry

    def open(self, head: RunHead) -> None:
        self._again(lambda: self._inner.open(head))

    def register(self, payload: VersionPayload) -> dict[str, str]:
        return self._again(lambda: self._inner.register(payload))

    def publish(self, record: PeriodRecord, metadata: Mapping[str, Any], now: LineageState) -> None:
        self._again(lambda: self._inner.publish(record, metadata, now))

    def roll_back(self, lineage: LineageKey, action: Action, now: LineageState) -> None:
        self._again(lambda: self._inner.roll_back(lineage, action, now))

    def weights(self, lineage: LineageKey, ordinal: int) -> dict[str, Tensor]:
        return self._again(lambda: self._inner.weights(lineage, ordinal))

    def forget_after(self, lineage: LineageKey, period: int, now: LineageState) -> None:
        self._again(lambda: self._inner.forget_after(lineage, period, now))

    def differences(self, lineage: LineageKey, period: int, now: LineageState) -> list[str]:
        return self._again(lambda: self._inner.differences(lineage, period, now))

    def leftovers(self) -> dict[str, list[str]]:
        return self._again(self._inner.leftovers)

    def refresh(self) -> None:
        self._again(self._inner.refresh)

    def finish(self, status: str, files: Mapping[str, str]) -> None:
        self._again(lambda: self._inner.finish(status, files))

    def delete(self, run: str) -> None:
        # nothing is read again before: that would make anew what is half deleted
        self._retry.call(lambda: self._inner.delete(run), _nothing)

    def links(self) -> dict[str, str]:
        return self._again(self._inner.links)

    def _again(self, function: Callable[[], Answer]) -> Answer:
        return self._retry.call(function, self._inner.refresh)


@final
class RetryingLedger(Ledger):
    """The ledger `inner`, asked again while its store does not answer. A ledger always reads before it writes."""

    def __init__(self, inner: Ledger, retry: Retry) -> None:
        self._inner = inner
        self._retry = retry

    def open(self, head: RunHead) -> None:
        self._again(lambda: self._inner.open(head))

    def commit(self, entry: Entry) -> None:
        self._again(lambda: self._inner.commit(entry))

    def entries(self, lineage: LineageKey) -> list[Entry]:
        return self._again(lambda: self._inner.entries(lineage))

    def forget_after(self, lineage: LineageKey, period: int) -> None:
        self._again(lambda: self._inner.forget_after(lineage, period))

    def act(self, action: Action, metadata: Mapping[str, Any]) -> None:
        self._again(lambda: self._inner.act(action, metadata))

    def actions(self, arm: str) -> list[Action]:
        return self._again(lambda: self._inner.actions(arm))

    def runs(self) -> list[StoredRun]:
        return self._again(self._inner.runs)

    def holder(self, run: str) -> Holder | None:
        return self._again(lambda: self._inner.holder(run))

    def head(self, run: str) -> RunHead:
        return self._again(lambda: self._inner.head(run))

    def hold(self, run: str, *, take_over: bool = False) -> None:
        self._again(lambda: self._inner.hold(run, take_over=take_over))

    def release(self) -> None:
        self._again(self._inner.release)

    def _again(self, function: Callable[[], Answer]) -> Answer:
        return self._retry.call(function, _nothing)


def _given_up(error: StoreUnavailableError, spent: float, tries: int) -> StoreUnavailableError:
    if tries == 1:
        return error
    return StoreUnavailableError(f"{error} (tried {tries} times in {spent:.0f} s)")


def _nothing() -> None:
    return
