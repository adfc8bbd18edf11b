"""How often, and how long apart, a store that does not answer is asked again: bounded, and the same every time."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, final

from simulator.errors import StoreError, StoreUnavailableError

__all__ = ["PATIENCE", "Retry"]

#: environment variable: seconds to go on asking a store that does not answer; 0 asks once
PATIENCE = "EBBDOOR_STORE_PATIENCE"

_DEFAULT = 60.0  # rides out a registry that is away for half a minute, and is started again
_FIRST, _LONGEST = 0.5, 15.0  # seconds between two tries
_LOGGER = logging.getLogger("ebbdoor.stores")

Answer = TypeVar("Answer")


@final
@dataclass(frozen=True, slots=True)
class Retry:
    """Tries again after 0.5, 1, 2, 4, 8, 15, 15 ... seconds, until `patience` seconds have passed by `clock`.

    There is no jitter: one process writes to a run, so nobody is to be kept from asking at the same moment. A try that
    itself takes long (a server that hangs, a locked database) counts: there are then fewer of them. A store that was
    given up is asked once only, until it answers: a run that ends because of it closes at once.
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


def _given_up(error: StoreUnavailableError, spent: float, tries: int) -> StoreUnavailableError:
    if tries == 1:
        return error
    return StoreUnavailableError(f"{error} (tried {tries} times in {spent:.0f} s)")
