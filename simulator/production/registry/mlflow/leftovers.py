"""What killed processes left behind in MLflow, and what people changed there, in words; nothing is changed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.errors import StoreError
from simulator.production.lineage import ALIASES, LineageState
from simulator.production.registry.base import Leftover
from simulator.production.registry.mlflow import tags
from simulator.production.registry.mlflow.client import Store
from simulator.production.registry.mlflow.edited import expect_removable
from simulator.production.registry.mlflow.ours import is_marked_for_deletion, is_model, is_run, is_version, ordinal_of
from simulator.production.registry.mlflow.runs import Runs
from simulator.production.registry.mlflow.stored import (
    Stored,
    find_name,
    linked_number,
    list_stored,
    named_version,
    shown_number,
)
from simulator.production.registry.naming import lock_model, registered_model
from simulator.records import LineageKey
from simulator.system.holder import Holder


def differences(store: Store, runs: Runs, lineage: LineageKey, period: int, now: LineageState) -> list[str]:
    """Say what a lineage has beyond `period`, and which of our aliases are not what `now` says."""
    run = str(runs.run)
    name = find_name(store, run, lineage.name) or registered_model(run, lineage.name)
    stored, torn = list_stored(store, runs.experiment, run, lineage.name, name)
    later = [ordinal for ordinal, version in stored.items() if version.period > period]
    expect_removable(lineage, now, later, stored, torn)
    orphans = [
        f"version {shown_number(ordinal, stored)} of '{lineage.name}', of period {version.period}, "
        "which is not committed"
        for ordinal, version in ((ordinal, stored[ordinal]) for ordinal in sorted(later))
    ]
    cut_short = [f"a version of '{lineage.name}' whose writing was cut short"] * len(torn)
    kept = {ordinal: version for ordinal, version in stored.items() if version.period <= period}
    with store.explaining(f"tell the aliases of '{lineage.name}'"):
        rows = store.pages(store.client.search_registered_models, f"name = '{name}'")
    aliases = dict(rows[0].aliases) if rows else {}
    return orphans + cut_short + misplaced(lineage, aliases, kept, now)


def leftovers(store: Store, runs: Runs) -> dict[str, Leftover]:
    """Say, by run, what is left of runs that are no longer there, and of locks whose taking over was killed."""
    from mlflow.entities import ViewType

    with store.explaining("list what is left behind"):
        query = f"tags.{tags.RUN} != ''"
        listed = store.pages(store.client.search_runs, [runs.experiment], query, run_view_type=ViewType.ALL)
        models = store.pages(store.client.search_logged_models, [runs.experiment])
        named = store.pages(store.client.search_registered_models, query)
    listed = [item for item in listed if is_run(item)]
    listed = [
        item for item in listed if item.info.lifecycle_stage == "active" or not is_marked_for_deletion(item.data.tags)
    ]
    parents, _ = runs.every_run()
    found: dict[str, list[tuple[str, bool]]] = {}

    def note(known: Mapping[str, str], words: str) -> None:
        if known[tags.RUN] not in parents:
            found.setdefault(known[tags.RUN], []).append((words, is_marked_for_deletion(known)))

    for item in listed:
        if item.info.lifecycle_stage == "active":
            note(item.data.tags, f"the MLflow run of '{item.data.tags.get(tags.LINE, item.data.tags[tags.RUN])}'")
    for model in (one for one in models if is_version(one.tags)):
        number = linked_number(model.tags) or ordinal_of(model.tags) + 1
        note(model.tags, f"the files of version {number} of '{model.tags.get(tags.LINE)}'")
    rights: dict[str, list[str]] = {}
    for row in named:
        if is_model(row):
            note(row.tags, f"the registered model {row.name}")
        elif row.tags[tags.RUN] in parents and _is_dead_right(row):
            rights.setdefault(row.tags[tags.RUN], []).append(f"the lock {row.name} of a killed take-over")
    left = {
        run: Leftover(tuple(words for words, _ in these), all(go for _, go in these)) for run, these in found.items()
    }
    return left | {run: Leftover(tuple(words), True) for run, words in rights.items()}


def _is_dead_right(row: Any) -> bool:
    try:
        holder = Holder.of(row.tags, f"the registered model '{row.name}'")
    except StoreError:  # not ours to remove
        return False
    return row.name.startswith(f"{lock_model(row.tags[tags.RUN])}.") and holder.is_dead


def misplaced(
    lineage: LineageKey, aliases: Mapping[str, Any], kept: Mapping[int, Stored], now: LineageState
) -> list[str]:
    """Say which of our aliases are not what `now` says; `kept`: the versions up to its last period."""
    wanted = now.aliases()
    missing = [
        f"{named_version(ordinal, kept)} of '{lineage.name}' is not there, and the ledger calls it {alias}"
        for alias, ordinal in wanted.items()
        if ordinal not in kept
    ]
    numbers = {alias: kept[ordinal].number for alias, ordinal in wanted.items() if ordinal in kept}
    dangling = [
        f"the alias '{alias}' of '{lineage.name}', which names nothing"
        for alias in aliases
        if alias in ALIASES and alias not in wanted
    ]
    moved = [
        f"the alias '{alias}' of '{lineage.name}', which is not version {number}"
        for alias, number in numbers.items()
        if number is not None and str(aliases.get(alias)) != str(number)
    ]
    return missing + dangling + moved
