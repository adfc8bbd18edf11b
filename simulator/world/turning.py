"""Images turned about a point: each pixel of the result is interpolated where it comes from."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import grid_sample


def turned(images: Tensor, degrees: float, offsets: Tensor, mode: Literal["bilinear", "bicubic"]) -> Tensor:
    """Return `images` (N, C, H, W) turned counter-clockwise by `degrees`; what comes from outside is 0.

    `offsets` (N or 1, 2) are added, in pixels (down, right), to the places that an image is read at: 0 turns it about
    its centre. Bicubic is the cubic convolution of Keys (1981) with a = -0.75; it may leave the range of the images.

    >>> image = torch.tensor([[[[0.0, 1.0], [0.0, 0.0]]]])
    >>> turned(image, 0.0, torch.tensor([[0.0, 0.5]]), "bilinear")
    tensor([[[[0.5000, 0.5000],
              [0.0000, 0.0000]]]])
    """
    height, width = images.shape[-2:]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rows = torch.arange(height, dtype=torch.float64) - (height - 1) / 2
    columns = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    row, column = torch.meshgrid(rows, columns, indexing="ij")
    # in grid_sample's units: -1 and 1 are the image's outer edges
    scale = torch.tensor([2 / width, 2 / height], dtype=torch.float64)
    centred = torch.stack([cosine * column - sine * row, sine * column + cosine * row], dim=-1) * scale
    moved = offsets.flip(1).double() * scale
    grid = centred.to(images) + moved.to(images)[:, None, None]
    grid = grid.expand(len(images), -1, -1, -1)
    return grid_sample(images, grid, mode=mode, padding_mode="zeros", align_corners=False)
