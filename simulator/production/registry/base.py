"""The two stores: a registry of model versions, and the ledger that decides what is done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from simulator.production.lineage import LineageState
from simulator.records import Action, Control, LineageEnd, LineageKey, PeriodRecord
from simulator.system.holder import Holder

if TYPE_CHECKING:  # reading a ledger needs no torch
    from torch import Tensor

Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class RunHead:
    """What names a run: `run` is unique in its stores; `scenario` is the frozen scenario as JSON values.

    `live` is None for a run that is played at once; for one that is played as time passes, `{"every": seconds between
    periods (null: whenever it is advanced), "since": when it was opened, ISO 8601, UTC}`. It changes no number.
    `code` are the digests of its third-party code (`simulator.scenario.identity.code_of`); empty: it has none, or an
    earlier version of ebbdoor opened it.
    `data` are facts about the source for people (`preflight.data.data_facts`); None for a run of before they were kept.
    `edition` says which defaults the plug-ins had (`simulator.scenario.earlier`); 1 for a run of before it was kept.
    """

    run: str
    scenario: Mapping[str, Any]
    scenario_digest: str
    source_digest: str
    lineages: tuple[LineageKey, ...]
    live: Mapping[str, Any] | None = None
    code: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] | None = None
    edition: int = 1


@dataclass(frozen=True, slots=True)
class StoredRun:
    """What a store says of a run: its last `status` word, committed periods by lineage name, and who holds it.

    `status`: `opening` until its head is stored, then `running` until it is closed as a whole with `open` (periods are
    left), `finished`, `failed` or `interrupted`; empty where the store keeps none. `ended`: the lineages whose training
    diverged. `fault` says what of it cannot be read, and what to do; it must not hide other runs.
    """

    run: str
    status: str
    committed: Mapping[str, int]
    holder: Holder | None = None
    ended: tuple[LineageEnd, ...] = ()
    fault: str = ""

    @property
    def going(self) -> dict[str, int]:
        """`committed` of the lineages that can go on."""
        return going(self.committed, self.ended)


@dataclass(frozen=True, slots=True)
class VersionPayload:
    """A trained model on its way into the registry.

    `ordinal` counts the versions of a line from 0. `weights` are CPU tensors by name (the full state dict).
    `architecture` rebuilds the network: `{"network": {"use": ..., ...}, "channels": C, "size": [H, W], "classes": K}`.
    """

    lineage: LineageKey
    ordinal: int
    parent: int | None
    period: int
    weights: Mapping[str, Tensor]
    architecture: Mapping[str, Any]
    training: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """A committed period: the canonical record, its SHA-256, and `metadata` that is not hashed (seconds, store ids)."""

    record: PeriodRecord
    sha256: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Leftover:
    """What is left of a run: in `words`; `asked`: a person asked for its removal, or it belongs to a killed process."""

    words: tuple[str, ...]
    asked: bool


def going(lineages: Mapping[str, Kept], ended: Iterable[LineageEnd]) -> dict[str, Kept]:
    """Return those of `lineages` (by name) that can go on: no twin that has ended, and nothing of an arm that has."""
    gone = {
        LineageKey(arm=end.arm, control=control).name
        for end in ended
        for control in (get_args(Control) if end.control == "none" else (end.control,))
    }
    return {name: kept for name, kept in lineages.items() if name not in gone}


class Registry(ABC):
    """Model versions with lineage, readings, outcomes and aliases. Every method is idempotent."""

    @abstractmethod
    def open(self, head: RunHead) -> None:
        """Create the run's places, or find them again."""

    @abstractmethod
    def register(self, payload: VersionPayload) -> dict[str, str]:
        """Store a version, or find it again (replaced when its weights differ), and return its store ids.

        A registry may show it among its versions only when its period is published.
        """

    @abstractmethod
    def publish(self, record: PeriodRecord, metadata: Mapping[str, Any], now: LineageState) -> None:
        """Log a period: metrics by period on the line's run, readings on the versions, tags, outcomes; move aliases.

        `now` is where the line stands after it.
        """

    @abstractmethod
    def roll_back(self, lineage: LineageKey, action: Action, now: LineageState) -> None:
        """Carry out a roll-back that the ledger holds: tag the version that is left with the reason, move aliases."""

    @abstractmethod
    def weights(self, lineage: LineageKey, ordinal: int) -> dict[str, Tensor]:
        """Return a version's weights, on the CPU."""

    @abstractmethod
    def forget_after(self, lineage: LineageKey, period: int, now: LineageState) -> None:
        """Remove versions registered for the period after `period`, which a killed process left uncommitted.

        Aliases are set to what they are where the line stands: `now`, by the ledger. Versions of later periods were
        committed once: they are kept, and it is a `StoreError`.
        """

    @abstractmethod
    def moved(self, lineage: LineageKey, now: LineageState) -> int | None:
        """Return the version that a person lets serve, past us; None when `now.champion` serves.

        `StoreError` says how to undo what was done by hand and cannot be adopted as a roll-back. The run need not be
        open: its ledger's `head` is enough.
        """

    @abstractmethod
    def moved_meanwhile(self, lineage: LineageKey, now: LineageState) -> int | None:
        """Return what `moved` does, between two periods of the open run, which this process holds; one read at most.

        None too when a request of this process was given up: it may have arrived late, so the next process asks.
        """

    @abstractmethod
    def put_back(self, lineage: LineageKey, now: LineageState) -> list[str]:
        """Say which aliases but `champion` a person moved since the run was closed: the next period sets them anew.

        The run need not be open: its ledger's `head` is enough.
        """

    @abstractmethod
    def missing(self, lineage: LineageKey, now: LineageState) -> list[str]:
        """Say which committed versions a person removed from the registry; `restore` puts them back."""

    @abstractmethod
    def numbers(self, lineage: LineageKey) -> dict[int, int]:
        """Return, by ordinal, the number under which people know each version: the store's own, the first is 1.

        The run need not be open: its ledger's `head` is enough.
        """

    @abstractmethod
    def restore(self, lineage: LineageKey, now: LineageState) -> list[str]:
        """Put back, by `now`, what a person removed from the registry or moved there; return the versions, in words."""

    @abstractmethod
    def differences(self, lineage: LineageKey, period: int, now: LineageState) -> list[str]:
        """Say what `forget_after` would remove or move, and which versions are missing; nothing is changed.

        The run need not be open: its ledger's `head` is enough.
        """

    @abstractmethod
    def leftovers(self) -> dict[str, Leftover]:
        """Say, by run, what is left of runs that are no longer there, and of killed take-overs; nothing is changed.

        Of the former `sweep` removes what nobody misses, of the latter holding the run.
        """

    @abstractmethod
    def refresh(self) -> None:
        """Read again what the store holds: after a failure it is not known which writes arrived."""

    @abstractmethod
    def finish(self, status: str, files: Mapping[str, str]) -> None:
        """Close the run's places with `finished`, `failed`, `interrupted` or `open`; attach `files` (name -> path)."""

    @abstractmethod
    def delete(self, run: str) -> bool:
        """Remove a run, all its versions and what was committed of it in the same store: a person asked for it.

        Returns whether there was anything of it.
        """

    @abstractmethod
    def sweep(self, run: str) -> None:
        """Remove what a killed opening or `delete` left of a run; `StoreError` when anything else is committed."""

    @abstractmethod
    def links(self) -> dict[str, str]:
        """Return where a person can look: name -> address or path."""


class Ledger(ABC):
    """One committed record per line and period, written last."""

    @abstractmethod
    def open(self, head: RunHead) -> None:
        """Create or find the run's ledger; refuse one that another scenario or source wrote (`StoreError`)."""

    @abstractmethod
    def commit(self, entry: Entry) -> None:
        """Store a period. Committing the same record again changes nothing; a different one is a `StoreError`."""

    @abstractmethod
    def entries(self, lineage: LineageKey) -> list[Entry]:
        """Return the committed periods of a line in order, verified against their hashes (`StoreError` if torn)."""

    @abstractmethod
    def forget_after(self, lineage: LineageKey, period: int) -> None:
        """Take back periods of a line later than `period`: a twin's, whose arm was killed before its own commit."""

    @abstractmethod
    def act(self, action: Action, metadata: Mapping[str, Any]) -> None:
        """Store an operator's action, as `commit` stores a period; `metadata` (who, when) is not hashed.

        Its period must be the arm's last, its number the next: else `StoreError`.
        """

    @abstractmethod
    def actions(self, arm: str) -> list[Action]:
        """Return the operator's actions on an arm, in order, verified against the hashes."""

    @abstractmethod
    def end(self, end: LineageEnd) -> None:
        """Store that a lineage has ended; ending it again in the same way changes nothing, otherwise `StoreError`."""

    @abstractmethod
    def ends(self) -> tuple[LineageEnd, ...]:
        """Return the lineages of the open run that have ended, in the order of the run's head."""

    @abstractmethod
    def runs(self) -> list[StoredRun]:
        """Return what the store knows of every run, newest first."""

    @abstractmethod
    def holder(self, run: str) -> Holder | None:
        """Return the run's holder, whether its process lives or not; None when the run is free."""

    @abstractmethod
    def head(self, run: str) -> RunHead:
        """Return what opened the run, and attach to it for reading; `StoreError` when there is no such run."""

    @abstractmethod
    def hold(self, run: str, *, take_over: bool = False) -> None:
        """Become the run's only writer, or raise `RunHeldError`; a holder dead on this host is taken over.

        Hold a run before opening it to write. A holder that may be alive elsewhere is replaced only with `take_over`.
        """

    @abstractmethod
    def release(self) -> None:
        """Stop being the run's writer."""
