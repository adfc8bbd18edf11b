"""Changes injected into the data, period by period. The truth about them reaches the observer, never production."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, final

import torch
from torch import Tensor

from simulator.errors import PluginError
from simulator.scenario.bounds import Bounded, Count, Finite, Natural, NonNegative, Share
from simulator.world.turning import turned

Pattern = Literal["gradual", "sudden", "recurring", "none"]
Sampling = Literal["jittered", "plain"]
Counts = Literal["drawn", "exact"]

_ROWS = 500  # images changed at once; part of what a seed means, because noise is drawn part by part


class Drift(Bounded, ABC):
    """One kind of change and its course over the periods. Subclasses are abstract or final.

    `step` is the magnitude of one step, a finite number in the drift's own unit. `pattern` is `gradual` (one step more
    each period, the first in period `at`), `sudden` (one step from period `at` on), `recurring` (one step for `every`
    periods from `at` on, none for the next `every`, and so on) or `none`. Period 0, the base training, is undrifted
    unless `at` is 0.
    """

    def __init__(self, *, step: Finite, pattern: Pattern = "gradual", at: Natural = 1, every: Count = 1) -> None:
        self.step = step
        self.pattern = pattern
        self.at = at
        self.every = every

    @property
    def resamples(self) -> bool:
        """Whether images pass `apply` at magnitude 0 too, so that changed and unchanged images are sampled alike."""
        return False

    def magnitude(self, period: int) -> float:
        """Return the change in `period`, in the drift's own unit; 0 is none."""
        since = period - self.at
        if since < 0 or self.pattern == "none":
            return 0.0
        if self.pattern == "gradual":
            return self.step * (since + 1)
        if self.pattern == "sudden":
            return self.step
        return self.step if since // self.every % 2 == 0 else 0.0

    @abstractmethod
    def apply(self, images: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
        """Return changed copies of `images` float32 (N, C, H, W) in [0, 1]; draw from the CPU `generator` alone.

        Values may leave [0, 1]; `change` clamps them.
        """

    @final
    def change(
        self, images: Tensor, magnitude: float, generator: torch.Generator, *, into: Tensor | None = None
    ) -> Tensor:
        """Apply the drift a few hundred images at a time and clamp to [0, 1].

        Magnitude 0 returns `images` itself, unless the drift `resamples`. The result is written to `into` where given:
        a tensor of the shape of `images`, or `images` itself if it is not needed any more. Raises `PluginError` when
        `apply` returns images of another shape, type or device.
        """
        if not len(images) or (magnitude == 0 and not self.resamples):
            return images
        changed = torch.empty_like(images) if into is None else into
        for part, room in zip(images.split(_ROWS), changed.split(_ROWS), strict=True):  # bounds the memory in use
            torch.clamp(self._alike(self.apply(part, magnitude, generator), part), 0, 1, out=room)
        return changed

    def _alike(self, found: Tensor, given: Tensor) -> Tensor:
        """Return `found` if shape, type and device are those of `given`, because `copy_` would convert silently."""
        if (found.shape, found.dtype, found.device) != (given.shape, given.dtype, given.device):
            raise PluginError(
                f"expected drift {type(self).__name__} to return images {_kind(given)}, got {_kind(found)}; "
                "return as many of the same kind"
            )
        return found

    def prior(self, shares: Tensor, magnitude: float) -> Tensor | None:
        """Return the class shares float64 (classes,) that `shares` drift to, or None when they stay."""
        return None

    @property
    def exact_counts(self) -> bool:
        """Whether a batch holds each class as often as the shares say, without the variation of rows drawn by them."""
        return False

    def check_fits(self, shape: tuple[int, int, int], classes: int) -> None:
        """Raise `ValueError` when the drift cannot be applied to images of `shape` (C, H, W) and `classes`."""


def _kind(images: Tensor) -> str:
    return f"{tuple(images.shape)} of {images.dtype} on {images.device}"


@final
class Rotation(Drift):
    """Turns every image counter-clockwise about its centre by `degrees` a step; pixels from outside it are black (0).

    Interpolation blurs, and by how much depends on where the new pixels fall between the old ones. If turned images
    alone were interpolated, a monitor would see the blur and not the turn. So by default (`sampling: jittered`) the
    images of *every* period, those at 0 degrees too, are interpolated once, about a centre that is drawn anew for each
    image, up to half a pixel off in both directions: at any angle the new pixels fall anywhere between the old ones.
    Interpolation is bicubic.

    `sampling: plain` turns about the centre itself, by bilinear interpolation, and leaves images at 0 degrees as they
    are: what is seen at small angles is mostly blur.

    >>> [Rotation(degrees=5.0).magnitude(period) for period in range(4)]
    [0.0, 5.0, 10.0, 15.0]
    >>> image = torch.tensor([[[[0.0, 1.0], [0.0, 0.0]]]])
    >>> Rotation(sampling="plain").apply(image, 90.0, torch.Generator())
    tensor([[[[1., 0.],
              [0., 0.]]]])
    """

    def __init__(
        self,
        *,
        degrees: Finite = 5.0,
        pattern: Pattern = "gradual",
        at: Natural = 1,
        every: Count = 1,
        sampling: Sampling = "jittered",
    ) -> None:
        super().__init__(step=degrees, pattern=pattern, at=at, every=every)
        self.degrees = degrees
        self.sampling = sampling

    @property
    def resamples(self) -> bool:
        """All images are interpolated unless the sampling is plain."""
        return self.sampling == "jittered"

    def apply(self, images: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
        """Turn by `magnitude` degrees."""
        if self.sampling == "plain":
            return turned(images, magnitude, torch.zeros(1, 2), "bilinear")
        return turned(images, magnitude, torch.rand(len(images), 2, generator=generator) - 0.5, "bicubic")


@final
class Brightness(Drift):
    """Adds `amount` a step to every pixel; 1 is the whole range from black to white, negative is darker.

    >>> [Brightness(amount=0.25, pattern="sudden", at=2).magnitude(period) for period in range(4)]
    [0.0, 0.0, 0.25, 0.25]
    >>> Brightness().change(torch.tensor([[[[0.0, 0.5], [0.75, 1.0]]]]), 0.25, torch.Generator())
    tensor([[[[0.2500, 0.7500],
              [1.0000, 1.0000]]]])
    """

    def __init__(
        self, *, amount: Finite = 0.05, pattern: Pattern = "gradual", at: Natural = 1, every: Count = 1
    ) -> None:
        super().__init__(step=amount, pattern=pattern, at=at, every=every)
        self.amount = amount

    def apply(self, images: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
        """Add `magnitude`."""
        return images + magnitude


@final
class Contrast(Drift):
    """Multiplies each image's distance from its own mean grey by 1 + magnitude; `amount` a step, negative is flatter.

    At -1 and below every pixel is that mean. The grey of colours is 0.2989 R + 0.587 G + 0.114 B, as in torchvision.

    >>> [Contrast(amount=-0.5, pattern="recurring", every=2).magnitude(period) for period in range(6)]
    [0.0, -0.5, -0.5, 0.0, 0.0, -0.5]
    >>> Contrast().apply(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]), -0.5, torch.Generator())
    tensor([[[[0.2500, 0.7500],
              [0.2500, 0.7500]]]])
    """

    def __init__(
        self, *, amount: Finite = -0.1, pattern: Pattern = "gradual", at: Natural = 1, every: Count = 1
    ) -> None:
        super().__init__(step=amount, pattern=pattern, at=at, every=every)
        self.amount = amount

    def apply(self, images: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
        """Multiply contrast by 1 + `magnitude`, at least 0."""
        grey = images
        if images.shape[1] == 3:
            weights = torch.tensor([0.2989, 0.587, 0.114], device=images.device).reshape(1, 3, 1, 1)
            grey = (images * weights).sum(1, keepdim=True)
        mean = grey.mean(dim=(1, 2, 3), keepdim=True)
        return mean + (images - mean) * max(0.0, 1 + magnitude)


@final
class Noise(Drift):
    """Adds Gaussian noise of standard deviation `std` a step to every pixel and channel.

    >>> [Noise(std=0.5).magnitude(period) for period in range(4)]
    [0.0, 0.5, 1.0, 1.5]
    >>> noisy = Noise().apply(torch.zeros(1, 1, 64, 64), 0.5, torch.Generator().manual_seed(0))
    >>> round(noisy.std().item(), 1)
    0.5
    """

    def __init__(
        self, *, std: NonNegative = 0.02, pattern: Pattern = "gradual", at: Natural = 1, every: Count = 1
    ) -> None:
        super().__init__(step=std, pattern=pattern, at=at, every=every)
        self.std = std

    def apply(self, images: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
        """Add noise of standard deviation `magnitude`, the same on every device."""
        noise = torch.randn(images.shape, generator=generator)
        return images + noise.to(images) * magnitude


@final
class Hue(Drift):
    """Turns the hue of colour images by `degrees` a step: 120 takes red to green, green to blue, blue to red.

    >>> [Hue(degrees=120.0, pattern="sudden").magnitude(period) for period in range(3)]
    [0.0, 120.0, 120.0]
    >>> red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    >>> Hue().apply(red, 120.0, torch.Generator()).flatten().tolist()
    [0.0, 1.0, 0.0]
    """

    def __init__(
        self, *, degrees: Finite = 10.0, pattern: Pattern = "gradual", at: Natural = 1, every: Count = 1
    ) -> None:
        super().__init__(step=degrees, pattern=pattern, at=at, every=every)
        self.degrees = degrees

    def apply(self, images: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
        """Turn the hue by `magnitude` degrees."""
        # in HSV, channel k is value - value * saturation * clamp(min(p, 4 - p), 0, 1), p = (offset k + hue / 60) mod 6
        value, low = images.amax(1), images.amin(1)
        offsets = torch.tensor([5.0, 3.0, 1.0], device=images.device).reshape(1, 3, 1, 1)
        sixth = (offsets + (_sixths_of_hue(images) + magnitude / 60)[:, None]) % 6
        return value[:, None] - (value - low)[:, None] * torch.minimum(sixth, 4 - sixth).clamp(0, 1)

    def check_fits(self, shape: tuple[int, int, int], classes: int) -> None:
        """Refuse grey images."""
        if shape[0] != 3:
            raise ValueError(f"expected images of 3 channels for a hue, got {shape[0]}; use brightness or contrast")


def _sixths_of_hue(images: Tensor) -> Tensor:
    """Return the hue (N, H, W) of RGB images in sixths of a turn, [0, 6); 0 for greys."""
    red, green, blue = images.unbind(1)
    value = images.amax(1)
    range_ = value - images.amin(1)
    width = torch.where(range_ > 0, range_, torch.ones_like(range_))
    from_red = (green - blue) / width
    from_green = (blue - red) / width + 2
    from_blue = (red - green) / width + 4
    return torch.where(value == red, from_red, torch.where(value == green, from_green, from_blue)) % 6


@final
class LabelPrior(Drift):
    """Moves `share` of the rows a step, in [0, 1], from all classes to the class `favoured`; images stay as they are.

    The shares become (1 - m) * the source's own + m * all in `favoured`; m is the magnitude, at most 1. An update's
    batch follows them; validation, trusted and re-learning rows keep the source's own mix.

    Each row's class is drawn by these shares: the counts vary from batch to batch as those of undrifted batches do.
    With `counts: exact` they are the shares of the batch's size (largest remainder). Undrifted batches vary, so exact
    ones can look *less* drifted than none while m is small.

    >>> [LabelPrior(share=0.4).magnitude(period) for period in range(4)]
    [0.0, 0.4, 0.8, 1.0]
    >>> LabelPrior(favoured=2).prior(torch.tensor([0.5, 0.25, 0.25]), 0.4)
    tensor([0.3000, 0.1500, 0.5500])
    """

    def __init__(
        self,
        *,
        share: Share = 0.1,
        favoured: int = 0,
        pattern: Pattern = "gradual",
        at: Natural = 1,
        every: Count = 1,
        counts: Counts = "drawn",
    ) -> None:
        super().__init__(step=share, pattern=pattern, at=at, every=every)
        self.share = share
        self.favoured = favoured
        self.counts = counts

    @property
    def exact_counts(self) -> bool:
        """As the option `counts` says."""
        return self.counts == "exact"

    def magnitude(self, period: int) -> float:
        """Return the share moved in `period`, at most 1."""
        return min(1.0, super().magnitude(period))

    def apply(self, images: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
        """Return the images as they are."""
        return images.clone()

    def prior(self, shares: Tensor, magnitude: float) -> Tensor | None:
        """Return the mixed shares; None at magnitude 0."""
        if magnitude == 0:
            return None
        moved = shares * (1 - magnitude)
        moved[self.favoured] += magnitude
        return moved

    def check_fits(self, shape: tuple[int, int, int], classes: int) -> None:
        """Refuse a class that the source does not have."""
        if not 0 <= self.favoured < classes:
            raise ValueError(
                f"expected favoured to be in [0, {classes - 1}], got {self.favoured}; choose a class of the source"
            )


@final
class NoDrift(Drift):
    """Changes nothing.

    >>> NoDrift().magnitude(5)
    0.0
    """

    def __init__(self) -> None:
        super().__init__(step=0.0, pattern="none")

    def apply(self, images: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
        """Return the images as they are."""
        return images.clone()
