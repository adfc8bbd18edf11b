"""One seed per (stage, period), so that no stage can disturb another's randomness."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def seed_for(root: int, *path: str | int) -> int:
    """Return the seed of one purpose: a 63-bit integer that depends on `root` and on every part of `path`.

    Parts are length-prefixed before hashing, so ("ab", "c") and ("a", "bc") differ.
    """
    digest = hashlib.sha256()
    for part in (root, *path):
        text = f"{type(part).__name__}:{part}".encode()
        digest.update(len(text).to_bytes(4, "big") + text)
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def generator(root: int, *path: str | int, device: str = "cpu") -> torch.Generator:
    """Return a torch generator seeded by `seed_for(root, *path)` on `device`."""
    import torch

    return torch.Generator(device=device).manual_seed(seed_for(root, *path))
