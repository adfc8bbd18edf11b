"""ebbdoor and the bare loop in turn, each in a process of its own, for as many pairs as are asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any

from flows.bench.servers import BenchServers, bench_servers
from flows.bench.way import Way
from simulator.bench.rounds import alternate, play_apart, ratios, spread
from simulator.system.numerics import PORTABLE

_ONCE = "flows.bench.once"


def measure_pairs(
    seed: int,
    say: Callable[[str], None],
    way: Way,
    pairs: int,
    done: Callable[[float], None] = lambda share: None,
) -> dict[str, Any]:
    """Play `pairs` pairs in alternating order and return every result, medians, and ratios to the bare loop.

    Pair number n has seed `seed` + n. `servers` are the CPU seconds that the servers spent on each of ours, by name;
    they are in no other number. With overrides the work is another than the bare loop's, which is then left out.
    With `way.portable` a pair is the timeline and the same under `numerics: portable`, and ratios are to the former.
    """
    with ExitStack() as stack:
        servers = stack.enter_context(bench_servers(say)) if way.governed else None
        players = {"ebbdoor": _ours(seed, way, servers)}
        if way.portable:
            players["portable"] = _portable(seed, way)
        elif way.overrides:
            say("the bare loop is left out: with overrides it would not do the same work")
        else:
            players["bare loop"] = lambda at: play_apart(_ONCE, {"seed": seed + at, "way": None})
        played = alternate(players, pairs, say, done)
    cpu = {name: [result["cpu_seconds"] for result in results] for name, results in played.items()}
    return {
        "seed": seed,
        "way": asdict(way),
        "cpu_seconds": {name: spread(values) for name, values in cpu.items()},
        "ratio": _ratio(cpu),
        "servers_start_seconds": servers.start_seconds if servers else None,
        "played": played,
    }


def _ratio(cpu: Mapping[str, list[float]]) -> dict[str, float] | None:
    if "portable" in cpu:
        return ratios(cpu["portable"], cpu["ebbdoor"])
    return ratios(cpu["ebbdoor"], cpu["bare loop"]) if "bare loop" in cpu else None


def _portable(seed: int, way: Way) -> Callable[[int], dict[str, Any]]:
    """Libraries read the variables when they are loaded, so the process starts with them."""
    asked = asdict(replace(way, overrides=(*way.overrides, "numerics=portable")))
    return lambda at: play_apart(_ONCE, {"seed": seed + at, "began": time.time(), "way": asked}, PORTABLE)


def _ours(seed: int, way: Way, servers: BenchServers | None) -> Callable[[int], dict[str, Any]]:
    def play(at: int) -> dict[str, Any]:
        before = servers.cpu() if servers else {}
        order = {"seed": seed + at, "began": time.time(), "way": asdict(way)}
        result = play_apart(_ONCE, order, servers.variables if servers else None)
        after = servers.cpu() if servers else {}
        return {**result, "servers": {name: after[name] - before[name] for name in after}}

    return play
