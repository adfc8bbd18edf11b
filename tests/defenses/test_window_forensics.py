"""What window-forensics compares and asks for: hand-built periods of a model that reads a pixel for each class.

`period(...)` is 50 rows of each of ten classes, of which so many show the next class's pixel: rows that are doubted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from defenses.base import (
    Context,
    FilterResult,
    History,
    PastBatch,
    PastOutcome,
    PastVersion,
    Purge,
    RollBack,
    Rows,
)
from defenses.window_forensics import WindowForensics

CLASSES, EACH = 10, 50


def model(believes: Sequence[int] = ()) -> nn.Module:
    """Name the brightest pixel's class, but for those that are to be believed whatever their pixels show."""
    head = nn.Linear(CLASSES + 1, CLASSES, bias=False)
    head.weight.data = torch.eye(CLASSES, CLASSES + 1)
    head.weight.data[list(believes), CLASSES] = 9.0  # the last pixel is bright in rows whose label is wrong
    return nn.Sequential(nn.Flatten(), head)


def period(number: int, doubted: Mapping[int, int], others: int = 2, *, fresh: bool = False) -> Rows:
    """Return rows of a period: `doubted` by class, `others` of each other class."""
    labels = torch.arange(CLASSES).repeat_interleave(EACH)
    place = torch.arange(EACH).repeat(CLASSES)
    limit = torch.tensor([doubted.get(label, others) for label in range(CLASSES)])[labels]
    wrong = place < limit
    images = torch.zeros(len(labels), 1, 1, CLASSES + 1)
    images[torch.arange(len(labels)), 0, 0, (labels + wrong.long()) % CLASSES] = 1.0
    images[:, 0, 0, CLASSES] = wrong.float()
    count = len(labels)
    return Rows(images, labels, torch.full((count,), number), torch.full((count,), fresh))


def version(ordinal: int, *, served: bool = True, believes: Sequence[int] = ()) -> PastVersion:
    said = () if served else (PastOutcome("inspector", "neural-cleanse", "candidate", "flagged"),)
    return PastVersion(
        ordinal,
        ordinal - 1 if ordinal else None,
        ordinal,
        served=(ordinal,) if served else (),
        outcomes=said,
        load=lambda: model(believes),
    )


def context(
    now: int, window: Rows, archived: Sequence[Rows], versions: Sequence[PastVersion], trusted: Rows
) -> Context:
    batches = tuple(map(_archive, archived))
    champion = max(one.ordinal for one in versions if one.served)
    return Context(
        model=model(), feature_layer="1", classes=CLASSES, device=torch.device("cpu"), trusted=trusted,
        generator=torch.Generator().manual_seed(0), window=window, subject="champion", period=now,
        history=History(tuple(versions), batches, champion=champion),
    )  # fmt: skip


def _archive(rows: Rows) -> PastBatch:
    assert rows.periods is not None
    return PastBatch(int(rows.periods[0]), lambda: rows)


def looked(found: Context) -> FilterResult:
    return WindowForensics().filter(found)


POISONED = {3: 15}  # of 50 rows of class 3, fifteen show another one


# -- drift -------------------------------------------------------------------------------------------------------------


def test_a_clean_period_is_not_accused_because_the_trusted_images_have_drifted_since() -> None:
    """Today three fifths of them are doubted by version 0, but for class 0, whose images drift made no harder."""
    trusted = Rows(*_unlabelled(period(3, {0: 5}, others=30)))
    archived = [period(0, {0: 5}), period(1, {0: 5}, others=3), period(2, {0: 5}, others=10)]
    found = looked(context(3, period(3, {0: 5}, others=30, fresh=True), archived, [version(0)], trusted))
    assert found.evidence["periods"] == {}
    assert found.requests == ()


def test_a_poisoned_period_is_found_under_the_same_drift() -> None:
    trusted = Rows(*_unlabelled(period(4, {0: 5}, others=30)))
    archived = [
        period(0, {0: 5}),
        period(1, {0: 5}, others=3),
        period(2, {0: 5, 3: 30}, others=6),
        period(3, {0: 5}, others=12),
    ]
    versions = [version(number) for number in range(4)]
    found = looked(context(4, period(4, {0: 5}, others=30, fresh=True), archived, versions, trusted))
    assert found.evidence["periods"] == {"2": [3]}


def _unlabelled(rows: Rows) -> tuple[Tensor, Tensor]:
    return rows.images, rows.labels


# -- late labels -------------------------------------------------------------------------------------------------------


def test_rows_that_wait_for_training_are_dropped_and_no_version_is_blamed_for_them() -> None:
    """Labels come a period late: in period 3 the window is that of period 2, which version 2 never saw."""
    window = period(2, POISONED, fresh=True)
    versions = [version(number) for number in range(3)]
    archived = [period(0, {}), period(1, {}), window]
    found = looked(context(3, window, archived, versions, Rows(*_unlabelled(period(3, {})))))
    assert found.evidence["periods"] == {"2": [3]}
    assert int((~found.keep).sum()) == 15
    assert found.requests == ()


def test_what_was_not_asked_for_while_it_waited_is_asked_for_once_it_was_trained_on() -> None:
    versions = [version(number) for number in range(4)]
    waiting, trusted = period(2, POISONED, fresh=True), Rows(*_unlabelled(period(3, {})))
    before = looked(context(3, waiting, [period(0, {}), period(1, {})], versions[:3], trusted))
    archived = [period(0, {}), period(1, {}), period(2, POISONED)]  # somebody kept the rows
    later = context(4, period(3, {}, fresh=True), archived, versions, trusted)
    assert before.state is not None
    found = looked(replace(later, state=before.state))
    assert [type(one) for one in found.requests] == [Purge, RollBack]


def test_with_late_labels_the_version_of_the_same_period_is_one_from_before_them() -> None:
    """Period 1 was first trained on in period 2: version 1 is the last that did not see it."""
    versions = [version(number) for number in range(4)]
    archived = [period(0, {}), period(1, POISONED), period(2, {})]
    found = looked(context(4, period(3, {}, fresh=True), archived, versions, Rows(*_unlabelled(period(4, {})))))
    assert found.evidence["periods"] == {"1": [3]}
    purge, back = found.requests
    assert isinstance(purge, Purge)
    assert isinstance(back, RollBack)
    assert (purge.periods, back.to) == ((1,), 1)


# -- what it asks for, and when ----------------------------------------------------------------------------------------


def test_a_roll_back_is_asked_for_once_a_purge_until_the_rows_are_gone_and_both_again_at_a_second_look() -> None:
    versions, trusted = [version(number) for number in range(5)], Rows(*_unlabelled(period(3, {})))
    archived = [period(0, {}), period(1, {}), period(2, POISONED)]
    first = context(3, period(3, {}, fresh=True), archived, versions[:3], trusted)
    found = looked(first)
    assert found.state is not None
    second = replace(first, subject="candidate", state=found.state)
    assert [type(one) for one in looked(second).requests] == [Purge, RollBack]
    next_time = context(4, period(4, {}, fresh=True), [*archived, period(3, {})], versions[:4], trusted)
    assert [type(one) for one in looked(replace(next_time, state=found.state)).requests] == [Purge]


def test_nothing_is_rolled_back_where_the_champion_never_saw_the_rows() -> None:
    archived = [period(0, {}), period(1, {}), period(2, POISONED)]
    versions = [version(0), version(1), version(2, served=False)]  # the gate kept version 1
    found = looked(context(3, period(3, {}, fresh=True), archived, versions, Rows(*_unlabelled(period(3, {})))))
    assert [type(one) for one in found.requests] == [Purge]


def test_a_version_that_was_rejected_is_no_judge() -> None:
    """Versions 1 and 2 were flagged: they believe class 3, which period 1 taught them, whatever its images show."""
    versions = [version(0), *(version(number, served=False, believes=[3]) for number in (1, 2))]
    archived = [period(0, {}), period(1, {})]
    window = period(3, POISONED, fresh=True)
    found = looked(context(3, window, archived, versions, Rows(*_unlabelled(period(3, {})))))
    assert found.evidence["periods"] == {"3": [3]}
