"""What a defense does on one small example, in plain words: with a backdoor, without one, and what that comes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from defenses.base import DoesNotApply, Surface
from simulator.checks.example import PATCH, RATE, SEED, SIZES, TARGET, TRUSTED, Example, example, predicted
from simulator.checks.subject import Subject
from simulator.checks.trial import Trial
from simulator.checks.unmeasured import NOT_MEASURED, raised, unusable
from simulator.guard.place import told
from simulator.production.defending.unusable import Unusable

#: what is called much or little: half of the poison or of the attack's success, a tenth of clean rows or images, and
#: four points of accuracy
HALF: Final = 0.5
FEW: Final = 0.1
POINTS: Final = 0.04
#: a share before and after
_Pair = tuple[float, float]


def measured(subject: Subject) -> list[str]:
    """Return sentences: what the example is, what the defense did, and a last one that says what that comes to.

    >>> print(measured(Subject("defenses", "none", None))[-1])
    In this example it leaves more than half of the poison, and drops few clean rows.
    """
    try:
        found = example()
        return [_about(), *_MEASURES[subject.make().surface](subject, found)]
    except DoesNotApply as reason:
        return [_about(), f"{NOT_MEASURED}it does not apply here, because {reason}."]
    except Unusable as reason:
        return [_about(), unusable(reason)]
    except (Exception, SystemExit) as error:  # noqa: BLE001  third-party code may raise anything
        return [_about(), raised(told(error))]


def filter_words(planted: Sequence[Tensor], clean: Sequence[Tensor], poison: Tensor) -> list[str]:
    """Return the sentences of a filter from what it kept, bool (N,), look by look, with and without poison."""
    looks = ("features of the champion, which never met the trigger", "its second look, features of the candidate")
    lines = []
    for look, keep in zip(looks, planted, strict=False):
        found, clean_rows = _of(~keep[poison], "poisoned rows"), _of(~keep[~poison], "clean rows")
        lines.append(f"window with poison, {look}: dropped {found} and {clean_rows}")
    lines.append(f"window without poison: dropped {_of(~clean[-1], 'rows')}")
    recall = _share(~planted[-1][poison])
    lost = max(_share(~planted[-1][~poison]), _share(~clean[-1]))
    good, bad = "removes at least half of the poison", "leaves more than half of the poison"
    much = "drops few clean rows" if lost <= FEW else "drops more than a tenth of the clean rows"
    return [*lines, f"In this example it {good if recall >= HALF else bad}, and {much}."]


def model_words(success: _Pair, accuracy: _Pair, clean: _Pair, before: str = "before") -> list[str]:
    """Return the sentences of a repair or a training from what was so before and after it, planted and clean."""
    lines = [
        f"model with a backdoor: attack success {success[0]:.1%} {before}, {success[1]:.1%} after; "
        f"accuracy {accuracy[0]:.1%} {before}, {accuracy[1]:.1%} after",
        f"model without: accuracy {clean[0]:.1%} {before}, {clean[1]:.1%} after",
    ]
    cost = round(max(accuracy[0] - accuracy[1], clean[0] - clean[1]), 6)
    good, bad = "lowers attack success by at least half", "does not lower attack success by half"
    price = f"costs {'at most' if cost <= POINTS else 'more than'} 4 points of accuracy"
    return [*lines, f"In this example it {good if success[1] <= HALF * success[0] else bad}, and {price}."]


def inspector_words(planted: tuple[bool, float, float], clean: tuple[bool, float, float]) -> list[str]:
    """Return the sentences of an inspector from `flagged`, score and threshold on the planted and the clean model."""
    lines = [
        f"model {what}: score {score + 0.0:.4g} beside a threshold of {limit:.4g}, {'' if flagged else 'not '}flagged"
        for what, (flagged, score, limit) in (("with a backdoor", planted), ("without", clean))
    ]
    higher = "; the score of the model with the backdoor is higher all the same" if planted[1] > clean[1] else ""
    verdicts = {
        (True, False): "it flags the model with the backdoor and not the other",
        (True, True): f"it flags both models, so its flag tells nothing{higher}",
        (False, False): f"it flags neither model{higher}",
        (False, True): "it flags the model without a backdoor, and not the one with it",
    }
    return [*lines, f"In this example {verdicts[planted[0], clean[0]]}."]


def screen_words(success: _Pair, refused: Tensor, clean_refused: Tensor) -> list[str]:
    """Return the sentences of a screen from attack success without and with it, and bool masks of refused images."""
    lines = [
        f"stamped images: refused {_of(refused, 'images')}; "
        f"attack success {success[0]:.1%} without it, {success[1]:.1%} with it",
        f"clean images: refused {_of(clean_refused, 'images')}",
    ]
    good, bad = "stops at least half of the attack", "stops less than half of the attack"
    few = _share(clean_refused) <= FEW
    much = "refuses few clean images" if few else "refuses more than a tenth of the clean images"
    return [*lines, f"In this example it {good if success[1] <= HALF * success[0] else bad}, and {much}."]


def _about() -> str:
    rows = f"{SIZES[-1]} rows, {round(RATE * SIZES[-1])} of them with a {PATCH} x {PATCH} patch and labelled {TARGET}"
    return (
        f"One small example, seed {SEED}, which shows what it does and proves nothing: scikit-learn's digits, an "
        f"update by {rows}; the same update without; {TRUSTED} trusted images."
    )


def _filter(subject: Subject, found: Example) -> list[str]:
    looks = {kind: [one.keep.cpu() for one in Trial(subject, found, kind).of_window()] for kind in found.models}
    return filter_words(looks["planted"], looks["clean"], found.poison)


def _repair(subject: Subject, found: Example) -> list[str]:
    after = {kind: Trial(subject, found, kind).of_candidate().model for kind in found.models}
    return model_words(*_before_and_after(found, after))


def _training(subject: Subject, found: Example) -> list[str]:
    after = {kind: Trial(subject, found, kind).trained().model for kind in found.models}
    return model_words(*_before_and_after(found, after), before="by plain training")


def _before_and_after(found: Example, after: dict[str, Any]) -> tuple[_Pair, _Pair, _Pair]:
    planted, clean = ((found.models[kind], after[kind]) for kind in ("planted", "clean"))
    success = found.attack_success(planted[0]), found.attack_success(planted[1])
    return (
        success,
        (found.accuracy(planted[0]), found.accuracy(planted[1])),
        (found.accuracy(clean[0]), found.accuracy(clean[1])),
    )


def _inspector(subject: Subject, found: Example) -> list[str]:
    said = {kind: Trial(subject, found, kind).of_candidate() for kind in found.models}
    planted, clean = (
        (bool(one.flagged), float(one.score), float(one.threshold)) for one in (said["planted"], said["clean"])
    )
    return inspector_words(planted, clean)


def _screen(subject: Subject, found: Example) -> list[str]:
    trial, model = Trial(subject, found, "planted"), found.models["planted"]
    stamped, usual = trial.of_images(found.stamped), trial.of_images(found.test.images)
    own = predicted(model, found.stamped)
    answers = own if stamped.answers is None else torch.where(stamped.answers.cpu() >= 0, stamped.answers.cpu(), own)
    after = (answers == TARGET) & ~stamped.flagged.cpu()
    return screen_words((_share(own == TARGET), _share(after)), stamped.flagged.cpu(), usual.flagged.cpu())


_MEASURES: Final[dict[Surface, Callable[[Subject, Example], list[str]]]] = {
    "filter": _filter,
    "training": _training,
    "repair": _repair,
    "inspector": _inspector,
    "screen": _screen,
}


def _of(chosen: Tensor, what: str) -> str:
    return f"{int(chosen.sum())} of {len(chosen)} {what}"


def _share(chosen: Tensor) -> float:
    return int(chosen.sum()) / max(1, len(chosen))
