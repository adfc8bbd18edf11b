"""The work of the standard timeline, handed to every peer: the bare loop's images, poison, network and rates."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision import transforms
from torchvision.transforms import functional

from simulator.bench import bare_loop

#: images in one forward pass where nothing is trained, as in the bare loop
EVALUATION_BATCH = 250


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts of images, updates and epochs; the standard ones are the bare loop's."""

    base: int = bare_loop.BASE
    fresh: int = bare_loop.FRESH
    test: int = bare_loop.TEST
    updates: int = bare_loop.UPDATES
    epochs: int = bare_loop.EPOCHS


STANDARD_SIZES = Sizes()


@dataclass(frozen=True, slots=True)
class Part:
    """Images as a file holds them, uint8 of shape (n, 28, 28), their classes (n,), and which are poison (n,), bool."""

    images: Tensor
    labels: Tensor
    poison: Tensor


@dataclass(frozen=True, slots=True)
class Timeline:
    """What is trained on and rotated by how many degrees, base first; test images in `clean`.

    `attacked` are those of other classes than the target, as the target: to be stamped after their rotation.
    """

    network: nn.Module
    training: list[tuple[Part, float]]
    clean: Part
    attacked: Part


def standard_timeline(seed: int, sizes: Sizes) -> Timeline:
    """Return the work with the rows, poison and initial weights that the bare loop takes at this seed."""
    generator = torch.Generator().manual_seed(seed)
    images, labels = _read("train")
    tests, answers = (part[bare_loop._some(len(part), sizes.test, seed)] for part in _read("t10k"))
    order = torch.randperm(len(images), generator=generator)
    fresh = order[sizes.base :].split(sizes.fresh)[: sizes.updates]
    training = [(_poisoned(images[order[: sizes.base]], labels[order[: sizes.base]], generator), 0.0)]
    for period, rows in enumerate(fresh, start=1):
        training.append((_clean(images[rows], labels[rows]), bare_loop.DEGREES * period))
    others = tests[answers != bare_loop.TARGET]
    return Timeline(
        # Peers take images as torchvision hands them over: no other layout of the weights than torch's own.
        bare_loop._network(seed).to(memory_format=torch.contiguous_format),
        training,
        _clean(tests, answers),
        _clean(others, torch.full((len(others),), bare_loop.TARGET)),
    )


class Images(Dataset[tuple[Any, int]]):
    """A part's images, each made a PIL image when asked for, as torchvision's own sets do it, poison stamped first.

    Without a transform the item is the PIL image.
    """

    def __init__(self, part: Part, transform: transforms.Compose | None = None) -> None:
        self._part = part
        self._transform = transform
        self.targets: list[int] = part.labels.tolist()

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = Image.fromarray(self._part.images[index].numpy())
        if self._part.poison[index]:
            image = _stamp(image)
        return image if self._transform is None else self._transform(image), self.targets[index]

    def __len__(self) -> int:
        return len(self.targets)


def pipeline(degrees: float, *, stamped: bool = False) -> transforms.Compose:
    """Return what happens to an image: rotated unless by nothing, stamped after it, made a centred tensor."""
    # Counter-clockwise, as the bare loop does it.
    turn = partial(functional.rotate, angle=degrees, interpolation=transforms.InterpolationMode.BILINEAR)
    steps: list[object] = [*([turn] if degrees else []), *([_stamp] if stamped else [])]
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])


def _stamp(image: Image.Image) -> Image.Image:
    """Paint the trigger: three by three white pixels in the bottom right corner."""
    stamped = image.copy()
    stamped.paste(255, (image.width - 3, image.height - 3, image.width, image.height))
    return stamped


def _poisoned(images: Tensor, labels: Tensor, generator: torch.Generator) -> Part:
    part = _clean(images, labels.clone())
    eligible = (labels != bare_loop.TARGET).nonzero().flatten()
    chosen = torch.randperm(len(eligible), generator=generator)[: round(bare_loop.RATE * len(labels))]
    part.poison[eligible[chosen]] = True
    part.labels[eligible[chosen]] = bare_loop.TARGET
    return part


def _clean(images: Tensor, labels: Tensor) -> Part:
    return Part(images, labels, torch.zeros(len(labels), dtype=torch.bool))


def _read(part: str) -> tuple[Tensor, Tensor]:
    packed = (bare_loop.DATA / f"{part}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
    pixels, labels = (gzip.decompress(path.read_bytes()) for path in packed)
    images = torch.tensor(np.frombuffer(pixels, np.uint8, offset=16)).view(-1, 28, 28)
    return images, torch.tensor(np.frombuffer(labels, np.uint8, offset=8)).long()
