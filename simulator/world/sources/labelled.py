"""A user's own labelled or unlabelled images in one NumPy archive, whole: no part of them is set aside."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulator.errors import SourceError
from simulator.world.sources.archive import NEEDED, Archive, open_archive
from simulator.world.sources.assemble import Part, check_parts, digest_of_arrays
from simulator.world.sources.classes import MOST


@final
@dataclass(frozen=True, slots=True)
class Labelled:
    """`images` float32 (N, C, H, W) in [0, 1], `labels` int64 (N,); `digest` is the SHA-256 of both as in the file."""

    name: str
    images: Tensor
    labels: Tensor
    digest: str


def read_labelled(path: str, option: str) -> Labelled:
    """Return `images` and `labels` of the npz archive at `path`, in the form that the source `npz` takes.

    Labels number the classes from 0. Raises `SourceError`; `option` is what gave the path, to be corrected.
    """
    return _read(path, option, NEEDED)


def read_images(path: str, option: str) -> Labelled:
    """Return the `images` of the npz archive at `path`, all labelled 0, whatever labels it holds."""
    return _read(path, option, ("images",))


def _read(path: str, option: str, needed: tuple[str, ...]) -> Labelled:
    archive = open_archive(Path(os.path.expanduser(path)), path, correct=option, needed=needed)
    stored = archive.images
    if stored.dtype != np.uint8:
        raise SourceError(f"{path}: expected images to be uint8 in 0..255, got {stored.dtype}; convert them")
    count = stored.shape[0] if stored.shape else 0
    labels = archive.arrays["labels"] if "labels" in needed else np.zeros(count, np.int64)
    rows = Part(stored.stand_in, labels)
    check_parts(path, rows, rows, classes=MOST)
    return _whole(path, archive, labels)


def _whole(path: str, archive: Archive, labels: NDArray[Any]) -> Labelled:
    images = np.concatenate(list(archive.blocks(archive.images)))
    plain = np.ascontiguousarray(np.moveaxis(images[..., None] if images.ndim == 3 else images, 3, 1))
    numbered = labels.astype(np.int64)
    digest = digest_of_arrays(plain, numbered)
    return Labelled(path, torch.from_numpy(plain).float() / 255, torch.from_numpy(numbered), digest)
