"""What a source's images look like: values, constant images, duplicates; and what in it looks like a wrong scale."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.world.sources.base import SourceData

#: bytes of images that are looked at; of a larger source rows from all over it
LOOKED_AT = 128_000_000

#: values of 255 up to which images that go no higher look as if they were scaled for another type
_DARK = 16
#: mean values beyond which nearly everything is black or white
_BLACK, _WHITE = 2.0, 253.0
#: share of constant images, or of duplicates, from which on something looks wrong
_MANY = 0.2

_REMEMBERED = 16
_KNOWN: dict[str, ImageFacts] = {}


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Facts about the images of a source as bytes, 0 to 255.

    Shares are of the images looked at: `constant` of those with one value alone, `duplicates` of those that are equal
    to an earlier one, `leaked` of test images that are a train image too.
    """

    looked_at: int
    lowest: int
    highest: int
    mean: float
    constant: float
    duplicates: float
    leaked: float

    @property
    def warnings(self) -> list[str]:
        """What looks like a mistake, in a sentence each."""
        found = []
        if self.highest <= 1:
            found.append(
                f"no image has a value above {self.highest} of 255, as where values in 0 to 1 were made whole numbers: "
                "state their range (source.range), or multiply by 255 before they are converted"
            )
        elif self.highest <= _DARK:
            found.append(
                f"no image has a value above {self.highest} of 255: check the scale of the images, or state their range"
            )
        elif not _BLACK <= self.mean <= _WHITE:
            tone = "black" if self.mean < _BLACK else "white"
            found.append(f"the images are nearly all {tone} (mean {self.mean:.2f} of 255): check their scale")
        if self.constant >= _MANY:
            found.append(f"{_percent(self.constant)} of the images hold one value alone: check how they were made")
        if self.duplicates >= _MANY:
            found.append(f"{_percent(self.duplicates)} of the images are equal to an earlier one")
        if self.leaked >= _MANY:
            found.append(
                f"{_percent(self.leaked)} of the test images are train images too: accuracy will look too good"
            )
        return found

    def __str__(self) -> str:
        return (
            f"values {self.lowest} to {self.highest} of 255, mean {self.mean:.1f}; {_percent(self.constant)} constant, "
            f"{_percent(self.duplicates)} duplicates"
        )


def image_facts(data: SourceData) -> ImageFacts:
    """Return the facts about a source's images; remembered by their digest, not with the images."""
    if data.digest not in _KNOWN:
        if len(_KNOWN) >= _REMEMBERED:
            _KNOWN.clear()
        _KNOWN[data.digest] = _facts(data)
    return _KNOWN[data.digest]


def _facts(data: SourceData) -> ImageFacts:
    size = max(1, data.images[0].size)
    most = max(1, LOOKED_AT // size)
    train, test = (_spread(images, most) for images in (data.images, data.test_images))
    own, held_out = _hashes(train), _hashes(test)
    both = [*own, *held_out]
    known = set(own)
    constant = sum(int((part == part[:, :1]).all(1).sum()) for part in (train, test))
    return ImageFacts(
        looked_at=len(both),
        lowest=min(int(train.min()), int(test.min())),
        highest=max(int(train.max()), int(test.max())),
        mean=float((train.mean() * train.size + test.mean() * test.size) / (train.size + test.size)),
        constant=constant / len(both),
        duplicates=1 - len(set(both)) / len(both),
        leaked=sum(each in known for each in held_out) / len(held_out),
    )


def _spread(images: NDArray[np.uint8], most: int) -> NDArray[Any]:
    """Return at most `most` rows from all over `images`, each flat."""
    step = -(-len(images) // most)
    rows = images if step == 1 else images[::step]
    return rows.reshape(len(rows), -1)


def _hashes(rows: NDArray[np.uint8]) -> list[bytes]:
    return [hashlib.blake2b(row.data, digest_size=12).digest() for row in np.ascontiguousarray(rows)]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share else "none"
