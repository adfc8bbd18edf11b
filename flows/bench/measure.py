"""The standard timeline in this process, timed by stage, and the bare loop after it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, final

from flows import settings
from flows.bench.way import ROWS, Way, bench_scenario, idle_rows
from flows.runs.folder import RunFolder
from flows.servers.companion import prefect_api
from simulator.bench.cpu import CpuClock
from simulator.bench.standard import curves

if TYPE_CHECKING:
    from flows.runs.play import Stores
    from simulator.loop.events import Stage, Wrap
    from simulator.production.registry.base import Entry
    from simulator.scenario.model import Scenario

R = TypeVar("R")


@final
class StageClock:
    """Wall seconds by row of the table, taken inside whatever wraps the stages."""

    def __init__(self) -> None:
        self.seconds = {"import": 0.0, "check": 0.0, "stores": 0.0, **dict.fromkeys(ROWS.values(), 0.0)}

    @contextmanager
    def __call__(self, row: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[row] += time.perf_counter() - began

    def stage(self, name: str, function: Stage[R]) -> Stage[R]:
        """Return the stage, timed."""

        def timed(arm: str, control: str, period: int) -> R:
            with self(ROWS[name]):
                return function(arm, control, period)

        return timed


def measure(seed: int, say: Callable[[str], None], way: Way) -> dict[str, Any]:
    """Play the standard timeline in this process on one thread, then the bare loop; return seconds and curves.

    With overrides the work is another than the bare loop's, which is then left out.
    """
    measured = {"seed": seed, "overrides": list(way.overrides), **measure_ours(seed, say, way)}
    if way.overrides:
        say("the bare loop is left out: with overrides it would not do the same work")
        return measured
    from simulator.bench.bare_loop import run_bare_loop

    say("the bare loop")
    return {**measured, "bare_loop": run_bare_loop(seed)}


def measure_ours(seed: int, say: Callable[[str], None], way: Way) -> dict[str, Any]:
    """Play the standard timeline in this process on one thread; return seconds and curves.

    The stores are a real SQLite MLflow in a folder that is removed, or this process's memory; `stores` is their
    opening. `orchestrate` is what no stage took: Prefect, the loop, reading the data. The start of a Prefect server is
    counted apart, for it is paid once and overlaps with imports. `cpu_seconds` are those of the work, imports apart.
    `idle` says of which stages the timeline has nothing to measure.
    """
    settings.mute_console()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ebbdoor-bench-", ignore_cleanup_errors=True))
        clock = stack.enter_context(CpuClock())
        _, scenario = bench_scenario(Path(folder), way, seed)
        workspace = settings.default_workspace()
        await_server = stack.enter_context(prefect_api(workspace, say)) if way.prefect else (lambda: None)
        say("the standard timeline")
        ours = _timeline(scenario, Path(folder), await_server, way, clock)
    return {"prefect": way.prefect, "stores": way.stores, **ours}


def _timeline(
    scenario: Scenario, folder: Path, await_server: Callable[[], None], way: Way, cpu: CpuClock
) -> dict[str, Any]:
    clock, began = StageClock(), cpu.read()
    with clock("import"):
        from flows.runs.play import checked

        if way.prefect:
            import flows.tasks  # noqa: F401
            import simulator.loop.run  # noqa: F401
    with ExitStack() as stack:
        with clock("check"):
            stack.enter_context(checked(scenario))
        waiting = time.perf_counter()
        await_server()
        waited = time.perf_counter() - waiting
        with clock("stores"):
            stores = stack.enter_context(_opened(scenario, folder, way))
        entries = _played(stores, clock, as_flow=way.prefect)
    taken = {name: value - began[name] for name, value in cpu.read().items()}
    wall = taken["wall_seconds"] - waited
    return {
        "seconds": {**clock.seconds, "orchestrate": wall - sum(clock.seconds.values())},
        "idle": idle_rows(scenario),
        **taken,
        "wall_seconds": wall,
        "server_wait_seconds": waited,
        **curves(entries),
    }


@contextmanager
def _opened(scenario: Scenario, folder: Path, way: Way) -> Iterator[Stores]:
    from flows.runs.play import Stores, open_place

    if way.stores == "sqlite":
        with open_place(RunFolder("bench", folder / "run", folder), scenario) as stores:
            yield stores
        return
    from simulator.loop.run import open_run
    from simulator.production.registry.memory import MemoryLedger, MemoryRegistry

    registry, ledger = MemoryRegistry(), MemoryLedger()
    yield Stores(open_run(scenario, registry, ledger, "bench"), scenario, registry, ledger)


def _played(stores: Stores, clock: StageClock, *, as_flow: bool) -> list[Entry]:
    from simulator.loop.run import play
    from simulator.production.training.device import pin_threads

    pin_threads(stores.scenario.threads)

    def timeline(wrap: Wrap) -> list[Entry]:
        played = play(stores.head, stores.scenario, stores.registry, stores.ledger, wrap=wrap, processes=0)
        return played["main"]

    if not as_flow:
        return timeline(clock.stage)
    from prefect import flow

    from flows.tasks import as_task

    def wrap(name: str, function: Stage[R]) -> Stage[R]:
        return as_task(name, clock.stage(name, function))

    @flow(name="bench", persist_result=False)  # type: ignore[untyped-decorator]
    def bench() -> list[Entry]:
        return timeline(wrap)

    entries: list[Entry] = bench()
    return entries
