"""The table of measurements: name, definition, unit and which end is good. Tables, plots and reports all read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

DASH = "–"
ABSENT = "no probe of this scenario measures it"
#: unit -> lowest and highest value, where they are not 0 and 1
_BOUNDS: dict[str, tuple[float | None, float | None]] = {
    "difference": (-1.0, 1.0),
    "logits": (None, None),
    "score": (None, None),
    "images": (0.0, None),
    "steps": (0.0, None),
}


@dataclass(frozen=True, slots=True)
class Measure:
    """One measurement.

    `name` is that of the reading, `group/key`, or the key alone of what is not a reading of a version.
    `higher_is_better` is the defender's view; None where neither end is good. `between` are the possible lowest and
    highest value where those are not the unit's, None where there is no bound. `absent` is the reason given when a
    version has no such reading. `renamed` is a key that is not the one in `name`.
    """

    name: str
    label: str
    definition: str
    higher_is_better: bool | None = None
    between: tuple[float | None, float | None] | None = None
    unit: Literal["share", "difference", "opacity", "logits", "ratio", "score", "flag", "images", "steps"] = "share"
    absent: str = ABSENT
    renamed: str | None = None

    @property
    def key(self) -> str:
        """Its name in `periods.jsonl`."""
        return self.renamed or self.name.rpartition("/")[2]

    @property
    def reading(self) -> str | None:
        """Its name as a reading."""
        return self.name if "/" in self.name else None

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """The possible lowest and highest value; None where there is no bound."""
        return self.between or _BOUNDS.get(self.unit, (0.0, 1.0))


MEASURES: tuple[Measure, ...] = (
    Measure(
        "clean/accuracy",
        "clean accuracy",
        "Share of unstamped test images classified correctly, on the period's own distribution; under a label-prior "
        "drift each class weighs what it weighs in the period.",
        higher_is_better=True,
        renamed="clean_accuracy",
    ),
    Measure(
        "clean/accuracy_seen_classes",
        "clean accuracy over the classes seen so far",
        "The same over the classes that training has seen so far: a model cannot know one that it was never shown.",
        higher_is_better=True,
    ),
    Measure(
        "clean/better_than_chance",
        "better than chance",
        "1 when the model's answers depend on the image, by two exact tests at 0.5 % over the classes seen so far "
        "(binomial, and Fisher's for each class); 0: they may be chance, so no reading is evidence either way.",
        higher_is_better=True,
        unit="flag",
    ),
    Measure(
        "clean/refused_share",
        "refused share",
        "Share of unstamped test images that the screens refuse to answer: what a screen costs honest users.",
        higher_is_better=False,
    ),
    Measure(
        "clean/screened_accuracy",
        "clean accuracy behind the screens",
        "Share of unstamped test images that are answered and answered correctly; a refused image is not.",
        higher_is_better=True,
    ),
    Measure(
        "backdoor/attack_success",
        "attack success",
        "Share of stamped test images classified as the target, averaged over the source classes with equal weight; "
        "images of the target class are left out, and so are source classes without test images: the record then names "
        "the test rows of each class. Read it beside the triggered effect: a model that merely lags behind "
        "the drift can raise it too.",
        higher_is_better=False,
    ),
    Measure(
        "backdoor/net_attack_success",
        "net ASR",
        "Net attack success: the arm's minus its paced twin's, which played the same periods without the attack. "
        "Negative values are kept.",
        higher_is_better=False,
        unit="difference",
    ),
    Measure(
        "backdoor/triggered_effect",
        "triggered effect",
        "Share classified as the target with the stamp minus the share without it, on the same images.",
        higher_is_better=False,
        unit="difference",
    ),
    Measure(
        "backdoor/trigger_ed50",
        "trigger ED50",
        "Dose: the smallest opacity of the trigger at which attack success reaches one half. It does not saturate and "
        "does not depend on the scale of the logits. Undefined when even the full trigger does not reach one half.",
        higher_is_better=True,
        unit="opacity",
    ),
    Measure(
        "backdoor/logit_margin",
        "logit margin",
        "Target logit minus the best other logit, stamped minus unstamped, averaged over the source classes. It "
        "depends on the scale of the logits: compare it only between versions of one recipe.",
        higher_is_better=False,
        unit="logits",
    ),
    Measure(
        "backdoor/robust_accuracy",
        "robust accuracy",
        "Share of stamped images of the other classes that are still classified as their true class.",
        higher_is_better=True,
    ),
    Measure(
        "backdoor/collapsed",
        "collapsed",
        "1 when a single class is predicted for at least 90 % of the test images (each class weighing the same): "
        "attack success then says nothing.",
        higher_is_better=False,
        unit="flag",
    ),
    Measure(
        "backdoor/screened_attack_success",
        "attack success behind the screens",
        "Share of stamped images that are answered, and answered with the target.",
        higher_is_better=False,
    ),
    Measure(
        "backdoor/screened_net_attack_success",
        "net ASR behind the screens",
        "Attack success behind the screens minus the paced twin's.",
        higher_is_better=False,
        unit="difference",
    ),
    Measure(
        "backdoor/relearned_net_attack_success",
        "re-learned net ASR",
        "How fast the backdoor comes back: a copy is fine-tuned on a few images of which some carry the trigger; its "
        "attack success minus that of the paced twin treated alike, averaged over the draws.",
        higher_is_better=False,
        unit="difference",
    ),
    Measure(
        "backdoor/relearned_unrelated_net_attack_success",
        "re-learned net ASR, unrelated trigger",
        "The same with a trigger this model never saw: what re-learning brings without any memory of the attack.",
        higher_is_better=False,
        unit="difference",
    ),
    Measure(
        "clean/relearned_accuracy",
        "clean accuracy after re-learning",
        "Clean accuracy of the copy that was fine-tuned on the trigger, averaged over the draws.",
        higher_is_better=True,
    ),
    # residual strength: of a backdoor that may be dormant
    Measure(
        "backdoor/relearning_samples",
        "samples to re-learn",
        "The smallest number of poisoned images, of those tried, with which re-learning brings attack success back to "
        "50 %, averaged over the draws; 0 where the backdoor is still alive. Undefined where a draw never gets there.",
        higher_is_better=True,
        unit="images",
    ),
    Measure(
        "backdoor/relearning_net_samples",
        "net samples to re-learn",
        "Samples to re-learn minus the paced twin's: below 0 are the savings of a model that still remembers. "
        "Undefined where either never gets there.",
        higher_is_better=True,
        between=(None, None),
        unit="images",
    ),
    Measure(
        "backdoor/relearning_unrelated_samples",
        "samples to learn an unrelated trigger",
        "The same with a trigger this model never saw: what its training brings without any memory of the attack.",
        higher_is_better=True,
        unit="images",
    ),
    Measure(
        "backdoor/relearning_steps",
        "steps to re-learn",
        "Steps of the optimizer, with a fixed number of poisoned images, until attack success is back at 50 %, "
        "averaged over the draws; 0 where the backdoor is still alive. Undefined where a draw never gets there.",
        higher_is_better=True,
        unit="steps",
    ),
    Measure(
        "backdoor/relearning_net_steps",
        "net steps to re-learn",
        "Steps to re-learn minus the paced twin's: below 0 are savings. Undefined where either never gets there.",
        higher_is_better=True,
        between=(None, None),
        unit="steps",
    ),
    Measure(
        "backdoor/relearning_unrelated_steps",
        "steps to learn an unrelated trigger",
        "The same with a trigger this model never saw.",
        higher_is_better=True,
        unit="steps",
    ),
    Measure(
        "backdoor/relearning_area",
        "re-learning area",
        "Attack success averaged over the steps of re-learning, then over the draws: higher, and the backdoor came "
        "back sooner. It is defined also where 50 % is never reached.",
        higher_is_better=False,
    ),
    Measure(
        "backdoor/relearning_net_area",
        "net re-learning area",
        "Re-learning area minus the paced twin's.",
        higher_is_better=False,
        unit="difference",
    ),
    Measure(
        "backdoor/relearning_unrelated_net_area",
        "net re-learning area, unrelated trigger",
        "The same with a trigger this model never saw.",
        higher_is_better=False,
        unit="difference",
    ),
    Measure(
        "backdoor/reactivated_attack_success",
        "re-activated ASR",
        "Attack success of held-out stamped images under one small perturbation that was trained on other stamped "
        "images. Read it beside its untriggered control: any model can be fooled by some perturbation.",
        higher_is_better=False,
    ),
    Measure(
        "backdoor/reactivated_untriggered_success",
        "untriggered control",
        "Share of held-out unstamped images of the source classes that get the target under a perturbation trained "
        "alike on unstamped images.",
        higher_is_better=False,
    ),
    Measure(
        "backdoor/reactivation_gain",
        "re-activation gain",
        "Re-activated attack success minus its untriggered control: what the trigger still contributes.",
        higher_is_better=False,
        unit="difference",
    ),
    Measure(
        "backdoor/reactivated_net_attack_success",
        "re-activated net ASR",
        "Re-activated attack success minus the paced twin's.",
        higher_is_better=False,
        unit="difference",
    ),
    Measure(
        "backdoor/existence",
        "backdoor existence",
        "Backdoor existence coefficient: how alike version and poisoned ancestor answer the trigger in the channels "
        "that it moved most (linear CKA), rescaled so that the paced twin is 0 and the ancestor 1. Below 0: less alike "
        "than the twin.",
        higher_is_better=False,
        between=(None, 1.0),
        unit="ratio",
    ),
    Measure(
        "backdoor/existence_raw",
        "backdoor existence, raw",
        "The same before rescaling. It has no zero of its own: two clean models are alike too.",
        higher_is_better=False,
        unit="ratio",
    ),
    Measure(
        "backdoor/existence_floor",
        "backdoor existence of the twin",
        "Raw backdoor existence of the paced twin's version: the floor of the rescaling.",
        unit="ratio",
    ),
    Measure(
        "backdoor/path_share",
        "way back to the backdoor",
        "Smallest share of the straight line of weights from the version to its poisoned ancestor at which attack "
        "success reaches 50 %; 0 where the version itself does. Running statistics are interpolated too.",
        higher_is_better=True,
    ),
    Measure(
        "backdoor/path_control_share",
        "way from the twin to the backdoor",
        "The same share of the way from the paced twin's version to the same ancestor: any path to a poisoned model "
        "ends poisoned.",
    ),
    Measure(
        "clean/path_barrier",
        "barrier on the way",
        "How far clean accuracy falls, at most, below the straight line between its values at both ends of the way.",
    ),
    Measure(
        "backdoor/path_beyond_attack_success",
        "attack success beyond",
        "Attack success at one point on the other side of the version, away from the poisoned ancestor.",
        higher_is_better=False,
    ),
    Measure(
        "clean/path_beyond_accuracy",
        "clean accuracy beyond",
        "Clean accuracy at that point.",
        higher_is_better=True,
    ),
    Measure(
        "backdoor/gradient_cosine",
        "gradient cosine",
        "Cosine between the gradients of the backdoor's loss and of the clean loss on the period's test images. "
        "Positive: clean training feeds the backdoor; negative: it works against it.",
        higher_is_better=False,
        between=(-1.0, 1.0),
        unit="ratio",
    ),
    Measure(
        "weights/distance_to_parent",
        "distance to parent",
        "Euclidean distance of all weights to the parent's, divided by the norm of the parent's.",
        between=(0.0, None),
        unit="ratio",
    ),
    Measure(
        "weights/distance_to_ancestor",
        "distance to ancestor",
        "Euclidean distance of all weights to the poisoned ancestor's, divided by the norm of the ancestor's.",
        between=(0.0, None),
        unit="ratio",
    ),
    Measure(
        "drift_score",
        "drift score",
        "What the monitor reports of the batch, in its method's own unit, beside its threshold. An alarm is a score "
        "above the threshold; whether there was drift is the world's to say.",
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
