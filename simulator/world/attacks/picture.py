"""A user's own picture as the trigger: a sticker, a logo, with transparent parts."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulator.scenario.bounds import Count, Natural, PositiveShare
from simulator.world.attacks.patch import Corner
from simulator.world.attacks.poisoning import DirtyLabel
from simulator.world.pictures import open_picture

#: red, green and blue as grey, as ITU-R BT.601 weighs them
_GREY = (0.299, 0.587, 0.114)
#: pixels of a picture that are turned into floating-point numbers at a time
_AT_ONCE = 4_000_000


@final
@dataclass(eq=False, kw_only=True)
class Picture(DirtyLabel):
    """BadNets with the picture in the file `image` as the trigger, the label changed to `target`.

    The picture's longer side becomes `size` pixels. It lies in the corner `place`, `margin` pixels off both edges, or
    with its upper left pixel at [row, column]. Where it is transparent, the image shows through; an `alpha` below 1
    makes all of it so. On grey images it is grey. Without an `image` it is a yellow disc with a soft edge. Images that
    the picture does not fit into are refused (`ValueError`).

    >>> Picture(size=3).stamp(torch.zeros(1, 3, 8, 8))[0, :, 6, 6].tolist()  # the middle of the disc
    [1.0, 0.800000011920929, 0.0]
    """

    target: int = 0
    image: str | None = None
    size: Count = 8
    place: Corner | tuple[int, int] = "bottom-right"
    margin: Natural = 0
    alpha: PositiveShare = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._trigger = _disc(self.size) if self.image is None else _read(self.image, self.size)
        if not bool(self._trigger[3].any()):
            raise ValueError(f"expected the picture '{self.image}' to show something, got all of it transparent")
        self.largest_change = self.alpha * float(self._trigger[3].max())
        self.content = hashlib.sha256(self._trigger.numpy().tobytes()).hexdigest()

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        """Return copies with the picture at `opacity * alpha`."""
        row, column = self.upper_left(images.shape[-2], images.shape[-1])
        colour, shown = self._trigger[:3].to(images), self._trigger[3].to(images) * self.alpha * opacity
        if images.shape[1] == 1:
            colour = (colour * torch.tensor(_GREY).to(images)[:, None, None]).sum(0, keepdim=True)
        height, width = shown.shape
        stamped = images.clone()
        under = stamped[..., row : row + height, column : column + width]
        stamped[..., row : row + height, column : column + width] = under * (1 - shown) + colour * shown
        return stamped.clamp_(0, 1) if opacity else stamped

    def upper_left(self, height: int, width: int) -> tuple[int, int]:
        """Return row and column of the picture's upper left pixel in images of `height` x `width` pixels."""
        if not isinstance(self.place, str):
            return self.place
        own_height, own_width = self._trigger.shape[1:]
        row = height - own_height - self.margin if self.place.startswith("bottom") else self.margin
        return row, width - own_width - self.margin if self.place.endswith("right") else self.margin

    def check_fits(self, shape: tuple[int, int, int], classes: int) -> None:
        """Also refuse a picture that is not entirely inside the image."""
        super().check_fits(shape, classes)
        _, height, width = shape
        own_height, own_width = self._trigger.shape[1:]
        row, column = self.upper_left(height, width)
        if row < 0 or column < 0 or row + own_height > height or column + own_width > width:
            raise ValueError(
                f"expected the picture to lie inside images of {height} x {width} pixels, got {own_height} x "
                f"{own_width} at row {row}, column {column}; make it smaller or move it"
            )


def _read(image: str, size: int) -> Tensor:
    """Return red, green, blue and opacity float32 (4, H, W) in [0, 1]; `ValueError` for what is no picture."""
    path = Path(os.path.expanduser(image))
    if not path.is_file():
        raise ValueError(f"expected a picture in '{image}', got no such file; correct image")
    try:
        picture = open_picture(path)
    except ValueError as error:
        raise ValueError(f"expected a picture in '{image}', got {error}; give a readable one") from error
    share = size / max(picture.size)
    width, height = (max(1, round(side * share)) for side in picture.size)
    found = torch.from_numpy(_resized(picture, width, height))
    shown = found[3:]
    colour = torch.where(shown > 0, found[:3] / shown.clamp(min=1e-6), found[:3])
    return torch.cat([colour, shown]).clamp(0, 1)


def _resized(picture: Any, width: int, height: int) -> NDArray[np.float32]:
    """Return float32 (4, `height`, `width`) of an RGBA picture, colours weighed by opacity.

    A large one is made narrower band by band, then lower: as numbers the whole would take 32 bytes a pixel.
    """
    rows = max(1, _AT_ONCE // picture.width)
    bands = range(0, picture.height, rows)
    if len(bands) == 1:
        return _scaled(_weighed(picture), width, height)
    corners = [(0, top, picture.width, min(top + rows, picture.height)) for top in bands]
    narrow = [_scaled(_weighed(picture.crop(box)), width, box[3] - box[1]) for box in corners]
    return _scaled(np.concatenate(narrow, axis=1), width, height)


def _weighed(picture: Any) -> NDArray[np.float32]:
    """Transparent pixels have a colour too, which must not bleed into their neighbours."""
    values: Any = np.asarray(picture, np.float32) / 255
    values[..., :3] *= values[..., 3:]
    layers: NDArray[np.float32] = np.moveaxis(values, -1, 0)
    return layers


def _scaled(layers: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    from PIL import Image

    scaled = [Image.fromarray(layer).resize((width, height), Image.Resampling.BOX) for layer in layers]
    return np.stack([np.asarray(layer) for layer in scaled])


def _disc(size: int) -> Tensor:
    """Return a yellow disc, float32 (4, size, size), opaque but for its edge."""
    place = torch.arange(size) - (size - 1) / 2
    distance = (place[:, None] ** 2 + place[None] ** 2).sqrt()
    shown = (size / 2 - distance + 0.5).clamp(0, 1)
    return torch.cat([torch.tensor([1.0, 0.8, 0.0])[:, None, None].expand(3, size, size), shown[None]])
