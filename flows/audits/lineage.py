"""Audits the versions that one address stands for, in order; those before one are its history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, final

from simulator.errors import ScenarioError
from simulator.production.auditing.asking import Asking
from simulator.production.auditing.auditor import Auditor, Material
from simulator.production.auditing.finding import Finding
from simulator.production.auditing.history import Earlier, looked_back_to
from simulator.production.registry.models import FoundModels, StoredModel

if TYPE_CHECKING:
    from simulator.production.registry.mlflow.model_reader import ModelReader, Readable


@final
class LineageAudit:
    """Asks `auditors` about models; `readable` are those to be audited, by their addresses."""

    def __init__(
        self,
        auditors: Sequence[Auditor],
        asking: Asking,
        material: Material,
        reader: ModelReader,
        readable: Mapping[str, Readable],
    ) -> None:
        self._auditors = auditors
        self._asking = asking
        self._material = material
        self._reader = reader
        self._readable = readable
        self._back = max(auditor.facts.versions_back for auditor in auditors)

    def findings(self, found: FoundModels) -> Iterator[tuple[StoredModel, Finding]]:
        """Yield what each defense finds about each version."""
        first = len(found.versions) - len(found.chosen)
        places = [stored.place for stored in found.versions]
        needed = [
            looked_back_to(places[:number], place, self._back) if number >= first else set()
            for number, place in enumerate(places)
        ]
        earlier: list[Earlier] = []
        for number, stored in enumerate(found.versions):
            if number >= first:
                with TemporaryDirectory() as folder:
                    model = self._reader.model(self._readable[stored.uri], Path(folder))
                    accuracy = self._asking.accuracy(model, self._material.rows(model))
                    said = [auditor.audit(model, earlier, accuracy) for auditor in self._auditors]
                yield from ((stored, finding) for finding in said)
                one = Earlier(stored.place, model, accuracy, tuple(finding.outcome for finding in said))
            else:
                away = all(stored.place.ordinal not in later for later in needed)
                one = Earlier(stored.place) if away else self._before(stored)
            still: set[int] = set().union(*needed[number + 1 :])
            earlier = [old if old.place.ordinal in still else replace(old, model=None) for old in (*earlier, one)]

    def _before(self, stored: StoredModel) -> Earlier:
        """Return a version that is only history: without its weights where they, or its network, are not the same."""
        try:
            readable = self._reader.readable(stored)
            if all(one.architecture != readable.architecture for one in self._readable.values()):
                return Earlier(stored.place)  # its network is of no use, and may be one that a deployment must not run
            with TemporaryDirectory() as folder:
                model = self._reader.model(readable, Path(folder))
                return Earlier(stored.place, model, self._asking.accuracy(model, self._material.rows(model)))
        except ScenarioError:
            return Earlier(stored.place)
