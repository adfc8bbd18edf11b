"""Opens a user's pictures of any mode, depth, transparency and orientation, as red, green, blue and opacity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

#: the most pixels of a picture, so that opening one takes about 300 MB at most: each takes 8 to 12 bytes
MOST_PIXELS = 25_000_000


def open_picture(path: Path) -> Any:
    """Return the picture at `path` as Pillow's image of mode RGBA, turned as its EXIF data say.

    Of a moving picture the first frame. Grey values of 16 bits keep their upper 8. Raises `ValueError` with the reason
    for a file that cannot be read, has more than `MOST_PIXELS`, or is no regular file.
    """
    from PIL import Image, ImageOps

    if not path.is_file():  # opening a pipe would wait for ever for somebody to write
        raise ValueError("it is no regular file")
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise ValueError(f"{opened.width} x {opened.height} pixels, more than {MOST_PIXELS // 10**6} million")
            ImageOps.exif_transpose(opened, in_place=True)  # a copy would take as much memory again
            return _eight_bits(opened).convert("RGBA")
    except Exception as error:  # a damaged file makes Pillow raise almost anything
        reason = "it is no picture" if type(error).__name__ == "UnidentifiedImageError" else str(error)
        raise ValueError(reason or type(error).__name__) from error


def fitted(picture: Any, height: int, width: int, fit: str) -> Any:
    """Return the picture in a size; `crop` cuts its middle out first so that it keeps its proportions."""
    from PIL import Image, ImageOps

    if fit == "crop":
        return ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def flattened(picture: Any, channels: int, background: int) -> Picture:
    """Return uint8 (H, W, `channels`) of an RGBA picture laid on a grey background of this brightness."""
    from PIL import Image

    under = Image.new("RGBA", picture.size, (background, background, background, 255))
    flat = Image.alpha_composite(under, picture).convert("L" if channels == 1 else "RGB")
    return np.asarray(flat, np.uint8).reshape(picture.size[1], picture.size[0], channels)


def _eight_bits(picture: Any) -> Any:
    """Return a grey picture of 16 bits with 8; Pillow's own conversion would cut all values above 255."""
    from PIL import Image

    if picture.mode == "F":
        raise ValueError("its values are floating-point numbers without a range; save it with 8 or 16 bits")
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its values have more than 16 bits; save it with 8 or 16")
    return Image.fromarray((values >> 8).astype(np.uint8))
