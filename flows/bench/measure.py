"""The standard timeline, timed by stage, beside the bare torch loop of the same work."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from flows import settings
from flows.machine.companion import prefect_api
from flows.places import Place

if TYPE_CHECKING:
    from flows.playing import Stores
    from simulator.production.registry.base import Entry
    from simulator.scenario.model import Scenario
    from simulator.stages import Stage

__all__ = ["STANDARD", "measure", "print_measured"]

#: 10,000 base images at 5 % BadNets poison, then ten updates on 2,000 fresh images, 4 degrees more rotation each
STANDARD: dict[str, Any] = {
    "name": "bench",
    "periods": 10,
    "device": "cpu",
    "source": {"use": "fashion-mnist"},
    "stream": {"base": 10000, "batch": 2000, "test": 2000},
    "drift": [{"use": "rotation", "degrees": 4, "pattern": "gradual"}],
    "attack": {"use": "patch", "target": 0, "size": 3},
    "campaign": {"use": "one-shot", "period": 0, "rate": 0.05},
    "recipe": {
        "network": {"use": "standard-cnn"},
        "base": {"epochs": 4, "batch": 128, "schedule": {"use": "one-cycle", "peak": 0.1}},
        "update": {"epochs": 4, "batch": 128, "schedule": {"use": "constant", "rate": 0.01}},
    },
    "probes": [{"use": "attack-success"}],
    "twins": [],
}

#: stage of the loop -> row of the table
_ROWS = {
    "ingest": "world",
    "monitor": "monitor",
    "decide": "decide",
    "gate": "decide",
    "filter": "defend",
    "repair": "defend",
    "inspect": "defend",
    "train": "train",
    "probe": "probe",
    "register": "register",
    "commit": "register",
}
_CURVES = {"clean_accuracy": "clean/accuracy", "attack_success": "backdoor/attack_success"}


def measure(
    seed: int, say: Callable[[str], None], *, overrides: Sequence[str] = (), bare: bool = False
) -> dict[str, Any]:
    """Play the standard timeline in this process on one thread, then the bare loop; return seconds and curves.

    The stores are a real SQLite MLflow in a folder that is removed; `stores` is their opening. `orchestrate` is what no
    stage took: Prefect, the loop, reading the data. The start of a Prefect server is counted apart, for it is paid once
    and overlaps with imports. `bare` leaves Prefect out. With `overrides` the work is another than the bare loop's,
    which is then left out. `idle` says of which stages the timeline has nothing to measure.
    """
    settings.mute_console()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ebbdoor-bench-", ignore_cleanup_errors=True))
        scenario = _standard(Path(folder), [f"seed={seed}", *overrides])
        workspace = settings.default_workspace()
        await_server = (lambda: None) if bare else stack.enter_context(prefect_api(workspace, say))
        say("the standard timeline")
        ours = _timeline(scenario, Path(folder), await_server, bare=bare)
    measured = {"seed": seed, "overrides": list(overrides), "prefect": not bare, **ours}
    if overrides:
        say("the bare loop is left out: with overrides it would not do the same work")
        return measured
    from simulator.bench.bare_loop import run_bare_loop

    say("the bare loop")
    return {**measured, "bare_loop": run_bare_loop(seed)}


def print_measured(measured: dict[str, Any]) -> None:
    """Print seconds by stage, wall and CPU, then the curves, ours beside the bare loop's where that was played."""
    idle = measured["idle"]
    _print(["stage", "seconds", ""], [(k, f"{v:.2f}", idle.get(k, "")) for k, v in measured["seconds"].items()])
    parts = {"ebbdoor": measured} | ({"bare loop": measured["bare_loop"]} if "bare_loop" in measured else {})
    rows = [(name, f"{p['wall_seconds']:.2f}", f"{p['cpu_seconds']:.2f}") for name, p in parts.items()]
    _print(["", "wall s", "CPU s"], rows)
    curves = zip(*(part[name] for part in parts.values() for name in _CURVES), strict=True)
    columns = ["update", "clean", "ASR", "bare clean", "bare ASR"][: 1 + 2 * len(parts)]
    _print(columns, [(str(at), *(_share(value) for value in row)) for at, row in enumerate(curves)])


def _print(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from flows.commands.output import print_table

    print_table(columns, [dict(zip(columns, row, strict=True)) for row in rows])


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _standard(folder: Path, overrides: Sequence[str]) -> Scenario:
    from simulator.scenario.load import load_scenario

    path = folder / "bench.yaml"
    path.write_text(json.dumps(STANDARD))  # JSON is YAML
    return load_scenario(str(path), overrides)


@final
class _Clock:
    """Seconds by row of the table, taken inside whatever wraps the stages."""

    def __init__(self) -> None:
        self.seconds = {"import": 0.0, "check": 0.0, "stores": 0.0, **dict.fromkeys(_ROWS.values(), 0.0)}

    @contextmanager
    def __call__(self, row: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[row] += time.perf_counter() - began

    def stage(self, name: str, function: Stage) -> Stage:
        """Return the stage, timed."""

        def timed(arm: str, control: str, period: int, **arguments: Any) -> dict[str, Any]:
            with self(_ROWS[name]):
                return function(arm, control, period, **arguments)

        return timed


def _idle(scenario: Scenario) -> dict[str, str]:
    """Row of the table -> why its seconds measure nothing."""
    unused = {
        "monitor": ("monitor", scenario.monitor.use == "none"),
        "defend": ("defenses", not scenario.defenses),
    }
    return {row: f"not measured: the timeline has no {what}" for row, (what, missing) in unused.items() if missing}


def _timeline(scenario: Scenario, folder: Path, await_server: Callable[[], None], *, bare: bool) -> dict[str, Any]:
    clock = _Clock()
    cpu, wall = time.process_time(), time.perf_counter()
    with clock("import"):
        executor = _plain if bare else _as_flow()
        from flows.playing import checked, open_place
    with ExitStack() as stack:
        with clock("check"):
            stack.enter_context(checked(scenario))
        waiting = time.perf_counter()
        await_server()
        waited = time.perf_counter() - waiting
        with clock("stores"):
            stores = stack.enter_context(open_place(Place("bench", folder / "run", folder), scenario))
        line = executor(stores, clock)
    wall = time.perf_counter() - wall - waited
    return {
        "seconds": {**clock.seconds, "orchestrate": wall - sum(clock.seconds.values())},
        "idle": _idle(scenario),
        "wall_seconds": wall,
        "cpu_seconds": time.process_time() - cpu,
        "server_wait_seconds": waited,
        **{name: [entry.record.readings[reading].value for entry in line] for name, reading in _CURVES.items()},
    }


Executor = Callable[["Stores", _Clock], "list[Entry]"]


def _plain(stores: Stores, clock: _Clock) -> list[Entry]:
    from simulator.production.training.device import pin_threads
    from simulator.run import play

    pin_threads(stores.scenario.threads)
    played = play(stores.head, stores.scenario, stores.registry, stores.ledger, wrap=clock.stage, processes=0)
    return played["main"]


def _as_flow() -> Executor:
    from prefect import flow

    from flows.reporting.tasks import as_task
    from simulator.production.training.device import pin_threads
    from simulator.run import play

    def executor(stores: Stores, clock: _Clock) -> list[Entry]:
        pin_threads(stores.scenario.threads)

        @flow(name="bench", persist_result=False)  # type: ignore[untyped-decorator]
        def bench() -> dict[str, list[Entry]]:
            def wrap(name: str, function: Stage) -> Stage:
                return as_task(name, clock.stage(name, function))

            return play(stores.head, stores.scenario, stores.registry, stores.ledger, wrap=wrap, processes=0)

        played: dict[str, list[Entry]] = bench()
        return played["main"]

    return executor
