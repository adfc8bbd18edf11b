"""Versions without a verdict: collapsed, or no better than chance. Their backdoor readings are no evidence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from simulator.batch import Batch
from simulator.observer.evidence import Evidence
from simulator.observer.export import export_of
from simulator.observer.measures import DASH
from simulator.observer.milestones import is_milestone
from simulator.observer.probes.arithmetic import accuracy_over
from simulator.observer.probes.base import ProbeView
from simulator.observer.probes.chance import better_than_chance
from simulator.observer.probes.clean_accuracy import CleanAccuracy
from simulator.observer.report.columns import COLUMNS, cells, footnotes
from simulator.observer.report.plots import time_line
from simulator.observer.rows import evidence_of, row_of
from simulator.observer.summary import summarise
from simulator.observer.verdict import verdicts
from simulator.production.registry.base import Entry
from simulator.records import Reading

MakeEntry = Callable[..., Entry]
COLLAPSED = {"backdoor/collapsed": Reading.of(1)}
GUESSING = {"clean/better_than_chance": Reading.of(0)}
ONE_CLASS = "the model predicts one class for nearly everything"
CHANCE = "the model is no better than chance on its test images"


def told(line: list[Entry], twin: list[Entry] | None = None) -> str:
    return verdicts(summarise({"main": line, "main.twin": twin or []}))["main"]


#: rows of each true class (outer) by answer (inner); every p-value is worked out by hand
CHANCES = [
    # a fair coin: 10 of 10 has 1/1024 = 0.1 %
    pytest.param([[5, 0], [0, 5]], 1, id="all of ten"),
    # 9 of 10 has 11/1024; of all C(10, 5) = 252 ways to place class 0, 6 have it right: 2.4 %
    pytest.param([[5, 0], [1, 4]], 0, id="nine of ten"),
    # 4 of 5 are of one class: 0.8 ** 20 is 1.2 %, but only 1 of C(20, 4) = 4845 ways to place class 1 is right
    pytest.param([[16, 0], [0, 4]], 1, id="all of twenty, four in five of one class"),
    # 0.9 ** 10 is 35 %, and 1 of 10 ways to place class 1 is right
    pytest.param([[9, 0], [0, 1]], 0, id="all of ten, one row of the other class"),
    pytest.param([[8, 0], [2, 0]], 0, id="always the frequent class"),
    # 94 % right, where always answering class 0 is right in 95 %; all 5 rows of class 1 are among the 11 called so:
    # C(11, 5) / C(100, 5) = 462 / 75287520
    pytest.param([[89, 6], [0, 5]], 1, id="a rare class is told"),
    # 72 % right, less than the 80 % of class 0; 3 of the ten answers "class 1" are right where 2 are expected
    pytest.param([[33, 7], [7, 3]], 0, id="answers that hardly depend on the image"),
    # ten classes of one row each: a tenth each, 0.1 ** 10, while one class alone is right in 1 of 10 ways
    pytest.param([[int(k == m) for m in range(10)] for k in range(10)], 1, id="one row a class, all right"),
    pytest.param([[0, 10], [10, 0]], 0, id="none right"),
    pytest.param([[0, 0], [0, 50]], 0, id="one class only: nothing to tell apart"),
]


def of_table(table: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (answers, labels) with these counts."""
    pairs = [(m, k) for k, row in enumerate(table) for m, count in enumerate(row) for _ in range(count)]
    answers, labels = zip(*pairs, strict=True)
    return torch.tensor(answers), torch.tensor(labels)


@pytest.mark.parametrize(("table", "expected"), CHANCES)
def test_better_than_chance_is_what_two_exact_tests_say(table: list[list[int]], expected: int) -> None:
    assert better_than_chance(*of_table(table)) == Reading.of(expected)


def test_better_than_chance_agrees_with_another_implementation() -> None:
    from scipy.stats import binomtest, fisher_exact

    drawn = np.random.default_rng(0)
    for skill in np.linspace(0, 0.3, 31):
        truth = drawn.choice(4, 60, p=[0.55, 0.15, 0.15, 0.15])
        answers = np.where(drawn.random(60) < skill, truth, drawn.choice(4, 60, p=[0.7, 0.1, 0.1, 0.1]))
        hits, most = int((answers == truth).sum()), int(np.bincount(truth).max())
        tables = [
            [[((truth == k) & (answers == k)).sum(), ((truth == k) & (answers != k)).sum()],
             [((truth != k) & (answers == k)).sum(), ((truth != k) & (answers != k)).sum()]]
            for k in range(4)
        ]  # fmt: skip
        single = min(fisher_exact(table, alternative="greater").pvalue for table in tables)
        p = min(binomtest(hits, 60, most / 60, alternative="greater").pvalue, 4 * single)
        assert better_than_chance(torch.tensor(answers), torch.tensor(truth)).value == float(p <= 0.005)


def test_chance_alone_passes_in_one_of_a_hundred_at_most() -> None:
    torch.manual_seed(0)
    labels = torch.multinomial(torch.tensor([0.5, 0.2, 0.2, 0.1]), 80, replacement=True)
    passed = [
        better_than_chance(torch.multinomial(torch.tensor([0.6, 0.2, 0.1, 0.1]), 80, replacement=True), labels)
        for _ in range(400)
    ]
    assert sum(reading.value or 0 for reading in passed) <= 9  # 4 are expected at most; 10 have a probability of 0.8 %


def test_a_class_still_to_come_does_not_make_a_model_one_of_chance() -> None:
    # classes 0 and 1, 20 rows each, are all right; of class 2, never shown so far, there are 60 rows
    answers, labels = of_table([[20, 0], [0, 20], [30, 30]])
    assert better_than_chance(answers, labels, [0, 1]) == Reading.of(1)
    scores = torch.nn.functional.one_hot(answers, 3).float()
    test = Batch(scores.reshape(100, 1, 1, 3), labels, torch.arange(100))
    view = ProbeView(torch.nn.Flatten(), test, 3, stamped=None, target=0, seen=(0, 1))
    assert CleanAccuracy().measure(view)["clean/better_than_chance"] == Reading.of(1)
    assert better_than_chance(answers, labels, [2]) == Reading.of(0)
    assert better_than_chance(answers, labels, [3]) == Reading.undefined(
        "there is no test image of a class that was trained on so far"
    )


def test_there_is_no_chance_without_images() -> None:
    empty = torch.zeros(0, dtype=torch.int64)
    assert better_than_chance(empty, empty) == Reading.undefined("there is no test image")


def test_accuracy_over_the_classes_seen_so_far() -> None:
    labels, answers = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 0, 1, 0, 0, 1])
    assert accuracy_over(answers, labels, [0, 1]) == Reading.of(0.75)
    assert accuracy_over(answers, labels, [2]) == Reading.of(0)
    # shares 0.5 and 0.25 become 2/3 and 1/3 among the two classes: 2/3 of 1 and 1/3 of 0.5
    prior = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    assert accuracy_over(answers, labels, [0, 1], prior).value == pytest.approx(2 / 3 + 1 / 6)
    assert accuracy_over(answers, labels, [3]).reason == "there is no test image of a class that was trained on so far"
    absent = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    assert accuracy_over(answers, labels, [0], absent).reason == (
        "the period's prior expects no class that was trained on so far"
    )


@pytest.mark.parametrize(("flags", "why"), [(COLLAPSED, ONE_CLASS), (GUESSING, CHANCE)])
def test_a_run_of_invalid_versions_has_no_verdict(entry: MakeEntry, flags: dict[str, Reading], why: str) -> None:
    line = [entry(period, net=1.0, success=1.0, readings=flags) for period in range(3)]
    assert told(line) == f"no verdict on the backdoor: {why}. Clean accuracy 80.0%."
    part = summarise({"main": line})["arms"]["main"]
    assert [part[key] for key in ("planted", "final_net_attack_success", "final_attack_success", "exposure")] == [
        None
    ] * 4
    assert part["survival_updates"] == {"0.5": None, "0.1": None}
    assert {part["reasons"][key] for key in ("planted", "final_net_attack_success", "survival_updates")} == {why}


def test_an_invalid_base_is_not_planted_and_an_invalid_version_not_erased(entry: MakeEntry) -> None:
    guessing = [entry(0, net=0.9, readings=GUESSING), entry(1, net=0.1), entry(2, net=0.1)]
    assert told(guessing).startswith(
        "unknown whether it was ever planted: net ASR did not reach 50.0% where it is known"
    )
    assert f"(period 0: {CHANCE})" in told(guessing)
    broken = [entry(0), entry(1, net=0.0, readings=COLLAPSED), entry(2, net=0.0, readings=COLLAPSED), entry(3)]
    part = summarise({"main": broken})["arms"]["main"]
    assert (part["erased"], part["survival_updates"]["0.5"], part["planted_period"]) == (None, None, 0)
    assert part["survival_updates_between"]["0.5"] == [1, None]
    assert "it is unknown whether it was erased. How long it survived is unknown (at least 1 update)" in told(broken)


def test_an_invalid_twin_leaves_nothing_to_subtract(entry: MakeEntry) -> None:
    line = [entry(period, net=0.0, success=1.0) for period in range(2)]
    twin = [entry(period, control="paced", success=1.0, readings=COLLAPSED) for period in range(2)]
    assert told(line, twin).startswith(f"no verdict on the backdoor: the twin has no verdict: {ONE_CLASS}.")
    assert Evidence.of(line, twin).reading(line[0].record, "backdoor/attack_success") == Reading.of(1.0)


def test_an_invalid_version_is_no_milestone(entry: MakeEntry) -> None:
    before, now = entry(0).record, entry(1, net=0.0, readings=COLLAPSED).record
    assert not is_milestone([before], now.readings, 1, last=9)


def test_the_twin_without_a_reading_is_not_replaced_by_the_raw_one(entry: MakeEntry) -> None:
    lost = {"backdoor/net_attack_success": Reading.undefined("the twin has none: no image of class 3")}
    before, now = entry(0).record, entry(1, success=0.1, readings=lost).record
    assert not is_milestone([before], now.readings, 1, last=9)


def test_tables_show_a_dash_and_say_why(entry: MakeEntry) -> None:
    row = row_of(entry(0, net=1.0, success=1.0, readings=COLLAPSED))
    assert row["net_attack_success"] == 1.0  # what was measured stays in the record and in its export
    shown = dict(zip((column.title for column in COLUMNS), cells(row), strict=True))
    assert (shown["net ASR"], shown["ASR"], shown["clean"]) == (DASH, DASH, "80.0%")
    assert f"{DASH} net ASR, ASR: {ONE_CLASS} (period 0)" in footnotes([row])
    assert evidence_of(row)["reasons"]["net_attack_success"] == ONE_CLASS


def test_a_past_summary_without_the_newer_figures_has_its_verdict(entry: MakeEntry) -> None:
    summary = summarise({"main": [entry(0), entry(1, net=0.1), entry(2, net=0.1)]})
    newer = ("survival_updates_between", "revived_at_least", "highest_known_net_attack_success")
    past = {key: value for key, value in summary["arms"]["main"].items() if key not in newer}
    assert verdicts({**summary, "arms": {"main": past}}) == verdicts(summary)


def test_the_picture_has_a_gap_where_a_reading_is_no_evidence(entry: MakeEntry) -> None:
    line = [entry(0), entry(1, net=1.0, readings=COLLAPSED), entry(2)]
    run = export_of({}, {"main": line})
    drawn = [curve.get_ydata() for curve in time_line(run).axes[1].lines[:2]]  # raw and net
    assert [[bool(np.isnan(value)) for value in values] for values in drawn] == [[False, True, False]] * 2


def test_a_missing_reading_has_one_reason_wherever_it_is_told(entry: MakeEntry) -> None:
    name = "backdoor/relearned_net_attack_success"
    unlisted = entry(0)
    unlisted.record.readings.pop(name)
    run = export_of({}, {"main": [unlisted]})
    row, part = run.rows[0], run.summary["arms"]["main"]
    why = "no probe of this scenario measures it"
    assert row["reasons"]["relearned_net_attack_success"] == why
    assert part["reasons"]["final_relearned_net_attack_success"] == why
    undefined = export_of({}, {"main": [entry(0, net=None, success=None)]})
    row, part = undefined.rows[0], undefined.summary["arms"]["main"]
    told = {part["reasons"][key] for key in ("planted", "final_net_attack_success", "survival_updates", "exposure")}
    assert told == {row["reasons"]["net_attack_success"]}
