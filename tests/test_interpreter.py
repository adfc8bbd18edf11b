"""The collector of garbage: at rest while much is imported, at work again afterwards, and not at the very end."""

from __future__ import annotations

import gc
import importlib
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.system.startup import beginning, importing


class Ring:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def _as_before() -> None:
    assert gc.isenabled()


def test_the_collector_rests_in_the_block_and_works_after_it() -> None:
    with importing():
        assert not gc.isenabled()
        with importing():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_works_again_after_an_import_that_fails() -> None:
    with pytest.raises(ModuleNotFoundError), importing():
        import no_such_module  # noqa: F401
    assert gc.isenabled()


@pytest.fixture
def new_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that nobody has imported yet."""
    (tmp_path / "interpreter_imports_me.py").write_text("KEPT = [[] for _ in range(1000)]")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "interpreter_imports_me"
    gc.unfreeze()
    sys.modules.pop("interpreter_imports_me", None)


def test_only_what_was_imported_at_the_beginning_is_set_aside(new_module: str) -> None:
    before = gc.get_freeze_count()
    with beginning():
        pass
    assert gc.get_freeze_count() == before
    with beginning():
        importlib.import_module(new_module)
    assert gc.get_freeze_count() >= before + 1000
    ring = weakref.ref(Ring())
    gc.collect()
    assert ring() is None


def test_garbage_that_is_there_when_more_is_imported_later_is_found(new_module: str) -> None:
    """A user's process may import Evidently or MLflow in the middle of its own work."""
    garbage, living = Ring(), Ring()
    garbage_is_there, living_is_there = weakref.ref(garbage), weakref.ref(living)
    with importing():
        del garbage
        importlib.import_module(new_module)
    del living
    gc.collect()
    assert (garbage_is_there(), living_is_there()) == (None, None)


@pytest.mark.parametrize(("before", "heaps"), [("", 3), ("one_heap()", 1)])
def test_threads_share_one_heap_where_that_is_asked_for(before: str, heaps: int) -> None:
    """glibc itself tells how many heaps there are while two threads and the first one hold memory."""
    code = f"""
import ctypes, os, threading
from simulator.system.startup import one_heap
{before}
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
held, told = threading.Barrier(3), threading.Barrier(3)
def hold():
    libc.malloc(1000)
    held.wait()
    told.wait()
for _ in range(2):
    threading.Thread(target=hold).start()
held.wait()
stream = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, stream)
libc.fflush(stream)
told.wait()
"""
    if not sys.platform.startswith("linux") or not os.confstr("CS_GNU_LIBC_VERSION"):
        pytest.skip("another C library than glibc")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.count("<heap ") == heaps


@pytest.mark.parametrize(("loaded", "said"), [("", []), ("sys.modules['triton'] = sys", ["collected"])])
def test_a_process_that_ends_soon_still_does_what_was_to_be_done_at_its_end(loaded: str, said: list[str]) -> None:
    """Where Triton is loaded garbage is looked for, for it tells the terminal of whatever it finds not collected."""
    code = f"""
import atexit, sys
{loaded}
from simulator.system.startup import end_soon
end_soon()
atexit.register(print, "at the end")
class Last:
    def __init__(self): self.me = self
    def __del__(self): print("collected")
Last()
sys.exit(3)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout.split("\n")) == (3, ["at the end", *said, ""])
