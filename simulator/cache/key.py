"""What a result depends on beside its own inputs: versions, processor, threads, our source, strangers' source."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from simulator.scenario import catalog
from simulator.scenario.model import Use

__all__ = ["device_name", "environment", "source_digest", "third_party"]

_PACKAGES = ("ebbdoor", "numpy", "torch", "torchvision")

#: our files that decide the numbers of a training or a reading, below `simulator/`: folders and files
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

#: what tells the numerical libraries which instructions to use
_VARIABLES = ("ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA")

_PROCESSOR = re.compile(r"^(?:model name|flags|Features|CPU part)\s*:.*$", re.MULTILINE)


def environment() -> dict[str, Any]:
    """Return, as JSON values, what else decides the bits of a result in this process now: torch's threads may change.

    Results of a GPU depend on its model too: `device_name` belongs into the key.
    """
    return {**_fixed(), "threads": torch.get_num_threads()}


def device_name(device: torch.device) -> str:
    """Return what a device is, as far as results depend on it: `cpu`, or the GPU's model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@cache
def source_digest() -> str:
    """Return the SHA-256 over names and bytes of our own files that decide numbers."""
    root, digest = Path(__file__).parent.parent, hashlib.sha256()
    for path in sorted(_sources(root)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def third_party(uses: Iterable[tuple[str, Use]]) -> dict[str, str]:
    """Return what identifies the code of those of `uses`, (kind, plug-in), that are not ours, by `kind/name`.

    Plug-ins that one of them is given as options, {use: NAME, ...}, are among them. A `module:Name` is known by the
    SHA-256 of its module's file; an entry point of another distribution by that distribution's version too. What such a
    file imports in its turn is not looked at.
    """
    named = {f"{kind}/{use.use}": _third_party(kind, use.use) for kind, use in _and_inner(uses)}
    return {name: code for name, code in named.items() if code is not None}


@cache
def _fixed() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES} | {"torch": torch.__version__},  # with its variant
        "system": f"{platform.system()} {platform.machine()}",
        "capability": torch.backends.cpu.get_cpu_capability(),
        "processor": _processor(),
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "source": source_digest(),
    }


def _processor() -> str:
    """The SHA-256 of the processor's model and instruction sets; its bare name where the system does not tell them."""
    try:
        lines = _PROCESSOR.findall(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return platform.processor()
    return hashlib.sha256("\n".join(sorted(set(lines))).encode()).hexdigest()


def _sources(root: Path) -> Iterator[Path]:
    for name in _DECIDING:
        place = root / name
        yield from place.rglob("*.py") if place.is_dir() else root.glob(name)


def _and_inner(uses: Iterable[tuple[str, Use]]) -> Iterator[tuple[str, Use]]:
    for kind, use in uses:
        yield kind, use
        inner = [option for option in use.options.values() if isinstance(option, Mapping) and "use" in option]
        yield from _and_inner((kind, Use.model_validate(option)) for option in inner)


def _third_party(kind: str, use: str) -> str | None:
    if ":" in use:
        return _files_digest(kind, use, use)
    point = catalog.point(kind, use)
    if point is None or point.dist is None or point.dist.name == "ebbdoor":
        return None  # ours, or torchvision's: known by their versions
    return f"{point.dist.name} {point.dist.version} {_files_digest(kind, use, point.value)}"


def _files_digest(kind: str, use: str, path: str) -> str:
    """The SHA-256 over the file that `path` names and the one that defines the plug-in: the former may hand it on."""
    member = catalog.resolve(kind, use)
    named = path.partition(":")[0]
    digest = hashlib.sha256()
    for module in (named, getattr(member, "__module__", None) or named):
        file = getattr(sys.modules.get(module), "__file__", None)
        digest.update(Path(file).read_bytes() if file else f"module {module}".encode())
    return digest.hexdigest()
