"""The registry in MLflow: what a person who knows MLflow expects to find, made with explicit ids only."""

from __future__ import annotations

import logging
import shlex
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, final

from simulator.errors import StoreError, StoreUnavailableError
from simulator.production.lineage import CHAMPION, LineageState
from simulator.production.registry.base import Leftover, Registry, RunHead, VersionPayload
from simulator.production.registry.database import is_database
from simulator.production.registry.mlflow import tags
from simulator.production.registry.mlflow.client import Store
from simulator.production.registry.mlflow.deletion import delete_run, sweep_run
from simulator.production.registry.mlflow.edited import expect_unedited
from simulator.production.registry.mlflow.leftovers import differences, leftovers
from simulator.production.registry.mlflow.manual_changes import missing_rows, moved_by_hand, placed, put_back
from simulator.production.registry.mlflow.metrics import (
    Point,
    judged_in,
    outcome_tags,
    outcomes_of,
    points,
    undefined_tags,
    version_tags,
)
from simulator.production.registry.mlflow.runs import Runs
from simulator.production.registry.mlflow.shown import outcome_files
from simulator.production.registry.mlflow.stored import Stored, find_name, list_stored, numbers_of, shown_number
from simulator.production.registry.mlflow.versions import Versions
from simulator.production.registry.naming import registered_model
from simulator.records import Action, LineageKey, PeriodRecord

if TYPE_CHECKING:
    from torch import Tensor

_LOGGER = logging.getLogger("ebbdoor.stores")
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED", "open": "SCHEDULED"}


@final
class MlflowRegistry(Registry):
    """One parent run and one run per lineage; a registered model per lineage; a version per training.

    A version's files are stored by `register`. Its row in the registry appears when its period is published: MLflow
    sets many tags at once only when a row is made.
    """

    def __init__(self, store: Store, runs: Runs) -> None:
        self._store = store
        self._runs = runs
        self._versions: dict[LineageKey, Versions] = {}
        self._head: RunHead | None = None
        self._published: dict[LineageKey, dict[int, int]] = {}  # period -> milliseconds
        self._came_to: dict[LineageKey, dict[int, int]] = {}  # period -> the version that served after it
        self._pointed: dict[LineageKey, str | None] = {}  # what `champion` names, as far as this process knows
        self._placed: dict[LineageKey, dict[str, str]] = {}  # the same of our other aliases
        self._times: dict[tuple[LineageKey, int], int] = {}  # those of this process, whether they arrived or not
        self._now: dict[LineageKey, LineageState] = {}
        self._running = False
        self._asked_again = False  # a request was given up, and may arrive late

    def open(self, head: RunHead) -> None:
        self._runs.ensure(head)
        self._head = head
        for lineage in head.lineages:
            if lineage not in self._versions:
                self._published[lineage], self._came_to[lineage] = self._history(lineage)
                self._versions[lineage] = Versions(self._store, self._runs, head, lineage)

    def register(self, payload: VersionPayload) -> dict[str, str]:
        self._run()
        stored = self._of(payload.lineage).add(payload, self._now.get(payload.lineage))
        return {
            "model_id": stored.model_id,
            "model": self._of(payload.lineage).name,
            "uri": f"models:/{stored.model_id}",
        }

    def publish(self, record: PeriodRecord, metadata: Mapping[str, Any], now: LineageState) -> None:
        self._run()
        versions = self._of(record.lineage)
        versions.get(record.version)
        before = now.served[-2] if len(now.served) > 1 else record.version
        self._enter(versions, record, before)
        earlier = now.records[-2] if len(now.records) > 1 else None
        self._published[record.lineage][record.period] = self._log(record, metadata, earlier)
        self._set_aliases(record.lineage, now)

    def roll_back(self, lineage: LineageKey, action: Action, now: LineageState) -> None:
        versions = self._of(lineage)
        to = shown_number(now.served[-1], versions.stored)
        reason = f"after period {action.period}, to version {to}: {action.reason}"
        left = now.served[-2]
        if versions.get(left).number is not None:  # somebody may have deleted it in MLflow
            versions.enter(left, {tags.ROLLED_BACK: tags.cut(reason)})
        self._set_aliases(lineage, now, by_order=True)

    def weights(self, lineage: LineageKey, ordinal: int) -> dict[str, Tensor]:
        return self._of(lineage).weights(ordinal)

    def forget_after(self, lineage: LineageKey, period: int, now: LineageState) -> None:
        versions = self._of(lineage)
        versions.expect_unedited(now)
        later = {ordinal: stored.period for ordinal, stored in versions.stored.items() if stored.period > period}
        if any(made > period + 1 for ordinal, made in later.items() if ordinal not in now.committed):
            raise StoreError(
                f"expected the registry to hold nothing of '{lineage.name}' after period {period + 1}, which may have "
                f"been cut short, got versions of period {max(later.values())}: the ledger has lost what it committed; "
                "nothing is removed, restore the MLflow runs and their tags"
            )
        versions.expect_removable(later, now)  # before anything is moved
        self._set_aliases(lineage, now)  # first: with a version its aliases go
        versions.forget(later, now)

    def moved(self, lineage: LineageKey, now: LineageState) -> int | None:
        if now.champion is None:
            return None
        run, stored = str(self._runs.run), self._unedited(lineage, now)
        aliases = self._aliases(lineage)
        came_to = self._came_to.get(lineage) or self._history(lineage)[1]
        moved = moved_by_hand(run, lineage, now, stored, aliases, came_to, closed=self._runs.was_closed)
        self._pointed[lineage] = aliases.get(CHAMPION) if moved is None else None
        if self._runs.was_closed or (now.last + 1 not in came_to and not now.since):  # else a kill may have left them
            self._placed.setdefault(lineage, placed(now, stored))
        return moved

    def put_back(self, lineage: LineageKey, now: LineageState) -> list[str]:
        if now.champion is None or not self._runs.was_closed:
            return []
        return put_back(lineage, placed(now, self._stored(lineage)), self._aliases(lineage))

    def moved_meanwhile(self, lineage: LineageKey, now: LineageState) -> int | None:
        if now.champion is None or self._asked_again or self._pointed.get(lineage) is None:
            return None
        versions = self._of(lineage)
        if self._alias_of_champion(versions) == versions.get(now.champion).number:
            return None
        self._versions[lineage] = versions = Versions(self._store, self._runs, self._head_opened(), lineage)
        run, aliases = str(self._runs.run), versions.aliases()
        return moved_by_hand(run, lineage, now, versions.stored, aliases, {}, closed=True)

    def numbers(self, lineage: LineageKey) -> dict[int, int]:
        return numbers_of(self._stored(lineage))

    def restore(self, lineage: LineageKey, now: LineageState) -> list[str]:
        versions = self._of(lineage)
        versions.expect_unedited(now)
        gone = missing_rows(lineage, now, versions.stored)
        served: list[int] = []
        for record in now.records if gone else ():
            self._enter(versions, record, served[-1] if served else record.version, versions.stored)
            served.append(record.version)
        self._set_aliases(lineage, now, by_order=True)
        return gone

    def missing(self, lineage: LineageKey, now: LineageState) -> list[str]:
        return missing_rows(lineage, now, self._unedited(lineage, now))

    def differences(self, lineage: LineageKey, period: int, now: LineageState) -> list[str]:
        return differences(self._store, self._runs, lineage, period, now)

    def leftovers(self) -> dict[str, Leftover]:
        return leftovers(self._store, self._runs)

    def refresh(self) -> None:
        self._asked_again = True
        if self._head is not None:
            self._versions, self._pointed, self._placed = {}, {}, {}  # a move given up may arrive: not by hand
            self.open(self._head)

    def finish(self, status: str, files: Mapping[str, str]) -> None:
        if status not in _STATUS:
            raise StoreError(f"expected status to be one of {', '.join(_STATUS)}, got '{status}'; correct it")
        self._runs.tidy()  # what requests made that were given up and arrived all the same
        if self._head is not None:
            self._versions = {}
            self.open(self._head)
        for lineage, versions in self._versions.items():
            versions.clear(self._now.get(lineage))
            if lineage in self._now:
                self._set_aliases(lineage, self._now[lineage])
        with self._store.explaining("close the run"), TemporaryDirectory() as folder:
            for name, path in files.items():
                copy = shutil.copyfile(path, Path(folder) / Path(name).name)
                self._store.write_file(self._runs.parent, Path(copy))
            self._runs.note_committed()
            self._mark(status, _STATUS[status])
        self._running = False

    def delete(self, run: str) -> bool:
        found = delete_run(self._store, self._runs, run)
        self._close(run)
        return found

    def sweep(self, run: str) -> None:
        sweep_run(self._store, self._runs, run)
        self._close(run)

    def links(self) -> dict[str, str]:
        if not self._store.is_server:
            # a database's address holds a password: no command line shows it
            serve = (
                "ebbdoor up"
                if is_database(self._store.uri)
                else f"mlflow server --backend-store-uri {shlex.quote(self._store.shown)}"
            )
            return {"MLflow store": self._store.shown, "MLflow pages": serve}
        base = self._store.shown.rstrip("/")
        run, lineages = str(self._runs.run), self._runs.lineages()
        models = {lineage.name: versions.name for lineage, versions in self._versions.items()}
        names = {
            f"MLflow model {lineage}": f"{base}/#/models/{models.get(lineage) or registered_model(run, lineage)}"
            for lineage in lineages
        }
        return {"MLflow run": f"{base}/#/experiments/{self._runs.experiment}/runs/{self._runs.parent}", **names}

    def _of(self, lineage: LineageKey) -> Versions:
        if lineage not in self._versions:
            raise StoreError(f"expected '{lineage.name}' to be a line of the open run, got none; open the run first")
        return self._versions[lineage]

    def _name(self, lineage: LineageKey) -> str:
        """Return what a lineage's registered model is called; the run need not be open."""
        if lineage in self._versions:
            return self._versions[lineage].name
        run = str(self._runs.run)
        return find_name(self._store, run, lineage.name) or registered_model(run, lineage.name)

    def _stored(self, lineage: LineageKey) -> dict[int, Stored]:
        """Return a lineage's versions; the run need not be open."""
        return self._versions[lineage].stored if lineage in self._versions else self._listed(lineage)[0]

    def _unedited(self, lineage: LineageKey, now: LineageState) -> dict[int, Stored]:
        """Return what `_stored` does; `StoreError` when a person edited a tag by which a version is known."""
        if lineage in self._versions:
            self._versions[lineage].expect_unedited(now)
            return self._versions[lineage].stored
        stored, surplus = self._listed(lineage)
        expect_unedited(lineage, now, stored, surplus)
        return stored

    def _listed(self, lineage: LineageKey) -> tuple[dict[int, Stored], list[Stored]]:
        run, name = str(self._runs.run), self._name(lineage)
        return list_stored(self._store, self._runs.experiment, run, lineage.name, name)

    def _head_opened(self) -> RunHead:
        if self._head is None:
            raise StoreError("expected an open run, got none; open the run first")
        return self._head

    def _aliases(self, lineage: LineageKey) -> dict[str, str]:
        """Return where all aliases of a lineage are; none without a registered model. The run need not be open."""
        name = self._name(lineage)
        with self._store.explaining(f"tell the aliases of '{lineage.name}'"):
            rows = self._store.pages(self._store.client.search_registered_models, f"name = '{name}'")
        return {alias: str(number) for row in rows for alias, number in row.aliases.items()}

    def _alias_of_champion(self, versions: Versions) -> str | None:
        """Return the number that `champion` names; None without one, or where the registered model was renamed."""
        try:
            return versions.aliases().get(CHAMPION)
        except StoreUnavailableError:
            raise
        except StoreError:
            return None

    def _close(self, run: str) -> None:
        self._versions, self._published, self._now, self._running, self._head = {}, {}, {}, False, None
        self._runs.find(run)

    def _set_aliases(self, lineage: LineageKey, now: LineageState, *, by_order: bool = False) -> None:
        """Point our aliases at what `now` says. `champion` is left where a person put it since we last looked.

        The next period adopts that, or asks, and so it does where it was deleted; `by_order`: a person wants `now`.
        The other aliases decide nothing: that a person moved them is said, and they are set anew.
        """
        versions = self._of(lineage)
        named, before = versions.aliases(), self._pointed.get(lineage)
        held = () if before is None or by_order or named.get(CHAMPION) == before else (CHAMPION,)
        if lineage in self._placed:
            for sentence in put_back(lineage, self._placed[lineage], named):
                _LOGGER.warning("run %s: %s", self._runs.run, sentence)
        versions.point(now.aliases(), named, keep=held)
        if not self._asked_again:
            self._placed[lineage] = placed(now, versions.stored)
        if not held and now.champion is not None:
            self._pointed[lineage] = versions.get(now.champion).number
        self._now[lineage] = now

    def _run(self) -> None:
        if not self._running:
            with self._store.explaining("open the run"):
                self._mark("running", "RUNNING")
            self._running = True

    def _mark(self, word: str, status: str) -> None:
        for run_id in self._runs.all_ids():
            ended = word != "running" and run_id in self._runs.ended_ids()
            self._mark_one(run_id, *(("diverged", "FAILED") if ended else (word, status)))

    def _mark_one(self, run_id: str, word: str, status: str) -> None:
        self._store.client.set_tag(run_id, tags.STATUS, word)
        if status in ("FINISHED", "FAILED", "KILLED"):
            self._store.client.set_terminated(run_id, status)
        else:
            self._store.client.update_run(run_id, status)

    def _enter(
        self, versions: Versions, record: PeriodRecord, champion: int, among: Iterable[int] | None = None
    ) -> None:
        """Enter what a period said of its versions; `among`: of these only. A version deleted by hand stays deleted."""
        outcomes = outcomes_of(record, champion)
        judged = judged_in(record)
        said = sorted(judged | set(outcomes))
        for ordinal in said if among is None else [one for one in said if one in among]:
            theirs = outcomes.get(ordinal, [])
            about = version_tags(record, ordinal) if ordinal in judged else {}
            versions.enter(ordinal, {**about, **outcome_tags(theirs, record.period, numbers_of(versions.stored))})
            if any(outcome.evidence or outcome.requests for outcome in theirs):
                versions.attach(ordinal, outcome_files(theirs, record.period))

    def _log(self, record: PeriodRecord, metadata: Mapping[str, Any], before: PeriodRecord | None) -> int:
        """Log the metrics and return their time. Logged again they get their first time, so MLflow keeps one point."""
        from mlflow.entities import Metric, RunTag

        known = self._published[record.lineage].get(record.period)
        ours = self._times.setdefault((record.lineage, record.period), int(time.time() * 1000))
        found = points(record, metadata, before)
        with self._store.explaining(f"log period {record.period} of '{record.lineage.name}'"):
            timed = [(p, ours) for p in found] if known is None else self._timed_again(record, found, known)
            metrics = [
                Metric(p.key, p.value, t, record.period, model_id=self._model(record.lineage, p)) for p, t in timed
            ]
            undefined = [RunTag(key, value) for key, value in undefined_tags(record, before).items()]
            self._store.client.log_batch(self._runs.of(record.lineage), metrics, tags=undefined)
        return ours if known is None else known

    def _timed_again(self, record: PeriodRecord, found: list[Point], known: int) -> list[tuple[Point, int]]:
        """The metrics of a period that was logged at `known` before, with their times; the seconds it took stay.

        After a kill it may be played otherwise, because of an operator action in between: what changed gets a
        later time, for of a step's points MLflow shows the latest.
        """
        timed = []
        for point in found:
            if not point.key.startswith(tags.COST):
                history = self._store.client.get_metric_history(self._runs.of(record.lineage), point.key)
                # as texts, for one NaN does not equal another
                there = {repr(one.value): one.timestamp for one in history if one.step == record.period}
                later = max(there.values()) + 1 if there else known
                timed.append((point, there.get(repr(point.value), later)))
        return timed

    def _model(self, lineage: LineageKey, point: Point) -> str | None:
        found = None if point.version is None else self._of(lineage).get(point.version)
        return None if found is None or found.bare else found.model_id

    def _history(self, lineage: LineageKey) -> tuple[dict[int, int], dict[int, int]]:
        """Return, by period, when it was logged first, and to which version it came as it was logged last."""
        with self._store.explaining(f"read the history of '{lineage.name}'"):
            client, run_id = self._store.client, self._runs.of(lineage)
            found = client.get_metric_history(run_id, tags.GATE_VERSION)
            if not any(point.step == 0 for point in found):  # an earlier release began the run, or nobody has yet
                found = [*client.get_metric_history(run_id, tags.FORMER_GATE_VERSION), *found]
        found = sorted(found, key=lambda point: int(point.timestamp))
        times = {point.step: point.timestamp for point in reversed(found)}
        return times, {point.step: int(point.value) for point in found}
