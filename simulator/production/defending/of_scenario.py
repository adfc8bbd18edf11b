"""The defenses of a scenario, with the limits and the place that it gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from simulator.production.defending.driver import Defenders, Grant, PastOf
from simulator.production.defending.runner import Limits
from simulator.scenario.model import Scenario


def defenders_of(
    scenario: Scenario, architecture: Mapping[str, Any], device: torch.device, past: PastOf, grant: Grant
) -> Defenders:
    """Return the defenses of `scenario` for a network of `architecture`: see `Defenders`. Close them."""
    return Defenders(
        scenario.defenses,
        architecture=dict(architecture),
        device=device,
        limits=Limits(scenario.defense_seconds, scenario.defense_memory, confined=scenario.defense_confined),
        passes=scenario.defense_passes,
        in_process=scenario.in_process,
        threads=scenario.threads,
        seed=scenario.seed,
        refuse_unscreened=scenario.on_timeout == "closed",
        past=past,
        grant=grant,
    )
