"""Small images as PNG files: for pages and stores that show what a defense has found."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO


def png_of(pixels: bytes, shape: Sequence[int]) -> bytes:
    """Return an image as a PNG file: `pixels` are bytes (C, H, W), channel by channel and row by row.

    Three channels are red, green and blue; of any other number the first is shown in grey.

    >>> png_of(bytes([0, 255, 128, 64]), (1, 2, 2))[:4]
    b'\\x89PNG'
    """
    import numpy as np  # with Pillow, which reading a ledger does not need
    from PIL import Image

    channels, height, width = shape
    planes = np.frombuffer(pixels, dtype=np.uint8).reshape(channels, height, width)
    image = Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)) if channels == 3 else planes[0])
    file = BytesIO()
    image.save(file, format="PNG", optimize=True)
    return file.getvalue()
