"""Operations on the drop folder of a scenario: which periods have arrived, and admission of waiting files."""

from __future__ import annotations

from collections.abc import Iterable

from simulator.errors import ScenarioError, SourceError
from simulator.records import PeriodRecord
from simulator.scenario.model import Scenario
from simulator.scenario.overrides import resolved_arms
from simulator.world.arrivals.admission import Admission, Admitted
from simulator.world.arrivals.contents import Expected
from simulator.world.arrivals.folder import DropFolder
from simulator.world.arrivals.roles import rows_needed
from simulator.world.sources.base import SourceData
from simulator.world.world import load_source


def last_arrived(scenario: Scenario) -> int | None:
    """Return the last period that has arrived in the scenario's drop folder (0: none yet); None without a folder."""
    arrivals = scenario.stream.arrivals
    return None if arrivals is None else len(DropFolder(arrivals.folder).accepted())


def admit(scenario: Scenario, run: str, *, committed: int = 0, data: SourceData | None = None) -> Admitted:
    """Make the files that wait in the scenario's drop folder periods of `run`, or set them aside with the reason.

    `committed` is the last period in the ledger, so that no number is given twice. `data` is the scenario's source if
    it is loaded already. The caller holds the run's lock; repeated calls are safe. Raises `SourceError` when the folder
    belongs to another run or cannot be used, `ScenarioError` for a scenario without one.
    """
    arrivals = scenario.stream.arrivals
    if arrivals is None:
        raise ScenarioError(
            f"expected scenario '{scenario.name}' to have a drop folder, got none; set stream.arrivals.folder"
        )
    source = data or load_source(scenario.source)
    arms = list(resolved_arms(scenario).values())
    admission = Admission(
        folder=DropFolder(arrivals.folder),
        run=run,
        expected=Expected.by(source, arrivals.megabytes),
        needed=lambda period: rows_needed(arms, period),
        most=arrivals.waiting,
    )
    return admission.admit(scenario.periods, committed)


def require_files(scenario: Scenario, records: Iterable[PeriodRecord]) -> None:
    """Raise `SourceError` unless the accepted files are those that the committed `records` were made from."""
    arrivals = scenario.stream.arrivals
    if arrivals is None:
        return
    accepted = {file.period: file for file in DropFolder(arrivals.folder).accepted()}
    for record in records:
        found, sha256 = accepted.get(record.period), record.arrival.file
        if sha256 is not None and (found is None or found.sha256 != sha256):
            raise SourceError(
                f"expected period {record.period} in {arrivals.folder} to be the accepted file {sha256[:12]} that was "
                f"committed, got {found.name if found else 'none'}; put it back as it was"
            )


def check_owner(scenario: Scenario, run: str) -> None:
    """Raise `SourceError` when the scenario's drop folder belongs to another run than `run`. Nothing is written."""
    if scenario.stream.arrivals is not None:
        DropFolder(scenario.stream.arrivals.folder).check_owner(run)


def check_arrivals(scenario: Scenario, source: SourceData) -> None:
    """Raise `SourceError` if the folder cannot be used or its size limit is too small for a period's rows.

    Nothing is written.
    """
    arrivals = scenario.stream.arrivals
    if arrivals is None:
        return
    DropFolder(arrivals.folder).check()
    channels, height, width = source.shape
    needed = rows_needed([scenario], 1)
    least = needed.total * (channels * height * width + 1)
    if least > Expected.by(source, arrivals.megabytes).bytes:
        raise SourceError(
            f"expected stream.arrivals.megabytes to allow for {needed.total} images of {source.name} ({needed}), "
            f"{least / 1e6:.1f} megabytes, got {arrivals.megabytes}; raise it, or lower stream.batch or trusted.images"
        )
