"""The MLflow runs of a run: one experiment, one parent, one child per lineage. Nothing else makes MLflow runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any, final

from simulator.errors import StoreError
from simulator.production.registry.base import RunHead
from simulator.production.registry.entries import check_same_run, read_end
from simulator.production.registry.mlflow import tags
from simulator.production.registry.mlflow.client import Store
from simulator.production.registry.naming import check_run
from simulator.records import LineageEnd, LineageKey

EXPERIMENT = "ebbdoor"


@final
class Runs:
    """The MLflow runs of one ebbdoor run, found by their tags. Lock the run before `ensure`: names are not unique.

    A request that was given up may still arrive and make a run a second time. Of several the same one is always used:
    the one with something committed, else the first; `tidy` removes the others.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._experiment: str | None = None
        self.run: str | None = None
        self.parent = ""
        self._lineages: dict[str, str] = {}
        self.ended: dict[str, LineageEnd] = {}  # by the lineage's name
        self._ensured: RunHead | None = None

    @property
    def experiment(self) -> str:
        """The experiment's id; the experiment is made when it is not there."""
        if self._experiment is None:
            with self._store.explaining(f"hold the experiment '{EXPERIMENT}'"):
                find = partial(self._store.client.get_experiment_by_name, EXPERIMENT)
                if (found := find()) is None:
                    make = self._store.client.create_experiment
                    self._store.create(make, EXPERIMENT, artifact_location=self._store.artifacts)
                    found = find()
                self._experiment = self._checked(found)
        return self._experiment

    def prepare(self) -> None:
        """Make the store's tables and the experiment, if they are not there."""
        with self._store.explaining("open"):
            self._store.client.search_registered_models(max_results=1)
        _ = self.experiment

    def find(self, run: str) -> dict[str, str] | None:
        """Attach to a run and return its parent's tags; None when there is no such run."""
        return self._attach(run, self.search(run))

    def tidy(self) -> None:
        """Remove MLflow runs that were made twice; for the run's holder."""
        if self.run is None:
            return
        found = self.search(self.run)
        parent, lineages = _chosen(found)
        used = {
            self.parent,
            *self._lineages.values(),
            *(item.info.run_id for item in (parent, *lineages.values()) if item),
        }
        with self._store.explaining(f"tidy run '{self.run}'"):
            for item in found:
                if item.info.run_id not in used:
                    self._store.delete(self._store.client.delete_run, item.info.run_id)

    def search(self, run: str) -> list[Any]:
        """Return all MLflow runs of an ebbdoor run."""
        query = f"tags.{tags.RUN} = '{check_run(run)}'"
        with self._store.explaining(f"find run '{run}'"):
            return self._store.pages(self._store.client.search_runs, [self.experiment], query)

    def every_run(self) -> tuple[dict[str, str], dict[str, dict[str, dict[str, str]]]]:
        """Return the status word of every run, newest first, and the tags of its lineages' runs by name."""
        with self._store.explaining("list the runs"):
            query = f"tags.{tags.SCENARIO_DIGEST} != ''"
            found = self._store.pages(self._store.client.search_runs, [self.experiment], query)
        parents = {item.data.tags[tags.RUN]: _word(item) for item in found if _is_parent(item)}
        # a kill may leave lineages and parent with different words: as long as one is running, the run is not closed
        parents |= {
            item.data.tags[tags.RUN]: "running"
            for item in found
            if item.info.status == "RUNNING" and parents.get(item.data.tags[tags.RUN], "opening") != "opening"
        }
        lineages: dict[str, dict[str, dict[str, str]]] = {}
        for item in found:
            if not _is_parent(item):
                lineages.setdefault(item.data.tags[tags.RUN], {})[item.data.tags[tags.LINE]] = item.data.tags
        return parents, lineages

    def ensure(self, head: RunHead) -> None:
        """Attach to the run of `head`, making what is missing; `StoreError` when another scenario or source made it."""
        if self._ensured == head:
            return
        found = self.search(head.run)
        known = self._attach(head.run, found)
        if known is not None:
            check_same_run(head, known.get(tags.SCENARIO_DIGEST, ""), known.get(tags.SOURCE_DIGEST, ""))
        with self._store.explaining(f"begin run '{head.run}'"):
            if known is None:
                self.parent = self._begin(head.run, _run_tags(head))
                self.run = head.run
            described = {item.info.run_id for item in found if item.data.params}
            for lineage in head.lineages:
                if lineage.name not in self._lineages:
                    self._lineages[lineage.name] = self._begin_lineage(head, lineage)
                if self._lineages[lineage.name] not in described:
                    self._describe(head, lineage)
        self._ensured = head

    def of(self, lineage: LineageKey) -> str:
        """Return the id of a lineage's run."""
        if self.run is None:
            raise StoreError("expected an open run, got none; call `open` or `head` first")
        if lineage.name not in self._lineages:
            raise StoreError(
                f"expected '{lineage.name}' to be a line of run '{self.run}', got none; check the arm's name"
            )
        return self._lineages[lineage.name]

    def lineages(self) -> list[str]:
        """Return the names of the run's lineages."""
        return list(self._lineages)

    def ended_ids(self) -> set[str]:
        """Return the ids of the runs of lineages that ended before the run's last period."""
        return {self._lineages[name] for name in self.ended}

    def all_ids(self) -> list[str]:
        """Return the ids of the lineages' runs and of the parent."""
        return [*self._lineages.values(), self.parent]

    def _begin(self, name: str, about: dict[str, str]) -> str:
        return str(self._store.client.create_run(self.experiment, tags=about, run_name=name).info.run_id)

    def _begin_lineage(self, head: RunHead, lineage: LineageKey) -> str:
        about = {
            **_run_tags(head),
            **tags.lineage_tags(lineage),
            tags.CONTROL: lineage.control,
            tags.MLFLOW_PARENT: self.parent,
        }
        return self._begin(lineage.name, about)

    def _describe(self, head: RunHead, lineage: LineageKey) -> None:
        params = [_param(key, value) for key, value in head.scenario.get("arms", {}).get(lineage.arm, {}).items()]
        if params:
            self._store.client.log_batch(self._lineages[lineage.name], params=params)

    def _attach(self, run: str, found: Sequence[Any]) -> dict[str, str] | None:
        parent, lineages = _chosen(found)
        self._ensured = None
        self.run, self.parent = (None, "") if parent is None else (run, parent.info.run_id)
        self._lineages = {name: item.info.run_id for name, item in lineages.items()}
        marked = {name: item.data.tags.get(tags.ENDED) for name, item in lineages.items()}
        self.ended = {name: read_end(text, f"tag {tags.ENDED} of '{name}'") for name, text in marked.items() if text}
        return None if parent is None else dict(parent.data.tags)

    def _checked(self, experiment: Any) -> str:
        if experiment.lifecycle_stage != "active":
            raise StoreError(
                f"expected the experiment '{EXPERIMENT}' to be active, got a deleted one; restore it with "
                f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`"
            )
        if experiment.artifact_location.startswith("mlflow-artifacts:") and not self._store.is_server:
            raise StoreError(
                f"expected the experiment '{EXPERIMENT}' to keep its files where {self._store.shown} can write, got a "
                "server's storage; set MLFLOW_TRACKING_URI to that server's address"
            )
        return str(experiment.experiment_id)


def _chosen(found: Sequence[Any]) -> tuple[Any | None, dict[str, Any]]:
    """Return the parent and the lineages' runs that are used: the same ones in every process, at any time."""
    children = [item for item in found if not _is_parent(item)]
    with_children = {item.data.tags.get(tags.MLFLOW_PARENT) for item in children}
    parents = sorted(
        (item for item in found if _is_parent(item)),
        key=lambda item: (tags.HEAD not in item.data.tags, item.info.run_id not in with_children, *_age(item)),
    )
    parent = parents[0] if parents else None
    lineages: dict[str, Any] = {}
    for item in sorted(children, key=lambda item: (not _is_used(item), *_age(item))):
        lineages.setdefault(item.data.tags[tags.LINE], item)
    return parent, lineages


def _age(item: Any) -> tuple[int, str]:
    return item.info.start_time, item.info.run_id


def _is_used(item: Any) -> bool:
    return any(key.startswith((tags.PERIODS, tags.ACTIONS)) for key in item.data.tags)


def _is_parent(item: Any) -> bool:
    return tags.LINE not in item.data.tags


def _word(parent: Any) -> str:
    return parent.data.tags.get(tags.STATUS, "") if tags.HEAD in parent.data.tags else "opening"


def _run_tags(head: RunHead) -> dict[str, str]:
    return {
        tags.RUN: head.run,
        tags.SCENARIO: str(head.scenario.get("name", "")),
        tags.SEED: str(head.scenario.get("seed", "")),
        tags.SCENARIO_DIGEST: head.scenario_digest,
        tags.SOURCE_DIGEST: head.source_digest,
        tags.STATUS: "running",
    }


def _param(key: str, value: Any) -> Any:
    from mlflow.entities import Param

    return Param(tags.safe_key(key), tags.cut(json.dumps(value)))
