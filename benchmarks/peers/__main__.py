"""`python -m benchmarks.peers`: ebbdoor, the bare loop and peers in turn; medians and ratios of CPU seconds."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

from benchmarks.peers.compared import compared, table
from benchmarks.peers.one import PLAYERS
from simulator.bench.rounds import alternate, play_apart
from simulator.errors import EbbdoorError, PluginError


def measure_peers(
    names: Sequence[str],
    rounds: int,
    seed: int,
    say: Callable[[str], None],
    sizes: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Play the participants `rounds` times, each in a process of its own; round n at seed `seed` + n.

    Returns what `compared` does, and every result in `played`. `sizes`: see `play_one`. Raises `ValueError` for an
    unknown name and `WorkerError` when a participant fails.
    """
    unknown = [name for name in names if name not in PLAYERS]
    if unknown or not names:
        raise ValueError(f"expected names among {', '.join(PLAYERS)}, got {', '.join(unknown) or 'none'}; correct them")

    def play(name: str, at: int) -> dict[str, Any]:
        return play_apart("benchmarks.peers.one", {"name": name, "seed": seed + at, "sizes": dict(sizes or {})})

    load = os.getloadavg()[0]
    played = alternate({name: partial(play, name) for name in names}, rounds, say)
    about = {"seed": seed, "rounds": rounds, "load": {"before": load, "after": os.getloadavg()[0]}}
    return {**about, **compared(played), "played": played}


def main(arguments: list[str] | None = None) -> None:
    """Play, and print medians, ratios and curves as a table or as JSON."""
    chosen = _parser().parse_args(arguments)
    try:
        names = _installed(chosen.only)
        found = measure_peers(names, chosen.rounds, chosen.seed, _say)
    except (EbbdoorError, ValueError) as error:
        _say(f"bench-peers: {error}")
        sys.exit(getattr(error, "exit_code", 2))
    sys.stdout.write((json.dumps(found) if chosen.format == "json" else table(found)) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.peers", description=(__doc__ or "").split(": ", 1)[1])
    parser.add_argument("--rounds", type=int, default=5, help="how often each is played")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first round; the next has the next")
    parser.add_argument("--only", action="append", choices=tuple(PLAYERS), help="play only this one; may be repeated")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    return parser


def _installed(only: Sequence[str] | None) -> list[str]:
    """The participants to play: all but Avalanche where it is not installed, unless it was asked for."""
    if find_spec("avalanche") is not None:
        return list(only or PLAYERS)
    if only and "avalanche" in only:
        raise PluginError("expected avalanche-lib to be installed, got none; install ebbdoor with the extra 'peers'")
    if not only:
        _say("Avalanche is left out: it is not installed; the extra 'peers' brings it")
    return [name for name in only or PLAYERS if name != "avalanche"]


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
