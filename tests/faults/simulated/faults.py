"""Faults after a seeded schedule, at the boundary between our adapter and its store: call by call, and replayable."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from mlflow.exceptions import MlflowException
from requests.exceptions import ConnectionError as NoConnection
from simulated.mlflow_in_memory import MlflowInMemory, refusal

__all__ = ["KINDS", "Clock", "Fault", "Killed", "Process", "Wire", "schedule"]

#: what is drawn, and how often
KINDS = {
    "lost": 3,  # the request never arrives
    "unanswered": 4,  # it is carried out, its answer is lost
    "late": 4,  # it is given up, and carried out some calls later: after the retry, so out of order
    "twice": 3,  # it is carried out twice
    "torn": 3,  # of files only the beginning arrives
    "slow": 1,  # it takes 20 seconds
    "outage": 1,  # nothing arrives for some calls
    "kill": 3,  # the process is killed, before or after the request is carried out
    "power": 2,  # the same, and what was not synced may be lost or cut short
}

_READING = ("get_", "search_", "fetch", "sync")
_FILES = ("log_text", "log_artifact", "log_model_artifact")


class Killed(BaseException):
    """Stands for SIGKILL: the process does nothing more."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault; `chance` in [0, 1) decides its particulars."""

    kind: str
    chance: float


def schedule(seed: int, calls: int) -> dict[int, Fault]:
    """Return call number -> fault for a seed: one to twelve among the first `calls` calls, some close together."""
    random_ = random.Random(seed)
    count = random_.choice((1, 2, 3, 4, 6, 8, 12))
    kinds = random_.choices(list(KINDS), list(KINDS.values()), k=count)
    places = [random_.randrange(1, calls) for _ in range(count)]
    if random_.random() < 0.5:  # a burst: most failures do not come alone
        places = [places[0] + random_.randrange(20) for _ in places]
    return {place: Fault(kind, random_.random()) for place, kind in zip(places, kinds, strict=True)}


@final
class Clock:
    """Seconds that pass only when somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sleeps = 0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.sleeps += 1


@dataclass(frozen=True, slots=True)
class _Late:
    due: int
    write: Callable[[], Any]


@dataclass
class Wire:
    """Everything between the processes and the `store`, one call after the other; `count` is the call's number.

    `local`: the store's files lie on the processes' own disk. They are then written before a call returns, and a loss
    of power may take what was not synced; files that are kept by a server arrive late, but our power is not theirs.
    """

    store: MlflowInMemory
    faults: Mapping[int, Fault] = field(default_factory=dict)
    local: bool = True
    clock: Clock = field(default_factory=Clock)
    injected: Counter[str] = field(default_factory=Counter)
    trace: list[Any] = field(default_factory=list)
    count: int = 0
    late: list[_Late] = field(default_factory=list)
    waiting: list[Fault] = field(default_factory=list)
    _down_until: int = 0

    def land(self, *, everything: bool = False) -> int:
        """Carry out the late requests that are due; return how many."""
        due = [item for item in self.late if everything or item.due <= self.count]
        self.late = [item for item in self.late if item not in due]
        for item in due:
            try:
                item.write()
            except MlflowException:  # nobody is there any more to be told
                continue
        return len(due)

    def calm(self) -> None:
        """From now on nothing is disturbed."""
        self.faults, self.waiting, self._down_until = {}, [], 0

    def call(self, process: Process, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Carry out one request of a process, with the fault that is scheduled for it."""
        if not process.alive:
            raise Killed
        self.count += 1
        self.land()
        fault = self._next_fault(name)
        self.trace.append((self.count, name, arguments[:2], fault))
        if self.count < self._down_until:
            raise _failure(self.count / 7 % 1)
        write = _Request(self.store, name, arguments, options)
        if fault is None:
            return write()
        kind = "torn" if fault.kind == "late" and name.startswith(_FILES) and self.local else fault.kind
        self.injected[kind] += 1
        if kind in ("kill", "power"):
            return self._kill(process, write, kind, fault.chance)
        return self._disturb(write, kind, fault.chance)

    def _next_fault(self, name: str) -> Fault | None:
        """Return the fault of this call. One that cannot befall a call of that name waits for the next that it can."""
        if self.count in self.faults:
            self.waiting.append(self.faults[self.count])
        fault = next((fault for fault in self.waiting if _fits(fault.kind, name)), None)
        if fault is not None:
            self.waiting.remove(fault)
        return fault

    def _disturb(self, write: _Request, kind: str, chance: float) -> Any:
        if kind == "slow":
            self.clock.seconds += 20
            return write()
        if kind == "twice":
            write()
            return write()
        if kind == "outage":
            self._down_until = self.count + 3 + int(chance * 27)
        elif kind == "unanswered":
            write()
        elif kind == "late":
            self.late.append(_Late(self.count + 1 + int(chance * 25), write.prepared()))
        elif kind == "torn":
            write.torn(chance)()
        raise _failure(chance)

    def _kill(self, process: Process, write: _Request, kind: str, chance: float) -> Any:
        if chance > 0.7 and write.of_files:
            write.torn(chance)()
        elif chance > 0.4:
            write()
        if kind == "power" and self.local:
            self._lose(chance)
        process.alive = False
        raise Killed

    def _lose(self, chance: float) -> None:
        """Take what was not synced: the whole file, or its end."""
        for number, address in enumerate(sorted(self.store.unsynced & self.store.files.keys())):
            if (chance * 10 + number) % 2 < 1:
                del self.store.files[address]
            else:
                self.store.files[address] = self.store.files[address][: len(self.store.files[address]) // 2]

    def end(self, process: Process, *, land: bool) -> None:
        """A process has ended: its requests that are on their way arrive now, or never."""
        process.alive = False
        if land:
            self.land(everything=True)
        self.late = []


@final
class Process:
    """One process's view of the store: its client and its files at once. Dead, it does nothing more."""

    def __init__(self, wire: Wire) -> None:
        self.alive = True
        self._wire = wire

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not hasattr(MlflowInMemory, name):
            raise AttributeError(name)
        return lambda *arguments, **options: self._wire.call(self, name, arguments, options)


@final
class _Request:
    """A call on the store, ready to be carried out now, later, twice, or in part."""

    def __init__(self, store: MlflowInMemory, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        self._store, self._name, self._arguments, self._options = store, name, arguments, options
        self.of_files = name.startswith(_FILES)

    def __call__(self) -> Any:
        return getattr(self._store, self._name)(*self._arguments, **self._options)

    def prepared(self) -> Callable[[], Any]:
        """Return what can be carried out when the caller's own files are gone."""
        if not self.of_files:
            return self
        files = self._written()
        return lambda: self._put(files)

    def torn(self, chance: float) -> Callable[[], Any]:
        """Return the first files whole and the next one cut short."""
        files = list(self._written().items())
        whole = int(chance * len(files))
        address, content = files[whole]
        return lambda: self._put({**dict(files[:whole]), address: content[: int(chance * len(content))]})

    def _written(self) -> dict[str, bytes]:
        aside = copy.copy(self._store)
        aside.files, aside.unsynced = {}, set()
        getattr(aside, self._name)(*self._arguments, **self._options)
        return aside.files

    def _put(self, files: Mapping[str, bytes]) -> None:
        for address, content in files.items():
            self._store.write(address, content)


def _fits(kind: str, name: str) -> bool:
    if kind == "torn":
        return name.startswith(_FILES)
    return kind not in ("unanswered", "late", "twice") or not name.startswith(_READING)


def _failure(chance: float) -> Exception:
    """Return one of the failures that MLflow's client, its transports and its storage raise when something may pass."""
    return [
        refusal("TEMPORARILY_UNAVAILABLE", "(sqlite3.OperationalError) database is locked"),
        refusal("INTERNAL_ERROR", "API request to the server failed with timeout exception"),
        refusal("BAD_REQUEST", "(psycopg2.InterfaceError) connection already closed"),
        NoConnection("Connection reset by peer"),
        OSError(28, "No space left on device"),
    ][int(chance * 1000) % 5]
