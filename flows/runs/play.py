"""Play a run from its place: open or find it in its stores, hold it, play, export. The same for every executor."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.runs.costs import tell_costs
from flows.runs.folder import NOTE, RunFolder, typed, write_note
from simulator.errors import ScenarioError, StoreError
from simulator.production.registry.locked import locked, noting_failure
from simulator.system.ending import ending_by_signal
from simulator.system.instructions import INSTRUCTION_SETS, played_with

if TYPE_CHECKING:
    from simulator.loop.events import Listen, Wrap
    from simulator.production.registry.base import Entry, Ledger, Registry, RunHead
    from simulator.records import LineageEnd
    from simulator.scenario.model import Scenario, Use
    from simulator.world.sources.base import SourceData

_LOGGER = logging.getLogger("ebbdoor.stores")
#: what `checked` has found good, around the opening of its run
_CHECKED: ContextVar[Scenario | None] = ContextVar("_CHECKED", default=None)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or another signal after a run was opened; says how many periods are safe."""


@dataclass(frozen=True, slots=True)
class Stores:
    """An open run: what it is, and where its records go."""

    head: RunHead
    scenario: Scenario
    registry: Registry
    ledger: Ledger


@dataclass(frozen=True, slots=True)
class Finished:
    """A run after playing: its committed periods by line name, its exports by name, and where a person can look.

    `reached` is as `last_committed`; `ended` are the lineages whose training diverged.
    """

    place: RunFolder
    entries: dict[str, list[Entry]]
    files: dict[str, Path]
    links: dict[str, str]
    reached: int
    ended: tuple[LineageEnd, ...] = ()


@contextmanager
def checked(scenario: Scenario | None, say: Callable[[str], None] | None = None) -> Iterator[None]:
    """Raise `ScenarioError` unless `scenario` can be played; opening its run in the block does not check it again.

    `say` is told what the defenses will cost, where that is much.
    """
    if scenario is not None and scenario != _CHECKED.get():
        from simulator.preflight.scenario import check_scenario

        check_scenario(scenario, data=True, load=partial(_load_and_tell, scenario, say))
    token = _CHECKED.set(scenario)
    try:
        yield
    finally:
        _CHECKED.reset(token)


def _load_and_tell(scenario: Scenario, say: Callable[[str], None] | None, use: Use) -> SourceData:
    """Load the source, once for the checks and for what is told of costs."""
    from simulator.preflight.costs import defense_costs
    from simulator.world.world import load_source

    source = load_source(use)
    if say is not None:
        for line in defense_costs(scenario, source):
            say(line)
    return source


@contextmanager
def open_place(
    place: RunFolder,
    scenario: Scenario | None = None,
    *,
    take_over: bool = False,
    live: Mapping[str, Any] | None = None,
    examine: Callable[[Scenario], None] | None = None,
    accept_changed_code: bool = False,
    say: Callable[[str], None] = _LOGGER.warning,
) -> Iterator[Stores]:
    """Open the run of `place` for `scenario`, or, without one, find it from the ledger alone; be its only writer.

    A scenario that cannot be played is refused before anything is made. `live`: see `RunHead`; it is noted when the run
    is new. `examine` may raise on the ledger's scenario before anything that it names is imported. Where a person moved
    the alias `champion` in MLflow, that is adopted as a roll-back, and `say` tells it.
    `accept_changed_code`: go on although third-party code was changed since the run was begun; the next periods say so.
    """
    from simulator.loop.run import continue_run, open_run
    from simulator.world.arrivals.admit import check_owner

    with checked(scenario):
        if scenario is not None:
            check_owner(scenario, place.run)
        registry, ledger = place.open_stores()
    with locked(ledger, place.run, take_over=take_over):  # first, for a store allows two runs of one name
        if scenario is None:
            if examine is not None:
                examine(recorded(ledger.head(place.run)))
            head, scenario = continue_run(registry, ledger, place.run, accept_changed_code=accept_changed_code)
        else:
            head = open_run(scenario, registry, ledger, place.run, live=live, accept_changed_code=accept_changed_code)
            _check_same_pace(head, live, place.folder)
        stores = Stores(head, scenario, registry, ledger)
        with _closing_unplayed(stores):
            _begin(stores, say)
            yield stores


def _begin(stores: Stores, say: Callable[[str], None]) -> None:
    """Adopt what a person moved, and tell what playing will cost."""
    from simulator.loop.adopt import adopt_moves

    adopt_moves(stores.head, stores.registry, stores.ledger, say)
    if last_committed(stores) < stores.scenario.periods and _CHECKED.get() != stores.scenario:
        tell_costs([stores.scenario])


@contextmanager
def _closing_unplayed(stores: Stores) -> Iterator[None]:
    """Close the run in its registry when the block is interrupted before a period began."""
    from simulator.loop.run import close_unplayed

    try:
        yield
    except Interrupted:  # `play_place` has closed it
        raise
    except KeyboardInterrupt as error:
        with noting_failure(error):
            close_unplayed(stores.head, stores.registry, stores.ledger)
        raise


def play_place(
    place: RunFolder,
    stores: Stores,
    *,
    wrap: Wrap,
    listen: Listen,
    until: int | None = None,
    processes: int | None = None,
) -> Finished:
    """Play up to period `until` and export. Ended early, what was committed is kept and can be gone on with."""
    from simulator.cache.shared import run_cache
    from simulator.loop.run import play

    head, scenario, registry, ledger = stores.head, stores.scenario, stores.registry, stores.ledger
    with ending_by_signal(), _closing(stores):
        write_note(place, finished=False)
        with run_cache(len(head.lineages)) as cache:
            play(
                head, scenario, registry, ledger,
                wrap=wrap, listen=listen, until=until, processes=processes, cache=cache,
            )  # fmt: skip
        return export(place, stores)


@contextmanager
def _closing(stores: Stores) -> Iterator[None]:
    """Close the run in its registry when the block raises, and say of an interruption how much is safe."""
    try:
        yield
    except KeyboardInterrupt:
        done = last_committed(stores) + 1
        stopped = Interrupted(f"{done} of {stores.scenario.periods + 1} periods are committed in every arm, and safe.")
        with noting_failure(stopped):
            stores.registry.finish("interrupted", {})
        raise stopped from None
    except BaseException as error:
        with noting_failure(error):
            stores.registry.finish("failed", {})
        raise


def export(place: RunFolder, stores: Stores) -> Finished:
    """Write the run's folder from the ledger, hand the files to the registry, and note whether the run is finished."""
    finished = _written(place, stores)
    complete = finished.reached >= stores.scenario.periods
    stores.registry.finish("finished" if complete else "open", {name: str(p) for name, p in finished.files.items()})
    write_note(place, finished=complete)
    return finished


def export_again(place: RunFolder) -> None:
    """Write the run's folder from the ledger, also while another process plays the run; its stores are only read."""
    registry, ledger = place.open_stores()
    head = ledger.head(place.run)
    _written(place, Stores(head, recorded(head), registry, ledger))


def delete_place(place: RunFolder) -> None:
    """Remove the run from its stores, and what ebbdoor wrote into its folder."""
    from simulator.observer.run_export import FILES

    registry, ledger = place.open_stores()
    with locked(ledger, place.run):
        if not registry.delete(place.run):  # a store that does not know the run is the wrong one: the files are kept
            ledger.head(place.run)
    for name in (*FILES, NOTE):
        (place.folder / name).unlink(missing_ok=True)
    if place.folder.is_dir() and not any(place.folder.iterdir()):
        place.folder.rmdir()


def committed(stores: Stores) -> dict[str, list[Entry]]:
    """Return the committed periods by line name."""
    return {key.name: stores.ledger.entries(key) for key in stores.head.lineages}


def numbered(stores: Stores) -> dict[str, list[Entry]]:
    """Return the committed periods by line name; their `metadata` has the registry's `number` of what serves."""
    found = {}
    for key in stores.head.lineages:
        numbers = stores.registry.numbers(key)
        found[key.name] = [
            replace(one, metadata={**one.metadata, "number": numbers.get(one.record.version, one.record.version + 1)})
            for one in stores.ledger.entries(key)
        ]
    return found


def recorded(head: RunHead) -> Scenario:
    """Return the scenario that a run was opened with; `StoreError` when it is none that this version can read."""
    from pydantic import ValidationError

    from simulator.scenario.model import Scenario

    try:
        return Scenario.model_validate(dict(head.scenario))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise StoreError(
            f"expected the scenario of run '{head.run}' in its store to be one that this version reads, got one whose "
            f"{place} is wrong ({first['msg']}); use the version that began the run, or restore it"
        ) from error


def _written(place: RunFolder, stores: Stores) -> Finished:
    from simulator.observer.export import write_run
    from simulator.production.defending.examine import defaults_in
    from simulator.scenario.plugins import resolved

    entries, links, ended = numbered(stores), stores.registry.links(), stores.ledger.ends()
    about = {"environment": _environment(stores.scenario), "links": links, **_changed(entries)}
    about[INSTRUCTION_SETS] = played_with(one.metadata for line in entries.values() for one in line)
    if stores.head.data is not None:
        about["data"] = dict(stores.head.data)
    files = write_run(place.folder, resolved(stores.scenario, defaults_in(stores.scenario)), entries, about, ended)
    return Finished(place, entries, files, links, last_committed(stores), ended)


def _changed(entries: Mapping[str, Sequence[Entry]]) -> dict[str, list[dict[str, Any]]]:
    """What the export says of third-party code that was changed between two periods; nothing where none was."""
    from simulator.loop.changed_code import CODE_CHANGED, code_changes

    found = code_changes(entries)
    return {CODE_CHANGED: found} if found else {}


def _check_same_pace(head: RunHead, live: Mapping[str, Any] | None, folder: Path) -> None:
    """Going on with a run by its scenario must not play at once what was opened to be played as time passes."""
    if (head.live is None) != (live is None):
        was, now = ("at once", "live") if head.live is None else ("live", "at once")
        raise ScenarioError(
            f"expected run '{head.run}' to be played {was}, as it was opened, got {now}; "
            f"go on with `ebbdoor resume {typed(folder)}`, or give the run another name"
        )


def last_committed(stores: Stores) -> int:
    """Return the last period that every lineage has committed that goes on; -1 when there is none.

    The scenario's last period when none goes on: training diverged in every arm.
    """
    from simulator.production.registry.base import going

    left = going({key.name: key for key in stores.head.lineages}, stores.ledger.ends())
    counts = [len(stores.ledger.entries(key)) for key in left.values()]
    return min(counts, default=stores.scenario.periods + 1) - 1


def _environment(scenario: Scenario) -> dict[str, str]:
    packages = ("ebbdoor", "torch", "prefect", "mlflow", "evidently")
    return {
        "python": platform.python_version(),
        "device": _device(scenario.device),
        **{name: version(name) for name in packages},
    }


def _device(named: str) -> str:
    """Return the device that `auto` comes to on this machine."""
    from simulator.production.training.device import choose_device

    return str(choose_device(named)) if named == "auto" else named
