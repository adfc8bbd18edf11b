"""Checks of attacks: rows are replaced in place, and the trigger keeps its declared bounds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from simulator.batch import Batch
from simulator.checks.material import CASES, Case, images_of, labels_of, model_of, stream
from simulator.checks.subject import Failed, Inapplicable, Subject, expect, same, unchanged
from simulator.errors import PluginError
from simulator.guard.call import Plugin
from simulator.loop.attacker import AttackersTraining
from simulator.production.training.job import Job
from simulator.scenario.model import Phase, Recipe, Use
from simulator.world.attacks.base import CLEAN, COVER, POISON, Attack, Poisoned
from simulator.world.attacks.surrogate import SurrogateView
from simulator.world.foreign import ForeignAttack

_ROWS, _RATE = 60, 0.1
#: half a row, a rate between two numbers of rows, and a whole number of rows
_REPLAYED = (0.5 / _ROWS, 0.09, _RATE)


def rows_are_replaced_in_place(subject: Subject) -> None:
    """Count, order, shapes and number types stay; clean rows stay as they were."""
    for case in CASES:
        images, labels = images_of(case, _ROWS), labels_of(case, _ROWS)
        found = _poison(_made(subject, case), images, labels)
        _expect_like(found.images, images, f"images of {case}")
        _expect_like(found.labels, labels, f"labels of {case}")
        expect(found.roles.shape == labels.shape, f"expected a role for each row, got {tuple(found.roles.shape)}")
        expect(found.roles.dtype == torch.int8, f"expected roles to be int8, got {found.roles.dtype}")
        clean = found.roles == CLEAN
        kept = same(found.images[clean], images[clean]) and same(found.labels[clean], labels[clean])
        expect(kept, "expected clean rows to stay as they were, got a change; give changed rows a role")


def roles_and_labels_are_valid(subject: Subject) -> None:
    """Roles are clean, poison or cover; labels are classes; pixels stay in [0, 1]."""
    for case in CASES:
        found = _poison(_made(subject, case), images_of(case, _ROWS), labels_of(case, _ROWS))
        expect(set(found.roles.tolist()) <= {CLEAN, POISON, COVER}, f"expected known roles, got {found.roles.unique()}")
        in_classes = bool(((found.labels >= 0) & (found.labels < case.classes)).all())
        expect(in_classes, f"expected labels in [0, {case.classes}), got {found.labels.unique().tolist()}")
        _expect_pixels(found.images)


def labels_follow_roles(subject: Subject) -> None:
    """Poison rows carry the target, and were of a source class unless they were the target's; covers keep their labels.

    So clean-label attacks poison rows of the target class and change no label at all.
    """
    for case in CASES:
        attack, labels = _made(subject, case), labels_of(case, _ROWS)
        found = _poison(attack, images_of(case, _ROWS), labels)
        poison, cover = found.roles == POISON, found.roles == COVER
        goals, called = attack.targets_of(labels)[poison], found.labels[poison]
        wrong = f"expected poison labelled {goals.unique().tolist()}, got {called.unique().tolist()}"
        expect(bool((called == goals).all()), wrong)
        allowed = attack.of_source(labels) | (labels == attack.target)
        expect(
            bool(allowed[poison].all()), f"expected poison of source classes, got {labels[poison].unique().tolist()}"
        )
        kept = same(found.labels[cover], labels[cover])
        expect(kept, "expected covers to keep their labels, got others; what is relabelled is poison")


def rate_is_kept(subject: Subject) -> None:
    """About rate x rows are poisoned (one more or less); at rate 0 nothing is changed."""
    attack = _made(subject, CASES[0])
    images, labels = images_of(CASES[0], _ROWS), labels_of(CASES[0], _ROWS)
    expected = 0 if attack.threat_model == "none" else round(_RATE * _ROWS)
    count = int((_poison(attack, images, labels).roles == POISON).sum())
    close = abs(count - expected) <= (1 if expected else 0)
    expect(close, f"expected about {expected} of {_ROWS} rows poisoned at rate {_RATE}, got {count}")
    none = attack.poison(images, labels, 0.0, stream())
    expect(same(none.images, images) and same(none.labels, labels), "expected no change at rate 0, got one")


def rate_beyond_the_rows_is_refused(subject: Subject) -> None:
    """A rate that the batch has too few rows for raises `ValueError`; it is not silently lowered."""
    attack: Attack = subject.make().for_classes(CASES[0].classes)
    if attack.threat_model == "none":
        raise Inapplicable("it poisons nothing")
    images, labels = images_of(CASES[0], _ROWS), labels_of(CASES[0], _ROWS)
    try:
        poisoned = int((attack.poison(images, labels, 1.0, stream()).roles == POISON).sum())
    except ValueError:
        return
    expect(poisoned == _ROWS, f"expected ValueError or {_ROWS} rows poisoned at rate 1, got {poisoned}")


def same_generator_same_rows(subject: Subject) -> None:
    """The same generator gives the same result; inputs and global random states are not changed."""
    for case in CASES:
        images, labels = images_of(case, _ROWS), labels_of(case, _ROWS)
        first, second = (
            unchanged(lambda: _poison(_made(subject, case), images, labels), images=images, labels=labels)  # noqa: B023
            for _ in range(2)
        )
        expect(same(first, second), "expected the same answer from the same generator, got another")


def replay_is_arrival(subject: Subject) -> None:
    """Poisoning the same rows again at the same rate gives the same batch, bit for bit.

    Also where the rate is not a whole number of rows, and whatever was poisoned in between.
    """
    for case in CASES:
        attack, images, labels = _made(subject, case), images_of(case, _ROWS), labels_of(case, _ROWS)
        for rate in _REPLAYED:
            first, again = (attack.poison(images, labels, rate, stream()) for _ in range(2))
            expect(same(first, again), f"expected the same batch again at rate {rate}, got another; keep no memory")


def preparing_leaves_all_alone(subject: Subject) -> None:
    """The same view gives the same prepared attack; the attack itself is not changed by preparing."""
    attack: Attack = subject.make()
    if attack.threat_model != "surrogate":
        raise Inapplicable("it asks for no surrogate model")
    for case in CASES:
        images, labels = images_of(case, _ROWS), labels_of(case, _ROWS)
        before = attack.stamp(images)
        first, second = (unchanged(lambda: _prepared(attack, case), images=images) for _ in range(2))  # noqa: B023
        expect(same(attack.stamp(images), before), "expected the attack itself to stay as it was; return a copy")
        alike = same(first.stamp(images), second.stamp(images))
        alike = alike and same(_poison(first, images, labels), _poison(second, images, labels))
        expect(alike, "expected the same attack from the same view, got another; draw from the view's generator")


def stamp_follows_opacity(subject: Subject) -> None:
    """Opacity 0 gives the images; opacity 1 stays within `largest_change`, in [0, 1], and changes something."""
    for case in CASES:
        attack = _made(subject, case)
        images = images_of(case, _ROWS)
        plain = unchanged(lambda: attack.stamp(images, 0.0), images=images)  # noqa: B023
        expect(same(plain, images), "expected opacity 0 to give the images, got a change")
        full = unchanged(lambda: attack.stamp(images), images=images)  # noqa: B023
        _expect_like(full, images, f"stamped images of {case}")
        _expect_pixels(full)
        change = float((full - images).abs().max())
        bound = attack.largest_change
        expect(change <= bound + 1e-5, f"expected no pixel to change by more than {bound}, got {change:.4f}")
        expect(change > 0 or attack.threat_model == "none", "expected the stamp to change something, got nothing")
        expect(same(full, attack.stamp(images, 1.0)), "expected stamping twice to give the same, got another trigger")


def target_is_checked(subject: Subject) -> None:
    """`check_fits` accepts images that fit and refuses a target that is no class; sources are other classes."""
    attack: Attack = subject.make()
    for case in CASES:
        attack.check_fits(case.shape, case.classes)
        others = set(range(case.classes)) - {attack.target}
        named = attack.sources is None or (len(attack.sources) > 0 and set(attack.sources) <= others)
        expect(named, f"expected sources among {sorted(others)}, got {attack.sources}; refuse others")
    try:
        attack.check_fits(CASES[0].shape, attack.target)
    except ValueError:
        return
    expect(False, f"expected ValueError for target {attack.target} of {attack.target} classes, got none")


def answers_as_in_a_run(subject: Subject) -> None:
    """A run, which calls the attack under a guard that checks its answers, gets the goals and stamps checked here."""
    for case in CASES:
        bare: Attack = subject.make().for_classes(case.classes)
        images, labels = images_of(case, _ROWS), torch.arange(case.classes)
        try:
            guarded = ForeignAttack(Plugin("the attack", True), subject.make(), case.classes).for_classes(case.classes)
            alike = same(guarded.targets_of(labels), bare.targets_of(labels)) and guarded.targets == bare.targets
            alike = alike and same(guarded.of_source(labels), bare.of_source(labels))
            expect(alike, f"expected the goals that a run sees to be {bare.targets}, got {guarded.targets}")
            stamped = same(guarded.stamp(images), bare.stamp(images)) and guarded.content == bare.content
            expect(stamped, "expected a run to get the same stamp and content, got others; keep no memory")
        except PluginError as error:
            raise Failed(str(error)) from error


def training_is_sound(subject: Subject) -> None:
    """An attacker that controls training returns finite weights, the same from the same rows, in eval mode.

    Rows, roles and the network that training starts from are not changed.
    """
    if subject.make().threat_model != "controls-training":
        raise Inapplicable("its attacker does not control training")
    for case in CASES:
        images, labels, model = images_of(case, _ROWS), labels_of(case, _ROWS), model_of(case)
        for rate in (0.0, _RATE):
            found = subject.make().for_classes(case.classes).poison(images, labels, rate, stream())
            twice = (
                unchanged(lambda: _trained(subject, found, model), rows=found, model=model)  # noqa: B023
                for _ in range(2)
            )
            expect(same(*twice), "expected the same weights from the same rows, got others; draw from generator")


def _made(subject: Subject, case: Case) -> Attack:
    """Return a new attack as it is carried out; one that needs a surrogate is prepared with a tiny network."""
    attack: Attack = subject.make().for_classes(case.classes)
    return _prepared(attack, case) if attack.threat_model == "surrogate" else attack


def _prepared(attack: Attack, case: Case) -> Attack:
    return attack.prepared(
        SurrogateView(
            images=images_of(case, _ROWS),
            labels=labels_of(case, _ROWS),
            classes=case.classes,
            generator=stream(),
            teach=lambda images, labels, epochs: model_of(case),
        )
    )


def _trained(subject: Subject, rows: Poisoned, model: nn.Module) -> nn.Module:
    use = Use.model_validate({**subject.given, "use": subject.use})
    batch = Batch(rows.images, rows.labels, torch.arange(len(rows.labels)))
    job = Job(model, batch, Phase(epochs=1, batch=16), Recipe(), seed=0, update=False)
    return AttackersTraining(subject.make(), use, rows.roles).train(job).model


def _poison(attack: Attack, images: Tensor, labels: Tensor) -> Poisoned:
    return attack.poison(images, labels, _RATE, stream())


def _expect_like(found: Tensor, given: Tensor, what: str) -> None:
    expect(
        found.shape == given.shape and found.dtype == given.dtype,
        f"expected {what} to be {given.dtype} {tuple(given.shape)}, got {found.dtype} {tuple(found.shape)}",
    )


def _expect_pixels(images: Tensor) -> None:
    low, high = float(images.min()), float(images.max())
    expect(low >= 0 and high <= 1, f"expected pixels in [0, 1], got {low:.4f} to {high:.4f}; clamp them")
