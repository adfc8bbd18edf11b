"""The deeper probes of residual strength, on models whose every answer can be worked by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from simulator.batch import Batch
from simulator.observer.probes.base import ProbeView, Relearner
from simulator.production.training.evaluate import logits
from simulator.production.training.fit import fit, watch
from simulator.production.training.networks import build_network
from simulator.records import Reading
from simulator.scenario import catalog
from simulator.scenario.model import Phase, Recipe, Use
from simulator.tensors import weights_digest, weights_of
from tests.observer.readable import CLASSES, Readable, images_of, read, stamp, view_of, weights

# -- the re-learning curve ---------------------------------------------------------------------------------------------


def relearner(
    view: ProbeView, reach: Callable[[int, int, bool], int | None], steps: int = 6, made: list[int] | None = None
) -> Relearner:
    """Training of `steps` steps after which the trigger works from step `reach(draw, poisoned, unrelated)` on."""
    asked: list[tuple[int, int, bool]] = []

    def pool(draw: int, poisoned: int, unrelated: bool) -> Batch:
        asked.append((draw, poisoned, unrelated))
        return view.test

    def watch(
        model: nn.Module, batch: Batch, draw: int, epochs: int, rate: float, look: Callable[[nn.Module], bool]
    ) -> nn.Module:
        found, step = reach(*asked[-1]), 0
        for step in range(1, steps + 1):
            alive = found is not None and step >= found
            if look(Readable(1.0 if alive else 0.0).eval()):
                break
        if made is not None:
            made.append(step)
        return Readable(1.0 if found is not None and step >= found else 0.0).eval()

    def fine_tune(model: nn.Module, batch: Batch, draw: int, epochs: int, rate: float) -> nn.Module:
        raise AssertionError("the curve looks between steps")

    return Relearner(pool, lambda unrelated: stamp(view.test.images), fine_tune, watch)


def test_the_curve_counts_images_and_steps() -> None:
    # own trigger: from 5 images on, after 2 or 4 steps; an unrelated one needs 10 images and all 6 steps
    def reach(draw: int, poisoned: int, unrelated: bool) -> int | None:
        if unrelated:
            return 6 if poisoned >= 10 else None
        return None if poisoned < 5 else (2, 4)[draw]

    view = view_of(Readable(0.0))
    options = {"counts": [2, 5, 10], "poisoned": 10, "draws": 2, "every": 1}
    found = read("relearning-curve", replace(view, relearn=relearner(view, reach)), **options)
    assert found["backdoor/relearning_samples"].value == 5
    assert found["backdoor/relearning_steps"].value == 3
    # success 0 at steps 0 and 1, 1 from 2 on: trapezoids give (0.5 + 4) / 6; from 4 on: (0.5 + 2) / 6
    assert found["backdoor/relearning_area"].value == pytest.approx((4.5 / 6 + 2.5 / 6) / 2)
    assert found["backdoor/relearning_unrelated_samples"].value == 10
    assert found["backdoor/relearning_unrelated_steps"].value == 6
    assert found["backdoor/relearning_unrelated_area"].value == pytest.approx(0.5 / 6)


def test_a_curve_that_never_gets_there_says_within_how_many_steps() -> None:
    view = view_of(Readable(0.0))
    once = replace(view, relearn=relearner(view, lambda draw, poisoned, unrelated: 1 if draw == 0 else None))
    found = read("relearning-curve", once, counts=[2], poisoned=2, draws=3, every=4)
    reason = "never within 6 steps in 2 of 3 draws"
    assert found["backdoor/relearning_steps"].reason == reason
    assert found["backdoor/relearning_samples"].reason == reason
    assert found["backdoor/relearning_area"].value == pytest.approx((0.5 * 4 + 2) / 6 / 3)  # looks at 0, 4 and 6
    alone = replace(view, relearn=relearner(view, lambda draw, poisoned, unrelated: None))
    assert read("relearning-curve", alone, draws=1)["backdoor/relearning_steps"].reason == "never within 6 steps"


def test_what_is_alive_needs_nothing_and_training_ends_where_it_may() -> None:
    made: list[int] = []
    view = view_of(Readable(1.0))
    alive = replace(view, relearn=relearner(view, lambda draw, poisoned, unrelated: 1, made=made))
    found = read("relearning-curve", alive, draws=1, counts=[2, 5])
    assert found["backdoor/relearning_samples"].value == 0
    assert found["backdoor/relearning_steps"].value == 0
    assert made == [6, 6]  # the whole of the usual number, own and unrelated, and none of the others
    view = view_of(Readable(0.0))
    made.clear()
    asleep = replace(view, relearn=relearner(view, lambda draw, poisoned, unrelated: 3, made=made))
    assert read("relearning-curve", asleep, draws=1, counts=[2], every=2)["backdoor/relearning_steps"].value == 4
    assert made == [6, 4, 6, 4]


def test_the_curve_asks_for_draws_and_rows() -> None:
    assert catalog.build("probes", "relearning-curve", {"counts": [2, 30], "draws": 2}).relearns == (2, 30)
    assert catalog.build("probes", "relearning", {"poisoned": 7}).relearns == (3, 7)
    assert catalog.build("probes", "dose").relearns is None


def test_looking_between_the_steps_changes_no_weight() -> None:
    images = torch.rand(70, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    batch = Batch(images, torch.arange(70) % CLASSES, torch.arange(70))
    model = build_network(Use(use="standard-cnn"), channels=1, size=(8, 8), classes=CLASSES, seed=0)
    phase = Phase(epochs=2, batch=32, schedule=Use.model_validate({"use": "constant", "rate": 0.1}))
    looked: list[Tensor] = []

    def look(copied: nn.Module) -> bool:
        looked.append(logits(copied, images))
        return False

    watched = watch(model, batch, phase, Recipe(), seed=1, look=look)
    plain = fit(model, batch, phase, Recipe(), seed=1, update=False)
    assert len(looked) == plain.steps == 6
    assert weights_digest(weights_of(watched)) == weights_digest(weights_of(plain.model))
    assert torch.equal(looked[-1], logits(plain.model, images))
    stopped = watch(model, batch, phase, Recipe(), seed=1, look=lambda copied: True)
    assert not stopped.training
    assert torch.equal(logits(stopped, images), looked[0])


# -- re-activation -----------------------------------------------------------------------------------------------------


def many(model: nn.Module, **others: Any) -> ProbeView:
    labels = torch.arange(30) % CLASSES
    test = Batch(images_of(labels), labels, torch.arange(30))
    return ProbeView(model.eval(), test, CLASSES, lambda opacity: stamp(test.images, opacity), target=0, **others)


def test_a_perturbation_wakes_what_the_trigger_nearly_does() -> None:
    # Stamped, the target has 0.4 against 0.5; the perturbation may add 0.06 to its pixel and take as much from the true
    # class's: 0.46 against 0.44. Unstamped it is 0.06 (and 0.4 x 0.06 of the corner) against 0.44.
    found = read("reactivation", many(Readable(0.4)), size=0.06, rate=0.02, steps=6)
    assert found["backdoor/reactivated_attack_success"].value == 1.0
    assert found["backdoor/reactivated_untriggered_success"].value == 0.0
    assert found["backdoor/reactivation_gain"].value == 1.0
    weaker = read("reactivation", many(Readable(0.4)), size=0.04, rate=0.02, steps=6)  # 0.44 against 0.46
    assert weaker["backdoor/reactivated_attack_success"].value == 0.0


def test_a_perturbation_is_read_where_it_was_not_trained() -> None:
    rows: list[int] = []

    class Counting(Readable):
        def forward(self, images: Tensor) -> Tensor:
            rows.append(len(images))
            return super().forward(images)

    read("reactivation", many(Counting(0.4)), images=8, batch=3, steps=4)
    # all stamped and unstamped; then four batches of 8 training rows and the other 12 of the source classes; twice
    assert rows == [30, 30, 3, 3, 2, 3, 12, 3, 3, 2, 3, 12]


def test_reactivation_needs_a_second_image_of_each_source_class() -> None:
    labels = torch.tensor([0, 1, 2])
    test = Batch(images_of(labels), labels, torch.arange(3))
    found = read("reactivation", replace(many(Readable(0.4)), test=test))
    assert found["backdoor/reactivation_gain"].reason == (
        "there are too few test images of the source classes to hold some out"
    )


# -- gradient cosine ---------------------------------------------------------------------------------------------------


class TwoWeights(nn.Module):
    """Logit of class 0: `a` x first pixel + `b` x second; that of class 1 is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros(1))
        self.b = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        first = self.a * images[:, 0, 0, 0] + self.b * images[:, 0, 0, 1]
        return torch.stack([first, torch.zeros_like(first)], 1)


def cosine(plain: list[tuple[float, float]], stamped: tuple[float, float], **others: Any) -> Reading:
    images = torch.tensor(plain).reshape(2, 1, 1, 2)
    test = Batch(images, torch.tensor([0, 1]), torch.arange(2))
    marked = torch.tensor([[0.0, 0.0], stamped]).reshape(2, 1, 1, 2)
    view = ProbeView(TwoWeights().eval(), test, 2, lambda opacity: marked, target=0, **others)
    return read("gradient-cosine", view)["backdoor/gradient_cosine"]


def test_the_cosine_of_two_weights_by_hand() -> None:
    # At weights 0 both classes have probability 1/2, so the gradient of one image's loss in its class 0 is -x/2, in
    # its class 1 it is +x/2. Clean: (-x0 + x1) / 4; backdoor: -s/2 for the stamped image of class 1.
    assert cosine([(1, 0), (0, 1)], (1, 0)).value == pytest.approx(1 / 2**0.5)  # (-1, 1) and (-1, 0)
    assert cosine([(1, 0), (0, 1)], (0, 1)).value == pytest.approx(-1 / 2**0.5)  # against
    assert cosine([(1, 0), (1, 1)], (1, 0)).value == pytest.approx(0)
    # a prior of 3/4 and 1/4: clean (-3 x0 + x1) / 8 = (-3, 1) / 8
    prior = torch.tensor([0.75, 0.25])
    assert cosine([(1, 0), (0, 1)], (1, 0), prior=prior).value == pytest.approx(3 / 10**0.5)


def test_a_cosine_without_a_slope_is_undefined() -> None:
    assert cosine([(1, 0), (1, 0)], (1, 0)).reason == "a gradient is zero"


# -- the linear path ---------------------------------------------------------------------------------------------------


def test_the_path_finds_where_a_known_weight_flips() -> None:
    # every stamped image flips at pull 0.5: from 0.1 to an ancestor of 0.9, half of the way
    view = view_of(Readable(0.1), ancestor=weights(0.9), control=weights(-0.7))
    found = read("linear-path", view, points=4)
    # success is 0 at 1/4 (0.3) and 1 at 3/4 (0.7); at 1/2 the true class and the target tie, and the first wins
    assert found["backdoor/path_share"].value == pytest.approx(0.375)
    # from -0.7: 0.5 is three quarters of the way
    assert found["backdoor/path_control_share"].value == pytest.approx(0.625)
    assert read("linear-path", view, points=100)["backdoor/path_share"].value == pytest.approx(0.5, abs=0.011)
    assert found["clean/path_barrier"].value == 0.0
    assert found["clean/path_beyond_accuracy"].reason == "it is not asked for: beyond is 0"


def test_a_path_from_a_living_backdoor_has_no_length() -> None:
    found = read("linear-path", view_of(Readable(1.0), ancestor=weights(2.0)))
    assert found["backdoor/path_share"].value == 0.0
    assert found["backdoor/path_control_share"].reason == "there is no paced twin to compare with"
    never = read("linear-path", view_of(Readable(0.1), ancestor=weights(0.3)))
    assert never["backdoor/path_share"].reason == "even the ancestor's attack success is below 50 % in this period"
    other = read("linear-path", view_of(Readable(0.1), ancestor={"pull": torch.zeros(2)}))
    assert other["backdoor/path_share"].reason == "the two models do not have the same weights"


def test_the_barrier_is_what_falls_below_the_line_and_beyond_lies_the_other_side() -> None:
    class Squared(Readable):
        """Right at pull -1 and 1, always class 1 near 0."""

        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            bias = 2 * (1 - self.pull**2) * torch.tensor([[0.0, 1.0, 0.0]])
            return logits + bias

    view = view_of(Squared(-1.0), ancestor=weights(1.0))
    found = read("linear-path", view, points=2, beyond=0.5)
    # unstamped accuracy 1 at both ends, 1/2 in the middle (three of six images are of class 1)
    assert found["clean/path_barrier"].value == pytest.approx(0.5)
    # beyond by half of the way: pull -2, a bias of -6 on class 1, so its images are wrong
    assert found["clean/path_beyond_accuracy"].value == pytest.approx(0.5)
    assert found["backdoor/path_beyond_attack_success"].value == 0.0


def test_running_statistics_are_interpolated_too() -> None:
    class Normed(Readable):
        """`Readable` whose pull is what BatchNorm makes of the corner."""

        def __init__(self) -> None:
            super().__init__(0.0)
            self.norm = nn.BatchNorm1d(1, eps=0.0, affine=False)

        def forward(self, images: Tensor) -> Tensor:
            corner = images[:, 0, 3, 3, None]
            logits = images[:, 0, 0, :CLASSES]
            return torch.cat([logits[:, :1] + self.norm(corner), logits[:, 1:]], 1)

    # stamped, the target's logit is 1 - mean: it wins where the mean is below 0.5; from 1 to 0.2, 5/8 of the way
    model = Normed()
    model.norm.running_mean = torch.ones(1)
    ancestor = model.state_dict() | {"norm.running_mean": torch.tensor([0.2])}
    found = read("linear-path", view_of(model, ancestor=ancestor), points=1000)
    assert found["backdoor/path_share"].value == pytest.approx(0.625, abs=0.002)


@pytest.mark.parametrize("probe", ["relearning-curve", "reactivation", "existence", "linear-path", "gradient-cosine"])
def test_there_is_none_of_it_without_an_attack(probe: str) -> None:
    found = read(probe, view_of(Readable(1.0), stamped=None))
    assert {reading.reason for reading in found.values()} == {"the scenario has no attack"}
