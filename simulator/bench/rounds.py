"""Participants of a bench, played in turn, each in a process of its own; medians and ratios of what they took.

Seconds on a shared machine drift by tens of per cent within minutes, so only what ran side by side is compared: a ratio
is taken within a round, and every other round is played in the opposite order.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from simulator.errors import WorkerError
from simulator.system.environment import child_environment

#: one thread each, from the first import on
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def _unheard(share: float) -> None:
    """Nobody asked."""


def alternate(
    players: Mapping[str, Callable[[int], dict[str, Any]]],
    rounds: int,
    say: Callable[[str], None],
    done: Callable[[float], None] = _unheard,
) -> dict[str, list[dict[str, Any]]]:
    """Call every player once a round with the round's number, and return their results by name, a round each.

    A result holds at least `cpu_seconds`. `say` is told of each, `done` the share of them all.
    """
    if rounds < 1:
        raise ValueError(f"expected at least one round, got {rounds}; ask for 5 or more to compare")
    played: dict[str, list[dict[str, Any]]] = {name: [] for name in players}
    for at in range(rounds):
        names = list(players)[:: 1 if at % 2 == 0 else -1]
        for name in names:
            result = players[name](at)
            played[name].append(result)
            done(sum(map(len, played.values())) / (rounds * len(players)))
            say(f"round {at + 1} of {rounds}: {name} {result['cpu_seconds']:.1f} s CPU")
    return played


def play_apart(module: str, order: Mapping[str, Any], variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run `python -m MODULE ORDER RESULT` to its end and return the JSON object that it wrote into the file RESULT.

    ORDER is a JSON object. Raises `WorkerError`, with the end of the process's output, when it failed.
    """
    with tempfile.TemporaryDirectory(prefix="ebbdoor-bench-") as folder:
        path = Path(folder) / "result.json"
        ended = subprocess.run(
            [sys.executable, "-m", module, json.dumps(dict(order)), str(path)],
            env={**child_environment(), **_ONE_THREAD, **(variables or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode or not path.is_file():
            output = "\n".join((ended.stdout + ended.stderr).strip().splitlines()[-12:])
            raise WorkerError(f"expected {module} to play {json.dumps(dict(order))}, got its end:\n{output}")
        result: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return result


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return `median`, `min` and `max`."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def ratios(mine: Sequence[float], base: Sequence[float]) -> dict[str, float]:
    """Return median, least and greatest of the ratios taken round by round."""
    return spread([one / other for one, other in zip(mine, base, strict=True)])
