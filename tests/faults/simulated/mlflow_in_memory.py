"""MLflow 3.17 in memory, as far as our adapter uses its client: the same answers, the same refusals.

A contract test drives the same calls through this and through MLflow's own client on SQLite.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, final

from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ErrorCode
from mlflow.store.entities.paged_list import PagedList

__all__ = ["MlflowInMemory", "refusal"]

_PAGE = 3  # a small one, so that paging is always used
_TERM = re.compile(r"""\s*(?:tags\.|tag\.)?[`"]?(\w+)[`"]?\s*(=|!=|LIKE)\s*'([^']*)'\s*""")


def refusal(code: str, message: str) -> MlflowException:
    """Return MLflow's exception with the error code of that name."""
    return MlflowException(message, error_code=ErrorCode.Value(code))


@final
class MlflowInMemory:
    """What survives: experiments, runs, logged models, registered models, and `files` by address.

    `unsynced` are addresses of files that a loss of power may take. Ids and times count up: nothing is random here.
    """

    def __init__(self) -> None:
        self.experiments: dict[str, SimpleNamespace] = {}
        self.run_table: dict[str, SimpleNamespace] = {}
        self.models: dict[str, SimpleNamespace] = {}
        self.registered: dict[str, SimpleNamespace] = {}
        self.files: dict[str, bytes] = {}
        self.unsynced: set[str] = set()
        self._count = 0

    # -- experiments and runs ------------------------------------------------------------------------------------------

    def get_experiment_by_name(self, name: str) -> Any:
        return copy.copy(self.experiments.get(name))

    def search_experiments(self, view_type: int = 1, page_token: str | None = None) -> Any:
        """Return all of them: deletion is not simulated."""
        return _page([copy.copy(one) for one in self.experiments.values()], page_token)

    def create_experiment(
        self, name: str, artifact_location: str | None = None, tags: Mapping[str, str] | None = None
    ) -> str:
        if name in self.experiments:
            raise refusal("RESOURCE_ALREADY_EXISTS", f"Experiment '{name}' already exists.")
        number = str(len(self.experiments) + 1)
        place = artifact_location or f"memory:/{number}"
        self.experiments[name] = SimpleNamespace(
            experiment_id=number, name=name, artifact_location=place, lifecycle_stage="active",
            tags=dict(tags or {}),
        )  # fmt: skip
        return number

    def create_run(self, experiment_id: str, tags: Mapping[str, str] | None = None, run_name: str = "") -> Any:
        run_id, now = f"run{self._next():05d}", self._next()
        self.run_table[run_id] = SimpleNamespace(
            info=SimpleNamespace(
                run_id=run_id, run_name=run_name, experiment_id=experiment_id, status="RUNNING", start_time=now,
                end_time=None, lifecycle_stage="active",
                artifact_uri=f"{self._place(experiment_id)}/{run_id}/artifacts",
            ),
            tags={**(tags or {}), "mlflow.runName": run_name},
            params={},
            points=[],
        )  # fmt: skip
        return self.get_run(run_id)

    def get_run(self, run_id: str) -> Any:
        run = self._run(run_id)
        latest = {key: (value, step, time) for key, value, time, step in sorted(run.points, key=lambda p: (p[3], p[2]))}
        metrics = {key: value for key, (value, _, _) in latest.items()}
        data = SimpleNamespace(tags=dict(run.tags), params=dict(run.params), metrics=metrics)
        return SimpleNamespace(info=copy.copy(run.info), data=data)

    def search_runs(
        self,
        experiment_ids: list[str],
        filter_string: str = "",
        run_view_type: int = ViewType.ACTIVE_ONLY,
        max_results: int = 0,
        page_token: str | None = None,
    ) -> Any:
        runs = [run for run in self.run_table.values() if run.info.experiment_id in experiment_ids]
        stages = ("active",) if run_view_type == ViewType.ACTIVE_ONLY else ("active", "deleted")
        found = [run for run in runs if run.info.lifecycle_stage in stages and _fits(filter_string, run.tags)]
        found.sort(key=lambda run: (-run.info.start_time, run.info.run_id))
        return _page([self.get_run(run.info.run_id) for run in found], page_token)

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        self._active(run_id).tags[key] = str(value)

    def delete_tag(self, run_id: str, key: str) -> None:
        if self._active(run_id).tags.pop(key, None) is None:
            raise refusal("RESOURCE_DOES_NOT_EXIST", f"No tag with name: {key} in run with id {run_id}")

    def log_batch(self, run_id: str, metrics: Iterable[Any] = (), params: Iterable[Any] = (), tags: Any = ()) -> None:
        run = self._active(run_id)
        for param in params:
            if run.params.setdefault(param.key, param.value) != param.value:
                raise refusal("INVALID_PARAMETER_VALUE", f"Changing param values is not allowed: {param.key}")
        for metric in metrics:
            point = (metric.key, metric.value, metric.timestamp, metric.step)
            if point not in run.points:
                run.points.append(point)
            if metric.model_id is not None and (run_id, *point) not in self._model(metric.model_id).points:
                self._model(metric.model_id).points.append((run_id, *point))
        run.tags.update({tag.key: tag.value for tag in tags})

    def get_metric_history(self, run_id: str, key: str) -> list[Any]:
        points = [point for point in self._run(run_id).points if point[0] == key]
        return [SimpleNamespace(key=k, value=v, timestamp=t, step=s) for k, v, t, s in points]

    def update_run(self, run_id: str, status: str | None = None) -> None:
        self._active(run_id).info.status = status

    def set_terminated(self, run_id: str, status: str) -> None:
        self._active(run_id).info.status = status
        self._active(run_id).info.end_time = self._next()

    def delete_run(self, run_id: str) -> None:
        self._run(run_id).info.lifecycle_stage = "deleted"

    def restore_run(self, run_id: str) -> None:
        self._run(run_id).info.lifecycle_stage = "active"

    # -- artifacts -----------------------------------------------------------------------------------------------------

    def log_text(self, run_id: str, text: str, path: str) -> None:
        self.write(f"{self._run(run_id).info.artifact_uri}/{path}", text.encode())

    def log_artifact(self, run_id: str, local_path: str) -> None:
        path = Path(local_path)
        self.write(f"{self._run(run_id).info.artifact_uri}/{path.name}", path.read_bytes())

    def log_model_artifact(self, model_id: str, local_path: str, artifact_path: str) -> None:
        path = Path(local_path)
        self.write(f"{self._model(model_id).artifact_location}/{artifact_path}/{path.name}", path.read_bytes())

    def log_model_artifacts(self, model_id: str, local_dir: str) -> None:
        for path in sorted(Path(local_dir).rglob("*")):
            if path.is_file():
                place = f"{self._model(model_id).artifact_location}/{path.relative_to(local_dir).as_posix()}"
                self.write(place, path.read_bytes())

    def write(self, address: str, content: bytes) -> None:
        """Store one file; until it is synced, a loss of power may take it."""
        self.files[address] = content
        self.unsynced.add(address)

    # what `Files` does, under the same names

    def fetch(self, address: str, folder: str) -> Path:
        """Return a copy, below `folder`, of the file or of all files below `address`."""
        found = {name: data for name, data in self.files.items() if _below(name, address)}
        if not found:
            raise refusal("RESOURCE_DOES_NOT_EXIST", f"No such artifact: '{address}'")
        base = Path(folder) / address.rpartition("/")[2]
        for name, data in found.items():
            path = base / name[len(address) + 1 :] if name != address else base
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return base

    def remove(self, address: str) -> None:
        """Delete what is at `address`."""
        self.files = {name: data for name, data in self.files.items() if not _below(name, address)}

    def sync(self, address: str) -> None:
        """Make what is at `address` survive a loss of power."""
        if not any(_below(name, address) for name in self.files):
            raise FileNotFoundError(2, "No such file or directory", address)
        self.unsynced = {name for name in self.unsynced if not _below(name, address)}

    # -- logged models -------------------------------------------------------------------------------------------------

    def create_logged_model(
        self, experiment_id: str, name: str, source_run_id: str, tags: Mapping[str, str], model_type: str
    ) -> Any:
        model_id, now = f"m-{self._next():05d}", self._next()
        self.models[model_id] = SimpleNamespace(
            model_id=model_id, name=name, experiment_id=experiment_id, source_run_id=source_run_id, status="PENDING",
            artifact_location=f"{self._place(experiment_id)}/models/{model_id}/artifacts", creation_timestamp=now,
            tags=dict(tags), model_type=model_type, lifecycle_stage="active", points=[],
        )  # fmt: skip
        return self._shown(self.models[model_id])

    def finalize_logged_model(self, model_id: str, status: str) -> None:
        self._model(model_id).status = status

    def set_logged_model_tags(self, model_id: str, tags: Mapping[str, str]) -> None:
        self._model(model_id).tags.update(tags)

    def delete_logged_model(self, model_id: str) -> None:
        self._model(model_id).lifecycle_stage = "deleted"

    def search_logged_models(
        self, experiment_ids: list[str], filter_string: str | None = None, page_token: str | None = None
    ) -> Any:
        models = [m for m in self.models.values() if m.lifecycle_stage == "active"]
        found = [m for m in models if m.experiment_id in experiment_ids and _fits(filter_string, m.tags)]
        found.sort(key=lambda m: (-m.creation_timestamp, m.model_id))
        return _page([self._shown(model) for model in found], page_token)

    # -- registered models and their versions --------------------------------------------------------------------------

    def create_registered_model(
        self, name: str, tags: Mapping[str, str] | None = None, description: str | None = None
    ) -> None:
        if name in self.registered:
            raise refusal("RESOURCE_ALREADY_EXISTS", f"Registered Model (name={name}) already exists.")
        self.registered[name] = SimpleNamespace(
            name=name, tags=dict(tags or {}), description=description, aliases={}, rows={}, last=0
        )

    def get_registered_model(self, name: str) -> Any:
        found = self._named(name)
        return SimpleNamespace(name=name, tags=dict(found.tags), aliases=dict(found.aliases))

    def search_registered_models(
        self, filter_string: str | None = None, max_results: int = 0, page_token: str | None = None
    ) -> Any:
        names = sorted(name for name, found in self.registered.items() if _fits(filter_string, found.tags, name=name))
        return _page([self.get_registered_model(name) for name in names], page_token)

    def set_registered_model_tag(self, name: str, key: str, value: str) -> None:
        self._named(name).tags[key] = value

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        self._named(name).tags.pop(key, None)

    def delete_registered_model(self, name: str) -> None:
        self._named(name)
        del self.registered[name]

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        self._row(name, version)
        self._named(name).aliases[alias] = int(version)

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        self._named(name).aliases.pop(alias, None)

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        await_creation_for: int = 0,
        model_id: str | None = None,
    ) -> Any:
        found = self._named(name)
        found.last += 1
        found.rows[found.last] = SimpleNamespace(
            name=name, version=str(found.last), source=source, run_id=run_id, tags=dict(tags or {}), model_id=model_id
        )
        return copy.deepcopy(found.rows[found.last])

    def search_model_versions(self, filter_string: str, page_token: str | None = None) -> Any:
        rows = [row for found in self.registered.values() for row in found.rows.values()]
        rows = [copy.deepcopy(row) for row in rows if _fits(filter_string, row.tags, name=row.name)]
        return _page(sorted(rows, key=lambda row: -int(row.version)), page_token)

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        self._row(name, version).tags[key] = value

    def delete_model_version(self, name: str, version: str) -> None:
        self._row(name, version)
        found = self._named(name)
        del found.rows[int(version)]
        found.aliases = {alias: number for alias, number in found.aliases.items() if number != int(version)}

    # -- inside --------------------------------------------------------------------------------------------------------

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _place(self, experiment_id: str) -> str:
        return next(one.artifact_location for one in self.experiments.values() if one.experiment_id == experiment_id)

    def _run(self, run_id: str) -> SimpleNamespace:
        return _found(self.run_table, run_id, f"Run with id={run_id} not found")

    def _active(self, run_id: str) -> SimpleNamespace:
        run = self._run(run_id)
        if run.info.lifecycle_stage != "active":
            raise refusal("INVALID_PARAMETER_VALUE", f"The run {run_id} must be in the 'active' state.")
        return run

    def _model(self, model_id: str) -> SimpleNamespace:
        return _found(self.models, model_id, f"Logged model with ID '{model_id}' not found.")

    def _named(self, name: str) -> SimpleNamespace:
        return _found(self.registered, name, f"Registered Model with name={name} not found")

    def _row(self, name: str, version: str) -> SimpleNamespace:
        return _found(self._named(name).rows, int(version), f"Model Version (name={name}, version={version}) not found")

    def _shown(self, model: SimpleNamespace) -> Any:
        shown = copy.copy(model)
        shown.tags = dict(model.tags)
        shown.metrics = [SimpleNamespace(key=k, value=v, step=s) for _, k, v, _, s in model.points]
        return shown


def _found(table: dict[Any, SimpleNamespace], key: Any, message: str) -> SimpleNamespace:
    if key not in table:
        raise refusal("RESOURCE_DOES_NOT_EXIST", message)
    return table[key]


def _below(name: str, address: str) -> bool:
    return name == address or name.startswith(f"{address}/")


def _page(found: list[Any], token: str | None) -> Any:
    start = int(token or 0)
    end = start + _PAGE
    return PagedList(found[start:end], str(end) if end < len(found) else None)


def _fits(query: str | None, tags: Mapping[str, str], **fields: str) -> bool:
    return all(_holds(term, tags, fields) for term in re.split(r"\s+AND\s+", query)) if query else True


def _holds(term: str, tags: Mapping[str, str], fields: Mapping[str, str]) -> bool:
    match = _TERM.fullmatch(term)
    if match is None:
        raise refusal("INVALID_PARAMETER_VALUE", f"Invalid clause(s) in filter string: '{term}'")
    key, operator, wanted = match.groups()
    value = fields.get(key) if "tag" not in term.split(".")[0] else tags.get(key)
    if value is None:  # MLflow joins with the tags: without the tag no comparison holds, `!=` included
        return False
    compare: dict[str, Callable[[], bool]] = {
        "=": lambda: value == wanted,
        "!=": lambda: value != wanted,
        "LIKE": lambda: bool(re.fullmatch(re.escape(wanted).replace("%", ".*").replace("_", "."), value)),
    }
    return compare[operator]()
