"""Which runs there are: those in the stores in use, wherever their folders are, and those of the workspace's folders.

`ebbdoor list runs` and `ebbdoor status` both tell these.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from flows.runs.folder import RunFolder, has_stores, runs, shown, unreadable

if TYPE_CHECKING:
    from simulator.production.registry.base import Ledger, StoredRun

#: what is said of a run whose folder is here and whose records are not
NOT_STORED: Final = (
    "its records are not in the stores in use: they were deleted there, or MLFLOW_TRACKING_URI named others when it "
    "was begun"
)


@final
@dataclass(frozen=True, slots=True)
class KnownRun:
    """A run: what the stores in use say of it (None: nothing), and its folder (None: it is not in the workspace).

    `fault` is why nothing more is known of it.
    """

    run: str
    stored: StoredRun | None = None
    place: RunFolder | None = None
    fault: str = ""

    @property
    def state(self) -> str:
        """The store's word, unless who holds the run says otherwise."""
        if self.stored is None:
            return "not stored" if self.place is not None else "unreadable"
        if self.stored.holder is not None and not self.stored.holder.is_dead:
            return "running"
        return "interrupted" if self.stored.status in ("running", "opening") else self.stored.status

    @property
    def folder(self) -> str:
        """Where its folder is, as one would type it here."""
        return "not in this workspace" if self.place is None else shown(self.place.folder)


def known_runs(ledger: Ledger | None, workspace: Path) -> list[KnownRun]:
    """Return every run, newest first, then those of which only a folder is here. `ledger` None: there are no stores."""
    stored = [] if ledger is None else ledger.runs()
    places = {place.run: place for place, _ in runs(workspace)}
    found = [KnownRun(one.run, one, places.pop(one.run, None)) for one in stored]
    found += [KnownRun(run, None, place, NOT_STORED) for run, place in places.items()]
    return found + [KnownRun(name, fault=why) for name, why in unreadable(workspace).items()]


def listed(workspace: Path) -> list[dict[str, str]]:
    """Return name, folder and state of every run. Nothing is changed, and stores that are not there are not made."""
    from flows.operate.reconcile_stores import stores_of

    ledger = stores_of(workspace)[1] if has_stores(workspace) else None
    return [{"name": one.run, "folder": one.folder, "state": one.state} for one in known_runs(ledger, workspace)]
