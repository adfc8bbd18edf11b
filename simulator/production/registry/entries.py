"""Heads and entries as JSON text, checked when read: one format for every ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from simulator.errors import StoreError
from simulator.production.registry.base import Entry, RunHead
from simulator.records import Action, LineageEnd, LineageKey, PeriodRecord, digest_of


def text_to_commit(run: str, entry: Entry, committed: Mapping[int, str]) -> str | None:
    """Return the text to store of `entry`: a JSON object of `sha256`, `record` and `beside` (the metadata).

    `committed` are the hashes by period; None when this record is among them. Raises `StoreError` when it must not be
    kept: of another run, not hashed as it says, not the next period, or other than what is committed of its period.
    """
    record = entry.record
    where = f"period {record.period} of '{record.lineage.name}'"
    if record.run != run:
        raise StoreError(f"expected {where} to be of run '{run}', got '{record.run}'; open that run's ledger")
    values = record.model_dump(mode="json")  # once, for the hash and for the text
    if digest_of(values) != entry.sha256:
        raise StoreError(f"expected {where} to come with its record's hash, got {entry.sha256[:12]}; hash the record")
    stored = committed.get(record.period)
    if stored is None and record.period != len(committed):
        raise StoreError(f"expected {where} to be the next, got one after period {len(committed) - 1}; commit in order")
    if stored is not None and stored != entry.sha256:
        raise StoreError(
            f"expected {where} to be as it was committed ({stored[:12]}), got another record ({entry.sha256[:12]}); "
            "the run is not reproducible here: delete it, or continue where it was begun"
        )
    if stored is not None:
        return None
    whole = {"sha256": entry.sha256, "record": values, "beside": dict(entry.metadata)}
    return _text(whole, f"of period {record.period}")


def read_entry(text: str, where: str, *, sha256: str | None = None) -> Entry:
    """Return the entry in `text`, or raise `StoreError` when it is torn, or the record has another hash."""
    with _whole(where, "a whole period", "delete the run, or restore the file"):
        values = json.loads(text)
        entry = Entry(PeriodRecord.model_validate(values["record"]), values["sha256"], values["beside"])
        intact = digest_of(values["record"]) == entry.sha256 == (sha256 or entry.sha256)
    if not intact:
        raise StoreError(
            f"expected {where} to have the hash it was committed with, got another; it was changed: "
            "delete the run, or restore the file"
        )
    return entry


def action_text(action: Action, metadata: Mapping[str, Any]) -> str:
    """Return the action as a JSON object of `sha256`, `action` and `beside`."""
    values = {"sha256": action.digest(), "action": action.model_dump(mode="json"), "beside": dict(metadata)}
    return _text(values, f"of an action on '{action.arm}'")


def read_action(text: str, where: str, *, sha256: str | None = None) -> Action:
    """Return the action in `text`, or raise `StoreError` when it is torn or changed."""
    with _whole(where, "an action", "restore the file"):
        values = json.loads(text)
        action = Action.model_validate(values["action"])
        intact = action.digest() == values["sha256"] == (sha256 or values["sha256"])
    if not intact:
        raise StoreError(f"expected {where} to have the hash it was stored with, got another; restore the file")
    return action


def check_action(run: str, action: Action, last: int, known: Sequence[Action]) -> bool:
    """Return whether `action` is not among those `known`; `StoreError` when it must not be kept."""
    if action in known:
        return False
    after = sum(other.period == action.period for other in known)
    if (action.run, action.period, action.number) != (run, last, after):
        raise StoreError(
            f"expected an action on run '{run}' after period {last} with number {after}, got one on run "
            f"'{action.run}' after period {action.period} with number {action.number}; read the ledger again"
        )
    return True


def read_end(text: str, where: str) -> LineageEnd:
    """Return the end in `text` (its JSON object), or raise `StoreError` when it is torn."""
    with _whole(where, "how a lineage ended", "restore it"):
        return LineageEnd.model_validate_json(text)


def check_end(run: str, end: LineageEnd, committed: int, known: LineageEnd | None) -> bool:
    """Return whether `end` is new to a lineage of `committed` periods; `StoreError` when it must not be kept."""
    if known == end:
        return False
    if known is not None or (end.run, end.period) != (run, committed):
        raise StoreError(
            f"expected '{end.lineage.name}' of run '{run}' to end once, in period {committed}, got an end of run "
            f"'{end.run}' in period {end.period}; read the ledger again"
        )
    return True


def head_values(head: RunHead) -> dict[str, Any]:
    """Return the head as JSON values."""
    return {
        "run": head.run,
        "scenario": dict(head.scenario),
        "scenario_digest": head.scenario_digest,
        "source_digest": head.source_digest,
        "lines": [lineage.model_dump(mode="json") for lineage in head.lineages],
        "live": None if head.live is None else dict(head.live),
        **({"code": dict(head.code)} if head.code else {}),
        **({} if head.data is None else {"data": dict(head.data)}),
        **({} if head.edition == 1 else {"edition": head.edition}),
    }


def head_text(head: RunHead) -> str:
    """Return the head as JSON text with its own hash."""
    values = head_values(head)
    return json.dumps({"sha256": digest_of(values), "head": values}, allow_nan=False)


def read_head(text: str, where: str) -> RunHead:
    """Return the head in `text`, or raise `StoreError` when it is torn or changed."""
    with _whole(where, "a run's head", "delete the run"):
        outer = json.loads(text)
        values = outer["head"]
        intact = digest_of(values) == outer["sha256"]
        lineages = tuple(LineageKey.model_validate(lineage) for lineage in values.pop("lines"))
        head = RunHead(**values, lineages=lineages)
    if not intact:
        raise StoreError(f"expected {where} to have the hash it was written with, got another; delete the run")
    return head


def check_same_run(head: RunHead, scenario_digest: str, source_digest: str) -> None:
    """Raise `StoreError` unless the stored digests are those of `head`."""
    for word, stored, given in (
        ("scenario", scenario_digest, head.scenario_digest),
        ("source", source_digest, head.source_digest),
    ):
        if stored != given:
            raise StoreError(
                f"expected run '{head.run}' to have the {word} it was begun with ({stored[:12]}), got {given[:12]}; "
                "give the run another name, or go back to what began it"
            )


def check_order(lineage: LineageKey, entries: list[Entry]) -> list[Entry]:
    """Return `entries`, or raise `StoreError` unless they are periods 0, 1, 2 ... of `lineage`."""
    found = [(entry.record.lineage, entry.record.period) for entry in entries]
    if found != [(lineage, period) for period in range(len(entries))]:
        periods = [period for _, period in found]
        raise StoreError(
            f"expected the ledger of '{lineage.name}' to hold periods 0 to {len(entries) - 1} of it, got {periods}; "
            "a file is missing or misplaced: restore it, or delete the run"
        )
    return entries


def _text(values: Mapping[str, Any], of: str) -> str:
    try:
        return json.dumps(values, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StoreError(f"expected what is stored {of} to be JSON values, got {error}; convert them") from error


@contextmanager
def _whole(where: str, what: str, advice: str) -> Iterator[None]:
    """Turn what reading a torn text raises in the block into a `StoreError`."""
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        got = f"{type(error).__name__} ({error})"
        if isinstance(error, ValidationError):
            got = f"{error.error_count()} fields that do not fit a record"
        raise StoreError(f"expected {where} to hold {what}, got {got}; {advice}") from error
