"""What a measurement is, and those of residual strength: of a backdoor that may be dormant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Measure:
    """One measurement.

    `key` is its name in `periods.jsonl`, `reading` its name as a reading (None for what is not a reading of a version).
    `higher_is_better` is the defender's view; None where neither end is good. `bounds` are the possible lowest and
    highest value, None where there is no bound. `absent` is the reason given when a version has no such reading.
    """

    key: str
    label: str
    definition: str
    reading: str | None = None
    higher_is_better: bool | None = None
    bounds: tuple[float | None, float | None] = (0.0, 1.0)
    unit: Literal[
        "share", "difference", "opacity", "logits", "ratio", "score", "flag", "seconds", "images", "steps"
    ] = "share"
    absent: str = "no probe of this scenario measures it"


RESIDUAL: tuple[Measure, ...] = (
    Measure(
        "relearning_samples",
        "samples to re-learn",
        "The smallest number of poisoned images, of those tried, with which re-learning brings attack success back to "
        "50 %, averaged over the draws; 0 where the backdoor is still alive. Undefined where a draw never gets there.",
        "backdoor/relearning_samples",
        higher_is_better=True,
        bounds=(0.0, None),
        unit="images",
    ),
    Measure(
        "relearning_net_samples",
        "net samples to re-learn",
        "Samples to re-learn minus the paced twin's: below 0 are the savings of a model that still remembers. "
        "Undefined where either never gets there.",
        "backdoor/relearning_net_samples",
        higher_is_better=True,
        bounds=(None, None),
        unit="images",
    ),
    Measure(
        "relearning_unrelated_samples",
        "samples to learn an unrelated trigger",
        "The same with a trigger this model never saw: what its training brings without any memory of the attack.",
        "backdoor/relearning_unrelated_samples",
        higher_is_better=True,
        bounds=(0.0, None),
        unit="images",
    ),
    Measure(
        "relearning_steps",
        "steps to re-learn",
        "Steps of the optimizer, with a fixed number of poisoned images, until attack success is back at 50 %, "
        "averaged over the draws; 0 where the backdoor is still alive. Undefined where a draw never gets there.",
        "backdoor/relearning_steps",
        higher_is_better=True,
        bounds=(0.0, None),
        unit="steps",
    ),
    Measure(
        "relearning_net_steps",
        "net steps to re-learn",
        "Steps to re-learn minus the paced twin's: below 0 are savings. Undefined where either never gets there.",
        "backdoor/relearning_net_steps",
        higher_is_better=True,
        bounds=(None, None),
        unit="steps",
    ),
    Measure(
        "relearning_unrelated_steps",
        "steps to learn an unrelated trigger",
        "The same with a trigger this model never saw.",
        "backdoor/relearning_unrelated_steps",
        higher_is_better=True,
        bounds=(0.0, None),
        unit="steps",
    ),
    Measure(
        "relearning_area",
        "re-learning area",
        "Attack success averaged over the steps of re-learning, then over the draws: higher, and the backdoor came "
        "back sooner. It is defined also where 50 % is never reached.",
        "backdoor/relearning_area",
        higher_is_better=False,
    ),
    Measure(
        "relearning_net_area",
        "net re-learning area",
        "Re-learning area minus the paced twin's.",
        "backdoor/relearning_net_area",
        higher_is_better=False,
        bounds=(-1.0, 1.0),
        unit="difference",
    ),
    Measure(
        "relearning_unrelated_net_area",
        "net re-learning area, unrelated trigger",
        "The same with a trigger this model never saw.",
        "backdoor/relearning_unrelated_net_area",
        higher_is_better=False,
        bounds=(-1.0, 1.0),
        unit="difference",
    ),
    Measure(
        "reactivated_attack_success",
        "re-activated ASR",
        "Attack success of held-out stamped images under one small perturbation that was trained on other stamped "
        "images. Read it beside its untriggered control: any model can be fooled by some perturbation.",
        "backdoor/reactivated_attack_success",
        higher_is_better=False,
    ),
    Measure(
        "reactivated_untriggered_success",
        "untriggered control",
        "Share of held-out unstamped images of the source classes that get the target under a perturbation trained "
        "alike on unstamped images.",
        "backdoor/reactivated_untriggered_success",
        higher_is_better=False,
    ),
    Measure(
        "reactivation_gain",
        "re-activation gain",
        "Re-activated attack success minus its untriggered control: what the trigger still contributes.",
        "backdoor/reactivation_gain",
        higher_is_better=False,
        bounds=(-1.0, 1.0),
        unit="difference",
    ),
    Measure(
        "reactivated_net_attack_success",
        "re-activated net ASR",
        "Re-activated attack success minus the paced twin's.",
        "backdoor/reactivated_net_attack_success",
        higher_is_better=False,
        bounds=(-1.0, 1.0),
        unit="difference",
    ),
    Measure(
        "existence",
        "backdoor existence",
        "Backdoor existence coefficient: how alike version and poisoned ancestor answer the trigger in the channels "
        "that it moved most (linear CKA), rescaled so that the paced twin is 0 and the ancestor 1. Below 0: less alike "
        "than the twin.",
        "backdoor/existence",
        higher_is_better=False,
        bounds=(None, 1.0),
        unit="ratio",
    ),
    Measure(
        "existence_raw",
        "backdoor existence, raw",
        "The same before rescaling. It has no zero of its own: two clean models are alike too.",
        "backdoor/existence_raw",
        higher_is_better=False,
        unit="ratio",
    ),
    Measure(
        "existence_floor",
        "backdoor existence of the twin",
        "Raw backdoor existence of the paced twin's version: the floor of the rescaling.",
        "backdoor/existence_floor",
        unit="ratio",
    ),
    Measure(
        "path_share",
        "way back to the backdoor",
        "Smallest share of the straight line of weights from the version to its poisoned ancestor at which attack "
        "success reaches 50 %; 0 where the version itself does. Running statistics are interpolated too.",
        "backdoor/path_share",
        higher_is_better=True,
    ),
    Measure(
        "path_control_share",
        "way from the twin to the backdoor",
        "The same share of the way from the paced twin's version to the same ancestor: any path to a poisoned model "
        "ends poisoned.",
        "backdoor/path_control_share",
    ),
    Measure(
        "path_barrier",
        "barrier on the way",
        "How far clean accuracy falls, at most, below the straight line between its values at both ends of the way.",
        "clean/path_barrier",
    ),
    Measure(
        "path_beyond_attack_success",
        "attack success beyond",
        "Attack success at one point on the other side of the version, away from the poisoned ancestor.",
        "backdoor/path_beyond_attack_success",
        higher_is_better=False,
    ),
    Measure(
        "path_beyond_accuracy",
        "clean accuracy beyond",
        "Clean accuracy at that point.",
        "clean/path_beyond_accuracy",
        higher_is_better=True,
    ),
    Measure(
        "gradient_cosine",
        "gradient cosine",
        "Cosine between the gradients of the backdoor's loss and of the clean loss on the period's test images. "
        "Positive: clean training feeds the backdoor; negative: it works against it.",
        "backdoor/gradient_cosine",
        higher_is_better=False,
        bounds=(-1.0, 1.0),
        unit="ratio",
    ),
)
