"""Which instructions the numerical libraries of this process use, in words to be kept beside its results."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from simulator.system.numerics import PORTABLE_PROCESSOR, began_portable, chosen

#: the key in an entry's metadata: `instruction_sets` of the process that played the period
INSTRUCTION_SETS: Final = "instruction_sets"

#: what a library uses that is told nothing
_BEST: Final = "the processor's best"
_CPUINFO: Final = Path("/proc/cpuinfo")
_VECTORS: Final = re.compile(r"^(?:fma|f16c|avx\w*|amx\w*|sse4\w*|neon|asimd\w*|sve\w*)$")


def instruction_sets() -> dict[str, str]:
    """Return by library what decides the order in which this process sums, torch's current threads included.

    `processor` and `instructions` are what there is; the rest is what is used of it.
    """
    import torch

    return {**_libraries(), "threads": str(torch.get_num_threads())}


def played_with(metadata: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the different instruction sets that stand beside periods, in order; more than one: on several machines."""
    found: list[dict[str, str]] = []
    for beside in metadata:
        if INSTRUCTION_SETS in beside and beside[INSTRUCTION_SETS] not in found:
            found.append(dict(beside[INSTRUCTION_SETS]))
    return found


@cache
def kernels_target() -> tuple[str, str]:
    """Return LLVM's names of the processor and the features that our own kernels are compiled for."""
    import llvmlite.binding as llvm

    if began_portable():
        return PORTABLE_PROCESSOR, ""
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def processor() -> str:
    """Return the model of the processor, or its architecture where the system tells no more."""
    return _of_cpuinfo("model name") or platform.processor() or platform.machine()


@cache
def _libraries() -> dict[str, str]:
    import torch

    told, vectors = chosen(), _of_cpuinfo("flags") or _of_cpuinfo("Features")
    build = torch.__config__.show()
    blas = _build(r"BLAS_INFO=(\w+)", build) + _build(r" Math Kernel Library Version( [\d.]+)", build)
    used = {
        "onednn": (_build(r"MKL-DNN (v[\d.]+)", build), told.get("ONEDNN_MAX_CPU_ISA", told.get("DNNL_MAX_CPU_ISA"))),
        "blas": (blas, told.get("MKL_CBWR", told.get("MKL_ENABLE_INSTRUCTIONS"))),
        "openblas": ("of NumPy and SciPy", told.get("OPENBLAS_CORETYPE")),
        "numpy": ("", f"without {without}" if (without := told.get("NPY_DISABLE_CPU_FEATURES")) else None),
    }
    return {
        "processor": processor(),
        "instructions": " ".join(sorted(filter(_VECTORS.match, vectors.split()))),
        "torch": f"{torch.__version__}: {torch.backends.cpu.get_cpu_capability()}",
        **{name: f"{what}: {how or _BEST}".removeprefix(": ") for name, (what, how) in used.items()},
        "kernels": kernels_target()[0],
    }


def _build(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return "" if found is None else found.group(1)


def _of_cpuinfo(key: str) -> str:
    try:
        text = _CPUINFO.read_text("utf-8", "replace")
    except OSError:
        return ""
    found = re.search(rf"^{key}\s*:\s*(.*)$", text, re.MULTILINE)
    return "" if found is None else found.group(1).strip()
