"""How a bench plays the standard timeline, and the rows under which it counts the seconds of the loop's stages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from simulator.bench.standard import STANDARD
from simulator.errors import ScenarioError

if TYPE_CHECKING:
    from simulator.scenario.model import Scenario

#: stage of the loop -> row of the table
ROWS = {
    "ingest": "world",
    "monitor": "monitor",
    "decide": "decide",
    "gate": "decide",
    "filter": "defend",
    "repair": "defend",
    "inspect": "defend",
    "train": "train",
    "probe": "probe",
    "register": "register",
    "commit": "register",
}


@dataclass(frozen=True, slots=True)
class Way:
    """`governed`: the flow `simulate` on servers, Evidently every period, default probes. `twin`: the paced twin too.

    `portable`: in turn with itself under `numerics: portable`, not with the bare loop.
    Otherwise `prefect` makes every stage a task, and `stores` are an MLflow of files or the memory of the process.
    """

    prefect: bool = True
    stores: Literal["sqlite", "memory"] = "sqlite"
    governed: bool = False
    twin: bool = False
    overrides: Sequence[str] = ()
    portable: bool = False

    def __post_init__(self) -> None:
        if self.governed and not self.prefect:
            raise ScenarioError("expected the governed timeline to be a flow, got --no-prefect; leave one of them out")
        if self.governed and self.portable:
            raise ScenarioError("expected one comparison, got --governed and --portable; leave one of them out")
        if self.governed and self.stores == "memory":
            raise ScenarioError(
                "expected the governed timeline's stores to be servers, got --stores memory; leave one of them out"
            )


def bench_scenario(folder: Path, way: Way, seed: int) -> tuple[Path, Scenario]:
    """Write the timeline, overrides included, into `folder`; return the file and the scenario."""
    from simulator.scenario.load import load_scenario

    values = STANDARD | {"twins": ["paced"] if way.twin else [], "seed": seed}
    if way.governed:  # with the scenario's default probes
        del values["probes"]
        values["monitor"] = {"use": "evidently"}
    path = folder / "bench.yaml"
    path.write_text(json.dumps(values))  # JSON is YAML
    scenario = load_scenario(str(path), list(way.overrides))
    path.write_text(scenario.model_dump_json(by_alias=True))
    return path, scenario


def idle_rows(scenario: Scenario) -> dict[str, str]:
    """Return why the seconds of a row measure nothing, by row."""
    unused = {
        "monitor": ("monitor", scenario.monitor.use == "none"),
        "defend": ("defenses", not scenario.defenses),
    }
    return {row: f"not measured: the timeline has no {what}" for row, (what, missing) in unused.items() if missing}
