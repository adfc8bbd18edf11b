"""Where a run lives in MLflow: one experiment, one parent run, one child run per line. Nothing else makes runs."""

from __future__ import annotations

import json
from typing import Any, final

from simulator.errors import StoreError
from simulator.production.registry.base import RunHead
from simulator.production.registry.entries import check_same_run
from simulator.production.registry.mlflow_client import Store
from simulator.production.registry.naming import check_run, cut, safe_key
from simulator.records import LineKey

__all__ = ["EXPERIMENT", "Places"]

EXPERIMENT = "ebbdoor"


@final
class Places:
    """The MLflow runs of one ebbdoor run, found by their tags. Hold the run before `ensure`: names are not unique."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._experiment: str | None = None
        self.run: str | None = None
        self.parent = ""
        self._lines: dict[str, str] = {}

    @property
    def experiment(self) -> str:
        """The experiment's id; the experiment is made when it is not there."""
        if self._experiment is None:
            with self._store.explaining(f"hold the experiment '{EXPERIMENT}'"):
                self._experiment = self._checked(self._existing() or self._made())
        return self._experiment

    def prepare(self) -> None:
        """Make the store's tables and the experiment, if they are not there."""
        with self._store.explaining("open"):
            self._store.client.search_registered_models(max_results=1)
        _ = self.experiment

    def find(self, run: str) -> dict[str, str] | None:
        """Attach to a run and return its parent's tags; None when there is no such run."""
        self.run, self.parent, self._lines = None, "", {}
        tags: dict[str, str] | None = None
        for item in self.runs(run):
            if "line" in item.data.tags:
                self._lines[item.data.tags["line"]] = item.info.run_id
            else:
                self.run, self.parent, tags = run, item.info.run_id, item.data.tags
        return tags

    def runs(self, run: str) -> list[Any]:
        """Return all MLflow runs of a run."""
        query = f"tags.run = '{check_run(run)}'"
        with self._store.explaining(f"find run '{run}'"):
            return self._store.pages(self._store.client.search_runs, [self.experiment], query)

    def every_run(self) -> tuple[dict[str, str], dict[str, dict[str, dict[str, str]]]]:
        """Return the status word of every run, newest first, and the tags of its lines by name."""
        with self._store.explaining("list the runs"):
            found = self._store.pages(self._store.client.search_runs, [self.experiment], "tags.scenario_digest != ''")
        parents = {item.data.tags["run"]: item.data.tags.get("status", "") for item in found if _is_parent(item)}
        lines: dict[str, dict[str, dict[str, str]]] = {}
        for item in found:
            if not _is_parent(item):
                lines.setdefault(item.data.tags["run"], {})[item.data.tags["line"]] = item.data.tags
        return parents, lines

    def ensure(self, head: RunHead) -> None:
        """Attach to the run of `head`, making what is missing; `StoreError` when another scenario or source made it."""
        if self.run == head.run and all(line.name in self._lines for line in head.lines):
            return
        tags = self.find(head.run)
        if tags is not None:
            check_same_run(head, tags.get("scenario_digest", ""), tags.get("source_digest", ""))
        with self._store.explaining(f"begin run '{head.run}'"):
            if tags is None:
                self.parent = self._begin(head.run, _run_tags(head))
                self.run = head.run
            for line in head.lines:
                if line.name not in self._lines:
                    self._lines[line.name] = self._begin_line(head, line)

    def of(self, line: LineKey) -> str:
        """Return the id of a line's run."""
        if self.run is None:
            raise StoreError("expected an open run, got none; call `open` or `head` first")
        if line.name not in self._lines:
            raise StoreError(f"expected '{line.name}' to be a line of run '{self.run}', got none; check the arm's name")
        return self._lines[line.name]

    def lines(self) -> list[str]:
        """Return the names of the run's lines."""
        return list(self._lines)

    def all_ids(self) -> list[str]:
        """Return the ids of the lines' runs and of the parent."""
        return [*self._lines.values(), self.parent]

    def _begin(self, name: str, tags: dict[str, str]) -> str:
        return str(self._store.client.create_run(self.experiment, tags=tags, run_name=name).info.run_id)

    def _begin_line(self, head: RunHead, line: LineKey) -> str:
        tags = {
            **_run_tags(head),
            "line": line.name,
            "arm": line.arm,
            "twin": str(line.control != "none").lower(),
            "control": line.control,
            "mlflow.parentRunId": self.parent,
        }
        run_id = self._begin(line.name, tags)
        settings = head.scenario.get("arms", {}).get(line.arm, {})
        self._store.client.log_batch(run_id, params=[_param(key, value) for key, value in settings.items()])
        return run_id

    def _existing(self) -> Any:
        return self._store.client.get_experiment_by_name(EXPERIMENT)

    def _made(self) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            self._store.client.create_experiment(EXPERIMENT, artifact_location=self._store.artifacts)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
                raise
        return self._existing()

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


def _is_parent(item: Any) -> bool:
    return "line" not in item.data.tags


def _run_tags(head: RunHead) -> dict[str, str]:
    return {
        "run": head.run,
        "scenario": str(head.scenario.get("name", "")),
        "seed": str(head.scenario.get("seed", "")),
        "scenario_digest": head.scenario_digest,
        "source_digest": head.source_digest,
        "status": "open",
    }


def _param(key: str, value: Any) -> Any:
    from mlflow.entities import Param

    return Param(safe_key(key), cut(json.dumps(value)))
