"""The two stores: a registry of model versions, and the ledger that decides what is done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulator.records import LineKey, PeriodRecord

if TYPE_CHECKING:  # reading a ledger needs no torch
    from torch import Tensor

__all__ = ["Entry", "Ledger", "Registry", "RunHead", "VersionPayload"]


@dataclass(frozen=True, slots=True)
class RunHead:
    """What names a run: `run` is unique in its stores; `scenario` is the frozen scenario as JSON values."""

    run: str
    scenario: Mapping[str, Any]
    scenario_digest: str
    source_digest: str
    lines: tuple[LineKey, ...]


@dataclass(frozen=True, slots=True)
class VersionPayload:
    """A trained model on its way into the registry.

    `ordinal` counts the versions of a line from 0. `weights` are CPU tensors by name (the full state dict).
    `architecture` rebuilds the network: `{"network": {"use": ..., ...}, "channels": C, "size": [H, W], "classes": K}`.
    """

    line: LineKey
    ordinal: int
    parent: int | None
    period: int
    weights: Mapping[str, Tensor]
    architecture: Mapping[str, Any]
    training: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """A committed period: the canonical record, its SHA-256, and beside it what is not hashed (seconds, store ids)."""

    record: PeriodRecord
    sha256: str
    beside: Mapping[str, Any] = field(default_factory=dict)


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
    def publish(self, record: PeriodRecord, beside: Mapping[str, Any]) -> None:
        """Log a period: metrics by period on the line's run, readings on the versions, tags, outcomes; move aliases."""

    @abstractmethod
    def weights(self, line: LineKey, ordinal: int) -> dict[str, Tensor]:
        """Return a version's weights, on the CPU."""

    @abstractmethod
    def forget_after(self, line: LineKey, period: int) -> None:
        """Remove versions registered for periods later than `period` (left by a process that was killed), -1: all.

        Aliases are set back to what they were after `period`.
        """

    @abstractmethod
    def finish(self, status: str, files: Mapping[str, str]) -> None:
        """Close the run's places with `finished`, `failed` or `open`, and attach `files` (name -> path)."""

    @abstractmethod
    def delete(self, run: str) -> None:
        """Remove a run, all its versions and what was committed of it in the same store."""

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
    def entries(self, line: LineKey) -> list[Entry]:
        """Return the committed periods of a line in order, verified against their hashes (`StoreError` if torn)."""

    @abstractmethod
    def forget_after(self, line: LineKey, period: int) -> None:
        """Take back periods of a line later than `period`: a twin's, whose arm was killed before its own commit."""

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
