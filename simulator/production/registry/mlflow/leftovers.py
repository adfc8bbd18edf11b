"""What killed processes left behind in MLflow, in words; nothing is changed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.production.lineage import LineageState
from simulator.production.registry.mlflow import tags
from simulator.production.registry.mlflow.client import Store
from simulator.production.registry.mlflow.runs import Runs
from simulator.production.registry.mlflow.versions import Stored, list_stored
from simulator.production.registry.naming import lock_model, registered_model
from simulator.records import LineageKey
from simulator.system.holder import Holder


def differences(store: Store, runs: Runs, lineage: LineageKey, period: int, now: LineageState) -> list[str]:
    """Say what a lineage has beyond `period`, and which aliases are not what `now` says."""
    name = registered_model(str(runs.run), lineage.name)
    stored, torn = list_stored(store, runs.experiment, str(runs.run), lineage.name, name)
    orphans = [
        f"version {ordinal} of '{lineage.name}', of period {version.period}, which is not committed"
        for ordinal, version in sorted(stored.items())
        if version.period > period
    ]
    cut_short = [f"a version of '{lineage.name}' whose writing was cut short"] * len(torn)
    kept = {ordinal: version for ordinal, version in stored.items() if version.period <= period}
    with store.explaining(f"tell the aliases of '{lineage.name}'"):
        rows = store.pages(store.client.search_registered_models, f"name = '{name}'")
    aliases = dict(rows[0].aliases) if rows else {}
    return orphans + cut_short + _misplaced(lineage, aliases, kept, now)


def leftovers(store: Store, runs: Runs) -> dict[str, list[str]]:
    """Say, by run, what is left of runs that are no longer there, and of locks whose taking over was killed."""
    with store.explaining("list what is left behind"):
        listed = store.pages(store.client.search_runs, [runs.experiment], f"tags.{tags.RUN} != ''")
        models = store.pages(store.client.search_logged_models, [runs.experiment])
        named = store.pages(store.client.search_registered_models, "name LIKE 'ebbdoor.%'")
    there = {item.data.tags[tags.RUN] for item in listed if tags.LINE not in item.data.tags}
    found: dict[str, list[str]] = {}

    def note(known: Mapping[str, str], words: str) -> None:
        if tags.RUN in known and known[tags.RUN] not in there:
            found.setdefault(known[tags.RUN], []).append(words)

    for item in listed:
        note(item.data.tags, f"the MLflow run of '{item.data.tags.get(tags.LINE)}'")
    for model in models:
        note(model.tags, f"the files of version {model.tags.get(tags.VERSION)} of '{model.tags.get(tags.LINE)}'")
    for row in named:
        note(row.tags, f"the registered model {row.name}")
        if row.tags.get(tags.RUN) in there and _is_dead_right(row):
            found.setdefault(row.tags[tags.RUN], []).append(f"the lock {row.name} of a killed take-over")
    return found


def _is_dead_right(row: Any) -> bool:
    lock = lock_model(row.tags[tags.RUN])
    return row.name.startswith(f"{lock}.") and Holder.of(row.tags, f"the registered model '{row.name}'").is_dead


def _misplaced(
    lineage: LineageKey, aliases: Mapping[str, Any], kept: Mapping[int, Stored], now: LineageState
) -> list[str]:
    wanted = now.aliases()
    missing = [
        f"version {ordinal} of '{lineage.name}' is not there, and the ledger calls it {alias}"
        for alias, ordinal in wanted.items()
        if ordinal not in kept
    ]
    numbers = {alias: kept[ordinal].number for alias, ordinal in wanted.items() if ordinal in kept}
    dangling = [
        f"the alias '{alias}' of '{lineage.name}', which names nothing" for alias in aliases if alias not in wanted
    ]
    moved = [
        f"the alias '{alias}' of '{lineage.name}', which is not version {wanted[alias]}"
        for alias, number in numbers.items()
        if str(aliases.get(alias)) != str(number)
    ]
    return missing + dangling + moved
