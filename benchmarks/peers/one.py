"""One participant in this process: `python -m benchmarks.peers.one ORDER RESULT`.

ORDER is a JSON object with `name`, `seed` and `sizes`; what was measured is written into the file RESULT, as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from simulator.bench.cpu import CpuClock

#: participant -> module, function and options; only what is played is imported
PLAYERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ebbdoor": ("ours", "play_ebbdoor", {}),
    "bare-loop": ("ours", "play_bare_loop", {}),
    "avalanche": ("avalanche", "play_avalanche", {}),
    "classic": ("classic", "play_classic", {}),
    "classic-2-workers": ("classic", "play_classic", {"workers": 2}),
}


def play_one(name: str, seed: int, sizes: dict[str, int]) -> dict[str, Any]:
    """Play a participant on one thread; return its curves and seconds, those of its ended children included.

    `sizes` are the fields of `benchmarks.peers.work.Sizes` that are not the standard timeline's.
    """
    with CpuClock() as clock:
        import torch

        from benchmarks.peers.work import Sizes

        torch.set_num_threads(1)
        curves = _player(name)(seed, Sizes(**sizes))
        return {**curves, **clock.read()}


def _player(name: str) -> Callable[..., dict[str, Any]]:
    module, function, options = PLAYERS[name]
    return partial(getattr(import_module(f"benchmarks.peers.{module}"), function), **options)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(play_one(**json.loads(sys.argv[1]))))
