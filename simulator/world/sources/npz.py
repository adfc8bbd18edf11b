"""A user's own images: one NumPy archive, or one for each period."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, final

from pydantic import Field

from simulator.scenario.bounds import Finite, InnerShare
from simulator.world.sources.base import Source, SourceData
from simulator.world.sources.classes import MOST
from simulator.world.sources.npz_files import read_file, read_files
from simulator.world.sources.scale import check_range


@final
@dataclass(eq=False, kw_only=True)
class Npz(Source):
    """The archive at `path`, as `numpy.savez` writes it, or `files`, one archive for each period from 0 on.

    Arrays: `images` uint8 (N, H, W) or (N, H, W, C) with C 1 or 3 and H, W >= 8; `labels` (N,), whole numbers or names;
    `time` non-decreasing numbers (N,), or absent for rows in no order; `test_images`, `test_labels` and, exactly when
    there is a `time`, `test_time`. Without a test part, `test_share` of the rows, in (0, 1), become one, drawn evenly
    over their order by `split_seed`; it is the same for every seed of a scenario. Object arrays are refused, so nothing
    in an archive can run. `SourceError` says what is missing or malformed.

    Images of other types, whole numbers or floats, need their `range`, [lowest, highest] possible value, and become
    bytes, 0 to 255. Labels that are not 0, 1, 2 ... (from 1, with gaps, or names) are the classes' names: options such
    as an attack's target name them as the labels do. `classes` is how many there are, from 0, where some come later.

    `files` is a folder of npz files or a pattern such as `data/2026-*.npz`. Files are sorted by name, numbers in it by
    value (2 before 10). Period t has rows of file t alone, drawn from all of it; rows it does not need are left out.
    Times within files are only checked: they must not fall from file to file.

    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> with TemporaryDirectory() as folder:
    ...     images, labels = np.zeros((10, 8, 8), np.uint8), np.arange(10) % 2
    ...     np.savez(f"{folder}/mine.npz", images=images, labels=labels)
    ...     data = Npz(path=f"{folder}/mine.npz", test_share=0.2).load()
    >>> data.images.shape, data.test_images.shape, data.classes
    ((8, 1, 8, 8), (2, 1, 8, 8), 2)
    """

    #: options for the conformance checks
    example: ClassVar[dict[str, Any]] = {"path": "no-such-file.npz"}

    path: str | None = None
    files: str | None = None
    test_share: InnerShare = 0.2
    split_seed: int = 0
    range: tuple[Finite, Finite] | None = None
    classes: Annotated[int, Field(ge=2, le=MOST)] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self.range)
        if (self.path is None) == (self.files is None):
            raise ValueError(
                "expected either path (one archive) or files (one for each period) to be given, "
                f"got {'neither' if self.path is None else 'both'}; give one"
            )

    def load(self) -> SourceData:
        """Read and check what there is; `SourceError` says what is wrong with it."""
        how = (self.test_share, self.split_seed, self.range, self.classes)
        return read_files(self.files, *how) if self.files is not None else read_file(str(self.path), *how)
