"""What is wrong with a finished run, by what its stores and its folder hold: nothing, for one that nobody disturbed.

It reads MLflow as a person with its client would, beside our own ledger, so that neither vouches for itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from kill_scenario import digests

from flows.runs.folder import RunFolder
from simulator.production.lineage import LineageState
from simulator.production.registry.base import Entry
from simulator.production.registry.open import open_stores

__all__ = ["ASPECTS", "audit"]

Aspect = Literal["records", "versions", "aliases", "once", "closed"]
ASPECTS: tuple[Aspect, ...] = ("records", "versions", "aliases", "once", "closed")
Finding = tuple[Aspect, str]


def audit(place: RunFolder, expected: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Return what is wrong with the finished run at `place`, whose records should have the digests `expected`."""
    from mlflow import MlflowClient

    _, ledger = open_stores(tracking_uri=place.tracking_uri, workspace=place.workspace)
    head = ledger.head(place.run)
    lines = {key.name: ledger.entries(key) for key in head.lineages}
    uri = place.tracking_uri or f"sqlite:///{place.workspace / 'mlflow.db'}"
    client = MlflowClient(uri, registry_uri=uri)
    return [
        *_records(lines, expected),
        *_versions(client, place, lines),
        *_aliases(client, place, lines),
        *_once(client, place, lines),
        *_closed(client, place, lines),
    ]


def _records(lines: Mapping[str, Sequence[Entry]], expected: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    found = digests(lines)
    if found.keys() != expected.keys():
        yield "records", f"lines {sorted(found)} instead of {sorted(expected)}"
    for line in found.keys() & expected.keys():
        if list(expected[line]) != found[line]:
            same = [one == other for one, other in zip(found[line], expected[line], strict=False)]
            yield "records", f"{line}: {len(found[line])} of {len(expected[line])} periods, equal: {same}"


def _versions(client: Any, place: RunFolder, lines: Mapping[str, Sequence[Entry]]) -> Iterator[Finding]:
    rows = client.search_model_versions(f"tags.run = '{place.run}'")
    models = client.search_logged_models([_experiment(client)], f"tags.run = '{place.run}'")
    by_row, by_model = (
        Counter(row.tags.get("model_id") for row in rows),
        Counter(model.model_id for model in models),
    )
    if by_row != by_model:
        yield "versions", f"rows without a model {by_row - by_model}, models without a row {by_model - by_row}"
    if torn := [model.model_id for model in models if str(model.status) != "READY"]:
        yield "versions", f"models half written: {torn}"
    for line, entries in lines.items():
        mine = [row for row in rows if row.name == f"ebbdoor.{place.run}.{line}"]
        trained = [entry.record.candidate for entry in entries if entry.record.candidate is not None]
        if (numbers := sorted(int(row.tags["ordinal"]) for row in mine)) != trained:
            yield "versions", f"{line}: versions {numbers} instead of {trained}"
        weights = {int(row.tags["ordinal"]): row.tags["weights"] for row in mine}
        if [weights.get(entry.record.version) for entry in entries] != [entry.record.weights for entry in entries]:
            yield "versions", f"{line}: a version has other weights than its record says"
    yield from _files(place, {model.model_id for model in models})


def _files(place: RunFolder, models: set[str]) -> Iterator[Finding]:
    """Files of versions that no version owns. On a server several runs share a storage: there the rows must do."""
    if place.tracking_uri is None:
        there = {path.parent.parent.name for path in (place.workspace / "artifacts").rglob("MLmodel")}
        if there != models:
            yield "versions", f"files without a version {sorted(there - models)}, or missing {sorted(models - there)}"


def _aliases(client: Any, place: RunFolder, lines: Mapping[str, Sequence[Entry]]) -> Iterator[Finding]:
    for line, entries in lines.items():
        name = f"ebbdoor.{place.run}.{line}"
        numbers = {
            str(row.version): int(row.tags["ordinal"]) for row in client.search_model_versions(f"name = '{name}'")
        }
        named = client.get_registered_model(name).aliases
        found = {alias: numbers.get(str(number)) for alias, number in named.items()}
        if dangling := sorted(alias for alias, ordinal in found.items() if ordinal is None):
            yield "aliases", f"{line}: {', '.join(dangling)} name no version"
        wanted = LineageState.of([entry.record for entry in entries]).aliases()
        if found != wanted:
            yield "aliases", f"{line}: {found} instead of {wanted}"


def _once(client: Any, place: RunFolder, lines: Mapping[str, Sequence[Entry]]) -> Iterator[Finding]:
    """Each period is committed once, by tag, file and point of every metric."""
    for item in _runs(client, place):
        line = item.data.tags.get("line")
        if line is None:
            continue
        periods = list(range(len(lines[line])))
        tags = sorted(int(key[7:]) for key in item.data.tags if key.startswith("period."))
        files = sorted(int(Path(file.path).stem) for file in client.list_artifacts(item.info.run_id, "periods"))
        if not tags == files == periods:
            yield "once", f"{line}: tags {tags} and files {files} instead of {periods}"
        for key in item.data.metrics:
            steps = sorted(point.step for point in client.get_metric_history(item.info.run_id, key))
            if len(set(steps)) != len(steps) or not set(steps) <= set(periods):
                yield "once", f"{line}: metric {key} has points at {steps}"


def _closed(client: Any, place: RunFolder, lines: Mapping[str, Sequence[Entry]]) -> Iterator[Finding]:
    runs = _runs(client, place)
    names = sorted(item.info.run_name for item in runs)
    if names != sorted([place.run, *lines]):
        yield "closed", f"MLflow runs {names} instead of one a line and their parent"
    for item in runs:
        if (item.info.status, item.data.tags.get("status")) != ("FINISHED", "finished"):
            yield "closed", f"MLflow run {item.info.run_name} is {item.info.status}, {item.data.tags.get('status')}"
    models = {model.name for model in client.search_registered_models(f"tags.run = '{place.run}'")}
    if models != {f"ebbdoor.{place.run}.{line}" for line in lines}:
        yield "closed", f"registered models {sorted(models)}: a lock is left, or a line is missing"
    if '"finished": true' not in (place.folder / "run.json").read_text():
        yield "closed", "run.json does not call the run finished"
    rows = len((place.folder / "periods.jsonl").read_text().splitlines())
    if rows != sum(len(entries) for entries in lines.values()):
        yield "closed", f"periods.jsonl has {rows} rows"


def _runs(client: Any, place: RunFolder) -> list[Any]:
    return list(client.search_runs([_experiment(client)], f"tags.run = '{place.run}'"))


def _experiment(client: Any) -> str:
    return str(client.get_experiment_by_name("ebbdoor").experiment_id)
