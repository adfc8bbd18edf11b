"""A cached result as a file: a safetensors file whose metadata holds values, key and a digest of the content."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from simulator.errors import StoreError
from simulator.records import digest_of
from simulator.system.files import replace_file
from simulator.tensors import weights_digest


@dataclass(frozen=True, slots=True)
class CachedResult:
    """A result: JSON values, and tensors by name on the CPU."""

    values: dict[str, Any]
    tensors: dict[str, Tensor] = field(default_factory=dict)


def as_read(computed: CachedResult) -> CachedResult:
    """Return a result as `read_entry` will give it: tuples become lists, and each tensor gets its own storage."""
    values = json.loads(json.dumps(computed.values, allow_nan=False))
    return CachedResult(values, {n: t.detach().cpu().clone().contiguous() for n, t in computed.tensors.items()})


def write_entry(path: Path, result: CachedResult, whole: Mapping[str, Any]) -> None:
    """Write a result and its key, completely or not at all. Raises `OSError` and `SafetensorError`."""
    # One metadata entry: several would be written in an order that differs from process to process.
    said = json.dumps({"key": whole, "values": result.values, "sha256": _content(result)})
    path.parent.mkdir(parents=True, exist_ok=True)
    # a torn file is found when it is read, by its digest, so nothing waits for the disk
    replace_file(path, lambda partial: save_file(result.tensors, partial, {"ebbdoor": said}), durable=False)


def read_entry(path: Path, digest: str) -> CachedResult | None:
    """Return what the file holds; None when it is missing, damaged, or of a key with another digest.

    Raises `StoreError` when it cannot be read.
    """
    try:
        with safe_open(path, "pt") as file:
            said = json.loads((file.metadata() or {})["ebbdoor"])
            found = CachedResult(said["values"], {name: file.get_tensor(name).clone() for name in file.keys()})  # noqa: SIM118
        return found if digest_of(said["key"]) == digest and said["sha256"] == _content(found) else None
    except (FileNotFoundError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    except OSError as error:
        raise StoreError(f"expected {path} to be readable, got {error}; correct its rights, or delete it") from error


def _content(result: CachedResult) -> str:
    return digest_of([result.values, weights_digest(result.tensors)])
