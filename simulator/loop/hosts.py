"""Where lines live: in this process, or in a worker of ours. Both answer the same calls with the same values."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

from torch import Tensor

from simulator.cache.store import NO_CACHE, Cache, cache_in
from simulator.errors import WorkerError
from simulator.loop.line import Line
from simulator.production.training.device import pin_threads
from simulator.records import LineageKey
from simulator.scenario.model import Scenario
from simulator.system.messages import ChannelClosed, Method, Tensors
from simulator.system.startup import one_heap
from simulator.system.worker import start_worker
from simulator.world.sources.base import SourceData
from simulator.world.world import load_source

__all__ = ["Host", "LocalHost", "RemoteHost", "methods"]

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
    """Lines in a worker process with `threads` torch threads; the worker has a cache of its own of `cache`'s folder."""

    def __init__(self, threads: int, cache: Cache = NO_CACHE) -> None:
        self._worker = start_worker(threads)
        folder = None if cache.folder is None else str(cache.folder)
        facts = {"threads": threads, "folder": folder, "lasting": cache.lasting}
        self._greeting: int | None = self._worker.begin("greet", facts, asked="the start of a worker")
        self._turn = threading.Lock()  # a worker is used by one thread at a time

    def open(self, key: LineageKey, scenario: Scenario) -> frozenset[str]:
        arguments = {"key": key.model_dump(), "scenario": scenario.model_dump(mode="json")}
        surfaces, _ = self._call("open", arguments, None, "the opening of a line")
        return frozenset(surfaces)

    def call(
        self, key: LineageKey, stage: str, arguments: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
    ) -> Answer:
        period = arguments.get("period")
        where = "" if period is None else f" in period {period}"
        request: dict[str, Any] = {"key": key.model_dump(), "stage": stage, "arguments": dict(arguments)}
        request["with_tensors"] = tensors is not None
        return self._call("stage", request, tensors, f"stage '{stage}' of '{key.name}'{where}")

    def close(self) -> None:
        self._worker.close()

    def kill(self) -> None:
        self._worker.kill()

    def _call(self, method: str, arguments: Mapping[str, Any], tensors: Tensors | None, asked: str) -> Answer:
        with self._turn:
            try:
                if self._greeting is not None:  # the worker imports torch while the parent does other things
                    greeting, self._greeting = self._greeting, None
                    self._worker.finish(greeting)
                return self._worker.call(method, arguments, tensors, asked=asked)
            except ChannelClosed as error:
                raise WorkerError(
                    f"expected the worker to answer {asked}, got its end "
                    f"(exit status {self._worker.exit_status()}); what was committed is kept, resume the run"
                ) from error


@contextmanager
def methods() -> Iterator[Mapping[str, Method]]:
    """Give what a worker process of lines serves; its lines are let go at the end."""
    host = LocalHost()

    def greet(arguments: dict[str, Any], _: dict[str, Tensor]) -> tuple[None, Tensors]:
        pin_threads(arguments["threads"])
        host.remember(cache_in(arguments["folder"], lasting=arguments["lasting"]))
        return None, {}

    def open_line(arguments: dict[str, Any], _: dict[str, Tensor]) -> tuple[list[str], Tensors]:
        key, scenario = LineageKey.model_validate(arguments["key"]), Scenario.model_validate(arguments["scenario"])
        return sorted(host.open(key, scenario)), {}

    def stage(arguments: dict[str, Any], tensors: dict[str, Tensor]) -> Answer:
        key = LineageKey.model_validate(arguments["key"])
        beside = tensors if arguments["with_tensors"] else None
        return host.call(key, arguments["stage"], arguments["arguments"], beside)

    try:
        yield {"greet": greet, "open": open_line, "stage": stage}
    finally:
        host.close()
