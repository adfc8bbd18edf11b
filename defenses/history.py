"""What the platform remembers of earlier periods, as a defense sees it.

A defense says how far back it looks: `versions_back` and `periods_back` of its class. Facts about all earlier versions
and periods are here for every defense that looks back or remembers (see `defenses.base.Defense`); weights and images
can be loaded only as far back as it said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from defenses.rows import Rows


@dataclass(frozen=True, slots=True)
class PastOutcome:
    """What a defense decided about a version, or about the window it was trained on: fields as in the record.

    `subject` is `window`, `candidate`, `challenger` or `champion`. Of what a result shows beside its verdict
    (`docs/formats.md`, `shown`) nothing is here, nor is evidence of more than 4,000 characters as JSON.
    """

    surface: str
    name: str
    subject: str
    status: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PastSignal:
    """What the monitor said of the batch of a period; None: it gave no such number."""

    period: int
    score: float | None = None
    threshold: float | None = None
    p_value: float | None = None
    alarm: bool = False
    kind: Literal["covariate", "label-prior", "unclear"] | None = None


@dataclass(frozen=True, slots=True)
class PastVersion:
    """A version that was trained before this call: also those that were rejected.

    `ordinal` counts versions from 0; `parent` is the version it was fine-tuned from (None: the base, or training from
    scratch); `period` is the one it was trained in; `served` are the periods at whose end it served.
    `trusted_accuracy` is a share in [0, 1] on the trusted images of that period, None where there were none.
    `outcomes` are there where the version can be loaded: those of the period in which it was trained, and of the
    latest periods, as many as the larger of `versions_back` and `periods_back`.
    """

    ordinal: int
    parent: int | None
    period: int
    served: tuple[int, ...] = ()
    trusted_accuracy: float | None = None
    outcomes: tuple[PastOutcome, ...] = ()
    load: Callable[[], nn.Module] | None = None

    def model(self) -> nn.Module:
        """Return a private copy in eval mode, on the context's device.

        Raises `LookupError` where the class of the defense does not look that far back.
        """
        if self.load is None:
            raise LookupError(f"expected version {self.ordinal} to be at hand, got none; raise versions_back")
        return self.load()

    def weights(self) -> Mapping[str, Tensor]:
        """Return the state dict of `model()`."""
        return self.model().state_dict()


@dataclass(frozen=True, slots=True)
class PastBatch:
    """What arrived in an earlier period, without the rows that filters dropped when they were new, or that were purged.

    A replayed row that a filter drops is only left out of that window. Batches whose labels have not arrived are not
    there. Rows of one that still waits for training are `fresh`.
    """

    period: int
    load: Callable[[], Rows] | None = None

    def rows(self) -> Rows:
        """Return the rows as the platform archived them.

        Raises `LookupError` where the class of the defense does not look that far back.
        """
        if self.load is None:
            raise LookupError(f"expected the rows of period {self.period} to be at hand, got none; raise periods_back")
        return self.load()


@dataclass(frozen=True, slots=True)
class History:
    """Earlier versions, batches and signals, oldest first. `champion`: the ordinal that serves, None before the first.

    A screen in front of a version that does not serve is told that version: what it would do if it served.

    >>> history = History((PastVersion(0, None, 0), PastVersion(1, 0, 1), PastVersion(2, 0, 2)), champion=2)
    >>> [version.ordinal for version in history.lineage()]
    [2, 0]
    """

    versions: tuple[PastVersion, ...] = ()
    batches: tuple[PastBatch, ...] = ()
    signals: tuple[PastSignal, ...] = ()
    champion: int | None = None

    def version(self, ordinal: int) -> PastVersion:
        """Return the version of that ordinal, or raise `LookupError`."""
        for version in self.versions:
            if version.ordinal == ordinal:
                return version
        raise LookupError(f"expected a version before this one, got {ordinal}")

    def batch(self, period: int) -> PastBatch:
        """Return the batch of that period, or raise `LookupError`."""
        for batch in self.batches:
            if batch.period == period:
                return batch
        raise LookupError(f"expected an earlier period whose labels have arrived, got {period}")

    def lineage(self) -> tuple[PastVersion, ...]:
        """Return the champion and its ancestors, the champion first."""
        found: list[PastVersion] = []
        ordinal = self.champion
        while ordinal is not None:
            found.append(self.version(ordinal))
            ordinal = found[-1].parent
        return tuple(found)
