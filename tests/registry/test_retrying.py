"""A store that does not answer is asked again: how often, for how long, and by which methods."""

from __future__ import annotations

import inspect
import logging
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ErrorCode
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import Timeout
from sqlalchemy.exc import OperationalError

from simulator.errors import RunHeldError, StoreError, StoreUnavailableError
from simulator.production.registry.base import Entry, Ledger, Registry, RunHead
from simulator.production.registry.mlflow.client import Store
from simulator.production.registry.naming import lock_model
from simulator.production.registry.open import open_stores
from simulator.production.registry.retry import Retry, RetryingLedger, RetryingRegistry


class Clock:
    """Seconds that pass while somebody sleeps, or a try takes its time."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds

    def retry(self, patience: float = 60.0) -> Retry:
        return Retry(patience, self.sleep, lambda: self.seconds)


def away() -> StoreUnavailableError:
    return StoreUnavailableError("expected an answer, got none; see that the store answers")


def nothing() -> None:
    return


@pytest.mark.parametrize(
    ("patience", "delays"),
    [
        (60.0, (0.5, 1, 2, 4, 8, 15, 15, 14.5)),
        (10.0, (0.5, 1, 2, 4, 2.5)),
        (0.25, (0.25,)),
        (0.0, ()),
    ],
)
def test_the_delays_add_up_to_the_patience(patience: float, delays: tuple[float, ...]) -> None:
    assert Retry(patience).delays == delays


def test_half_a_minute_without_a_store_is_ridden_out() -> None:
    clock = Clock()

    def ask() -> float:
        if clock.seconds < 30:
            raise away()
        return clock.seconds

    assert clock.retry().call(ask, nothing) == 30.5
    assert clock.slept == [0.5, 1, 2, 4, 8, 15]


def test_after_its_patience_the_last_error_says_how_long_it_was_tried() -> None:
    clock, tries = Clock(), []

    def ask() -> None:
        tries.append(clock.seconds)
        raise away()

    with pytest.raises(StoreUnavailableError, match=r"^expected an answer, got none; .* \(tried 9 times in 60 s\)$"):
        clock.retry().call(ask, nothing)
    assert tries == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 30.5, 45.5, 60]


def test_tries_that_take_long_count() -> None:
    clock = Clock()

    def hang() -> None:
        clock.seconds += 30
        raise away()

    with pytest.raises(StoreUnavailableError, match=r"\(tried 2 times in 60 s\)"):
        clock.retry().call(hang, nothing)


def test_a_store_that_was_given_up_is_asked_once_until_it_answers() -> None:
    clock = Clock()
    retry = clock.retry(1.0)
    asked: list[float] = []

    def ask() -> None:
        asked.append(clock.seconds)
        raise away()

    for times in ([0, 0.5, 1.0], [0, 0.5, 1.0, 1.0]):
        with pytest.raises(StoreUnavailableError):
            retry.call(ask, nothing)
        assert asked == times
    assert retry.call(lambda: "here", nothing) == "here"
    with pytest.raises(StoreUnavailableError):
        retry.call(ask, nothing)
    assert asked[4:] == [1.0, 1.5, 2.0]


def test_without_patience_a_store_is_asked_once() -> None:
    clock = Clock()
    with pytest.raises(StoreUnavailableError, match=r"see that the store answers$"):
        clock.retry(0.0).call(lambda: (_ for _ in ()).throw(away()), nothing)
    assert clock.slept == []


@pytest.mark.parametrize("error", [StoreError("refused"), RunHeldError("held"), ValueError("a mistake")])
def test_a_refusal_is_not_asked_again(error: Exception) -> None:
    clock = Clock()

    def refuse() -> None:
        raise error

    with pytest.raises(type(error)):
        clock.retry().call(refuse, nothing)
    assert clock.slept == []


def test_what_arrived_is_read_before_it_is_asked_again_and_that_may_fail_too() -> None:
    clock, done = Clock(), []

    def ask() -> str:
        done.append("ask")
        if len(done) < 3:
            raise away()
        return "answer"

    def refresh() -> None:
        done.append("refresh")
        if len(done) < 3:
            raise away()

    assert clock.retry().call(ask, refresh) == "answer"
    assert done == ["ask", "refresh", "refresh", "ask"]


def test_a_wait_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    clock, answers = Clock(), iter([away(), None])

    def ask() -> None:
        if (error := next(answers)) is not None:
            raise error

    with caplog.at_level(logging.WARNING, "ebbdoor.stores"):
        clock.retry().call(ask, nothing)
    (line,) = caplog.messages
    assert line.startswith("the store does not answer, trying again in 0.5 s (1 of 8): expected an answer")


@pytest.mark.parametrize("text", ["", "a minute", "-1", "nan", "inf"])
def test_a_patience_that_is_no_duration_raises(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBBDOOR_STORE_PATIENCE", text)
    with pytest.raises(StoreError, match=f"expected EBBDOOR_STORE_PATIENCE to be 0 to 86400 seconds, got '{text}'"):
        Retry.from_environment()


def test_the_patience_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EBBDOOR_STORE_PATIENCE", raising=False)
    assert Retry.from_environment().patience == 60
    monkeypatch.setenv("EBBDOOR_STORE_PATIENCE", "2.5")
    assert Retry.from_environment().patience == 2.5


class Flaky:
    """Fails the first call of each method, and says which were called, with what, by the parameters' names."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.called: list[str] = []
        self.given: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Callable[..., str | None]:
        signature = inspect.signature(getattr(self.kind, name))

        def call(*arguments: Any, **named: Any) -> str | None:
            self.called.append(name)
            bound = signature.bind(self, *arguments, **named).arguments
            self.given.append({key: value for key, value in bound.items() if key != "self"})
            if self.called.count(name) == 1 and name != "refresh":
                raise away()
            return None if signature.return_annotation == "None" else name

        return call


@pytest.mark.parametrize("kind", [Registry, Ledger])
def test_every_method_of_a_store_is_asked_again(kind: Any) -> None:
    wrapper: Any = RetryingRegistry if kind is Registry else RetryingLedger
    for name in sorted(kind.__abstractmethods__ - {"refresh"}):
        inner: Any = Flaky(kind)
        method = getattr(wrapper(inner, Clock().retry()), name)
        signature = inspect.signature(method)
        given = {parameter: object() for parameter in signature.parameters}
        assert method(**given) == (None if signature.return_annotation == "None" else name)
        first, *between, last = inner.called
        assert (first, last) == (name, name)
        assert inner.given[0] == inner.given[-1] == given  # the very objects: each equals itself alone
        assert between == (["refresh"] if kind is Registry and name not in ("delete", "sweep") else [])


def mlflow_error(code: str, text: str = "x") -> MlflowException:
    return MlflowException(text, error_code=ErrorCode.Value(code))


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (NoConnection("reset"), True),
        (Timeout("30 s"), True),
        (mlflow_error("TEMPORARILY_UNAVAILABLE", "database is locked"), True),
        (mlflow_error("INTERNAL_ERROR", "HTTP 500"), True),
        (mlflow_error("REQUEST_LIMIT_EXCEEDED", "HTTP 429"), True),
        (mlflow_error("BAD_REQUEST", "connection already closed"), True),
        (OperationalError("INSERT", {}, sqlite3.OperationalError("disk is full")), True),
        (OSError(28, "No space left on device"), True),
        (PermissionError(13, "Permission denied"), True),
        (mlflow_error("RESOURCE_DOES_NOT_EXIST"), False),
        (mlflow_error("INVALID_PARAMETER_VALUE"), False),
        (mlflow_error("UNAUTHENTICATED"), False),
        (FileNotFoundError(2, "No such file or directory"), False),
    ],
)
def test_what_may_pass_and_what_stays(error: Exception, passes: bool) -> None:
    store = Store("memory:", client=object())
    sentence = "expected the MLflow store at memory: to answer, got: "
    with pytest.raises(StoreError, match=sentence) as raised, store.explaining("answer"):
        raise error
    assert isinstance(raised.value, StoreUnavailableError) is passes


def test_a_mistake_of_ours_is_not_taken_for_the_stores() -> None:
    with pytest.raises(KeyError), Store("memory:", client=object()).explaining("answer"):
        raise KeyError("a")


def test_a_writer_that_was_taken_over_commits_nothing_more(
    workspace: Any, client: Any, head: RunHead, record: Callable[..., Any]
) -> None:
    ledger = open_stores(tracking_uri=None, workspace=workspace)[1]
    ledger.hold("r1")
    ledger.open(head)
    client.delete_registered_model(lock_model("r1"))  # by a request of an earlier holder that arrived late
    ledger.commit(Entry(record(0), record(0).digest()))
    held = client.get_registered_model(lock_model("r1")).tags
    client.delete_registered_model(lock_model("r1"))
    client.create_registered_model(lock_model("r1"), tags={**held, "host": "elsewhere", "token": "f" * 32})
    with pytest.raises(RunHeldError, match=r"held by this process, got process \d+ on host 'elsewhere'"):
        ledger.commit(Entry(record(1), record(1).digest()))
    assert len(ledger.entries(head.lineages[0])) == 1
