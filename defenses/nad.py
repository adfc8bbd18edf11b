"""Neural attention distillation: a fine-tuned copy teaches the candidate where to look."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Annotated, final

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from defenses.base import Context, DoesNotApply, Repair, RepairResult, Rows, Size
from defenses.fitting import STRENGTHS, Plan, cosine, expect_trusted, fine_tune, within

#: attention is compared at so many places: the last ones at which the network's maps have another size
_PLACES = 3


def attention(maps: Tensor, power: float = 2.0) -> Tensor:
    """Return where each image's `maps` (N, C, H, W) are active: the mean of |map|^power, of length 1, (N, H W).

    >>> maps = torch.tensor([[[[3.0, 0.0]], [[0.0, 2.0]]]])  # one image, two channels, 1 x 2 pixels
    >>> attention(maps)  # proportional to 9 and 4
    tensor([[0.9138, 0.4061]])
    """
    return normalize(maps.abs().pow(power).mean(1).flatten(1))


@final
@dataclass(frozen=True, kw_only=True)
class NeuralAttentionDistillation(Repair):
    """Fine-tunes a copy on the trusted images, then the candidate so that its attention becomes the copy's.

    Li, Lyu, Koren, Lyu, Li, Ma: Neural Attention Distillation: Erasing Backdoor Triggers from Deep Neural Networks
    (ICLR 2021), called NAD.

    Options: `teacher`: epochs of fine-tuning the copy; `epochs` of fine-tuning the candidate; `weight` of the distance
    of attention maps in the loss, beside cross-entropy; `power` of the activations in attention maps; `rate`: learning
    rate of both at the start, falling to 0 along a cosine; `batch`: rows a step; `shift`: share of the width and height
    by which images are moved at most; `drop` of accuracy, as a share of 1, that the repair may cost on the share
    `holdout` of the trusted images; where it costs more, it is tried again at half the strength (of the learning rate),
    down to a sixteenth.

    Needs ten trusted images. Costs three passes for each image and epoch, and one more while distilling, of each trial.
    Its threshold, `drop`, is of accuracy on trusted images.

    Differs from the paper: attention is compared at the last module of each of the three last sizes of maps, whatever
    the network is called, instead of at the three groups of a wide residual network; the distance is a sum over pixels,
    so that the weight does not depend on the size of maps (the authors' mean and 1000 come to 16 at their last group, 8
    x 8); the learning rate is a benchmark's (BackdoorBench, NeurIPS 2022), since the paper's 0.1, a tenth after every
    two of ten epochs, cost 10 points of accuracy on Fashion-MNIST; images are moved, not mirrored nor cut. Published
    there (CIFAR-10, 2,500 images): a 3x3 patch at 5 % falls from 89 to 4.7 % attack success for 1.6 points of accuracy;
    a blended one stays at 99 %. What was measured here stands in `docs/repairs.md`.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)).eval()
    >>> rows = Rows(torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2)
    >>> context = Context(model, "3", 2, torch.device("cpu"), rows, torch.Generator().manual_seed(0))
    >>> NeuralAttentionDistillation(teacher=1, epochs=1).repair(context).evidence["places"]
    ['1']
    """

    needs_trusted = True
    calibration = "trusted images"

    teacher: Annotated[int, Ge(1)] = 20
    epochs: Annotated[int, Ge(1)] = 50
    weight: Annotated[float, Ge(0)] = 16.0
    power: Annotated[float, Gt(0)] = 2.0
    rate: Annotated[float, Gt(0)] = 0.01
    batch: Annotated[int, Ge(2)] = 64
    shift: Annotated[float, Interval(ge=0, le=0.5)] = 0.125
    drop: Annotated[float, Interval(ge=0, le=1)] = 0.04
    holdout: Annotated[float, Interval(gt=0, lt=1)] = 0.3

    def repair(self, context: Context) -> RepairResult:
        """Return the distilled model; evidence: where attention was compared, strength, and held-out accuracy."""
        trusted = expect_trusted(context, 10, "attention distillation")
        places = _places(context.model, trusted.images[:2])
        if not places:
            raise DoesNotApply("attention distillation needs a network with maps of more than one pixel")

        def train(model: nn.Module, rows: Rows, strength: float) -> None:
            self._distil(model, rows, strength, places, context.generator)

        found = within(context, train, drop=self.drop, holdout=self.holdout)
        return RepairResult(found.model, {"places": places, **found.evidence})

    def passes(self, size: Size) -> int:
        """Return the passes of both trainings, of the teacher's maps, and of measuring accuracy, at every strength."""
        return len(STRENGTHS) * size.trusted * (3 * self.teacher + 4 * self.epochs + 4) + 2

    def _distil(
        self, student: nn.Module, rows: Rows, strength: float, places: list[str], generator: torch.Generator
    ) -> None:
        """Fine-tune a copy of `student`, then `student` towards the copy's attention."""
        teacher = copy.deepcopy(student)
        rate = cosine(strength * self.rate)
        plan = Plan(epochs=self.teacher, batch=self.batch, rate=rate, decay=1e-4, shift=self.shift)
        fine_tune(teacher, rows, plan, generator)
        taught, learned = _Maps(teacher, places), _Maps(student, places)

        def loss(some: Rows) -> Tensor:
            with torch.no_grad():
                taught.of(some.images)
            logits = learned.of(some.images)
            return cross_entropy(logits, some.labels) + self.weight * _distance(taught, learned, self.power)

        try:
            fine_tune(student, rows, replace(plan, epochs=self.epochs), generator, loss=loss)
        finally:
            learned.close()


def _distance(taught: _Maps, learned: _Maps, power: float) -> Tensor:
    pairs = zip(taught.found, learned.found, strict=True)
    distances = [(attention(one, power) - attention(other, power)).square().sum(1).mean() for one, other in pairs]
    return torch.stack(distances).sum()


@torch.no_grad()
def _places(model: nn.Module, images: Tensor) -> list[str]:
    """Return the last module to finish at each of the last sizes of maps, in the order of execution."""
    finished: dict[tuple[int, int], str] = {}
    names = {module: name for name, module in model.named_modules() if name}

    def note(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
            size = (output.shape[2], output.shape[3])
            finished.pop(size, None)
            finished[size] = names[module]

    hooks = [module.register_forward_hook(note) for module in names]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return list(finished.values())[-_PLACES:]


class _Maps:
    """Runs a model and keeps what some of its modules put out, in `found`."""

    def __init__(self, model: nn.Module, places: list[str]) -> None:
        self.found: list[Tensor] = []
        self._model = model
        modules = [model.get_submodule(place) for place in places]
        self._watching = [module.register_forward_hook(self._keep) for module in modules]

    def of(self, images: Tensor) -> Tensor:
        """Return the model's logits; its maps are in `found` afterwards."""
        self.found = []
        logits: Tensor = self._model(images)
        return logits

    def close(self) -> None:
        """Let the model be as it was."""
        for hook in self._watching:
            hook.remove()

    def _keep(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.found.append(output)
