"""Play many periods and see that nothing grows which should not: memory, time per period, the stores.

    python tests/faults/long_run.py --periods 200 --monitor mmd

The data are recycled (`stream.reuse: recycle`: digits has 1,797 images) and the training is tiny, so the figures say
nothing about backdoors. One arm and its twin, a gate, a real MLflow store; a table to standard output, row by row.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import flows  # noqa: F401 - quiet stores, before anything imports them
from simulator.loop.events import Event
from simulator.loop.run import open_run, play
from simulator.production.registry.open import open_stores
from simulator.scenario.model import Scenario

__all__ = ["MONITORS", "Grown", "Sample", "grown", "measure", "scenario"]

MONITORS: dict[str, dict[str, Any]] = {
    "none": {"use": "none"},
    "mmd": {"use": "mmd", "rows": 60, "permutations": 39},
    "evidently": {"use": "evidently"},
}
#: earlier periods are warm-up
WARM = 20
_PAGE, _TICK = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sample:
    """The state after a period: its wall and processor seconds, resident memory and stores in bytes."""

    period: int
    seconds: float
    busy: float
    parent: int
    workers: int
    database: int
    artifacts: int
    record: int


@dataclass(frozen=True, slots=True)
class Grown:
    """What a long run shows.

    `parent` and `workers`: the most memory after period 20 over that of period 20. `time` and `busy` (processor
    seconds, which other programs on the machine change less): the median of the last forty periods over that of the
    first forty after the warm-up. `database` and `artifacts`: bytes a period.
    """

    parent: float
    workers: float
    time: float
    busy: float
    database: float
    artifacts: float

    def __str__(self) -> str:
        return (
            f"since period {WARM}: memory of the parent x {self.parent:.3f}, of its workers x {self.workers:.3f}; "
            f"time per period x {self.time:.2f}, processor time x {self.busy:.2f}; MLflow's database "
            f"{self.database / 1e3:.1f} kB and artifacts {self.artifacts / 1e3:.1f} kB a period"
        )


def scenario(periods: int, monitor: str) -> Scenario:
    """Return a scenario of periods that take well under a second."""
    return Scenario.model_validate(
        {
            "name": "long",
            "periods": periods,
            "device": "cpu",
            "source": {"use": "digits"},
            "stream": {"base": 300, "batch": 100, "validation": 120, "relearning": 10, "test": 100, "reuse": "recycle"},
            "drift": [{"use": "rotation", "degrees": 0.1}],
            "attack": {"use": "patch", "target": 0, "size": 2},
            "campaign": {"use": "one-shot", "rate": 0.1},
            "monitor": MONITORS[monitor],
            "recipe": {"base": {"epochs": 4, "batch": 32}, "update": {"epochs": 1, "batch": 32}},
            "trusted": {"images": 40, "from": 0},
            "gate": {"use": "accuracy", "tolerance": 0.5},
            "probes": [{"use": "attack-success"}],
        }
    )


def measure(workspace: Path, wanted: Scenario, *, show: Any = None) -> list[Sample]:
    """Play `wanted` against a real MLflow store in `workspace` and return a sample a period."""
    registry, ledger = open_stores(tracking_uri=None, workspace=workspace)
    ledger.hold("long")
    head = open_run(wanted, registry, ledger, "long")
    samples: list[Sample] = []
    began, spent = time.perf_counter(), _busy(os.getpid())

    def listen(event: Event) -> None:
        nonlocal began, spent
        if event.kind != "period-committed" or event.control != "none":
            return
        now, total = time.perf_counter(), _busy(os.getpid())
        samples.append(_sample(event, now - began, total - spent, workspace))
        if show is not None:
            show(samples[-1])
        began, spent = time.perf_counter(), _busy(os.getpid())

    try:
        play(head, wanted, registry, ledger, listen=listen)
        registry.finish("finished", {})
    finally:
        ledger.release()
    return samples


def grown(samples: Sequence[Sample]) -> Grown:
    """Return how the last samples compare with the settled ones."""
    first, last = samples[WARM : WARM + 40], samples[-40:]
    warm, end = samples[WARM], samples[-1]
    periods = end.period - warm.period
    return Grown(
        parent=max(sample.parent for sample in samples[WARM:]) / warm.parent,
        workers=max(sample.workers for sample in samples[WARM:]) / warm.workers,
        time=median(sample.seconds for sample in last) / median(sample.seconds for sample in first),
        busy=median(sample.busy for sample in last) / median(sample.busy for sample in first),
        database=(end.database - warm.database) / periods,
        artifacts=(end.artifacts - warm.artifacts) / periods,
    )


def _sample(event: Event, seconds: float, busy: float, workspace: Path) -> Sample:
    files = [path.stat().st_size for path in (workspace / "artifacts").rglob("*") if path.is_file()]
    return Sample(
        event.period,
        seconds,
        busy,
        parent=_resident(os.getpid()),
        workers=sum(_resident(child) for child in _descendants(os.getpid())),
        database=sum(path.stat().st_size for path in workspace.glob("mlflow.db*")),
        artifacts=sum(files),
        record=len(event.record.model_dump_json()) if event.record is not None else 0,
    )


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
    except OSError:  # it has just ended
        return 0


def _busy(process: int) -> float:
    """Processor seconds of a process and its living descendants."""
    total = 0
    for one in (process, *_descendants(process)):
        with suppress(OSError):
            total += sum(map(int, Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return total / _TICK


def _descendants(process: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *_descendants(child)]
    return found


def _row(sample: Sample) -> str:
    sizes = (sample.parent, sample.workers, sample.database, sample.artifacts)
    return (
        f"{sample.period:>6} {sample.seconds:>8.3f} "
        + " ".join(f"{size / 1e6:>10.1f}" for size in sizes)
        + (f" {sample.record / 1e3:>9.1f}")
    )


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--periods", type=int, default=200)
    parser.add_argument("--monitor", choices=MONITORS, default="mmd")
    parser.add_argument("--every", type=int, default=20, help="show every so many periods")
    chosen = parser.parse_args()

    def show(sample: Sample) -> None:
        if sample.period % chosen.every == 0:
            sys.stdout.write(_row(sample) + "\n")
            sys.stdout.flush()

    sys.stdout.write("period  seconds    busy  parent MB workers MB  MLflow MB artifacts  record kB\n")
    with tempfile.TemporaryDirectory(prefix="ebbdoor-long-") as folder:
        samples = measure(Path(folder), scenario(chosen.periods, chosen.monitor), show=show)
    sys.stdout.write(f"{grown(samples)}; the data were recycled\n")


if __name__ == "__main__":
    _main()
