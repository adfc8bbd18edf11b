"""What was computed before, by the digest of everything it depends on: trainings and readings are never done twice.

Files of which a process leaves the newest, up to a number of bytes.
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
from simulator.errors import StoreError, StoreUnavailableError
from simulator.records import digest_of
from simulator.system.files import exclusive

__all__ = ["NO_CACHE", "Cache", "CachedResult", "Eviction", "FolderCache", "NoCache", "cache_in"]


@final
class Eviction:
    """Counts the files it is told of, and removes the oldest of them that are too much; threads may share it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._files: deque[tuple[Path, int]] = deque()
        self._bytes = 0
        self._counting = threading.Lock()

    def add(self, path: Path) -> None:
        """Count a file that was written just now; raises `OSError` when it is gone or an older one stays."""
        with self._counting:
            self._files.append((path, path.stat().st_size))
            self._bytes += self._files[-1][1]
            while self._bytes > self._limit:
                oldest, size = self._files.popleft()
                oldest.unlink(missing_ok=True)
                self._bytes -= size


#: bytes of its own results that a memo which is not lasting leaves in the folder
PASSING_BYTES = 256 * 2**20


class Cache(ABC):
    """Hands back a result that was computed before from the same key, bit for bit; else computes and keeps it."""

    @property
    @abstractmethod
    def folder(self) -> Path | None:
        """Where results lie, for other processes of ours to share; None: nothing is kept, so no key is needed."""

    @property
    @abstractmethod
    def lasting(self) -> bool:
        """Whether what is kept is meant to be found again later, or only to be shared while it is new."""

    @abstractmethod
    def lookup(self, kind: str, key: Mapping[str, Any], compute: Callable[[], CachedResult]) -> CachedResult:
        """Return the result of `compute` for `key`.

        `kind` (`training`, `readings`) groups results for people. `key` holds JSON values that name everything the
        result depends on, the device included, but the environment (`memo_environment.environment`), which the memo
        adds by itself. What `compute` raises is raised, and nothing is kept. Two processes that ask for one key at a
        time compute it once.
        """


@final
class NoCache(Cache):
    """Remembers nothing."""

    @property
    def folder(self) -> None:
        """None."""
        return

    @property
    def lasting(self) -> bool:
        """Nothing lasts."""
        return False

    def lookup(self, kind: str, key: Mapping[str, Any], compute: Callable[[], CachedResult]) -> CachedResult:
        """Compute."""
        return compute()


#: the memo of whoever asks for none
NO_CACHE = NoCache()


@final
class FolderCache(Cache):
    """A file a result: `<folder>/<kind>/<first two hex>/<digest>.safetensors`, the values and the key in its metadata.

    The digest is the SHA-256 of kind, key and environment. A file is written under a temporary name and renamed; one
    that is torn, altered, or not of its key counts as missing and is written anew. Threads and processes may share it.

    One that is not `lasting` leaves the newest `PASSING_BYTES` of what it computed there, and never fails a run: where
    the folder takes nothing, results are computed and handed on.
    """

    def __init__(self, folder: Path, *, lasting: bool = True) -> None:
        self._folder = folder.absolute()
        self._passing = None if lasting else Eviction(PASSING_BYTES)
        self._recalled: Counter[str] = Counter()
        self._computed: Counter[str] = Counter()
        self._counting = threading.Lock()

    @property
    def folder(self) -> Path:
        """Where results lie."""
        return self._folder

    @property
    def lasting(self) -> bool:
        """Whether results stay."""
        return self._passing is None

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """How many results of each kind this memo has recalled and computed; worker processes count for themselves."""
        with self._counting:
            kinds = sorted(self._recalled.keys() | self._computed.keys())
            return {kind: (self._recalled[kind], self._computed[kind]) for kind in kinds}

    def lookup(self, kind: str, key: Mapping[str, Any], compute: Callable[[], CachedResult]) -> CachedResult:
        """Recall or compute; see `Cache.recall`. Raises `StoreError` where the folder cannot be read or written."""
        whole = json.loads(json.dumps({"kind": kind, "key": dict(key), "environment": environment()}))
        digest = digest_of(whole)
        path = self._folder / kind / digest[:2] / f"{digest}{SUFFIX}"
        found = self._read(path, digest)
        if found is None:
            with ExitStack() as held:
                with self._storing():
                    held.enter_context(exclusive(self._folder / LOCKS / f"{digest}.lock"))
                found = self._read(path, digest)  # another process may have computed it meanwhile
                if found is None:
                    computed = as_read(compute())
                    with self._storing():
                        self._keep(path, computed, whole)
                    return self._count(self._computed, kind, computed)
        return self._count(self._recalled, kind, found)

    def _read(self, path: Path, digest: str) -> CachedResult | None:
        with suppress(*(() if self.lasting else (StoreError,))):
            return read_entry(path, digest)
        return None

    def _keep(self, path: Path, computed: CachedResult, whole: Mapping[str, Any]) -> None:
        write_entry(path, computed, whole)
        if self._passing is not None:
            self._passing.add(path)

    @contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, SafetensorError) as error:
            if self.lasting:
                raise StoreUnavailableError(
                    f"expected the cache {self._folder} to be writable, got {error}; free space or change the folder"
                ) from error

    def _count(self, counter: Counter[str], kind: str, result: CachedResult) -> CachedResult:
        with self._counting:
            counter[kind] += 1
        return result


def cache_in(folder: str | Path | None, *, lasting: bool = True) -> Cache:
    """Return the memo of a folder, as `Cache.folder` gives it: for a process of ours that is told where it lies."""
    return NO_CACHE if folder is None else FolderCache(Path(folder), lasting=lasting)
