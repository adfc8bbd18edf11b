"""The probes on a model whose every answer can be worked by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from simulator.batch import Batch
from simulator.observer.probes.base import Probe, ProbeView, Relearner
from simulator.scenario import catalog
from tests.observer.readable import CLASSES, Readable, images_of, stamp

CORNER = (0, 3, 3)


@pytest.fixture
def view() -> Callable[..., ProbeView]:
    def make(pull: float = 1.0, **others: object) -> ProbeView:
        labels = torch.tensor([0, 1, 2, 1, 2, 1])
        test = Batch(images_of(labels), labels, torch.arange(6))
        whole = ProbeView(Readable(pull).eval(), test, CLASSES, lambda opacity: stamp(test.images, opacity), target=0)
        return replace(whole, **others)  # type: ignore[arg-type]

    return make


def read(probe: str, view: ProbeView, **options: object) -> dict[str, float | None]:
    found = catalog.build("probes", probe, options).measure(view)
    return {name: reading.value for name, reading in found.items()}


def test_every_probe_gives_what_it_names(view: Callable[..., ProbeView]) -> None:
    for name in catalog.names("probes"):
        probe: Probe = catalog.build("probes", name)
        for seen in (view(), view(stamped=None), view(pull=float("nan"))):
            assert set(probe.measure(seen)) == set(probe.gives), name


def test_attack_success_of_a_backdoored_model(view: Callable[..., ProbeView]) -> None:
    readings = read("attack-success", view(pull=1.0))
    # stamped: target logit 1 against 0.5, so every source image flips; unstamped none does
    assert readings["backdoor/attack_success"] == 1.0
    assert readings["backdoor/triggered_effect"] == 1.0
    assert readings["backdoor/robust_accuracy"] == 0.0
    assert readings["backdoor/logit_margin"] == pytest.approx(1.0)
    assert readings["backdoor/collapsed"] == 0.0
    assert readings["backdoor/screened_attack_success"] is None


def test_attack_success_of_a_clean_model(view: Callable[..., ProbeView]) -> None:
    readings = read("attack-success", view(pull=0.0))
    assert readings["backdoor/attack_success"] == 0.0
    assert readings["backdoor/robust_accuracy"] == 1.0


def test_a_collapsed_model_is_told_apart(view: Callable[..., ProbeView]) -> None:
    seen = view(pull=9.0)
    lit = replace(seen, test=Batch(stamp(seen.test.images), seen.test.labels, seen.test.ids))
    readings = read("attack-success", lit)
    assert readings["backdoor/attack_success"] == 1.0
    assert readings["backdoor/triggered_effect"] == 0.0
    assert readings["backdoor/collapsed"] == 1.0


def test_screens_count_end_to_end(view: Callable[..., ProbeView]) -> None:
    def refuse_bright_corners_and_the_first(images: Tensor) -> Tensor:
        refused = images[:, 0, 3, 3] > 0.5
        refused[0] = True
        refused[1] = False  # this stamped image of class 1 slips through
        return refused

    seen = view(screen=refuse_bright_corners_and_the_first)
    assert read("attack-success", seen)["backdoor/screened_attack_success"] == pytest.approx((1 / 3 + 0) / 2)
    clean = read("clean-accuracy", seen)
    assert clean["clean/accuracy"] == 1.0
    assert clean["clean/refused_share"] == pytest.approx(1 / 6)
    assert clean["clean/screened_accuracy"] == pytest.approx(5 / 6)


def test_dose_is_where_the_corner_outweighs_the_true_class(view: Callable[..., ProbeView]) -> None:
    # pull 1.6: the target wins from opacity 0.5 / 1.6 on, for all images at once
    dose = read("dose", view(pull=1.6), halvings=8)["backdoor/trigger_ed50"]
    assert dose == pytest.approx(0.3125, abs=2**-8)
    assert read("dose", view(pull=0.2))["backdoor/trigger_ed50"] is None


def test_dose_reads_few_images_but_every_source_class(view: Callable[..., ProbeView]) -> None:
    asked: list[int] = []

    class Counting(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            asked.append(len(images))
            return Readable(1.6)(images)

    read("dose", view(model=Counting()), images=2, halvings=3)
    assert asked == [6, 6, 2, 2, 2]


def test_one_view_is_read_with_two_forward_passes(view: Callable[..., ProbeView]) -> None:
    passes: list[int] = []
    seen = view()
    seen.model.register_forward_hook(lambda *_: passes.append(1))
    read("clean-accuracy", seen)
    read("attack-success", seen)
    assert len(passes) == 2


def test_undefined_readings_say_why(view: Callable[..., ProbeView]) -> None:
    no_attack = catalog.build("probes", "attack-success").measure(view(stamped=None))
    assert no_attack["backdoor/attack_success"].reason == "the scenario has no attack"
    assert no_attack["backdoor/collapsed"].value == 0.0
    broken = catalog.build("probes", "clean-accuracy").measure(view(pull=float("nan")))
    assert broken["clean/accuracy"].reason == "the model's outputs are not finite numbers"


def test_weight_distance_to_both_relatives(view: Callable[..., ProbeView]) -> None:
    seen = view(pull=3.0, parent={"pull": torch.tensor([2.0])}, ancestor=None)
    found = catalog.build("probes", "weight-distance").measure(seen)
    assert found["weights/distance_to_parent"].value == pytest.approx(0.5)
    assert found["weights/distance_to_ancestor"].reason == "this version has no poisoned ancestor"


def relearner(view: ProbeView, asked: list[tuple[object, ...]]) -> Relearner:
    """Fine-tuning that sets the pull from the draw: the own trigger comes back in draws 0 and 1, another never."""

    def pool(draw: int, poisoned: int, unrelated: bool) -> Batch:
        asked.append((draw, poisoned, unrelated))
        return view.test.take(torch.arange(0 if unrelated else 3))

    def fine_tune(model: nn.Module, batch: Batch, draw: int, epochs: int, rate: float) -> nn.Module:
        asked.append((epochs, rate))
        return Readable(1.0 if len(batch) == 3 and draw < 2 else 0.0).eval()

    def watch(
        model: nn.Module, batch: Batch, draw: int, epochs: int, rate: float, look: Callable[[nn.Module], bool]
    ) -> nn.Module:
        trained = fine_tune(model, batch, draw, epochs, rate)
        look(trained)
        return trained

    return Relearner(pool, lambda unrelated: stamp(view.test.images), fine_tune, watch)


def test_relearning_means_and_spreads_over_draws(view: Callable[..., ProbeView]) -> None:
    asked: list[tuple[object, ...]] = []
    seen = view(pull=0.0)
    readings = read("relearning", replace(seen, relearn=relearner(seen, asked)))
    assert readings["backdoor/relearned_attack_success"] == pytest.approx(2 / 3)
    # sample standard deviation of 1, 1, 0
    assert readings["backdoor/relearned_attack_success_spread"] == pytest.approx((1 / 3) ** 0.5)
    assert readings["backdoor/relearned_unrelated_attack_success"] == 0.0
    assert readings["backdoor/relearned_unrelated_attack_success_spread"] == 0.0
    assert readings["clean/relearned_accuracy"] == 1.0
    assert (2, 10, True) in asked
    assert (8, 0.01) in asked


def test_relearning_runs_at_milestones_and_needs_a_pool(view: Callable[..., ProbeView]) -> None:
    probe = catalog.build("probes", "relearning")
    assert probe.when == "milestones"
    assert probe.measure(view())["clean/relearned_accuracy"].reason == "there is no re-learning pool"
    seen = view()
    one = read("relearning", replace(seen, relearn=relearner(seen, [])), draws=1)
    assert one["backdoor/relearned_attack_success"] == 1.0
    assert one["backdoor/relearned_attack_success_spread"] is None
