"""A registry and a ledger that ask their store again while it does not answer; all callers are given these."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, final

from simulator.errors import StoreUnavailableError
from simulator.production.registry.base import Ledger, Registry
from simulator.system.patience import DEFAULT, patience

_FIRST, _LONGEST = 0.5, 15.0  # seconds between two tries
_LOGGER = logging.getLogger("ebbdoor.stores")

P = ParamSpec("P")
Answer = TypeVar("Answer")


@final
@dataclass(frozen=True, slots=True)
class Retry:
    """Tries again after 0.5, 1, 2, 4, 8, 15, 15 ... seconds, until `patience` seconds have passed by `clock`.

    There is no jitter: one process writes to a run, so there are no others to keep from asking at the same moment. The
    time of a try counts (a server hangs, a database is locked): there are then fewer of them. A store that was given up
    is asked once only, until it answers: a run that ends because of it closes at once.
    """

    patience: float = DEFAULT
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    given_up: threading.Event = field(default_factory=threading.Event, compare=False)

    @staticmethod
    def from_environment() -> Retry:
        """Return the policy with the patience in `EBBDOOR_STORE_PATIENCE`; `StoreError` when that is no duration."""
        return Retry(patience())

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


def _asking_again(method: Callable[Concatenate[Any, P], Answer]) -> Callable[Concatenate[Any, P], Answer]:
    """Return the method of a retrying store that calls the `inner` store's `method` and asks it again."""

    @wraps(method, updated=())  # not its `__isabstractmethod__`
    def asked(self: Any, /, *args: P.args, **options: P.kwargs) -> Answer:
        call = partial(getattr(self.inner, method.__name__), *args, **options)
        answer: Answer = self.retry.call(call, self.before_again)
        return answer

    return asked


@final
class RetryingRegistry(Registry):
    """The registry `inner`, asked again while its store does not answer.

    Before it is asked again it reads what the store holds: it is not known which writes of the failed call arrived.
    """

    def __init__(self, inner: Registry, retry: Retry) -> None:
        self.inner = inner
        self.retry = retry
        self.before_again = inner.refresh

    open = _asking_again(Registry.open)
    register = _asking_again(Registry.register)
    publish = _asking_again(Registry.publish)
    roll_back = _asking_again(Registry.roll_back)
    weights = _asking_again(Registry.weights)
    forget_after = _asking_again(Registry.forget_after)
    moved = _asking_again(Registry.moved)
    moved_meanwhile = _asking_again(Registry.moved_meanwhile)
    put_back = _asking_again(Registry.put_back)
    missing = _asking_again(Registry.missing)
    numbers = _asking_again(Registry.numbers)
    restore = _asking_again(Registry.restore)
    differences = _asking_again(Registry.differences)
    leftovers = _asking_again(Registry.leftovers)
    refresh = _asking_again(Registry.refresh)
    finish = _asking_again(Registry.finish)
    links = _asking_again(Registry.links)

    def delete(self, run: str) -> bool:
        # nothing is read again before: that would make anew what is half deleted
        return self.retry.call(lambda: self.inner.delete(run), _nothing)

    def sweep(self, run: str) -> None:
        self.retry.call(lambda: self.inner.sweep(run), _nothing)


@final
class RetryingLedger(Ledger):
    """The ledger `inner`, asked again while its store does not answer. A ledger always reads before it writes."""

    def __init__(self, inner: Ledger, retry: Retry) -> None:
        self.inner = inner
        self.retry = retry
        self.before_again = _nothing

    open = _asking_again(Ledger.open)
    commit = _asking_again(Ledger.commit)
    entries = _asking_again(Ledger.entries)
    forget_after = _asking_again(Ledger.forget_after)
    act = _asking_again(Ledger.act)
    actions = _asking_again(Ledger.actions)
    end = _asking_again(Ledger.end)
    ends = _asking_again(Ledger.ends)
    runs = _asking_again(Ledger.runs)
    holder = _asking_again(Ledger.holder)
    head = _asking_again(Ledger.head)
    hold = _asking_again(Ledger.hold)
    release = _asking_again(Ledger.release)


def _given_up(error: StoreUnavailableError, spent: float, tries: int) -> StoreUnavailableError:
    if tries == 1:
        return error
    return StoreUnavailableError(f"{error} (tried {tries} times in {spent:.0f} s)")


def _nothing() -> None:
    return
