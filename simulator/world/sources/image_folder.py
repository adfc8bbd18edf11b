"""A user's own pictures: a folder of them for each class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, final

import numpy as np
from pydantic import Field

from simulator.errors import SourceError
from simulator.scenario.bounds import InnerShare
from simulator.world.pictures import fitted, flattened, open_picture
from simulator.world.sources.assemble import SMALLEST, Part, source_data, spread_split
from simulator.world.sources.base import Source, SourceData
from simulator.world.sources.classes import natural
from simulator.world.sources.unpacked import Block, unpacked

Side = Annotated[int, Field(ge=SMALLEST, le=1024)]

#: endings of files that are read; all others are left alone
ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

_TRAIN, _TEST = "train", ("test", "val", "valid", "validation")
_AT_A_TIME = 64
_NAMED = 3  # files that cannot be read, in the sentence


@final
@dataclass(eq=False, kw_only=True)
class ImageFolder(Source):
    """The pictures below `root`: a folder for each class, named as the class (torchvision's ImageFolder layout).

    `root` holds the folders of the classes, or `train` and `test` (or `val`), each with folders of classes. Without a
    test part, `test_share` of the pictures, in (0, 1), become one, drawn evenly over all classes by `split_seed`.
    Pictures of any size are brought to `size` pixels, [height, width] or one number: `fit: crop` cuts out the middle,
    `stretch` does not keep proportions. `channels` is 3 (colour) or 1 (grey). Transparent parts show a `background` of
    grey, 0 to 255; pictures are turned as their EXIF data say; of 16 bits the upper 8 are kept. Files with other
    endings than those of pictures are left alone; pictures that cannot be read, or have more than 50 million pixels,
    are named in a `SourceError`.

    The pictures are decoded once and kept in the workspace (`cache/data`) for as long as the files stay the same.

    >>> ImageFolder(root="pets", size=32, channels=1, fit="stretch").load()
    Traceback (most recent call last):
    simulator.errors.SourceError: expected 'pets' to be a folder of pictures, got no such folder; correct source.root
    """

    #: options for the conformance checks
    example: ClassVar[dict[str, Any]] = {"root": "no-such-folder"}

    root: str
    size: Side | tuple[Side, Side] = 32
    channels: Literal[1, 3] = 3
    fit: Literal["crop", "stretch"] = "crop"
    background: Annotated[int, Field(ge=0, le=255)] = 255
    test_share: InnerShare = 0.2
    split_seed: int = 0

    def load(self) -> SourceData:
        """Decode the pictures, or find them decoded; `SourceError` says what is wrong with them."""
        root = Path(os.path.expanduser(self.root))
        if not root.is_dir():
            raise SourceError(
                f"expected '{self.root}' to be a folder of pictures, got no such folder; correct source.root"
            )
        train = root / _TRAIN if (root / _TRAIN).is_dir() else root
        own = next((root / name for name in _TEST if train != root and (root / name).is_dir()), None)
        found, tested = _pictures(train), {} if own is None else _pictures(own)
        names = tuple(sorted({*found.values(), *tested.values()}, key=natural))
        files = [*found, *tested]
        labels = np.array([names.index(name) for name in [*found.values(), *tested.values()]], dtype=np.int64)
        test = np.arange(len(files)) >= len(found)
        if own is None:
            test[spread_split(len(files), self.test_share, self.split_seed)[1]] = True
        height, width = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        options = (height, width, self.channels, self.fit, self.background, test.tolist())
        images = unpacked(
            files,
            options,
            (self.channels, height, width),
            (int((~test).sum()), int(test.sum())),
            lambda: self._decoded(files, test, height, width),
            small=0,
        )
        parts = [Part(np.moveaxis(part, 1, 3), labels[mine]) for part, mine in zip(images, (~test, test), strict=True)]
        return source_data(self.root, parts[0], parts[1], class_names=names)

    def _decoded(self, files: Sequence[Path], test: Any, height: int, width: int) -> Iterator[Block]:
        bad: list[str] = []
        for first in range(0, len(files), _AT_A_TIME):
            rows = []
            for path in files[first : first + _AT_A_TIME]:
                try:
                    picture = fitted(open_picture(path), height, width, self.fit)
                    rows.append(flattened(picture, self.channels, self.background))
                except ValueError as error:
                    bad.append(f"'{path}' ({error})")
            if not bad:
                yield np.stack(rows), test[first : first + _AT_A_TIME]
        if bad:
            more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
            raise SourceError(
                f"expected every picture of '{self.root}' to be readable, got {', '.join(bad[:_NAMED])}{more}; "
                "replace or remove them"
            )


def _pictures(folder: Path) -> dict[Path, str]:
    """Return the class of every picture below `folder`, ordered by class and name."""
    classes = sorted((path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."), key=_by_name)
    found: dict[Path, str] = {}
    for of_class in classes:
        _check_name(of_class)
        mine = [path for path in of_class.rglob("*") if path.suffix.lower() in ENDINGS and path.name[0] != "."]
        if not mine:
            raise SourceError(
                f"expected '{of_class}' to hold pictures ({', '.join(ENDINGS)}), got none; add some, or drop it"
            )
        found |= dict.fromkeys(sorted(mine, key=_by_name), of_class.name)
    if not found:
        raise SourceError(f"expected '{folder}' to hold a folder of pictures for each class, got none; make them")
    return found


def _check_name(folder: Path) -> None:
    """Refuse a name that is not in UTF-8: no record, page or store could hold it."""
    try:
        folder.name.encode()
    except UnicodeEncodeError as error:
        raise SourceError(
            f"expected the folder of a class to have a name in UTF-8, got {os.fsencode(folder.name)!r} "
            f"in '{folder.parent}'; rename it"
        ) from error


def _by_name(path: Path) -> tuple[list[str | int], str]:
    return natural(str(path))
