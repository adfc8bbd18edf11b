"""A run whose batches arrive in a drop folder: what has arrived, and what may become a period now."""

from __future__ import annotations

from collections.abc import Iterable

from simulator.errors import ScenarioError, SourceError
from simulator.records import PeriodRecord
from simulator.scenario.model import Scenario
from simulator.scenario.overrides import resolved_arms
from simulator.world.arrivals.admission import Admission, Admitted
from simulator.world.arrivals.contents import Expected
from simulator.world.arrivals.folder import Places, require_same
from simulator.world.arrivals.roles import rows_needed
from simulator.world.sources.base import SourceData
from simulator.world.world import load_source

__all__ = ["Admitted", "admit", "check_arrivals", "check_owner", "last_arrived", "require_files"]


def last_arrived(scenario: Scenario) -> int | None:
    """Return the last period that has arrived in the scenario's drop folder (0: none yet); None without a folder."""
    arrivals = scenario.stream.arrivals
    return None if arrivals is None else len(Places(arrivals.folder).accepted())


def admit(scenario: Scenario, run: str, *, committed: int = 0, data: SourceData | None = None) -> Admitted:
    """Make the files that wait in the scenario's drop folder periods of `run`, or set them aside with the reason.

    `committed` is the last period that the ledger holds, so that no number is given twice. `data` is the scenario's
    source where it is loaded already. Call it under the run's hold, as often as you like. Raises `SourceError` when the
    folder belongs to another run or cannot be used, `ScenarioError` for a scenario without one.
    """
    arrivals = scenario.stream.arrivals
    if arrivals is None:
        raise ScenarioError(
            f"expected scenario '{scenario.name}' to have a drop folder, got none; set stream.arrivals.folder"
        )
    source = data or load_source(scenario.source)
    arms = list(resolved_arms(scenario).values())
    admission = Admission(
        Places(arrivals.folder),
        run,
        expected=Expected(source.shape, source.classes, arrivals.megabytes),
        needed=lambda period: rows_needed(arms, period),
        most=arrivals.waiting,
    )
    return admission.admit(scenario.periods, committed)


def require_files(scenario: Scenario, records: Iterable[PeriodRecord]) -> None:
    """Raise `SourceError` unless the accepted files are those that the committed `records` were played with."""
    arrivals = scenario.stream.arrivals
    if arrivals is None:
        return
    accepted = {file.period: file for file in Places(arrivals.folder).accepted()}
    for record in records:
        if record.arrival.file is not None:
            require_same(record.period, record.arrival.file, accepted, arrivals.folder)


def check_owner(scenario: Scenario, run: str) -> None:
    """Raise `SourceError` when the scenario's drop folder belongs to another run than `run`. Nothing is written."""
    if scenario.stream.arrivals is not None:
        Places(scenario.stream.arrivals.folder).check_owner(run)


def check_arrivals(scenario: Scenario, source: SourceData) -> None:
    """Raise `SourceError` unless files that serve the scenario fit its folder and limits. Nothing is written."""
    arrivals = scenario.stream.arrivals
    if arrivals is None:
        return
    Places(arrivals.folder).check()
    channels, height, width = source.shape
    needed = rows_needed([scenario], 1)
    least = needed.total * (channels * height * width + 1)
    if least > Expected(source.shape, source.classes, arrivals.megabytes).bytes:
        raise SourceError(
            f"expected stream.arrivals.megabytes to allow for {needed.total} images of {source.name} ({needed}), "
            f"{least / 1e6:.1f} megabytes, got {arrivals.megabytes}; raise it, or lower stream.batch or trusted.images"
        )
