"""The MLflow runs of a run: one experiment, one parent, one child per lineage. Nothing else makes MLflow runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, final

from simulator.errors import StoreError
from simulator.production.registry.base import RunHead
from simulator.production.registry.entries import check_same_run, read_end
from simulator.production.registry.mlflow import advice, tags
from simulator.production.registry.mlflow.client import Store
from simulator.production.registry.mlflow.ours import is_marked_for_deletion, is_parent, is_run, is_used
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
        self._known: Mapping[str, str] = {}

    @property
    def experiment(self) -> str:
        """The experiment's id; the experiment is made when it is not there."""
        if self._experiment is None:
            with self._store.explaining(f"hold the experiment '{EXPERIMENT}'"):
                find = partial(self._store.client.get_experiment_by_name, EXPERIMENT)
                if (found := find()) is None:
                    refuse_if_renamed(self._store, EXPERIMENT)
                    make, about = self._store.client.create_experiment, {tags.OURS: "true"}
                    self._store.create(make, EXPERIMENT, artifact_location=self._store.artifacts, tags=about)
                    found = find()
                self._experiment = self._checked(found)
        return self._experiment

    @property
    def was_closed(self) -> bool:
        """Whether the process that last had the run closed it, when the run was found here."""
        return self._known.get(tags.STATUS) != "running"

    def prepare(self) -> None:
        """Make the store's tables and the experiment, if they are not there."""
        with self._store.explaining("open"):
            self._store.client.search_registered_models(max_results=1)
        _ = self.experiment

    def find(self, run: str) -> Mapping[str, str] | None:
        """Attach to a run and return its parent's tags; None when there is no such run.

        Raises `StoreError` when something that is committed was deleted in MLflow, or is not found there.
        """
        return self._attach(run, self.search(run))

    def tidy(self) -> None:
        """Remove MLflow runs of ours that were made twice and hold nothing; for the run's holder."""
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
                if item.info.run_id not in used and _is_active(item) and not is_used(item):
                    self._store.delete(self._store.client.delete_run, item.info.run_id)

    def search(self, run: str) -> list[Any]:
        """Return all MLflow runs of an ebbdoor run, and of those deleted in MLflow the ones that can be missed."""
        with self._store.explaining(f"find run '{run}'"):
            return [item for item in self._search(f"tags.{tags.RUN} = '{check_run(run)}'") if is_run(item)]

    def every_run(self) -> tuple[dict[str, str], dict[str, dict[str, dict[str, str]]]]:
        """Return the status word of every run, newest first, and the tags of its lineages' runs by name."""
        with self._store.explaining("list the runs"):
            found = [item for item in self._search(f"tags.{tags.SCENARIO_DIGEST} != ''") if is_run(item)]
        parents = {item.data.tags[tags.RUN]: _word(item) for item in found if is_parent(item)}
        # a kill may leave lineages and parent with different words: as long as one is running, the run is not closed
        parents |= {
            item.data.tags[tags.RUN]: "running"
            for item in found
            if item.info.status == "RUNNING" and parents.get(item.data.tags[tags.RUN], "opening") != "opening"
        }
        lineages: dict[str, dict[str, dict[str, str]]] = {}
        for item in found:
            if tags.LINE in item.data.tags:
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
            elif tags.HEAD in known:
                self.expect_lineages([lineage.name for lineage in head.lineages])
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
            changed = self._unmarked(lineage.name)
            what = "check the arm's name" if changed is None else changed
            raise StoreError(f"expected '{lineage.name}' to be a line of run '{self.run}', got none; {what}")
        return self._lineages[lineage.name]

    def expect_lineages(self, names: Sequence[str]) -> None:
        """Raise `StoreError` when a lineage of an opened run has no MLflow run: it held periods, so none is made."""
        for name in names:
            if name not in self._lineages:
                raise StoreError(
                    f"expected the MLflow run of '{name}' of run '{self.run}' to be there, got none; "
                    f"{self._missed(name)}"
                )

    def _missed(self, name: str) -> str:
        """Say what may have become of a lineage's run."""
        lost = f"what it held is lost: begin another run, or remove this one with `ebbdoor delete {self.run}`"
        return self._unmarked(name) or lost

    def _unmarked(self, name: str) -> str | None:
        """Say how to mark a lineage's run again: without its tags it is known by its parent and its name."""
        with self._store.explaining(f"find '{name}'"):
            children = self._search(f"tags.{tags.MLFLOW_PARENT} = '{self.parent}'")
        for item in children:
            if item.info.run_name == name:
                wanted = {tags.RUN: str(self.run), tags.LINE: name, **_digests(self._known)}
                return f"its tags were changed: {_put_back(item.info.run_id, item.data.tags, wanted)}"
        return None

    def lineages(self) -> list[str]:
        """Return the names of the run's lineages."""
        return list(self._lineages)

    def note_committed(self) -> None:
        """Note on each lineage's run how many periods all lineages of its arm have committed, by their tags."""
        client = self._store.client
        counts = {
            name: sum(key.startswith(tags.PERIODS) for key in client.get_run(run_id).data.tags)
            for name, run_id in self._lineages.items()
        }
        for name, run_id in self._lineages.items():
            arm = name.partition(".")[0]
            together = [
                count
                for other, count in counts.items()
                if other.partition(".")[0] == arm and (other == arm or other not in self.ended)
            ]
            client.set_tag(run_id, tags.COMMITTED, str(min([counts[name], *together])))

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

    def _attach(self, run: str, found: Sequence[Any]) -> Mapping[str, str] | None:
        parent, lineages = _chosen(found)
        self._ensured = None
        if parent is None and any(is_used(item) for item in lineages.values()):
            one = next(iter(lineages.values())).data.tags
            again = _put_back(one.get(tags.MLFLOW_PARENT, ""), {}, {tags.RUN: run, **_digests(one)})
            raise StoreError(
                f"expected the MLflow run '{run}' to be there, got only those of its lineages; if its tags were "
                f"changed, {again}; if it was removed for good, `ebbdoor delete {run}` removes what is left"
            )
        for item in [one for one in (parent, *lineages.values()) if one is not None and not _is_active(one)]:
            raise StoreError(
                f"expected the MLflow run '{item.info.run_name}' of run '{run}' to be active, got a deleted one; what "
                f"is committed is kept: restore it with {advice.restore_run(self._store, item.info.run_id)}"
            )
        self.run, self.parent = (None, "") if parent is None else (run, parent.info.run_id)
        self._lineages = {name: item.info.run_id for name, item in lineages.items()}
        self._known = {} if parent is None else dict(parent.data.tags)
        if self._known and tags.HEAD not in self._known and any(is_used(item) for item in lineages.values()):
            raise StoreError(
                f"expected the MLflow run '{run}' to have the tag `{tags.HEAD}`, got none, though periods are "
                f"committed; {_put_back(self.parent, self._known, {tags.HEAD: tags.HEAD_FILE})}"
            )
        marked = {name: item.data.tags.get(tags.ENDED) for name, item in lineages.items()}
        self.ended = {name: read_end(text, f"tag {tags.ENDED} of '{name}'") for name, text in marked.items() if text}
        return self._known or None

    def _search(self, query: str) -> list[Any]:
        """Return the MLflow runs that are active, and those deleted by hand in which something is committed."""
        from mlflow.entities import ViewType

        client = self._store.client
        found = self._store.pages(client.search_runs, [self.experiment], query, run_view_type=ViewType.ALL)
        found = [
            item for item in found if not is_marked_for_deletion(item.data.tags) and (_is_active(item) or is_used(item))
        ]
        if all(_is_active(item) for item in found):
            return found
        # earlier versions left no mark on what `ebbdoor delete` was asked to remove, but removed its models as well
        named = self._store.pages(client.search_registered_models, "name LIKE 'ebbdoor.%'")
        kept = {row.tags.get(tags.RUN) for row in named if tags.LINE in row.tags}
        return [item for item in found if _is_active(item) or item.data.tags.get(tags.RUN) in kept]

    def _checked(self, experiment: Any) -> str:
        if experiment.lifecycle_stage != "active":
            raise StoreError(
                f"expected the experiment '{EXPERIMENT}' to be active, got a deleted one; restore it with "
                f"{advice.restore_experiment(self._store, experiment.experiment_id)}"
            )
        if experiment.artifact_location.startswith("mlflow-artifacts:") and not self._store.is_server:
            raise StoreError(
                f"expected the experiment '{EXPERIMENT}' to keep its files where {self._store.shown} can write, got a "
                "server's storage; set MLFLOW_TRACKING_URI to that server's address"
            )
        self._store.expect_here(experiment.artifact_location)
        return str(experiment.experiment_id)


def refuse_if_renamed(store: Store, name: str) -> None:
    """Raise `StoreError` when the experiment `name` has another name now: a new one would hide all that it holds."""
    from mlflow.entities import ViewType

    query = f"tags.{tags.SCENARIO_DIGEST} != '' AND tags.{tags.SOURCE_DIGEST} != '' AND tags.{tags.RUN} != ''"
    everything = ViewType.ALL
    for other in store.pages(store.client.search_experiments, view_type=everything):
        marked = tags.OURS in other.tags
        if not marked and not store.client.search_runs([other.experiment_id], query, everything, max_results=1):
            continue
        first = (
            "" if other.lifecycle_stage == "active" else f"{advice.restore_experiment(store, other.experiment_id)}, "
        )
        raise StoreError(
            f"expected the experiment of ebbdoor's runs to be called '{name}', got '{other.name}'; what is committed "
            f"is kept: rename it with {first}{advice.rename_experiment(store, other.experiment_id, name)}"
        )


def _chosen(found: Sequence[Any]) -> tuple[Any | None, dict[str, Any]]:
    """Return the parent and the lineages' runs that are used: the same ones in every process, at any time."""
    children = [item for item in found if tags.LINE in item.data.tags]
    with_children = {item.data.tags.get(tags.MLFLOW_PARENT) for item in children}
    parents = sorted(
        (item for item in found if is_parent(item)),
        key=lambda item: (tags.HEAD not in item.data.tags, item.info.run_id not in with_children, *_age(item)),
    )
    parent = parents[0] if parents else None
    lineages: dict[str, Any] = {}
    for item in sorted(children, key=lambda item: (not is_used(item), *_age(item))):
        lineages.setdefault(item.data.tags[tags.LINE], item)
    return parent, lineages


def _age(item: Any) -> tuple[int, str]:
    return item.info.start_time, item.info.run_id


def _is_active(item: Any) -> bool:
    return bool(item.info.lifecycle_stage == "active")


def _digests(known: Mapping[str, str]) -> dict[str, str]:
    return {key: known.get(key, "") for key in (tags.SCENARIO_DIGEST, tags.SOURCE_DIGEST)}


def _put_back(run_id: str, known: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """Return how to put tags of an MLflow run back."""
    changed = {key: value for key, value in wanted.items() if known.get(key) != value}
    words = " and ".join(f"`{key}` to `{value}`" for key, value in changed.items())
    return f"in MLflow open the run {run_id} and set its tag {words}"


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
