"""Play a tiny run over simulated stores that fail, delay, duplicate, reorder and tear writes, after seeded schedules.

    python tests/faults/simulate.py --schedules 2000 --processes 2
    python tests/faults/simulate.py --seed 17        # just that schedule, with every call

Each schedule must end with the store of the undisturbed run; a refusal must say why, and a later process complete it.
Prints a table of what was injected and what came of it, and exits with 1 when a schedule ended otherwise.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

for _variable, _value in {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}.items():
    os.environ.setdefault(_variable, _value)
sys.path.insert(0, str(Path(__file__).parent))

from simulated.faults import KINDS  # noqa: E402
from simulated.sessions import Outcome, simulate  # noqa: E402

_ENDS = ("as if nothing", "retried", "refused", "killed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the schedules; return the exit code."""
    asked = _parser().parse_args(arguments)
    if asked.seed is not None:
        return _replay(asked.seed)
    begun = time.monotonic()
    seeds = range(asked.first, asked.first + asked.schedules)
    outcomes = list(_told(_played(seeds, asked.processes), len(seeds)))
    sys.stdout.write(_table(outcomes, time.monotonic() - begun, asked.processes))
    failed = sorted(outcome.seed for outcome in outcomes if outcome.wrong)
    for seed in failed:
        sys.stdout.write(f"seed {seed} failed; replay it: python tests/faults/simulate.py --seed {seed}\n")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--schedules", type=int, default=2000, help="how many seeds (default 2000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="how many at a time (default: cores)"
    )
    parser.add_argument("--seed", type=int, help="replay one schedule and print its calls")
    return parser


def _played(seeds: Sequence[int], processes: int) -> Iterable[Outcome]:
    context = multiprocessing.get_context("spawn")  # torch does not survive a fork
    with context.Pool(processes, initializer=_one_thread) as pool:
        yield from pool.imap_unordered(simulate, seeds, chunksize=4)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _told(outcomes: Iterable[Outcome], count: int) -> Iterable[Outcome]:
    begun = time.monotonic()
    for number, outcome in enumerate(outcomes, start=1):
        if outcome.wrong:
            sys.stderr.write(f"seed {outcome.seed}: {outcome.wrong[0][:300]}\n")
        if number % 100 == 0 or number == count:
            sys.stderr.write(f"{number} of {count} schedules, {time.monotonic() - begun:.0f} s\n")
        yield outcome


def _end(outcome: Outcome) -> str:
    """Return the worst that came of a schedule on its way to its end."""
    if outcome.counts["killed"]:
        return "killed"
    if outcome.counts["refused"]:
        return "refused"
    return "retried" if outcome.counts["retried"] else "as if nothing"


def _table(outcomes: Sequence[Outcome], seconds: float, processes: int) -> str:
    """Return a row a kind of fault: how often it was injected, and of the schedules with it how many came to what."""
    head = f"{'fault':<12}{'injected':>10}{'schedules':>11}" + "".join(f"{end:>15}" for end in _ENDS) + f"{'failed':>8}"
    rows = [head, "-" * len(head)]
    for kind in (*KINDS, "all"):
        theirs = [outcome for outcome in outcomes if kind == "all" or outcome.injected[kind]]
        injected = sum(outcome.injected.total() if kind == "all" else outcome.injected[kind] for outcome in theirs)
        ends = Counter(_end(outcome) for outcome in theirs)
        failed = sum(bool(outcome.wrong) for outcome in theirs)
        row = f"{kind:<12}{injected:>10}{len(theirs):>11}" + "".join(f"{ends[end]:>15}" for end in _ENDS)
        rows.append(f"{row}{failed:>8}")
    totals: Counter[str] = sum((outcome.counts for outcome in outcomes), Counter())
    rows += [
        "",
        f"{len(outcomes)} schedules in {seconds:.0f} s on {processes} processes: {totals['retried']} retries, "
        f"{totals['refused']} refusals and {totals['killed']} kills, {totals['resumed']} resumes",
    ]
    return "\n".join(rows) + "\n"


def _replay(seed: int) -> int:
    outcome = simulate(seed)
    for number, name, arguments, fault in outcome.trace:
        mark = "" if fault is None else f"   <-- {fault.kind} ({fault.chance:.3f})"
        sys.stdout.write(f"{number:>5} {name} {', '.join(str(value)[:60] for value in arguments)}{mark}\n")
    for refusal in outcome.refusals:
        sys.stdout.write(f"refused: {refusal}\n")
    for difference in outcome.wrong:
        sys.stdout.write(f"WRONG {difference}\n")
    sys.stdout.write(f"seed {seed}, plan '{outcome.plan}': {dict(outcome.counts)}, injected {dict(outcome.injected)}\n")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
