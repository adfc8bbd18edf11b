"""Defenses that look back, in the measurement of defenses: a lineage of updates on digits, made small."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.defenses import measure
from benchmarks.defenses.lab import Lab, Sizes, lab, predicted
from benchmarks.defenses.lineage import UPDATES, Lineage, lineage, looks_back
from benchmarks.defenses.tables import tables
from defenses.base import Context, Inspector, InspectorResult, Screen, ScreenResult, State
from simulator.scenario import catalog
from simulator.scenario.model import Use
from simulator.world.world import load_source

SMALL = Sizes(400, 60, 60, 60, 2, 2, update=40)


@pytest.fixture(scope="module")
def clean() -> Lab:
    return lab(load_source(Use(use="digits")), SMALL, "compact-cnn", 0, planted=False)


@pytest.fixture(scope="module")
def line(clean: Lab) -> Lineage:
    return lineage(load_source(Use(use="digits")), SMALL, clean)


def test_each_update_is_of_rows_that_no_version_was_trained_on(clean: Lab, line: Lineage) -> None:
    assert UPDATES == 6
    assert line.labs[0] is clean
    windows = [one.window for one in (*line.labs, line.last[False])]
    assert [len(window) for window in windows] == [400, *[40] * 7]
    ids = torch.cat([clean.trusted.ids, *(window.ids for window in windows)]).tolist()
    assert len(set(ids)) == len(ids) == 740


def test_the_last_updates_differ_by_the_poison_alone(line: Lineage) -> None:
    planted, without = line.last[True], line.last[False]
    same = (planted.window.images == without.window.images).flatten(1).all(1)
    assert planted.poison.sum() == 8  # a fifth of forty
    assert not without.poison.any()
    assert torch.equal(same & (planted.window.labels == without.window.labels), ~planted.poison)
    assert planted.initial is without.initial is line.labs[-1].model


class Noting(Inspector):
    """Notes what it is shown; flags the versions of `flags`, by period."""

    versions_back, periods_back, remembers = 2, 1, True

    def __init__(self, flags: tuple[int, ...] = ()) -> None:
        self.flags, self.seen = flags, list[dict[str, Any]]()

    def inspect(self, context: Context) -> InspectorResult:
        past = context.history
        self.seen.append(
            {
                "period": context.period,
                "state": dict(context.state.values),
                "champion": past.champion,
                "loads": [one.ordinal for one in past.versions if one.load is not None],
                "rows": [(one.period, len(one.rows())) for one in past.batches if one.load is not None],
            }
        )
        flagged = context.period in self.flags
        return InspectorResult(flagged, float(flagged), 0.5, state=State({"looks": (len(self.seen), 0)}))


def _measured(made: Any, monkeypatch: pytest.MonkeyPatch, found: Lab, line: Any) -> dict[str, Any]:
    monkeypatch.setattr(measure, "registered", lambda: {"mine": type(made)})
    monkeypatch.setattr(catalog, "build", lambda kind, name: made)
    return measure.measured("mine", found, line)


def test_it_is_asked_about_each_version_in_order(clean: Lab, line: Lineage, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Noting(flags=(0, 3, 7))
    result = _measured(made, monkeypatch, clean, lambda: line)
    assert result["flagged"] is True
    assert result["updates"] == {"asked": 6, "raised": 1.0}  # that of period 3: the base is no update
    assert [one["period"] for one in made.seen] == list(range(8))
    assert [one["state"] for one in made.seen[:3]] == [{}, {"looks": [1, 0]}, {"looks": [2, 0]}]  # as JSON gives it
    assert [one["champion"] for one in made.seen] == [None, *range(7)]
    assert [made.seen[period]["loads"] for period in (0, 1, 7)] == [[], [0], [5, 6]]
    assert [made.seen[period]["rows"] for period in (0, 1, 7)] == [[], [(0, 400)], [(6, 40)]]


def test_what_was_served_is_told_as_it_was(line: Lineage) -> None:
    shown, _ = line.asked(Noting(), planted=True)
    version = shown.past.history.version(5)
    assert (version.parent, version.period, version.served) == (4, 5, (5,))
    trusted = line.labs[5].trusted
    right = predicted(version.model(), trusted.images) == trusted.labels
    assert version.trusted_accuracy == pytest.approx(float(right.float().mean()))
    before, after = version.weights(), line.labs[5].model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in after)
    batch = shown.past.history.batch(6).rows()
    assert batch.periods is not None
    assert batch.fresh is not None
    assert (batch.periods.unique().tolist(), bool(batch.fresh.any())) == ([6], False)


class Ancestors(Screen):
    """Answers every image with the champion's ordinal."""

    versions_back = 3

    def screen(self, context: Context) -> ScreenResult:
        assert context.incoming is not None
        assert context.subject == "champion"
        assert [one.ordinal for one in context.history.lineage() if one.load is not None] == [7, 6, 5]
        count = len(context.incoming)
        return ScreenResult(torch.zeros(count, dtype=torch.bool), answers=torch.full((count,), 7))


def test_a_screen_guards_the_last_version(clean: Lab, line: Lineage, monkeypatch: pytest.MonkeyPatch) -> None:
    result = _measured(Ancestors(), monkeypatch, clean, lambda: line)
    assert result["status"] == "measured", result
    assert result["attack_success"]["after"] == 0.0  # the target is 1
    assert "updates" not in result


class Forgetful(Inspector):
    """Looks at one version."""

    def inspect(self, context: Context) -> InspectorResult:
        assert context.history.champion is None
        return InspectorResult(False, 0.0, 1.0)


def test_one_that_does_not_look_back_needs_no_lineage(clean: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained() -> Lineage:
        raise AssertionError

    assert not looks_back(Forgetful())
    assert _measured(Forgetful(), monkeypatch, clean, trained)["status"] == "measured"


@pytest.mark.parametrize("name", ["version-difference", "temporal-ensemble", "window-forensics", "forgetting-sweep"])
def test_ours_apply(name: str, line: Lineage, clean: Lab) -> None:
    result = measure.measured(name, clean, lambda: line)
    assert result["status"] == "measured", result


def test_alarms_at_clean_updates_are_counted_once() -> None:
    """Of two seeds; before a planted update the same clean ones lie, so that those do not count again."""
    key = {"defense": "mine", "source": "digits", "network": "compact-cnn", "surface": "inspector", "passes": 0}
    found = [
        {**key, "seed": seed, "planted": planted, "status": "measured", "flagged": planted, "seconds": 1.0,
         "updates": {"asked": 6, "raised": float(seed)}}
        for seed in (0, 1) for planted in (True, False)
    ]  # fmt: skip
    assert "| mine | digits | compact-cnn | 1 of 12 |" in tables(found)
