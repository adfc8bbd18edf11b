"""A user's own images in one NumPy archive."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from simulator.errors import SourceError
from simulator.world.sources.assemble import Part, source_data, spread_split
from simulator.world.sources.base import Source, SourceData

__all__ = ["Npz"]

_NEEDED = ("images", "labels")
_TEST = ("test_images", "test_labels")
_KNOWN = (*_NEEDED, "time", *_TEST, "test_time")


@final
class Npz(Source):
    """The archive at `path`, as `numpy.savez` writes it; object arrays are refused, so nothing in it can run.

    Arrays: `images` uint8 (N, H, W) or (N, H, W, C) with C 1 or 3 and H, W >= 8; `labels` whole numbers (N,) from 0;
    `time` numbers (N,) that never fall, or absent for rows in no order; `test_images`, `test_labels` and, exactly when
    there is a `time`, `test_time`. Without a test part, `test_share` of the rows, in (0, 1), become one, drawn evenly
    over their order by `split_seed`; the same for every seed of a scenario.
    """

    #: what the conformance checks build it with
    example: ClassVar[dict[str, Any]] = {"path": "no-such-file.npz"}

    def __init__(self, *, path: str, test_share: float = 0.2, split_seed: int = 0) -> None:
        if not 0 < test_share < 1:
            raise ValueError(f"expected test_share to be in (0, 1), got {test_share}; choose a share such as 0.2")
        self.path = path
        self.test_share = test_share
        self.split_seed = split_seed

    def load(self) -> SourceData:
        """Read and check the archive; `SourceError` says what is wrong with it."""
        arrays = _arrays(Path(self.path).expanduser(), self.path)
        _check_names(self.path, arrays)
        rows = Part(arrays["images"], arrays["labels"], arrays.get("time"))
        if "test_images" in arrays:
            test = Part(arrays["test_images"], arrays["test_labels"], arrays.get("test_time"))
            return source_data(self.path, rows, test)
        whole = source_data(self.path, rows, rows)  # checked before it is split, so that row numbers are the user's
        train, held_out = spread_split(len(whole.labels), self.test_share, self.split_seed)
        return source_data(self.path, rows.take(train), rows.take(held_out), classes=whole.classes)


def _arrays(path: Path, name: str) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file:  # np.load leaves a torn file open
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise SourceError(f"expected '{name}' to be an npz archive, got a single array; use numpy.savez")
            with archive:
                return {key: archive[key] for key in archive.files}
    except FileNotFoundError as error:
        raise SourceError(f"expected '{name}' to be an npz archive, got no such file; correct source.path") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise SourceError(
            f"expected '{name}' to be an npz archive of plain arrays, got {error}; write it with numpy.savez"
        ) from error


def _check_names(name: str, arrays: dict[str, NDArray[Any]]) -> None:
    unknown = [key for key in arrays if key not in _KNOWN]
    if unknown:
        raise SourceError(f"{name}: expected arrays named {', '.join(_KNOWN)}, got '{unknown[0]}'; rename or drop it")
    missing = [key for key in _NEEDED if key not in arrays]
    if missing:
        raise SourceError(f"{name}: expected an array '{missing[0]}', got {', '.join(arrays) or 'none'}; add it")
    given = [key for key in _TEST if key in arrays]
    if len(given) == 1 or ("test_time" in arrays and not given):
        raise SourceError(
            f"{name}: expected test_images and test_labels together, got {', '.join(given) or 'test_time alone'}; "
            "add what is missing"
        )
    if given and ("time" in arrays) != ("test_time" in arrays):
        raise SourceError(
            f"{name}: expected test_time exactly when there is a time, got one of the two; add or drop one"
        )
