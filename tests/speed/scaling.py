"""Does a period cost the same at the 200th as at the first, does cost grow with images alone, what is held in memory?

Run it: `make bench-scaling`, or `python tests/speed/scaling.py [flat] [stores] [ledger] [images] [memory] [load]`. CPU
seconds, one thread, of this process and its children; every timeline in a process of its own. Fails where a bound is
missed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import NormalDist, fmean, median
from typing import Any

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
os.environ |= dict.fromkeys(("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"), "true")

PERIODS = 200
IMAGES = (2000, 4000, 8000, 16000)
#: committed periods at which the commits of a ledger in a folder are timed
LENGTHS = (10, 100, 1000)
#: rows of 96 x 96 colour images whose loading is measured: 316 MiB
LOADED = 12_000
#: loads an archive; prints the bytes of its arrays, how much more memory that took at most, and how much it holds that
#: no other process can share
LOAD = """
import resource, sys
from simulator.world.sources.npz import Npz
import torch
def most(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
def own(): return [int(line.split()[1]) * 1024 for line in open("/proc/self/smaps_rollup") if "Anonymous:" in line][0]
before, alone = most(), own()
data = Npz(path=sys.argv[1]).load()
print(data.images.nbytes + data.test_images.nbytes, most() - before, own() - alone, flush=True)
input()
"""
#: updates of the plays whose memory is measured
MEMORY_PERIODS = 10
#: the standard timeline made small; 200 periods of it ask for more rows than there are, so that the last ones recycle
FLAT: dict[str, Any] = {
    "name": "flat",
    "periods": PERIODS,
    "device": "cpu",
    "source": {"use": "fashion-mnist"},
    "stream": {"base": 1000, "batch": 200, "validation": 200, "test": 200, "reuse": "recycle"},
    "drift": [{"use": "rotation", "degrees": 0.5, "pattern": "gradual"}],
    "attack": {"use": "patch", "target": 0, "size": 3},
    "campaign": {"use": "one-shot", "period": 0, "rate": 0.05},
    "recipe": {"base": {"epochs": 1, "batch": 128}, "update": {"epochs": 1, "batch": 128}},
    "trusted": {"images": 200},
    "gate": {"use": "accuracy", "tolerance": 1.0},
    "probes": [{"use": "attack-success"}],
    "twins": [],
}


def images_of(count: int) -> dict[str, Any]:
    """Return a timeline whose every set of images grows with `count`; a monitor that subsamples is left out."""
    stream = {"base": count, "batch": count, "validation": count // 10, "test": count // 2, "reuse": "recycle"}
    trusted = {"images": count // 10}
    return FLAT | {"periods": 3, "stream": stream, "trusted": trusted, "monitor": {"use": "none"}}


def play_one(scenario: dict[str, Any], *, stores: bool, workers: int) -> dict[str, Any]:
    """Play a scenario here or in `workers` worker processes (0: here), as a study or as `ebbdoor run` does.

    Returns CPU seconds and bytes of the state by period, and the memory in bytes of the process that holds the line.
    """
    from simulator.loop.run import open_run, play
    from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
    from simulator.production.registry.open import open_stores
    from simulator.scenario.model import Scenario

    before = _warm(workers)
    model = Scenario.model_validate(scenario)
    spent: list[float] = []
    peak = 0
    with tempfile.TemporaryDirectory() as folder:
        if stores:
            registry, ledger = open_stores(tracking_uri=None, workspace=Path(folder))
        else:
            registry, ledger = MemoryRegistry(), MemoryLedger()
        head = open_run(model, registry, ledger, "run")

        def listen(event: Any) -> None:
            nonlocal peak
            if event.kind == "period-committed":
                spent.append(_cpu())
                peak = _peak(workers)

        began = _cpu()
        entries = play(head, model, registry, ledger, processes=workers, listen=listen)["main"]
    states = [len(json.dumps(entry.record.state)) for entry in entries]
    seconds = [after - previous for previous, after in zip([began, *spent], spent, strict=False)]
    return {"seconds": seconds, "state": states, "memory": peak - before, "held": _held(model)}


def _warm(workers: int) -> int:
    """Import what a timeline needs and train a step, so that libraries and their work space are there before.

    Returns the peak of memory in bytes. A worker plays one run: another's tiny one tells what it needs without data.
    """
    import numpy as np
    import torch

    torch.set_num_threads(1)
    from simulator.loop.run import open_run, play
    from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
    from simulator.scenario.model import Scenario

    stream = {"base": 300, "batch": 60, "validation": 60, "relearning": 10, "test": 250}
    registry, ledger = MemoryRegistry(), MemoryLedger()
    peaks: list[int] = []

    def listen(event: Any) -> None:
        if event.kind == "period-committed":
            peaks.append(_peak(workers))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tiny.npz")
        pixels = np.random.default_rng(0).integers(0, 256, (1800, 8, 8), np.uint8)
        np.savez(path, images=pixels, labels=np.arange(1800) % 10)
        source = {"use": "npz", "path": str(path)}
        tiny = FLAT | {"source": source, "periods": 1, "stream": stream, "trusted": {"images": 20}}
        model = Scenario.model_validate(tiny)
        play(open_run(model, registry, ledger, "warm"), model, registry, ledger, processes=workers, listen=listen)
    return peaks[-1]


def _held(scenario: Any) -> dict[str, int]:
    """Return the bytes of data and models that a timeline cannot do without, each once.

    `source`: the source's arrays as they are kept (uint8 pixels, int64 labels). `images`: the float32 images of one
    period: the window, the test images and the stamped ones, validation and trusted ones. `models`: the candidate, the
    champion, its nearest ancestors and their parents, as many as are kept.
    """
    from simulator.production.training.networks import build_network
    from simulator.world.world import load_source

    data = load_source(scenario.source)
    arrays = (data.images, data.labels, data.test_images, data.test_labels)
    pixels = math.prod(data.shape)
    stream = scenario.stream
    rows = max(stream.base, stream.batch) + 2 * stream.test + stream.validation + scenario.trusted.images
    channels, height, width = data.shape
    network = build_network(
        scenario.recipe.network, channels=channels, size=(height, width), classes=data.classes, seed=0
    )
    model = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    return {"source": sum(array.nbytes for array in arrays), "images": 4 * pixels * rows, "models": 6 * model}


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _peak(workers: int) -> int:
    """The most memory, in bytes, that the operating system has seen resident: of this process, or of its one worker.

    `ru_maxrss` would not do for a worker: it counts what its parent held when it was started.
    """
    task = Path("/proc/self")
    if workers:
        [pid] = [pid for each in task.glob("task/*/children") for pid in each.read_text().split()]
        task = Path("/proc", pid)
    [most] = [line.split()[1] for line in (task / "status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(most) * 1024


def in_its_own_process(scenario: dict[str, Any], *, stores: bool = False, workers: int = 0) -> dict[str, Any]:
    """Play a scenario in a fresh interpreter; see `play_one`."""
    command = [sys.executable, __file__, "--play", str(workers), *(["--stores"] if stores else [])]
    done = subprocess.run(command, input=json.dumps(scenario), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def slope(values: list[float]) -> tuple[float, float]:
    """Return Theil and Sen's slope per step of `values` and half the width of its 95 % interval.

    The interval is that of Kendall's statistic (Sen, 1968): it leans on no shape of the noise.
    """
    pairs = sorted((b - a) / (j - i) for i, a in enumerate(values) for j, b in enumerate(values) if i < j)
    n = len(values)
    spread = NormalDist().inv_cdf(0.975) * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = pairs[max(0, round((len(pairs) - spread) / 2))]
    high = pairs[min(len(pairs) - 1, round((len(pairs) + spread) / 2))]
    return median(pairs), (high - low) / 2


def flat(*, stores: bool) -> bool:
    """Play 200 periods; tell what the first, middle and last 20 cost and how that grows."""
    found = in_its_own_process(FLAT, stores=stores)
    seconds = found["seconds"][1:]  # without the base training
    middle = PERIODS // 2
    parts = [seconds[:20], seconds[middle - 10 : middle + 10], seconds[-20:]]
    steep, half = slope(seconds)
    growth = steep * PERIODS / median(seconds)
    print(
        f"{'MLflow on SQLite' if stores else 'stores in memory'}, {PERIODS} periods of 200 images: "
        f"CPU ms a period {', '.join(f'{1000 * median(part):.0f}' for part in parts)} (first, middle, last 20), "
        f"slope {1e6 * steep:.0f} ± {1e6 * half:.0f} µs a period, so {growth:+.1%} over {PERIODS}; "
        f"state {found['state'][1]} to {found['state'][-1]} bytes"
    )
    return (steep - half) * PERIODS < 0.1 * median(seconds)


def ledger() -> bool:
    """Commit 1,000 periods to a ledger in a folder, as a study does; tell what a commit costs after 10, 100 and 1,000.

    Seconds of the clock and of the CPU: a commit waits for the disk, which takes as long however many there are.
    """
    from simulator.production.registry.base import Entry, RunHead
    from simulator.production.registry.folder import FolderLedger
    from simulator.records import LineageKey

    def timed(period: int) -> tuple[float, float]:
        record = _record(period)
        entry = Entry(record, record.digest())
        began = time.perf_counter(), time.process_time()
        store.commit(entry)
        return time.perf_counter() - began[0], time.process_time() - began[1]

    with tempfile.TemporaryDirectory() as folder:
        store = FolderLedger(Path(folder))
        store.hold("run")
        store.open(RunHead("run", {}, "0" * 64, "0" * 64, (LineageKey(arm="main"),)))
        spent = [timed(period) for period in range(LENGTHS[-1])]
    cpu = []
    for length in LENGTHS:
        clock, busy = (median(seconds) for seconds in zip(*spent[length - 10 : length], strict=True))
        cpu.append(busy)
        print(f"ledger in a folder, {length:>4} periods: {1e3 * clock:.2f} ms a commit, {1e3 * busy:.2f} of them CPU")
    return cpu[-1] < 2 * cpu[0]


def _record(period: int) -> Any:
    from simulator.records import Arrival, Decision, Judgement, PeriodRecord, Reading, Signal

    return PeriodRecord(
        run="run",
        arm="main",
        control="none",
        period=period,
        version=period,
        parent=period - 1 if period else None,
        candidate=period,
        candidate_parent=period - 1 if period else None,
        arrival=Arrival(rows=200),
        signal=Signal(method="none"),
        decision=Decision(retrain=True, why="every period"),
        judgement=Judgement(action="promoted", why="no gate", serving=period),
        readings={"clean/accuracy": Reading.of(0.875)},
        state={"rows": list(range(1000))},
        weights="0" * 64,
        source="0" * 64,
        scenario="0" * 64,
    )


def linear() -> bool:
    """Play periods of 2,000 to 16,000 images; tell what an image costs."""
    costs = {}
    for count in IMAGES:
        costs[count] = fmean(in_its_own_process(images_of(count))["seconds"][1:])
        print(f"{count:>6} images a period: {costs[count]:.2f} CPU s, {1e6 * costs[count] / count:.0f} µs an image")
    exponent = math.log(costs[IMAGES[-1]] / costs[IMAGES[0]]) / math.log(IMAGES[-1] / IMAGES[0])
    print(f"cost grows as images to the power of {exponent:.2f}")
    return exponent < 1.1


def memory() -> bool:
    """Play periods of 2,000 to 16,000 images; tell the peak of resident memory beside the data and models held.

    As the operating system sees it, with whatever the allocator keeps for reuse: medians of three plays of more
    periods than elsewhere, for what the allocator keeps grows in the first ones.
    """
    worst = 0.0
    for count in IMAGES:
        scenario = images_of(count) | {"periods": MEMORY_PERIODS}
        for workers, where in ((1, "in a worker"), (0, "in one process")):
            found = [in_its_own_process(scenario, workers=workers) for _ in range(3)]
            held = found[0]["held"]
            peaks = sorted(play["memory"] for play in found)
            ratios = [peak / sum(held.values()) for peak in peaks]
            worst = max(worst, ratios[1])
            parts = ", ".join(f"{name} {value / 2**20:.1f}" for name, value in held.items())
            print(
                f"{count:>6} images a period, {where}: {peaks[1] / 2**20:.0f} MiB above the libraries at the peak; "
                f"{parts} MiB held: {ratios[1]:.2f} times ({ratios[0]:.2f} to {ratios[2]:.2f})",
                flush=True,
            )
    return worst <= 1.5


def load() -> bool:
    """Load an archive in a process that unpacks it, in one that finds it, and in two at once: peaks, what is shared."""
    import numpy as np

    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        images = np.random.default_rng(0).integers(0, 256, (LOADED, 96, 96, 3), np.uint8)
        np.savez(f"{folder}/big.npz", images=images, labels=np.arange(LOADED) % 10)
        command = [sys.executable, "-c", LOAD, f"{folder}/big.npz"]
        environment = {**os.environ, "EBBDOOR_WORKSPACE": folder}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
        for what in ("unpacked", "found again"):
            size, most, _ = _loaded([subprocess.Popen(command, **pipes)])[0]
            ratios.append(most / size)
            told = f"{most / 2**20:.0f} MiB more at the peak: {ratios[-1]:.2f} times"
            print(f"archive of {size / 2**20:.0f} MiB, {what}: {told}")
        alone = [own for _, _, own in _loaded([subprocess.Popen(command, **pipes) for _ in range(2)])]
        print(f"in two processes at once: {max(alone) / 2**20:.0f} MiB of each are its own")
    return max(ratios) <= 1.5 and max(alone) <= 0.2 * size


def _loaded(processes: list[Any]) -> list[list[int]]:
    """Return what each process tells; all of them hold their data until all have told."""
    told = [[int(text) for text in process.stdout.readline().split()] for process in processes]
    for process in processes:
        process.communicate("\n")
    return told


def main(arguments: list[str]) -> int:
    """Measure what is asked for, all by default; return 1 where a bound is missed."""
    alone, governed = partial(flat, stores=False), partial(flat, stores=True)
    measures = {"flat": alone, "stores": governed, "ledger": ledger, "images": linear, "memory": memory, "load": load}
    parser = argparse.ArgumentParser(prog="scaling.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("measures", nargs="*", metavar="measure", help=f"any of {', '.join(measures)}; default: all")
    wanted = parser.parse_args(arguments).measures
    if unknown := sorted({*wanted} - {*measures}):
        parser.error(f"expected measures among {', '.join(measures)}, got {', '.join(unknown)}; correct them")
    began = time.perf_counter()
    missed = [name for name in wanted or measures if not measures[name]()]
    verdict = f"missed: {', '.join(missed)}" if missed else "all bounds are kept"
    print(f"{time.perf_counter() - began:.0f} s; {verdict}")
    return int(bool(missed))


if __name__ == "__main__":
    if "--play" in sys.argv:
        place = sys.argv.index("--play") + 1
        print(json.dumps(play_one(json.load(sys.stdin), stores="--stores" in sys.argv, workers=int(sys.argv[place]))))
    else:
        sys.exit(main(sys.argv[1:]))
