"""Where lines live: in this process, or in a worker of ours. Both answer the same calls with the same values."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, final

from torch import Tensor

from simulator.cache.store import NO_CACHE, Cache, cache_in
from simulator.errors import WorkerError
from simulator.loop.line import Line
from simulator.production.training.device import pin_threads
from simulator.records import LineageKey
from simulator.scenario.model import Scenario
from simulator.system.startup import one_heap
from simulator.system.worker import ChannelClosed, failure_of, failure_values, serve, start_worker
from simulator.world.sources.base import SourceData
from simulator.world.world import load_source

__all__ = ["Host", "LocalHost", "RemoteHost", "serve_lineages"]

Answer = tuple[dict[str, Any], dict[str, Tensor]]


class Host(ABC):
    """Holds lines and calls their stages by name."""

    @abstractmethod
    def open(self, key: LineageKey, scenario: Scenario) -> frozenset[str]:
        """Make a line and return the surfaces its defenses act on; device, data and plug-ins are checked here."""

    @abstractmethod
    def call(
        self, key: LineageKey, stage: str, arguments: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
    ) -> Answer:
        """Call a stage of a line; arguments and answers are JSON values, tensors travel beside them."""

    @abstractmethod
    def close(self) -> None:
        """Let all lines go."""

    def kill(self) -> None:
        """End at once."""
        self.close()


@final
class LocalHost(Host):
    """Lines in this process; `memo` recalls their trainings and readings."""

    def __init__(self, cache: Cache = NO_CACHE) -> None:
        one_heap()
        self._cache = cache
        self._lineages: dict[str, Line] = {}
        self._data: dict[str, SourceData] = {}

    def remember(self, cache: Cache) -> None:
        """Use `memo` for the lines that are opened from now on."""
        self._cache = cache

    def open(self, key: LineageKey, scenario: Scenario) -> frozenset[str]:
        pin_threads(scenario.threads)
        source = scenario.source.model_dump_json()
        if source not in self._data:
            self._data[source] = load_source(scenario.source)
        self._lineages[key.name] = Line(scenario, key, self._data[source], self._cache)
        return frozenset(self._lineages[key.name].surfaces)

    def call(
        self, key: LineageKey, stage: str, arguments: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
    ) -> Answer:
        method = getattr(self._lineages[key.name], stage)
        answer = method(**arguments) if tensors is None else method(**arguments, tensors=tensors)
        return answer if isinstance(answer, tuple) else (answer, {})

    def close(self) -> None:
        for lineage in self._lineages.values():
            lineage.close()
        self._lineages.clear()


@final
class RemoteHost(Host):
    """Lines in a worker process with `threads` torch threads; the worker has a memo of its own of `memo`'s folder."""

    def __init__(self, threads: int, cache: Cache = NO_CACHE) -> None:
        self._worker = start_worker(threads)
        folder = None if cache.folder is None else str(cache.folder)
        self._worker.send({"threads": threads, "cache": folder, "lasting": cache.lasting})
        self._greeted = False
        self._turn = threading.Lock()  # one request at a time: answers come in the order of requests

    def open(self, key: LineageKey, scenario: Scenario) -> frozenset[str]:
        answer, _ = self._ask({"open": key.model_dump(), "scenario": scenario.model_dump(mode="json")}, None)
        return frozenset(answer["surfaces"])

    def call(
        self, key: LineageKey, stage: str, arguments: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
    ) -> Answer:
        return self._ask({"line": key.model_dump(), "stage": stage, "arguments": dict(arguments)}, tensors)

    def close(self) -> None:
        self._worker.close()

    def kill(self) -> None:
        self._worker.kill()

    def _ask(self, message: dict[str, Any], tensors: Mapping[str, Tensor] | None) -> Answer:
        with self._turn:
            try:
                if not self._greeted:  # the worker imports torch while the parent does other things
                    self._worker.receive()
                    self._greeted = True
                answer, blobs = self._worker.call({**message, "with_tensors": tensors is not None}, tensors)
            except ChannelClosed as error:
                raise WorkerError(
                    f"expected the worker to answer {_asked(message)}, got its end "
                    f"(exit status {self._worker.exit_status()}); what was committed is kept, resume the run"
                ) from error
        if "error" in answer:
            raise failure_of(answer)
        return answer["value"], blobs


def _answer(host: LocalHost, message: dict[str, Any], tensors: dict[str, Tensor]) -> Answer:
    """Answer one request in a worker; what ebbdoor can explain goes back as a sentence and a kind."""
    try:
        if "threads" in message:
            pin_threads(message["threads"])
            host.remember(cache_in(message["cache"], lasting=message["lasting"]))
            return {"value": {}}, {}
        if "open" in message:
            key, scenario = LineageKey.model_validate(message["open"]), Scenario.model_validate(message["scenario"])
            return {"value": {"surfaces": sorted(host.open(key, scenario))}}, {}
        key = LineageKey.model_validate(message["line"])
        blobs = tensors if message["with_tensors"] else None
        value, out = host.call(key, message["stage"], message["arguments"], blobs)
        return {"value": value}, out
    except Exception as error:  # noqa: BLE001  a stranger's plug-in may raise anything; the parent tells it in a sentence
        return failure_values(error, _asked(message)), {}


def _asked(message: Mapping[str, Any]) -> str:
    """What a request was for, in words."""
    if "stage" not in message:
        return "the opening of a line"
    period = message["arguments"].get("period")
    where = "" if period is None else f" in period {period}"
    return f"stage '{message['stage']}' of '{LineageKey.model_validate(message['line']).name}'{where}"


def serve_lineages(descriptor: int) -> None:
    """Hold lines for the parent on the other side of the socket `descriptor`, until it closes it."""
    host = LocalHost()
    try:
        serve(descriptor, lambda message, tensors: _answer(host, message, tensors))
    finally:
        host.close()
