"""A folder of results: bit for bit what was computed, nothing from a torn file, and one computation a key."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from simulator.cache import key as cache_key
from simulator.cache.entry import CachedResult
from simulator.cache.folder import clear, usage
from simulator.cache.store import FolderCache, NoCache, cache_in
from simulator.errors import StoreError

KEY = {"seed": 3, "name": "é"}


def result() -> CachedResult:
    weights = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    tensors = {
        "weight": weights,
        "turned": weights.T,
        "count": torch.tensor(7),
        "none": torch.zeros(0, 2),
        "extreme": torch.tensor([-0.0, 1e-45, math.inf]),
    }
    return CachedResult({"losses": [0.1, 1e-300, -0.0], "steps": 7, "reason": None, "b": 1, "a": 2}, tensors)


def never() -> CachedResult:
    raise AssertionError("expected the result to be found, got it computed")


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def test_a_result_comes_back_bit_for_bit(tmp_path: Path) -> None:
    first = FolderCache(tmp_path).lookup("training", KEY, result)
    again = FolderCache(tmp_path).lookup("training", KEY, never)
    for found in (first, again):
        assert json.dumps(found.values) == json.dumps(result().values)  # the order of names too
        assert found.tensors.keys() == result().tensors.keys()
        for name, value in result().tensors.items():
            assert found.tensors[name].dtype == value.dtype
            assert found.tensors[name].shape == value.shape
            assert found.tensors[name].numpy().tobytes() == value.numpy().tobytes()


def test_what_is_computed_is_handed_back_as_it_will_be_read(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path)
    first = cache.lookup("readings", KEY, lambda: CachedResult({"pair": (1, 2)}))
    assert first == cache.lookup("readings", KEY, never)


def test_a_key_may_hold_numbers_as_names(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path)
    for compute in (result, never):
        cache.lookup("training", {"rates": {9: 0.1, 10: 0.2}}, compute)  # as text, 10 comes before 9
    assert cache.counts == {"training": (1, 1)}


def test_a_file_lies_under_its_kind_and_digest_and_says_what_it_is(tmp_path: Path) -> None:
    FolderCache(tmp_path).lookup("training", KEY, result)
    (path,) = files(tmp_path)
    kind, place, name = path.relative_to(tmp_path).parts
    assert (kind, place) == ("training", name[:2])
    assert len(path.stem) == 64
    with safe_open(path, "pt") as file:
        key = json.loads(file.metadata()["ebbdoor"])["key"]
    assert key["key"] == KEY
    assert key["environment"]["packages"]["torch"] == torch.__version__


def test_what_changes_a_bit_of_the_key_or_the_environment_is_another_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FolderCache(tmp_path)
    cache.lookup("training", KEY, result)
    cache.lookup("training", KEY | {"seed": 4}, result)
    cache.lookup("training", KEY | {"seed": 3.0}, result)
    cache.lookup("readings", KEY, result)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 61)
    cache.lookup("training", KEY, result)
    assert cache.counts == {"readings": (0, 1), "training": (0, 4)}
    assert len(files(tmp_path)) == 5


def test_an_error_is_raised_and_nothing_is_kept(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path)

    def fails() -> CachedResult:
        raise ArithmeticError("diverged")

    with pytest.raises(ArithmeticError, match="diverged"):
        cache.lookup("training", KEY, fails)
    assert files(tmp_path) == []
    cache.lookup("training", KEY, result)
    assert cache.counts == {"training": (0, 1)}


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_torn_file_counts_as_missing_and_is_written_anew(tmp_path: Path, length: int) -> None:
    cache = FolderCache(tmp_path)
    cache.lookup("training", KEY, result)
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:length])
    cache.lookup("training", KEY, result)
    assert path.read_bytes() == whole
    assert cache.counts == {"training": (0, 2)}


def test_a_file_with_one_bit_turned_counts_as_missing(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path)
    cache.lookup("training", KEY, result)
    (path,) = files(tmp_path)
    whole = bytearray(path.read_bytes())
    for place in (len(whole) - 1, whole.index(b"losses") + len(b'losses\\": [0.')):
        turned = whole.copy()
        turned[place] ^= 1
        path.write_bytes(turned)
        assert cache.lookup("training", KEY, result).values == result().values
        assert path.read_bytes() == bytes(whole)
    assert cache.counts == {"training": (0, 3)}


def test_a_file_of_another_key_counts_as_missing(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path)
    cache.lookup("training", KEY, lambda: CachedResult({"which": "other"}))
    (mine,) = files(tmp_path)
    cache.lookup("training", KEY | {"seed": 4}, result)
    (other,) = (path for path in files(tmp_path) if path != mine)
    mine.write_bytes(other.read_bytes())
    assert cache.lookup("training", KEY, lambda: CachedResult({"which": "mine"})).values == {"which": "mine"}


def test_threads_of_one_process_compute_a_key_once(tmp_path: Path) -> None:
    cache, begun = FolderCache(tmp_path), []
    meet = threading.Barrier(3)

    def slowly() -> CachedResult:
        begun.append(1)
        return result()

    def ask() -> None:
        meet.wait()
        cache.lookup("training", KEY, slowly)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert begun == [1]
    assert cache.counts == {"training": (2, 1)}


def test_processes_that_ask_at_a_time_compute_a_key_once(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from simulator.cache.store import FolderCache
from simulator.cache.entry import CachedResult
sys.stdout.write("ready\\n"); sys.stdout.flush(); sys.stdin.readline()
def slowly():
    with open({str(tmp_path / "begun")!r}, "a") as file:
        file.write("x")
    time.sleep(1.0)
    return CachedResult({{"value": 5}})
cache = FolderCache(Path({str(tmp_path / "cache")!r}))
print(cache.lookup("training", {{"seed": 1}}, slowly).values["value"], *cache.counts["training"])
"""
    ran = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in ran:
        assert process.stdout is not None
        process.stdout.readline()
    said = []
    for process in ran:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in ran:
        said.append(process.communicate(timeout=60)[0].split())
    assert (tmp_path / "begun").read_text() == "x"
    assert sorted(said) == [["5", "0", "1"], ["5", "1", "0"]]


def test_a_killed_process_keeps_no_other_waiting(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from simulator.cache.store import FolderCache
def endlessly():
    sys.stdout.write("computing\\n"); sys.stdout.flush()
    time.sleep(600)
FolderCache(Path({str(tmp_path)!r})).lookup("training", {{"seed": 1}}, endlessly)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "computing\n"
    cache, found = FolderCache(tmp_path, lasting=False), []
    waiting = threading.Thread(target=lambda: found.append(cache.lookup("training", {"seed": 1}, result)))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()  # it waits for the other rather than computing the same
    holder.kill()
    waiting.join(30)
    holder.communicate()
    assert cache.counts == {"training": (0, 1)}
    assert len(found) == 1


def test_what_does_not_last_leaves_the_newest_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FolderCache(tmp_path).lookup("training", {"seed": -1}, result)
    size = files(tmp_path)[0].stat().st_size
    monkeypatch.setattr("simulator.cache.store.PASSING_BYTES", 3 * size + 8)
    cache = FolderCache(tmp_path, lasting=False)
    for seed in range(5):
        cache.lookup("training", {"seed": seed}, result)
    assert len(files(tmp_path)) == 4  # another's, and three of its own
    for seed in (-1, 2, 3, 4):
        cache.lookup("training", {"seed": seed}, never)


def test_what_does_not_last_is_handed_on_where_it_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    cache = FolderCache(tmp_path / "cache", lasting=False)
    for _ in range(2):
        assert cache.lookup("training", KEY, result).values == result().values
    assert cache.counts == {"training": (0, 2)}


def test_usage_and_clear_tell_entries_and_bytes_and_leave_what_is_not_ours(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert usage(cache) == []
    filled = FolderCache(cache)
    for seed in range(3):
        filled.lookup("training", {"seed": seed}, result)
    filled.lookup("readings", {}, lambda: CachedResult({"value": 1.0}))
    sizes = {path.parts[-3]: path.stat().st_size for path in files(cache)}
    (cache / "mine.txt").write_text("kept")
    (cache / "training" / "00").mkdir(exist_ok=True)
    (cache / "training" / "00" / "mine.safetensors").write_text("kept")
    (files(cache)[0].parent / f".{'0' * 64}.safetensors.1.2.partial").write_text("left by a kill")
    found = [(kept.kind, kept.entries, kept.bytes) for kept in usage(cache)]
    assert found == [("readings", 1, sizes["readings"]), ("training", 3, 3 * sizes["training"])]
    assert [(kept.kind, kept.entries, kept.bytes) for kept in clear(cache)] == found
    assert usage(cache) == []
    left = sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file())
    assert left == ["mine.txt", "training/00/mine.safetensors"]
    filled.lookup("training", {"seed": 0}, result)
    assert filled.counts["training"] == (0, 4)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="cache"):
        FolderCache(tmp_path / "cache").lookup("training", KEY, result)


def test_no_cache_keeps_nothing_and_another_process_is_told_the_folder(tmp_path: Path) -> None:
    computed: list[int] = []
    for _ in range(2):
        NoCache().lookup("training", KEY, lambda: CachedResult({"n": computed.append(1)}))
    assert len(computed) == 2
    assert NoCache().folder is None
    assert isinstance(cache_in(None), NoCache)
    assert cache_in(str(tmp_path)).folder == tmp_path
    assert cache_in(str(tmp_path)).lasting
    assert not cache_in(str(tmp_path), lasting=False).lasting


def test_the_source_that_decides_numbers_is_there() -> None:
    root = Path(cache_key.__file__).parent.parent
    found = {path.relative_to(root).as_posix() for path in cache_key._sources(root)}
    assert {"seeds.py", "production/training/fit.py", "world/attacks/patch.py", "observer/probes/dose.py"} <= found
    assert all(any(path.startswith(name) for path in found) for name in cache_key._DECIDING)


def test_unpacked_images_are_told_and_cleared(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    ours = [data / f"{'a' * 64}.{'b' * 16}.{part}.npy" for part in ("train", "test")]
    left = data / f".{ours[0].name}.123.rows"  # of a process that was killed
    for path in (*ours, left, data / "mine.npy"):
        path.write_bytes(b"123")
    assert [(kept.kind, kept.entries, kept.bytes) for kept in clear(tmp_path)] == [("data", 3, 9)]
    assert list(data.iterdir()) == [data / "mine.npy"]
