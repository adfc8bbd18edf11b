"""Probes: every reading they promise, and nothing changed by reading it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import torch
from torch import Tensor, nn

from simulator.batch import Batch
from simulator.checks.material import CASES, LARGEST, Case, images_of, labels_of, model_of
from simulator.checks.subject import Subject, expect, same, unchanged
from simulator.observer.probes.base import ProbeView, Relearner
from simulator.records import Reading

_ROWS = 60


def gives_what_it_says(subject: Subject) -> None:
    """There is a reading for each name in `gives` and no other; names are `group/name`."""
    gives = subject.member.gives
    wrong = [name for name in gives if not re.fullmatch(r"[a-z]+/[a-z0-9_]+", name)]
    expect(bool(gives) and not wrong, f"expected names such as clean/accuracy, got {wrong or 'none at all'}")
    for case in (*CASES, LARGEST):
        for attacked in (True, False):
            readings = subject.make().measure(_view(case, attacked=attacked))
            expect(set(readings) == set(gives), f"expected readings {sorted(gives)}, got {sorted(readings)}")
            kinds = {type(reading).__name__ for reading in readings.values()} - {Reading.__name__}
            expect(not kinds, f"expected every reading to be a Reading, got {sorted(kinds)}")


def when_is_known(subject: Subject) -> None:
    """`when` is every or milestones."""
    found = subject.make().when
    expect(found in ("every", "milestones"), f"expected when to be 'every' or 'milestones', got {found!r}")


def same_view_same_readings(subject: Subject) -> None:
    """The same view gives the same readings."""
    for case in CASES:
        first, second = (subject.make().measure(_view(case)) for _ in range(2))
        expect(same(first, second), "expected the same readings for the same view, got others")


def view_is_left_alone(subject: Subject) -> None:
    """Model, test images, parents and global random states are left as they were."""
    for case in CASES:
        view = _view(case)
        unchanged(
            lambda: subject.make().measure(view),  # noqa: B023
            model=view.model,
            images=view.test.images,
            labels=view.test.labels,
            parent=view.parent,
            ancestor=view.ancestor,
            control=view.control,
        )


def broken_model_is_no_number(subject: Subject) -> None:
    """A model that answers NaN gives undefined readings with a reason, or numbers, but does not raise."""
    for case in CASES:
        view = _view(case)
        with torch.no_grad():
            for parameter in view.model.parameters():
                parameter.fill_(float("nan"))
        readings = subject.make().measure(view)
        expect(set(readings) == set(subject.member.gives), "expected every reading also of a broken model, got fewer")


def _view(case: Case, *, attacked: bool = True) -> ProbeView:
    model = model_of(case)
    test = Batch(images_of(case, _ROWS, seed=5), labels_of(case, _ROWS), torch.arange(_ROWS))
    older = {name: value + 0.01 if value.is_floating_point() else value for name, value in model.state_dict().items()}
    other = {name: value + 0.02 if value.is_floating_point() else value for name, value in model.state_dict().items()}
    return ProbeView(
        model=model,
        test=test,
        classes=case.classes,
        stamped=(lambda opacity: _stamped(test.images, opacity)) if attacked else None,
        target=0,
        parent=older,
        ancestor=older if attacked else None,
        control=other if attacked else None,
        screen=lambda images: images.flatten(1).mean(1) > 0.5,
        relearn=_relearner(case, test) if attacked else None,
    )


def _stamped(images: Tensor, opacity: float) -> Tensor:
    stamped = images.clone()
    stamped[:, :, -2:, -2:] = (1 - opacity) * stamped[:, :, -2:, -2:] + opacity
    return stamped


def _relearner(case: Case, test: Batch) -> Relearner:
    def pool(draw: int, poisoned: int, unrelated: bool) -> Batch:
        images, labels = images_of(case, _ROWS, seed=10 + draw), labels_of(case, _ROWS)
        images[:poisoned] = _stamped(images[:poisoned], 0.5 if unrelated else 1.0)
        labels[:poisoned] = 0
        return Batch(images, labels, torch.arange(_ROWS))

    def fine_tune(model: nn.Module, batch: Batch, draw: int, epochs: int, rate: float) -> nn.Module:
        return watch(model, batch, draw, epochs, rate, lambda copied: False)

    def watch(
        model: nn.Module, batch: Batch, draw: int, epochs: int, rate: float, look: Callable[[nn.Module], bool]
    ) -> nn.Module:
        copied = copy.deepcopy(model)
        optimizer = torch.optim.SGD(copied.parameters(), lr=rate)
        for _ in range(epochs):
            optimizer.zero_grad()
            nn.functional.cross_entropy(copied(batch.images), batch.labels).backward()
            optimizer.step()
            if look(copied):
                break
        return copied.eval()

    return Relearner(pool, lambda unrelated: _stamped(test.images, 0.5 if unrelated else 1.0), fine_tune, watch)
