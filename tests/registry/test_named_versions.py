"""By which number sentences name a version of which MLflow holds less than it should."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from simulator.errors import StoreError
from simulator.production.lineage import LineageState
from simulator.production.registry.mlflow.leftovers import misplaced
from simulator.production.registry.mlflow.manual_changes import missing_rows, moved_by_hand
from simulator.production.registry.mlflow.stored import Stored, link_to, named_version
from simulator.records import LineageKey, PeriodRecord

MAIN = LineageKey(arm="main")
TWIN = LineageKey(arm="main", control="paced")
#: versions 0 and 1 served; MLflow gave the numbers 3 and 7, since it gives none twice
NOW = LineageState((0, 1), 1)
FIRST = Stored("m0", "there/0", {}, number="3")
ROW_DELETED = Stored("m1", "there/1", {}, model_tags=link_to("ebbdoor.r1.main", "7"))
GONE = "the version with the ordinal 1"


def test_a_version_has_mlflows_number_also_after_its_row_was_deleted_and_else_its_ordinal() -> None:
    stored = {0: FIRST, 1: ROW_DELETED}
    assert [named_version(ordinal, stored) for ordinal in (0, 1)] == ["version 3", "version 7"]
    assert named_version(1, {0: FIRST}) == GONE  # not "version 2", which may be another one


def test_a_version_that_is_gone_altogether_is_not_given_a_number_that_another_may_have() -> None:
    assert misplaced(MAIN, {"champion": "7", "previous": "3"}, {0: FIRST}, NOW) == [
        f"{GONE} of 'main' is not there, and the ledger calls it champion"
    ]


def test_the_sentences_on_a_lost_champion_name_it_alike() -> None:
    with pytest.raises(StoreError, match=rf"of run 'r1' to name {GONE}, which serves, got it deleted"):
        moved_by_hand("r1", TWIN, NOW, {0: FIRST}, {}, {}, closed=True)
    with pytest.raises(StoreError, match=r"of run 'r1' to name version 7, which serves, got it deleted"):
        moved_by_hand("r1", TWIN, NOW, {0: FIRST, 1: ROW_DELETED}, {}, {}, closed=True)


def test_deleted_versions_are_told_by_number_or_ordinal(record: Callable[..., PeriodRecord]) -> None:
    now = LineageState.of([record(0), record(1)])
    assert now.committed == {0, 1}
    assert missing_rows(MAIN, now, {0: FIRST}) == [f"{GONE} of 'main', which was deleted in MLflow"]
