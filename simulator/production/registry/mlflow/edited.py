"""Tags of versions that a person edited in MLflow: named before anything is removed, so that nothing committed goes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from simulator.errors import StoreError
from simulator.production.lineage import LineageState
from simulator.production.registry.mlflow import tags
from simulator.production.registry.mlflow.ours import ordinal_of
from simulator.production.registry.mlflow.stored import Stored
from simulator.records import LineageKey


def expect_unedited(
    lineage: LineageKey, now: LineageState, stored: Mapping[int, Stored], surplus: Sequence[Stored]
) -> None:
    """Raise `StoreError` when a committed version's row and its logged model do not say the same of it.

    They are matched by where the files are, which cannot be edited in MLflow.
    """
    everything = [*stored.values(), *surplus]
    models = {one.address: one for one in everything if one.model_tags}
    for one in everything:
        model = models.get(one.address)
        if one.number is None or model is None:
            continue
        for key, row_value, model_value in _different(one, model):
            raise StoreError(_said(lineage, now, one, model, key, row_value, model_value))


def expect_removable(
    lineage: LineageKey,
    now: LineageState,
    ordinals: Collection[int],
    stored: Mapping[int, Stored],
    surplus: Sequence[Stored],
) -> None:
    """Raise `StoreError` when what is about to be removed may hold a committed version, whatever its tags say now.

    `ordinals` of `stored` and all of `surplus` are to go. A spare model is one that was never finished, one of the
    period that was cut short, or the same as one that is kept; a spare row names the files of a version that has a row.
    """
    expect_unedited(lineage, now, stored, surplus)
    taken = [stored[ordinal] for ordinal in ordinals if ordinal in now.committed]
    taken += [one for one in surplus if not _is_spare(one, now, stored)]
    for one in taken:
        what = (
            f"the logged model {one.model_id}"
            if one.number is None
            else f"version {one.number} of the registered model"
        )
        raise StoreError(
            f"expected {what} of '{lineage.name}' to be left by a killed process, by its tags {_shown(one)}, got one "
            "that may be committed: its tag was changed, or that of another version; nothing is removed: set the tags "
            f"in MLflow to what they were ({_wanted(now)}), and go on"
        )


def _is_spare(one: Stored, now: LineageState, stored: Mapping[int, Stored]) -> bool:
    if one.number is None and not one.ready:
        return True
    ordinal = ordinal_of(one.tags)
    kept = stored.get(ordinal)
    if ordinal not in now.committed:
        return one.number is not None or one.period == now.last + 1
    if kept is None or kept.number is None:
        return False
    if one.number is not None:
        return all(other in stored and stored[other].number is not None for other in now.committed)
    return _same(one) == _same(kept)


def _same(one: Stored) -> tuple[int, str, str]:
    return one.period, one.tags[tags.WEIGHTS], one.run_id


def _different(row: Stored, model: Stored) -> Iterator[tuple[str, str, str]]:
    """Yield the tags that a row and its model do not agree on: key, the row's value, the model's."""
    if row.tags.get(tags.MODEL_ID) != model.model_id:
        yield tags.MODEL_ID, row.tags.get(tags.MODEL_ID, "none"), model.model_id
    known = model.model_tags
    if ordinal_of(row.tags) != ordinal_of(known):
        yield tags.VERSION, str(ordinal_of(row.tags)), str(ordinal_of(known))
    for key in (tags.PERIOD, tags.WEIGHTS):
        if row.tags[key] != known[key]:
            yield key, row.tags[key], known[key]


def _said(
    lineage: LineageKey, now: LineageState, row: Stored, model: Stored, key: str, row_value: str, model_value: str
) -> str:
    on_row = f"version {row.number} of the registered model of '{lineage.name}'"
    on_model = f"the logged model {model.model_id} of '{lineage.name}'"
    by_row, by_model = _is_recorded(row.tags, now), _is_recorded(model.model_tags, now)
    wrong, value, right = (
        (on_model, model_value, row_value) if by_row and not by_model else (on_row, row_value, model_value)
    )
    return (
        f"expected the tag `{key}` of {wrong} to be '{right}', as it was made, got '{value}': its tag was changed; "
        f"nothing is removed: set it to `{right}` in MLflow, and go on"
    )


def _is_recorded(known: Mapping[str, str], now: LineageState) -> bool:
    """Whether the ledger has a version with the ordinal and the period that its tags `known` name."""
    ordinal, period = ordinal_of(known), int(known[tags.PERIOD])
    return any(record.candidate == ordinal and record.period == period for record in now.records)


def _shown(one: Stored) -> str:
    return f"`{tags.VERSION}` {ordinal_of(one.tags)} and `{tags.PERIOD}` {one.period}"


def _wanted(now: LineageState) -> str:
    trained = [f"{one.candidate} of period {one.period}" for one in now.records if one.candidate is not None]
    return f"by the ledger the committed `{tags.VERSION}` are {', '.join(trained[-6:]) or 'none'}"
