"""What a result depends on beside its inputs: versions, processor, instructions, threads, our source.

Third-party plug-ins are identified by `simulator.scenario.identity.third_party`.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from simulator.system.instructions import kernels_target
from simulator.system.numerics import chosen

_PACKAGES = ("ebbdoor", "numpy", "torch", "torchvision")

#: files and folders below `simulator/` that can change the numbers of a training or a reading
_DECIDING = (
    "batch.py",
    "loop/attacker.py",
    "observer/observer.py",
    "observer/probes",
    "production/training",
    "production/update.py",
    "scenario/model.py",
    "seeds.py",
    "tensors.py",
    "world",
)

_PROCESSOR = re.compile(r"^(?:model name|flags|Features|CPU part)\s*:.*$", re.MULTILINE)


def environment() -> dict[str, Any]:
    """Return, as JSON values, what decides the bits of a result in this process, torch's current threads included.

    Results of a GPU also depend on its model: add `device_name` to their keys.
    """
    return {**_fixed(), "threads": torch.get_num_threads()}


def device_name(device: torch.device) -> str:
    """Return `cpu`, or the model of the GPU: what results depend on."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@cache
def source_digest() -> str:
    """Return the SHA-256 over names and bytes of our own files that can change numbers."""
    root, digest = Path(__file__).parent.parent, hashlib.sha256()
    for path in sorted(_sources(root)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


@cache
def _fixed() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES} | {"torch": torch.__version__},  # with its variant
        "system": f"{platform.system()} {platform.machine()}",
        "capability": torch.backends.cpu.get_cpu_capability(),
        "build": torch.__config__.show(),
        "kernels": kernels_target(),
        "processor": _processor(),
        "variables": chosen(),
        "source": source_digest(),
    }


def _processor() -> str:
    """Return the SHA-256 of the processor's model and instruction sets, or its name where the system tells no more."""
    try:
        lines = _PROCESSOR.findall(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return platform.processor()
    return hashlib.sha256("\n".join(sorted(set(lines))).encode()).hexdigest()


def _sources(root: Path) -> Iterator[Path]:
    for name in _DECIDING:
        place = root / name
        yield from place.rglob("*.py") if place.is_dir() else root.glob(name)
