"""Caches of trainings and readings, by the digest of everything that a result depends on.

`FolderCache` keeps results as files, for good or only while a run lasts (then their bytes are bounded); `NoCache`
computes everything. `cache_in` makes the one that a worker process is told of.
"""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, final

from safetensors import SafetensorError

from simulator.cache.entry import CachedResult, as_read, read_entry, write_entry
from simulator.cache.folder import LOCKS, SUFFIX
from simulator.cache.key import environment
from simulator.errors import LockHeldError, StoreError, StoreUnavailableError
from simulator.records import digest_of
from simulator.system.locks import exclusive
from simulator.system.patience import patience

#: most bytes of its own results that a cache which is not lasting leaves in the folder
PASSING_BYTES = 256 * 2**20

#: another process that computes the same result is waited for so many times as long as one that only opens a store
_LONG = 10


class Cache(ABC):
    """Returns the result that was computed before from the same key, bit for bit, or computes and keeps it."""

    #: where results are stored, for other processes of ours; None: nothing is kept, so no key is needed
    folder: Path | None = None
    #: whether results stay for later runs, or are only shared while they are new
    lasting: bool = False

    @abstractmethod
    def lookup(self, kind: str, key: Mapping[str, Any], compute: Callable[[], CachedResult]) -> CachedResult:
        """Return the result of `compute` for `key`.

        `kind` (`training`, `readings`) groups results for users. `key` holds JSON values of everything the result
        depends on, the device included; the cache adds `simulator.cache.key.environment`. What `compute` raises is
        raised, and nothing is kept. Two processes that ask for one key at the same time compute it once.
        """


@final
class NoCache(Cache):
    """Keeps nothing."""

    def lookup(self, kind: str, key: Mapping[str, Any], compute: Callable[[], CachedResult]) -> CachedResult:
        return compute()


#: the cache where none is asked for
NO_CACHE = NoCache()


@final
class FolderCache(Cache):
    """One file a result: `<folder>/<kind>/<first two hex>/<digest>.safetensors`, values and key in its metadata.

    The digest is the SHA-256 of kind, key and environment. A file is written under a temporary name and renamed; one
    that is incomplete, altered, or of another key counts as missing and is replaced. Threads and processes may share
    the folder.

    A cache that is not `lasting` leaves the newest `PASSING_BYTES` of its own results, and never fails a run: where the
    folder cannot be written, results are computed and returned.
    """

    def __init__(self, folder: Path, *, lasting: bool = True) -> None:
        self.folder: Path = folder.absolute()
        self.lasting = lasting
        self._written: deque[tuple[Path, int]] = deque()  # unless lasting: files with their bytes, oldest first
        self._cached: Counter[str] = Counter()
        self._computed: Counter[str] = Counter()
        self._counting = threading.Lock()

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """How many results of each kind this cache found and computed; each worker process counts its own."""
        with self._counting:
            kinds = sorted(self._cached.keys() | self._computed.keys())
            return {kind: (self._cached[kind], self._computed[kind]) for kind in kinds}

    def lookup(self, kind: str, key: Mapping[str, Any], compute: Callable[[], CachedResult]) -> CachedResult:
        """Find or compute; see `Cache.lookup`. Raises `StoreError` when the folder cannot be read or written."""
        whole = json.loads(json.dumps({"kind": kind, "key": dict(key), "environment": environment()}))
        digest = digest_of(whole)
        path = self.folder / kind / digest[:2] / f"{digest}{SUFFIX}"
        found = self._read(path, digest)
        if found is None:
            with ExitStack() as lock:
                with self._storing(), suppress(LockHeldError):  # its holder hangs: computed twice, to the same bits
                    path_of_lock = self.folder / LOCKS / f"{digest}.lock"
                    lock.enter_context(exclusive(path_of_lock, seconds=_LONG * patience(), talkative=False))
                found = self._read(path, digest)  # another process may have computed it meanwhile
                if found is None:
                    computed = as_read(compute())
                    with self._storing():
                        write_entry(path, computed, whole)
                        if not self.lasting:
                            self._make_room(path)
                    return self._count(self._computed, kind, computed)
        return self._count(self._cached, kind, found)

    def _read(self, path: Path, digest: str) -> CachedResult | None:
        with suppress(*(() if self.lasting else (StoreError,))):
            return read_entry(path, digest)
        return None

    def _make_room(self, path: Path) -> None:
        """Count a file just written. Raises `OSError` when it is gone or an older one cannot be removed."""
        with self._counting:
            self._written.append((path, path.stat().st_size))
            while sum(size for _, size in self._written) > PASSING_BYTES:
                self._written.popleft()[0].unlink(missing_ok=True)

    @contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, SafetensorError) as error:
            if self.lasting:
                raise StoreUnavailableError(
                    f"expected the cache {self.folder} to be writable, got {error}; free space or change the folder"
                ) from error

    def _count(self, counter: Counter[str], kind: str, result: CachedResult) -> CachedResult:
        with self._counting:
            counter[kind] += 1
        return result


def cache_in(folder: str | Path | None, *, lasting: bool = True) -> Cache:
    """Return the cache in a folder as `Cache.folder` gives it (None: no cache), for a process that is told of it."""
    return NO_CACHE if folder is None else FolderCache(Path(folder), lasting=lasting)
