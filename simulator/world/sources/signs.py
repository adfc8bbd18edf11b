"""Reads traffic signs as GTSRB stores them: folders of `.ppm` images of many sizes, and a table of test labels."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from simulator.errors import SourceError
from simulator.world.sources.assemble import Part

SIDE = 32  # pixels


def read_train_signs(folder: Path) -> Part:
    """Return all images below `folder`, whose sub-folders are named by class number (`00000` ...)."""
    rows: list[tuple[Path, int]] = []
    for of_class in sorted(path for path in folder.iterdir() if path.is_dir()):
        if not of_class.name.isdecimal():
            raise SourceError(f"expected the folders of '{folder}' to be class numbers, got '{of_class.name}'; move it")
        rows += [(image, int(of_class.name)) for image in sorted(of_class.glob("*.ppm"))]
    return _part(rows, folder)


def read_test_signs(folder: Path, answers: Path) -> Part:
    """Return the images of `folder` that the table `answers` (columns Filename and ClassId, `;` between) lists."""
    try:
        with answers.open(newline="") as lines:
            table = csv.DictReader(lines, delimiter=";", skipinitialspace=True)
            rows = [(folder / row["Filename"], int(row["ClassId"])) for row in table]
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise SourceError(
            f"expected '{answers.name}' to be a table with the columns Filename;...;ClassId, "
            f"got {type(error).__name__}: {error}; fetch it again"
        ) from error
    return _part(rows, folder)


def _part(rows: list[tuple[Path, int]], folder: Path) -> Part:
    if not rows:
        raise SourceError(f"expected '{folder}' to hold .ppm images, got none; place them there")
    return Part(np.stack([_image(path) for path, _ in rows]), np.array([label for _, label in rows], dtype=np.int64))


def _image(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises for torn headers
        raise SourceError(f"expected '{path}' to be an image, got {error}; place it again") from error
    return np.asarray(small, dtype=np.uint8)
