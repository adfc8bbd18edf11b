"""Where lineages live: in this process, or in a worker process. Both run the same methods with the same values."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar, final

from torch import Tensor

from simulator.cache.store import NO_CACHE, Cache, cache_in
from simulator.errors import WorkerError
from simulator.guard.call import stage_contained
from simulator.guard.place import at
from simulator.loop.changed_code import expect_worker_sees
from simulator.loop.encoding import decode_arguments, decode_result, encode, encode_arguments
from simulator.loop.lineage import REMOTE, Lineage
from simulator.production.training.device import expect_numerics, pin_threads
from simulator.records import LineageKey, Numerics
from simulator.scenario.identity import code_of
from simulator.scenario.model import Scenario
from simulator.system.messages import ChannelClosed, Method, Tensors
from simulator.system.startup import one_heap
from simulator.system.worker import start_worker
from simulator.world.sources.base import SourceData
from simulator.world.world import load_source

P = ParamSpec("P")
R = TypeVar("R")


class Executor(ABC):
    """Holds lineages and runs methods of `Lineage` on them: `run(key, Lineage.monitor, period)`."""

    @abstractmethod
    def open(self, key: LineageKey, scenario: Scenario) -> None:
        """Make a lineage; device, data and plug-ins are checked here."""

    @abstractmethod
    def run(
        self, key: LineageKey, method: Callable[Concatenate[Lineage, P], R], *given: P.args, **named: P.kwargs
    ) -> R:
        """Run a method of a lineage and return what it returns; what it raises is raised here."""

    @abstractmethod
    def close(self) -> None:
        """Free all lineages."""

    def kill(self) -> None:
        """End at once."""
        self.close()


@final
class LocalExecutor(Executor):
    """Lineages in this process; `cache` holds their trainings and readings."""

    def __init__(self, cache: Cache = NO_CACHE) -> None:
        one_heap()
        self._cache = cache
        self._lineages: dict[LineageKey, Lineage] = {}
        self._data: dict[str, SourceData] = {}

    def open(self, key: LineageKey, scenario: Scenario) -> None:
        pin_threads(scenario.threads)
        expect_numerics(scenario.numerics, scenario.device)
        source = scenario.source.model_dump_json()
        if source not in self._data:
            self._data[source] = load_source(scenario.source)
        with at(_place(key, (), {})):
            data = self._data[source]
            self._lineages[key] = stage_contained("open", lambda: Lineage(scenario, key, data, self._cache))

    def run(
        self, key: LineageKey, method: Callable[Concatenate[Lineage, P], R], *given: P.args, **named: P.kwargs
    ) -> R:
        with at(_place(key, given, named)):
            return stage_contained(method.__name__, lambda: method(self._lineages[key], *given, **named))

    def close(self) -> None:
        for lineage in self._lineages.values():
            lineage.close()
        self._lineages.clear()


def _place(key: LineageKey, given: Sequence[Any], named: Mapping[str, Any]) -> str:
    """Where a stage is at work, for sentences; a stage's first argument is its period."""
    period = named.get("period", given[0] if given else None)
    when = f"in period {period} of " if isinstance(period, int) else "in "
    return f"{when}arm '{key.arm}'{'' if key.control == 'none' else f' ({key.control} twin)'}"


@final
class WorkerExecutor(Executor):
    """Lineages in a worker process that computes so; it has a cache of its own of `cache`'s folder."""

    def __init__(self, threads: int, cache: Cache = NO_CACHE, numerics: Numerics = "native") -> None:
        self._worker = start_worker(threads, numerics)
        folder = None if cache.folder is None else str(cache.folder)
        facts = {"threads": threads, "folder": folder, "lasting": cache.lasting}
        self._start: int | None = self._worker.begin("start", facts, asked="the start of a worker")
        self._turn = threading.Lock()  # a worker is used by one thread at a time

    def open(self, key: LineageKey, scenario: Scenario) -> None:
        code = code_of(scenario)
        arguments = {"key": key.model_dump(), "scenario": scenario.model_dump(mode="json"), "code": code}
        self._call("open", arguments, {}, "the opening of a line")

    def run(
        self, key: LineageKey, method: Callable[Concatenate[Lineage, P], R], *given: P.args, **named: P.kwargs
    ) -> R:
        values, tensors = encode_arguments(method, given, named)
        where = f" in period {values['period']}" if "period" in values else ""
        request = {"key": key.model_dump(), "method": method.__name__, "arguments": values}
        answer, found = self._call("run", request, tensors, f"stage '{method.__name__}' of '{key.name}'{where}")
        result: R = decode_result(method, answer, found)
        return result

    def close(self) -> None:
        self._worker.close()

    def kill(self) -> None:
        self._worker.kill()

    def _call(self, method: str, arguments: Mapping[str, Any], tensors: Tensors, asked: str) -> Any:
        with self._turn:
            try:
                if self._start is not None:  # the worker imports torch while the parent does other things
                    start, self._start = self._start, None
                    self._worker.finish(start)
                return self._worker.call(method, arguments, tensors, asked=asked)
            except ChannelClosed as error:
                raise WorkerError(
                    f"expected the worker to answer {asked}, got its end "
                    f"(exit status {self._worker.exit_status()}); what was committed is kept, resume the run"
                ) from error


@contextmanager
def methods() -> Iterator[Mapping[str, Method]]:
    """Give what a worker process of lineages serves; the lineages are freed at the end."""
    held: list[LocalExecutor] = []

    def start(arguments: dict[str, Any], _: dict[str, Tensor]) -> tuple[None, Tensors]:
        pin_threads(arguments["threads"])
        held.append(LocalExecutor(cache_in(arguments["folder"], lasting=arguments["lasting"])))
        return None, {}

    def open_lineage(arguments: dict[str, Any], _: dict[str, Tensor]) -> tuple[None, Tensors]:
        key, scenario = LineageKey.model_validate(arguments["key"]), Scenario.model_validate(arguments["scenario"])
        expect_worker_sees(arguments["code"], code_of(scenario))
        held[0].open(key, scenario)
        return None, {}

    def run(arguments: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[Any, Tensors]:
        key, method = LineageKey.model_validate(arguments["key"]), REMOTE[arguments["method"]]
        return encode(held[0].run(key, method, **decode_arguments(method, arguments["arguments"], tensors)))

    try:
        yield {"start": start, "open": open_lineage, "run": run}
    finally:
        for executor in held:
            executor.close()
