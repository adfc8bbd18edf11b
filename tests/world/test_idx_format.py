"""The idx format, on bytes worked out by hand."""

import gzip

import pytest

from simulator.errors import SourceError
from simulator.world.sources.idx import read_idx

LABELS = bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 255])
IMAGES = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4])


def test_labels_and_images_are_read_in_row_major_order() -> None:
    assert read_idx(LABELS, "labels", 1).tolist() == [7, 0, 255]
    assert read_idx(IMAGES, "images", 3).tolist() == [[[1, 2]], [[3, 4]]]


def test_gzip_is_undone() -> None:
    assert read_idx(gzip.compress(IMAGES), "images.gz", 3).tolist() == [[[1, 2]], [[3, 4]]]


@pytest.mark.parametrize(
    ("blob", "dimensions", "sentence"),
    [
        (b"", 1, "starts with nothing"),
        (b"<html>not here</html>", 1, "starts with 3c 68 74 6d"),
        (IMAGES, 1, r"expected 'file' to be an idx file of bytes in 1 dimensions"),
        (LABELS[:-1], 1, "to hold 3 bytes of data .3., got 2"),
        (LABELS + b"\x00", 1, "to hold 3 bytes of data .3., got 4"),
        (gzip.compress(LABELS, mtime=0)[:-9], 1, "to be a whole gzip file"),
        (b"\x1f\x8bnonsense", 1, "to be a whole gzip file"),
    ],
)
def test_a_bad_file_raises(blob: bytes, dimensions: int, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence):
        read_idx(blob, "file", dimensions)
