"""Carries an audit out: everything that the order names is looked at first, then each defense is asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from flows.audits.given import Given
from flows.audits.lineage import LineageAudit
from flows.audits.order import AuditOrder
from simulator.production.auditing.asking import Asking
from simulator.production.auditing.auditor import Auditor
from simulator.production.auditing.finding import Finding
from simulator.production.defending.runner import Limits
from simulator.production.registry.models import FoundModels, StoredModel
from simulator.system.files import write_whole

if TYPE_CHECKING:
    from simulator.production.registry.mlflow.model_reader import ModelReader, Readable
    from simulator.production.registry.mlflow.models import Models
    from simulator.scenario.model import Use


@final
@dataclass(frozen=True, slots=True)
class Audited:
    """What an audit found about a model; `saved` is the file with the repaired weights, None for none."""

    stored: StoredModel
    finding: Finding
    saved: Path | None = None


@final
@dataclass(frozen=True, slots=True)
class Store:
    """Where models are: an MLflow server's address, or None for the workspace's own store."""

    tracking_uri: str | None
    workspace: Path

    def open(self) -> Models:
        """Return the models of the store. Imports mlflow."""
        from simulator.production.registry.open import open_models

        return open_models(tracking_uri=self.tracking_uri, workspace=self.workspace)


def perform(
    order: AuditOrder,
    store: Store,
    listen: Callable[[Audited], object],
    expect: Callable[[Readable], object] = lambda readable: None,
    count: Callable[[int], object] = lambda findings: None,
) -> list[Audited]:
    """Carry out an order; return what was found, model by model, each told to `listen` as soon as it is kept.

    `expect` may refuse a model before any is asked; `count` is then told how many findings there will be.
    """
    order.check()  # this, and reading what is given, before a store is opened
    uses, given, limits = order.uses(), Given.read(order), Limits(order.seconds)
    models = store.open()
    with closing(Asking([use.use for use in uses.values()], limits)) as asking:
        reader = _reader(order, models, asking)
        asked = [(found, _readable(found, reader)) for found in map(models.find, order.models)]
        for one in (one for _, readable in asked for one in readable.values()):
            given.expect_to_fit(one)
            expect(one)
        count(sum(len(readable) for _, readable in asked) * len(uses))
        done: list[Audited] = []
        for found, readable in asked:
            auditors = [Auditor(name, use, given.material, asking, seed=order.seed) for name, use in uses.items()]
            audit = LineageAudit(auditors, asking, given.material, reader, readable)
            for stored, finding in audit.findings(found):
                done.append(_kept(models, order, stored, finding, _about(order, uses, given, stored, finding)))
                listen(done[-1])
        return done


def _reader(order: AuditOrder, models: Models, asking: Asking) -> ModelReader:
    from simulator.production.registry.mlflow.model_reader import ModelReader

    return ModelReader(models, asking, given=order.architecture, pickles=order.pickles)


def _readable(found: FoundModels, reader: ModelReader) -> dict[str, Readable]:
    return {stored.uri: reader.readable(stored) for stored in found.chosen}


def _about(
    order: AuditOrder, uses: Mapping[str, Use], given: Given, stored: StoredModel, finding: Finding
) -> dict[str, Any]:
    return {
        "model": stored.uri,
        "defense": uses[finding.outcome.name].model_dump(mode="json"),
        "seed": order.seed,
        **given.told(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "ebbdoor": version("ebbdoor"),
    }


def _kept(
    models: Models, order: AuditOrder, stored: StoredModel, finding: Finding, about: Mapping[str, Any]
) -> Audited:
    """Save repaired weights where the order says so, and mark the model."""
    from simulator.production.registry.mlflow.audits import audit_evidence, audit_file, audit_tags

    saved = None if order.save is None or not finding.repaired else _saved(order.save, stored, finding)
    if order.mark:
        models.mark(stored, audit_tags(finding), audit_file(finding), audit_evidence(finding, about))
    return Audited(stored, finding, saved)


def _saved(folder: Path, stored: StoredModel, finding: Finding) -> Path:
    """Write the repaired weights as a safetensors file, named after the model and the defense."""
    from safetensors.torch import save

    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{stored.uri.removeprefix('models:/')}-{finding.outcome.name}")
    plain = {key: value.contiguous().clone() for key, value in finding.repaired.items()}
    return write_whole(folder.absolute() / f"{name}.safetensors", save(plain))
