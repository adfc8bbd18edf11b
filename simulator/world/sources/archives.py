"""Reads a user's NumPy archive of labelled images without unpickling, so that nothing in it can run."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.errors import SourceError

_NEEDED = ("images", "labels")
_TEST = ("test_images", "test_labels")
_KNOWN = (*_NEEDED, "time", *_TEST, "test_time")


def read_archive(path: Path, name: str, *, correct: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of the archive at `path` by name; unknown names and missing arrays are refused.

    Types and shapes are not checked. Raises `SourceError` with the archive's `name` and, when there is no such file,
    the option to `correct`.
    """
    arrays = _arrays(path, name, correct)
    _check_names(name, arrays)
    return arrays


def _arrays(path: Path, name: str, correct: str) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file:  # np.load leaves a torn file open
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise SourceError(f"expected '{name}' to be an npz archive, got a single array; use numpy.savez")
            with archive:
                return {key: archive[key] for key in archive.files}
    except FileNotFoundError as error:
        raise SourceError(f"expected '{name}' to be an npz archive, got no such file; correct {correct}") from error
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
