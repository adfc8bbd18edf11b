"""A registry and a ledger that ask their store again: what every caller of the stores is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, final

from simulator.production.registry.base import Entry, Ledger, Registry, RunHead, RunState, VersionPayload
from simulator.production.registry.holder import Holder
from simulator.production.registry.retry import Retry
from simulator.production.registry.standing import Standing
from simulator.records import Action, LineKey, PeriodRecord

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["RetryingLedger", "RetryingRegistry"]

Answer = TypeVar("Answer")


@final
class RetryingRegistry(Registry):
    """The registry `inner`, asked again while its store does not answer.

    Before it is asked again it reads what the store holds: nobody knows which writes of the failed call arrived.
    """

    def __init__(self, inner: Registry, retry: Retry) -> None:
        self._inner = inner
        self._retry = retry

    def open(self, head: RunHead) -> None:
        self._again(lambda: self._inner.open(head))

    def register(self, payload: VersionPayload) -> dict[str, str]:
        return self._again(lambda: self._inner.register(payload))

    def publish(self, record: PeriodRecord, beside: Mapping[str, Any], now: Standing) -> None:
        self._again(lambda: self._inner.publish(record, beside, now))

    def roll_back(self, line: LineKey, action: Action, now: Standing) -> None:
        self._again(lambda: self._inner.roll_back(line, action, now))

    def weights(self, line: LineKey, ordinal: int) -> dict[str, Tensor]:
        return self._again(lambda: self._inner.weights(line, ordinal))

    def forget_after(self, line: LineKey, period: int, now: Standing) -> None:
        self._again(lambda: self._inner.forget_after(line, period, now))

    def differences(self, line: LineKey, period: int, now: Standing) -> list[str]:
        return self._again(lambda: self._inner.differences(line, period, now))

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

    def entries(self, line: LineKey) -> list[Entry]:
        return self._again(lambda: self._inner.entries(line))

    def forget_after(self, line: LineKey, period: int) -> None:
        self._again(lambda: self._inner.forget_after(line, period))

    def act(self, action: Action, beside: Mapping[str, Any]) -> None:
        self._again(lambda: self._inner.act(action, beside))

    def actions(self, arm: str) -> list[Action]:
        return self._again(lambda: self._inner.actions(arm))

    def runs(self) -> list[RunState]:
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


def _nothing() -> None:
    return
