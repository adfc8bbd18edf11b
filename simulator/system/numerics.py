"""Which instructions numerical libraries use: a processor's best ones, or those that every x86-64 with AVX2 has.

A sum of floats depends on its order, and libraries choose the order by the width of a processor's vectors. Each reads
its variable once, when it is loaded: what is set later has no effect.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # the command line imports this module, and its help needs no pydantic
    from simulator.records import Numerics

#: ATen, oneDNN, MKL, OpenBLAS and NumPy, each told to compute as on the oldest processor with AVX2. MKL promises the
#: same bits on processors of other makers for COMPATIBLE alone: with AVX2 an AMD and an Intel processor differ. NumPy
#: is told in the names of its releases before and since 2.4.
PORTABLE: Final[Mapping[str, str]] = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4,AVX512F,AVX512CD,AVX512_SKX,AVX512_CLX,AVX512_CNL,AVX512_ICL,AVX512_SPR",
}

#: other variables by which a user may have chosen instructions
_OTHERS: Final = (
    "DNNL_MAX_CPU_ISA",
    "DNNL_DEFAULT_FPMATH_MODE",
    "GLIBC_TUNABLES",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_ENABLE_CPU_FEATURES",
    "ONEDNN_DEFAULT_FPMATH_MODE",
)
#: of these, what overrules `PORTABLE`
_OVERRULING: Final = ("DNNL_MAX_CPU_ISA", "NPY_ENABLE_CPU_FEATURES")

#: what our own kernels are compiled for under `portable`: LLVM's name for x86-64 with AVX2 and FMA
PORTABLE_PROCESSOR: Final = "x86-64-v3"


def with_numerics(environment: Mapping[str, str], numerics: Numerics | None) -> dict[str, str]:
    """Return `environment` for a process that computes so; `native` and None leave it as it is."""
    if numerics != "portable":
        return dict(environment)
    return {name: value for name, value in environment.items() if name not in _OVERRULING} | dict(PORTABLE)


def began_portable() -> bool:
    """Whether this process was started with all of `PORTABLE`, and nothing that overrules it."""
    found = _started_with()
    return all(found.get(name) == value for name, value in PORTABLE.items()) and not any(
        name in found for name in _OVERRULING
    )


def chosen() -> dict[str, str]:
    """Return the variables of this process that choose instructions, by name."""
    names = sorted({*PORTABLE, *_OTHERS})
    return {name: os.environ[name] for name in names if name in os.environ}


def _started_with() -> dict[str, str]:
    """The environment at the start of this process, where the system tells it: changes since come too late."""
    try:
        whole = Path("/proc/self/environ").read_bytes().decode("utf-8", "surrogateescape")
    except OSError:
        return dict(os.environ)
    return dict(pair.split("=", 1) for pair in whole.split("\0") if "=" in pair)
