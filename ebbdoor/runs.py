"""A run from Python: played or opened, with its readings as a table and its time line as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from ebbdoor.given import overridden

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from simulator.observer.run_export import RunExport
    from simulator.scenario.model import Scenario


@final
@dataclass(frozen=True)
class Run:
    """A run as the files in its `folder` hold it; nothing of its stores is read. Opened again, it shows what is new."""

    folder: Path

    @cached_property
    def export(self) -> RunExport:
        """Scenario, rows and summary as plain JSON values. `StoreError` where a file is missing or was changed."""
        from simulator.observer.export import read_run

        return read_run(self.folder)

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms, in the scenario's order."""
        return self.export.arms

    @property
    def scenario(self) -> Mapping[str, Any]:
        """The scenario after defaults."""
        return self.export.scenario

    @property
    def summary(self) -> Mapping[str, Any]:
        """What `summary.json` holds: survival, exposure and last readings by arm; an undefined one is None, and why."""
        return self.export.summary

    @property
    def verdict(self) -> str:
        """What became of the backdoor, a line an arm."""
        from simulator.observer.verdict import verdict

        return verdict(self.summary)

    @property
    def report(self) -> Path:
        """The report: one HTML file."""
        return self.folder / "report.html"

    def readings(self) -> DataFrame:
        """Return one row an arm, lineage and period, arms before their twins.

        `control` is `none` for the arm itself, `paced` or `free` for its twins. Readings are of the version that serves
        after the period, shares in [0, 1], under the names of docs/measures.md; one that is undefined is null, and
        `reasons` says why. Columns that hold lists or objects (`outcomes`, `gate`) are as in `periods.jsonl`.
        """
        from pandas import DataFrame

        return DataFrame(list(map(dict, self.export.rows)))

    def plot(self, arms: Sequence[str] | None = None) -> Figure:
        """Return the time line of `arms` (all by default): accuracy, net ASR, drift score, and what was done."""
        from simulator.errors import ScenarioError
        from simulator.observer.report.plots import time_line

        unknown = [arm for arm in arms or () if arm not in self.arms]
        if unknown:
            raise ScenarioError(f"expected arms of this run, got '{unknown[0]}'; it has {', '.join(self.arms)}")
        return time_line(self.export, arms)


def run(
    scenario: str | Path | Mapping[str, Any],
    *,
    set: Mapping[str, Any] | None = None,  # noqa: A002 - as on the command line and in a study
    seed: int | None = None,
    out: str | Path | None = None,
    until: int | None = None,
    processes: int | None = None,
    progress: bool = True,
) -> Run:
    """Play a scenario, without Prefect, and return it.

    `scenario`: a preset's name, a YAML file, or the scenario's own keys; `set` lays dotted keys over it. `out`: the
    run's folder, new or empty; the workspace's by default. `until`: stop after that period; `ebbdoor resume` goes on.
    `processes`: workers; 0 plays all in this process, None starts one an arm. `progress`: lines on standard error.
    Raises `EbbdoorError` (`ScenarioError` before anything is trained). Interrupted, what was committed is kept.
    """
    from flows import settings
    from flows.displays.base import Heading
    from flows.displays.display import Mode, display_for
    from flows.execute import Order, execute
    from flows.runs.folder import run_folder_of, shown
    from flows.runs.names import new_name

    values = _scenario(scenario, {**(set or {}), **({} if seed is None else {"seed": seed})})
    workspace = settings.use_workspace()
    place = run_folder_of(new_name(values.name, values.seed, workspace), Path(out) if out else None, workspace)
    order = Order(place, values, bare=True, until=until, processes=processes)
    mode = Mode.plain if progress else Mode.none
    heading = Heading(values.name, values.seed, values.device, shown(place.folder), len(values.arms))
    execute(order, lambda _: display_for(mode, heading), _quiet)
    return Run(place.folder)


def open_run(folder_or_name: str | Path) -> Run:
    """Return a run that was played: by its folder, or by its name in the workspace."""
    from flows import settings
    from flows.runs.folder import find_run_folder

    return Run(find_run_folder(str(folder_or_name), settings.default_workspace()).folder)


def _scenario(given: str | Path | Mapping[str, Any], overrides: Mapping[str, Any]) -> Scenario:
    from simulator.scenario.load import load_scenario
    from simulator.scenario.overrides import scenario_of

    start = scenario_of(given) if isinstance(given, Mapping) else load_scenario(str(given))
    return overridden(start, overrides)


def _quiet(_: str) -> None:
    """Say nothing beside the display."""
