"""ebbdoor and the bare loop, as participants of the same bench."""

from __future__ import annotations

from benchmarks.peers.work import STANDARD_SIZES, Sizes
from simulator.bench.standard import curves, resized


def play_ebbdoor(seed: int, sizes: Sizes) -> dict[str, list[float | None]]:
    """Play the standard timeline with stores in memory, cheap probes and no Prefect; return both curves."""
    from simulator.loop.run import open_run, play
    from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
    from simulator.scenario.model import Scenario

    registry, ledger = MemoryRegistry(), MemoryLedger()
    values = resized(sizes.base, sizes.fresh, sizes.test, sizes.updates, sizes.epochs)
    scenario = Scenario.model_validate({**values, "seed": seed})
    head = open_run(scenario, registry, ledger, "bench")
    return curves(play(head, scenario, registry, ledger, processes=0)["main"])


def play_bare_loop(seed: int, sizes: Sizes) -> dict[str, list[float]]:
    """Play the bare loop; return both curves. Raises `ValueError` for any but its own sizes."""
    from simulator.bench.bare_loop import run_bare_loop

    if sizes != STANDARD_SIZES:
        raise ValueError(f"expected the bare loop to have its own sizes, got {sizes}; leave it out with --only")
    result = run_bare_loop(seed)
    return {name: result[name] for name in ("clean_accuracy", "attack_success")}
