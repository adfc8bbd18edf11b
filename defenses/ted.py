"""TED: a triggered image does not travel through the layers beside the class that it ends in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, final

import torch
from annotated_types import Interval
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from defenses.base import Context, DoesNotApply, Screen, ScreenResult, Size, Threshold
from defenses.refusal import limit_of

#: side to which feature maps are averaged, which bounds memory
_SIDE = 8
#: images whose features are held at a time
_BATCH = 250


@final
@dataclass(frozen=True, kw_only=True)
class Ted(Screen):
    """Refuses images that lie far from their predicted class in some layers, compared with trusted images.

    Mo, Zhang, Zhang, Luo, Sun, Hu, Gao, Xiang: Robust Backdoor Detection for Deep Learning via Topological Evolution
    Dynamics (IEEE S&P 2024).

    Options: `false_positive_rate` on clean images at which the threshold is set (the paper's contamination);
    `threshold` of the score in place of one set by trusted images.

    A layer's features are what the next convolution or linear layer reads, and the logits at the end. In each layer the
    trusted images are sorted by distance from the image; its rank is the place of the first one that belongs to the
    class that the model predicts for the image (0: the nearest). The ranks over the layers are an image's trajectory.
    Half of the trusted images, drawn by lot, are the neighbours, and their own trajectories, each without itself, give
    mean and principal components. The score is the sum of squared principal components, each divided by its variance;
    the other half of the trusted images gives the threshold. It costs one forward pass an image, and distances in every
    layer. It needs 38 trusted images at a rate of 0.05; the paper has 20 for each class.

    Differs from the paper: feature maps are averaged to at most 8 x 8 (memory); a neighbour's class is its label, and
    neighbours that the model gets wrong are left out; ranks are divided by their number; the outlier score is the
    principal component classifier of Shyu et al. (2003) rather than a library's variant of it; the threshold comes from
    images that had no part in the components. The paper tells triggered images apart in networks of 20 layers and more,
    source-specific triggers among them. Measured on `compact-cnn` (three layers) with a white patch, five models each:
    attack success falls from 0.98 to between 0.03 and 0.22 on Fashion-MNIST, from 0.97 to between 0.03 and 0.25 on
    digits, from 0.91 to between 0.46 and 0.80 on CIFAR-10 (three models); 2 to 8 % of clean images are refused.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, Rows
    >>> first, head = nn.Linear(16, 16), nn.Linear(16, 2)
    >>> with torch.no_grad():
    ...     _ = first.weight.copy_(torch.eye(16)), first.bias.zero_()
    ...     _ = head.weight.zero_(), head.bias.zero_()
    ...     head.weight[:, 0] = torch.tensor([1.0, -1.0])  # the first pixel tells the classes apart
    ...     head.weight[1, 15] = 9.0  # and the last one makes any image class 1
    >>> generator = torch.Generator().manual_seed(0)
    >>> labels = torch.arange(80) % 2
    >>> images = 0.1 * torch.rand(80, 1, 4, 4, generator=generator)
    >>> images.view(80, 16)[:, :8] += (1 - labels)[:, None] * 0.8
    >>> images.view(80, 16)[labels == 1, 0] = -0.5
    >>> images[:, :, 3, 3] = 0.0
    >>> incoming = images[:4].clone()
    >>> incoming[0, :, 3, 3] = 1.0  # a trigger on an image of class 0
    >>> context = Context(
    ...     model=nn.Sequential(nn.Flatten(), first, head), feature_layer="2", classes=2, device=torch.device("cpu"),
    ...     trusted=Rows(images, labels), generator=generator, incoming=incoming,
    ... )
    >>> Ted().screen(context).flagged.tolist()
    [True, False, False, False]
    """

    needs_trusted = True
    calibration = "trusted images"
    threshold_option = Threshold("threshold", of="scores")

    false_positive_rate: Annotated[float, Interval(gt=0, lt=1)] = 0.05
    threshold: float | None = None

    def screen(self, context: Context) -> ScreenResult:
        """Return which images to refuse; score: the distance of the image's trajectory from the usual ones."""
        if context.incoming is None or len(context.trusted) < 4:
            raise DoesNotApply("TED needs at least four trusted images and incoming ones")
        images, labels = context.trusted.images, context.trusted.labels
        order = torch.randperm(len(images), generator=context.generator).to(images.device)
        half = len(order) // 2
        near = _Neighbours.of(context, images[order[:half]], labels[order[:half]])
        usual = _Usual.of(near.own())
        clean = usual.distance(near.ranks(context, images[order[half:]]))
        limit = limit_of(clean, self.false_positive_rate, self.threshold)
        ranks = near.ranks(context, context.incoming)
        scores = usual.distance(ranks)
        evidence = {
            **limit.evidence(),
            "layers": len(near.features),
            "neighbours": len(near.labels),
            "mean_ranks": [round(float(rank), 4) for rank in ranks.mean(0)] if len(ranks) else None,
        }
        return ScreenResult(limit.flagged(scores), scores=scores.float(), evidence=evidence)

    def passes(self, size: Size) -> int:
        """Return one pass for each image."""
        return size.trusted + size.rows


@dataclass(frozen=True, slots=True)
class _Neighbours:
    """Trusted images that the model gets right: their features in each layer, and their labels (M,)."""

    features: list[Tensor]
    labels: Tensor

    @staticmethod
    def of(context: Context, images: Tensor, labels: Tensor) -> _Neighbours:
        parts = [_layers(context, part) for part in images.split(_BATCH)]
        features = [torch.cat(layer) for layer in zip(*parts, strict=True)]
        right = features[-1].argmax(1) == labels
        if int(right.sum()) < 2:
            raise DoesNotApply("TED needs at least two trusted images that the model gets right")
        return _Neighbours([layer[right] for layer in features], labels[right])

    def own(self) -> Tensor:
        """Return the ranks (M, layers) of the neighbours themselves, each without itself."""
        apart = [torch.cdist(layer, layer).fill_diagonal_(torch.inf) for layer in self.features]
        return torch.stack([_rank(distances, self.labels, self.labels) for distances in apart], 1)

    def ranks(self, context: Context, images: Tensor) -> Tensor:
        """Return the ranks (N, layers) of images."""
        found = [torch.zeros(0, len(self.features), device=images.device, dtype=torch.double)]
        for part in images.split(_BATCH) if len(images) else ():
            layers = _layers(context, part)
            predicted = layers[-1].argmax(1)
            apart = [torch.cdist(one, other) for one, other in zip(layers, self.features, strict=True)]
            found.append(torch.stack([_rank(distances, predicted, self.labels) for distances in apart], 1))
        return torch.cat(found)


def _rank(distances: Tensor, predicted: Tensor, labels: Tensor) -> Tensor:
    """Return (N,) how large a share of the M neighbours is nearer than the first one of the predicted class.

    Without a neighbour of that class it is 1.

    >>> _rank(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([1]), torch.tensor([0, 0, 1, 1])).tolist()
    [0.5]
    """
    same = predicted[:, None] == labels[None, :]
    first = distances.where(same, torch.inf).amin(1, keepdim=True)
    return (distances < first).double().mean(1)


@dataclass(frozen=True, slots=True)
class _Usual:
    """Mean (layers,) of clean trajectories, and principal directions (layers, D) divided by their deviations."""

    mean: Tensor
    directions: Tensor

    @staticmethod
    def of(ranks: Tensor) -> _Usual:
        centred = ranks - ranks.mean(0)
        # a direction in which clean images never vary would divide by zero: one rank's worth of variance is added
        least = (1 / len(ranks)) ** 2
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(ranks))
        return _Usual(ranks.mean(0), vectors / (values.clamp(min=0) + least).sqrt())

    def distance(self, ranks: Tensor) -> Tensor:
        return ((ranks - self.mean) @ self.directions).square().sum(1)


def _layers(context: Context, images: Tensor) -> list[Tensor]:
    """Return flat features (N, D) of each layer: what convolutions and linear layers but the first read, and logits."""
    found: list[Tensor] = []

    def note(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        maps = inputs[0].detach().float()
        if maps.ndim == 4 and max(maps.shape[2:]) > _SIDE:
            maps = adaptive_avg_pool2d(maps, (min(_SIDE, maps.shape[2]), min(_SIDE, maps.shape[3])))
        found.append(maps.flatten(1))

    kinds = (nn.Conv2d, nn.Linear)
    hooks = [module.register_forward_pre_hook(note) for module in context.model.modules() if isinstance(module, kinds)]
    try:
        logits = context.logits(images, batch=_BATCH)
    finally:
        for hook in hooks:
            hook.remove()
    return [*found[1:], logits]
