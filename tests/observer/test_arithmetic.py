"""Probe arithmetic on arrays small enough to work by hand."""

from __future__ import annotations

import pytest
import torch

from simulator.observer.probes import arithmetic
from simulator.records import Reading

# Three classes, target 0. Source classes: four images of class 1, one of class 2; two of the target itself.
LABELS = torch.tensor([0, 0, 1, 1, 1, 1, 2])


def test_attack_success_weighs_source_classes_alike_and_leaves_the_target_class_out() -> None:
    predictions = torch.tensor([0, 0, 0, 1, 1, 2, 0])
    # class 1: 1 of 4; class 2: 1 of 1; the two target images would have added two successes
    assert arithmetic.attack_success(predictions, LABELS, 0, (1, 2)).value == (0.25 + 1.0) / 2


def test_a_refused_image_is_no_success() -> None:
    predictions = torch.tensor([0, 0, 0, 0, 0, 0, 0])
    refused = torch.tensor([False, False, True, True, True, False, True])
    assert arithmetic.attack_success(predictions, LABELS, 0, (1, 2), refused).value == (0.25 + 0.0) / 2


def test_attack_success_is_read_over_the_source_classes_that_have_images_and_names_the_rows_of_each() -> None:
    predictions = torch.tensor([0, 0, 0, 1, 1, 2, 0])
    reading = arithmetic.attack_success(predictions, LABELS, 0, (1, 2, 3))
    # class 1: 1 of 4; class 2: 1 of 1; class 3 has no image
    assert reading == Reading(value=(0.25 + 1.0) / 2, class_rows={1: 4, 2: 1, 3: 0})
    assert reading.model_dump(mode="json") == {"value": 0.625, "reason": None, "class_rows": {"1": 4, "2": 1, "3": 0}}
    assert Reading.model_validate(reading.model_dump(mode="json")) == reading


def test_attack_success_without_an_image_of_any_source_class_is_undefined() -> None:
    assert arithmetic.attack_success(LABELS, LABELS, 0, (3,)).reason == "there is no test image of any source class"


def test_a_reading_over_classes_with_rows_enough_is_stored_without_them() -> None:
    reading = arithmetic.attack_success(LABELS, LABELS, 2, (0, 1))
    assert reading.model_dump(mode="json") == {"value": 0.0, "reason": None}


def test_every_row_may_have_a_target_of_its_own() -> None:
    targets = torch.tensor([1, 1, 2, 2, 2, 2, 0])  # all to all: class k shall become k + 1 of 3
    predictions = torch.tensor([1, 0, 2, 2, 2, 1, 0])
    # class 0: 1 of 2; class 1: 3 of 4; class 2: 1 of 1
    assert arithmetic.attack_success(predictions, LABELS, targets, (0, 1, 2)).value == (0.5 + 0.75 + 1.0) / 3
    logits = torch.zeros(7, 3)
    logits[torch.arange(7), targets] = 2.0
    assert arithmetic.logit_margin(logits, torch.zeros(7, 3), LABELS, targets, (0, 1, 2)).value == 2.0


def test_target_need_not_be_the_first_class() -> None:
    predictions = torch.tensor([2, 1, 2, 2, 1, 1, 2])
    # class 0: 1 of 2; class 1: 2 of 4
    assert arithmetic.attack_success(predictions, LABELS, 2, (0, 1)).value == 0.5


def test_triggered_effect_takes_off_what_the_model_says_without_the_trigger() -> None:
    stamped = torch.tensor([0, 0, 0, 0, 0, 1, 0])
    unstamped = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    # class 1: 3/4 - 2/4; class 2: 1 - 0
    assert arithmetic.triggered_effect(stamped, unstamped, LABELS, 0, (1, 2)).value == (0.25 + 1.0) / 2


def test_triggered_effect_is_zero_for_a_model_that_merely_lags() -> None:
    always_target = torch.zeros(7, dtype=torch.int64)
    assert arithmetic.attack_success(always_target, LABELS, 0, (1, 2)).value == 1.0
    assert arithmetic.triggered_effect(always_target, always_target, LABELS, 0, (1, 2)).value == 0.0


def test_robust_accuracy_counts_true_classes_under_the_stamp() -> None:
    stamped = torch.tensor([0, 0, 1, 1, 1, 0, 0])
    assert arithmetic.robust_accuracy(stamped, LABELS, (1, 2)).value == (0.75 + 0.0) / 2


def test_logit_margin_is_the_rise_of_target_over_best_other() -> None:
    labels = torch.tensor([1, 2])
    stamped = torch.tensor([[5.0, 1.0, 2.0], [1.0, 0.0, 4.0]])  # margins 3, -3
    unstamped = torch.tensor([[0.0, 4.0, 1.0], [0.0, 0.0, 4.0]])  # margins -4, -4
    assert arithmetic.logit_margin(stamped, unstamped, labels, 0, (1, 2)).value == (7.0 + 1.0) / 2


def test_clean_accuracy_with_and_without_a_prior() -> None:
    predictions = torch.tensor([0, 1, 1, 1, 1, 2, 0])
    assert arithmetic.clean_accuracy(predictions, LABELS) == Reading.of(4 / 7)
    # by class: 1/2, 3/4, 0
    prior = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    assert arithmetic.clean_accuracy(predictions, LABELS, prior) == Reading.of(0.5 * 0.5 + 0.25 * 0.75)


def test_clean_accuracy_counts_refused_images_as_wrong() -> None:
    refused = torch.tensor([True, False, False, False, False, False, False])
    assert arithmetic.clean_accuracy(LABELS, LABELS, None, refused) == Reading.of(6 / 7)


def test_clean_accuracy_is_undefined_without_images_or_an_expected_class() -> None:
    empty = torch.tensor([], dtype=torch.int64)
    assert arithmetic.clean_accuracy(empty, empty).reason == "there is no test image"
    prior = torch.tensor([0.5, 0.2, 0.2, 0.1])
    assert "no test image of class 3" in (arithmetic.clean_accuracy(LABELS, LABELS, prior).reason or "")
    # a class that the period does not have need not have test images
    assert arithmetic.clean_accuracy(LABELS, LABELS, torch.tensor([0.5, 0.25, 0.25, 0.0])) == Reading.of(1.0)


def test_collapse_is_judged_with_classes_weighing_alike() -> None:
    always = torch.zeros(7, dtype=torch.int64)
    assert arithmetic.largest_predicted_share(always, LABELS, 3) == Reading.of(1.0)
    assert arithmetic.collapsed(Reading.of(1.0)) == Reading.of(1.0)
    # a good classifier on a lopsided test part has not collapsed: each class gets a third
    lopsided = torch.tensor([0] * 98 + [1, 2])
    share = arithmetic.largest_predicted_share(lopsided, lopsided, 3)
    assert share.value == pytest.approx(1 / 3)
    assert arithmetic.collapsed(share) == Reading.of(0.0)
    assert arithmetic.collapsed(Reading.of(0.9)) == Reading.of(1.0)


@pytest.mark.parametrize("dose", [0.05, 0.3, 0.5, 0.62, 0.999])
def test_ed50_finds_a_straight_line_exactly(dose: float) -> None:
    def rising(opacity: float) -> Reading:  # 0.5 exactly at `dose`, linear around it
        return Reading.of(min(1.0, max(0.0, 0.5 + (opacity - dose))))

    assert arithmetic.ed50(rising).value == pytest.approx(dose)


def test_ed50_brackets_a_step_within_its_resolution() -> None:
    reading = arithmetic.ed50(lambda opacity: Reading.of(float(opacity >= 0.7)), halvings=6)
    assert reading.value == pytest.approx(0.7, abs=2**-6)


def test_ed50_without_effect_or_without_need_of_a_trigger() -> None:
    weak = arithmetic.ed50(lambda opacity: Reading.of(0.49 * opacity))
    assert weak.value is None
    assert "full trigger does not reach" in (weak.reason or "")
    assert arithmetic.ed50(lambda _: Reading.of(0.8)) == Reading.of(0.0)
    assert arithmetic.ed50(lambda _: Reading.undefined("no images")).reason == "no images"


def test_weight_distance_is_relative_to_the_other() -> None:
    mine = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([[4.0]])}
    other = {"a": torch.tensor([0.0, 0.0]), "b": torch.tensor([[2.0]]), "unused": torch.tensor([9.0])}
    assert arithmetic.weight_distance(mine, other).value == pytest.approx((9 + 4) ** 0.5 / 2)
    assert arithmetic.weight_distance(mine, mine) == Reading.of(0.0)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({}, "do not have the same weights"),
        ({"a": torch.zeros(3)}, "do not have the same weights"),
        ({"a": torch.zeros(2)}, "all zero"),
        ({"a": torch.tensor([float("nan"), 1.0])}, "not a finite number"),
    ],
)
def test_weight_distance_says_why_there_is_none(other: dict[str, torch.Tensor], reason: str) -> None:
    reading = arithmetic.weight_distance({"a": torch.ones(2)}, other)
    assert reading.value is None
    assert reason in (reading.reason or "")
