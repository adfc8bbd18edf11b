"""A user's own images: one NumPy archive, or one for each period."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

from simulator.scenario.bounds import InnerShare
from simulator.world.sources.assemble import source_data, spread_split
from simulator.world.sources.base import Source, SourceData
from simulator.world.sources.npz_files import read_archive, read_files


@final
@dataclass(eq=False, kw_only=True)
class Npz(Source):
    """The archive at `path`, as `numpy.savez` writes it, or `files`, one archive for each period from 0 on.

    Arrays: `images` uint8 (N, H, W) or (N, H, W, C) with C 1 or 3 and H, W >= 8; `labels` whole numbers (N,) from 0;
    `time` non-decreasing numbers (N,), or absent for rows in no order; `test_images`, `test_labels` and, exactly when
    there is a `time`, `test_time`. Without a test part, `test_share` of the rows, in (0, 1), become one, drawn evenly
    over their order by `split_seed`; it is the same for every seed of a scenario. Object arrays are refused, so nothing
    in an archive can run. `SourceError` says what is missing or malformed.

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

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.path is None) == (self.files is None):
            raise ValueError(
                "expected either path (one archive) or files (one for each period) to be given, "
                f"got {'neither' if self.path is None else 'both'}; give one"
            )

    def load(self) -> SourceData:
        """Read and check what there is; `SourceError` says what is wrong with it."""
        if self.files is not None:
            return read_files(self.files, self.test_share, self.split_seed)
        name = str(self.path)
        rows, test = read_archive(Path(name).expanduser(), name, correct="source.path")
        if test is not None:
            return source_data(name, rows, test)
        whole = source_data(name, rows, rows)  # checked before it is split, so that row numbers are the user's
        train, held_out = spread_split(len(whole.labels), self.test_share, self.split_seed)
        return source_data(name, rows.take(train), rows.take(held_out), classes=whole.classes)
