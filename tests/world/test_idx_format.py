"""The idx format, on bytes worked out by hand."""

import gzip
import io
import tracemalloc

import pytest

from simulator.errors import SourceError
from simulator.world.sources.idx import read_idx

LABELS = bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 255])
IMAGES = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4])


def test_labels_and_images_are_read_in_row_major_order() -> None:
    assert read_idx(io.BytesIO(LABELS), "labels", 1).tolist() == [7, 0, 255]
    assert read_idx(io.BytesIO(IMAGES), "images", 3).tolist() == [[[1, 2]], [[3, 4]]]


def test_gzip_is_undone() -> None:
    assert read_idx(io.BytesIO(gzip.compress(IMAGES)), "images.gz", 3).tolist() == [[[1, 2]], [[3, 4]]]


def test_gzip_of_several_members_is_one_file() -> None:
    blob = gzip.compress(IMAGES[:18]) + gzip.compress(IMAGES[18:])
    assert read_idx(io.BytesIO(blob), "images.gz", 3).tolist() == [[[1, 2]], [[3, 4]]]


def test_nobody_can_write_to_what_all_share() -> None:
    array = read_idx(io.BytesIO(IMAGES), "images", 3)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_nothing_but_the_array_and_a_piece_is_held(packed, tmp_path) -> None:
    pixels = 2**24
    path = tmp_path / "images"
    path.write_bytes(packed(bytes([0, 0, 8, 1, *pixels.to_bytes(4, "big")]) + bytes(range(256)) * (pixels // 256)))
    with path.open("rb") as file:
        tracemalloc.start()
        try:
            array = read_idx(file, "images", 1)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert array.shape == (pixels,)
    assert array.base is None or array.base.shape == (pixels,)
    assert pixels <= peak < 1.25 * pixels


@pytest.mark.parametrize(
    ("blob", "dimensions", "sentence"),
    [
        pytest.param(b"", 1, "starts with nothing", id="empty"),
        pytest.param(b"<html>not here</html>", 1, "starts with 3c 68 74 6d", id="web page"),
        pytest.param(IMAGES, 1, r"expected 'file' to be an idx file of bytes in 1 dimensions", id="other dimensions"),
        pytest.param(LABELS[:-1], 1, "to hold 3 bytes of data .3., got 2", id="too short"),
        pytest.param(LABELS + b"\x00", 1, "to hold 3 bytes of data .3., got 4", id="too long"),
        pytest.param(
            gzip.compress(LABELS + b"\x00", mtime=0), 1, "to hold 3 bytes of data .3., got 4", id="too long, compressed"
        ),
        pytest.param(
            bytes([0, 0, 8, 2, *b"\xff" * 8]),
            2,
            "to hold 18446744065119617025 bytes of data .4294967295 x 4294967295., got 0",
            id="huge dimensions",
        ),
        pytest.param(gzip.compress(LABELS, mtime=0)[:-9], 1, "to be a whole gzip file", id="cut off"),
        pytest.param(b"\x1f\x8bnonsense", 1, "to be a whole gzip file", id="gzip in name only"),
    ],
)
def test_a_bad_file_raises(blob: bytes, dimensions: int, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence):
        read_idx(io.BytesIO(blob), "file", dimensions)
