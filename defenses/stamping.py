"""A trigger on images: a pattern that shows through at an opacity, pixel by pixel."""

from __future__ import annotations

from torch import Tensor


def stamped(images: Tensor, opacity: Tensor, pattern: Tensor) -> Tensor:
    """Return `images` (N, C, H, W) under a trigger: `opacity` (1, H, W) of `pattern` (C, H, W), both in [0, 1].

    Of several triggers, `opacity` (T, 1, 1, H, W) and `pattern` (T, 1, C, H, W), the images (T, N, C, H, W) under each.

    >>> import torch
    >>> half, white = torch.full((1, 1, 1), 0.5), torch.ones(1, 1, 1)
    >>> stamped(torch.tensor([[[[0.0]]]]), half, white).item()
    0.5
    """
    return images + opacity * (pattern - images)


def under_each(images: Tensor, triggers: Tensor) -> Tensor:
    """Return images (T, N, C, H, W): `images` (N, C, H, W) under each of `triggers` (T, 1 + C, H, W).

    A trigger is its opacity and, channel by channel, its pattern.

    >>> import torch
    >>> under_each(torch.zeros(1, 1, 1, 1), torch.tensor([[[[0.25]], [[1.0]]]])).item()
    0.25
    """
    return stamped(images, triggers[:, None, :1], triggers[:, None, 1:])
