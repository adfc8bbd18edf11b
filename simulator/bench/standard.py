"""The standard timeline as a scenario: the work of `simulator.bench.bare_loop`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.production.registry.base import Entry

#: 10,000 base images at 5 % BadNets poison, then ten updates on 2,000 fresh images, 4 degrees more rotation each
STANDARD: dict[str, Any] = {
    "name": "bench",
    "periods": 10,
    "device": "cpu",
    "source": {"use": "fashion-mnist"},
    "stream": {"base": 10000, "batch": 2000, "test": 2000},
    "drift": [{"use": "rotation", "degrees": 4, "pattern": "gradual", "sampling": "plain"}],
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

#: curve that every participant of a bench reports -> the reading that it is here
CURVES = {"clean_accuracy": "clean/accuracy", "attack_success": "backdoor/attack_success"}


def resized(base: int, fresh: int, test: int, periods: int, epochs: int) -> dict[str, Any]:
    """Return the standard timeline with other counts of rows, updates and epochs."""
    recipe = STANDARD["recipe"]
    recipe = recipe | {phase: recipe[phase] | {"epochs": epochs} for phase in ("base", "update")}
    stream = {"base": base, "batch": fresh, "test": test}
    return {**STANDARD, "periods": periods, "stream": stream, "recipe": recipe}


def curves(entries: Sequence[Entry]) -> dict[str, list[float | None]]:
    """Return a lineage's clean accuracy and attack success, shares in [0, 1] a period; None where nothing was read."""
    return {name: [entry.record.readings[reading].value for entry in entries] for name, reading in CURVES.items()}
