"""Where a run is: every stage and every write to its store, noted in a file that outlives it, and struck there."""

from __future__ import annotations

import functools
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["WRITES", "Mark", "Tracer", "Trigger", "read_marks"]

#: the methods of MLflow's client that change a store
WRITES = (
    "create_registered_model", "delete_registered_model", "create_experiment", "create_run", "update_run",
    "set_terminated", "set_tag", "delete_tag", "log_batch", "log_text", "log_artifact", "create_logged_model",
    "log_model_artifacts", "log_model_artifact", "finalize_logged_model", "delete_logged_model",
    "set_logged_model_tags", "create_model_version", "delete_model_version", "set_model_version_tag",
    "set_registered_model_alias", "delete_registered_model_alias",
)  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """A place that a run passed: `what` it did, for the `nth` time, `before` or `after` it; `at` is in seconds."""

    what: str
    nth: int
    edge: Literal["before", "after"]
    at: float


@dataclass(frozen=True)
class Trigger:
    """When to kill: at a mark, or `delay` seconds behind it. `group`: all processes, or the playing one alone."""

    what: str
    nth: int
    edge: Literal["before", "after"]
    delay: float | None = None
    group: bool = True


def read_marks(path: Path) -> list[Mark]:
    """Return the marks that a run has left, in order."""
    return [Mark(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


@dataclass
class Tracer:
    """Notes marks, and does `act` at the trigger: by default SIGKILL. A mark is written before."""

    path: Path
    trigger: Trigger | None = None
    act: Callable[[], None] | None = None
    _passed: Counter[tuple[str, str]] = field(default_factory=Counter)
    _lock: Any = field(default_factory=threading.Lock)

    def wrap(self, name: str, function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        """Return a stage that notes where it is; for `play`."""

        def stage(arm: str, control: str, period: int, **arguments: Any) -> dict[str, Any]:
            line = arm if control == "none" else f"{arm}.twin"
            what = f"{name} of {line}, period {period}"
            self.mark(what, "before")
            answer = function(arm, control, period, **arguments)
            self.mark(what, "after")
            return answer

        return stage

    def watch_client(self) -> None:
        """Note every write of every MLflow client of this process."""
        from mlflow import MlflowClient

        for name in WRITES:
            setattr(MlflowClient, name, self._watched(name, getattr(MlflowClient, name)))

    def mark(self, what: str, edge: Literal["before", "after"]) -> None:
        """Note a mark; it is the last when the trigger says so."""
        with self._lock:
            nth = self._passed[what, edge]
            self._passed[what, edge] += 1
            line = json.dumps({"what": what, "nth": nth, "edge": edge, "at": time.monotonic()}) + "\n"
            with self.path.open("a") as stream:
                stream.write(line)
        here = self.trigger
        if here is None or (here.what, here.nth, here.edge) != (what, nth, edge):
            return
        act = self.act or self._kill
        if here.delay is None:
            act()
        else:
            timer = threading.Timer(here.delay, act)
            timer.daemon = True
            timer.start()

    def _watched(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(client: Any, *arguments: Any, **options: Any) -> Any:
            what = " ".join(filter(None, (name, _subject(name, arguments))))
            self.mark(what, "before")
            answer = method(client, *arguments, **options)
            self.mark(what, "after")
            return answer

        return call

    def _kill(self) -> None:
        assert self.trigger is not None
        if self.trigger.group:
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def _subject(name: str, arguments: tuple[Any, ...]) -> str:
    """What a write is about, where one method serves several purposes."""
    if name in ("set_tag", "delete_tag"):
        return str(arguments[1])
    if name == "log_text":
        return str(arguments[2])
    if name in ("set_registered_model_alias", "delete_registered_model_alias"):
        return str(arguments[1])
    if name in ("create_registered_model", "delete_registered_model"):
        return "lock" if "writer_lock" in str(arguments[0]) else ""
    if name == "set_model_version_tag":
        return str(arguments[2])
    return ""
