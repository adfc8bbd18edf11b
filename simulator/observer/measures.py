"""The table of measurements: name, definition, unit and which end is good. Tables, plots and reports all read it."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.observer.residual_measures import RESIDUAL, Measure

DASH = "–"
_MILESTONES = "measured on the first erased and the last version only"


MEASURES: tuple[Measure, ...] = (
    Measure(
        "clean_accuracy",
        "clean accuracy",
        "Share of unstamped test images classified correctly, on the period's own distribution; under a label-prior "
        "drift each class weighs what it weighs in the period.",
        "clean/accuracy",
        higher_is_better=True,
    ),
    Measure(
        "refused_share",
        "refused share",
        "Share of unstamped test images that the screens refuse to answer: what a screen costs honest users.",
        "clean/refused_share",
        higher_is_better=False,
    ),
    Measure(
        "screened_accuracy",
        "clean accuracy behind the screens",
        "Share of unstamped test images that are answered and answered correctly; a refused image is not.",
        "clean/screened_accuracy",
        higher_is_better=True,
    ),
    Measure(
        "attack_success",
        "attack success",
        "Share of stamped test images classified as the target, averaged over the source classes with equal weight; "
        "images of the target class are left out. Read it beside the triggered effect: a model that merely lags behind "
        "the drift can raise it too.",
        "backdoor/attack_success",
        higher_is_better=False,
    ),
    Measure(
        "net_attack_success",
        "net ASR",
        "Net attack success: the arm's minus its paced twin's, which played the same periods without the attack. "
        "Negative values are kept.",
        "backdoor/net_attack_success",
        higher_is_better=False,
        bounds=(-1.0, 1.0),
        unit="difference",
    ),
    Measure(
        "triggered_effect",
        "triggered effect",
        "Share classified as the target with the stamp minus the share without it, on the same images.",
        "backdoor/triggered_effect",
        higher_is_better=False,
        bounds=(-1.0, 1.0),
        unit="difference",
    ),
    Measure(
        "trigger_ed50",
        "trigger ED50",
        "Dose: the smallest opacity of the trigger at which attack success reaches one half. It does not saturate and "
        "does not depend on the scale of the logits. Undefined when even the full trigger does not reach one half.",
        "backdoor/trigger_ed50",
        higher_is_better=True,
        unit="opacity",
    ),
    Measure(
        "logit_margin",
        "logit margin",
        "Target logit minus the best other logit, stamped minus unstamped, averaged over the source classes. It "
        "depends on the scale of the logits: compare it only between versions of one recipe.",
        "backdoor/logit_margin",
        higher_is_better=False,
        bounds=(None, None),
        unit="logits",
    ),
    Measure(
        "robust_accuracy",
        "robust accuracy",
        "Share of stamped images of the other classes that are still classified as their true class.",
        "backdoor/robust_accuracy",
        higher_is_better=True,
    ),
    Measure(
        "collapsed",
        "collapsed",
        "1 when a single class is predicted for at least 90 % of the test images (each class weighing the same): "
        "attack success then says nothing.",
        "backdoor/collapsed",
        higher_is_better=False,
        unit="flag",
    ),
    Measure(
        "screened_attack_success",
        "attack success behind the screens",
        "Share of stamped images that are answered, and answered with the target.",
        "backdoor/screened_attack_success",
        higher_is_better=False,
    ),
    Measure(
        "screened_net_attack_success",
        "net ASR behind the screens",
        "Attack success behind the screens minus the paced twin's.",
        "backdoor/screened_net_attack_success",
        higher_is_better=False,
        bounds=(-1.0, 1.0),
        unit="difference",
    ),
    Measure(
        "relearned_net_attack_success",
        "re-learned net ASR",
        "How fast the backdoor comes back: a copy is fine-tuned on a few images of which some carry the trigger; its "
        "attack success minus that of the paced twin treated alike, averaged over the draws.",
        "backdoor/relearned_net_attack_success",
        higher_is_better=False,
        bounds=(-1.0, 1.0),
        unit="difference",
        absent=_MILESTONES,
    ),
    Measure(
        "relearned_unrelated_net_attack_success",
        "re-learned net ASR, unrelated trigger",
        "The same with a trigger this model never saw: what re-learning brings without any memory of the attack.",
        "backdoor/relearned_unrelated_net_attack_success",
        higher_is_better=False,
        bounds=(-1.0, 1.0),
        unit="difference",
        absent=_MILESTONES,
    ),
    Measure(
        "relearned_accuracy",
        "clean accuracy after re-learning",
        "Clean accuracy of the copy that was fine-tuned on the trigger, averaged over the draws.",
        "clean/relearned_accuracy",
        higher_is_better=True,
        absent=_MILESTONES,
    ),
    *RESIDUAL,
    Measure(
        "distance_to_parent",
        "distance to parent",
        "Euclidean distance of all weights to the parent's, divided by the norm of the parent's.",
        "weights/distance_to_parent",
        bounds=(0.0, None),
        unit="ratio",
    ),
    Measure(
        "distance_to_ancestor",
        "distance to ancestor",
        "Euclidean distance of all weights to the poisoned ancestor's, divided by the norm of the ancestor's.",
        "weights/distance_to_ancestor",
        bounds=(0.0, None),
        unit="ratio",
    ),
    Measure(
        "drift_score",
        "drift score",
        "What the monitor reports of the batch, in its method's own unit, beside its threshold. An alarm is a score "
        "above the threshold; whether there was drift is the world's to say.",
        bounds=(None, None),
        unit="score",
        absent="the monitor gave no score",
    ),
)
_BY_KEY = {item.key: item for item in MEASURES}


def measure(key: str) -> Measure:
    """Return the measurement named `key` in `periods.jsonl`."""
    if key not in _BY_KEY:
        raise KeyError(f"expected a measurement's key, got '{key}'; known are {', '.join(_BY_KEY)}")
    return _BY_KEY[key]


def show(key: str, value: float | None) -> str:
    """Return `value` as a reader sees it: percentages with one decimal, a dash for what was not measured."""
    if value is None:
        return DASH
    unit = measure(key).unit
    if unit in ("share", "difference"):
        return percent(value)
    if unit == "flag":
        return "yes" if value else "no"
    return _signed_zero_off(f"{value:.{3 if unit == 'score' else 2}f}")


def percent(value: float) -> str:
    """Return a share as a percentage with one decimal; a rounded zero carries no sign."""
    return _signed_zero_off(f"{100 * value:.1f}") + "%"


def spans(numbers: Sequence[int], to: str = "-") -> str:
    """Return ascending whole numbers with unbroken stretches joined: `0-2, 5` for [0, 1, 2, 5]."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}{to}{high}" for low, high in found)


def _signed_zero_off(text: str) -> str:
    return text.removeprefix("-") if float(text) == 0 else text
