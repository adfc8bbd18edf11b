"""Kernels compiled by LLVM in the process that calls them, for its processor or as `numerics: portable` asks."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import llvmlite.binding as llvm

from simulator.production.training.kernels import programs
from simulator.system.instructions import kernels_target

_ADDRESS, _INTEGER, _NUMBER = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
_ARGUMENTS: Mapping[str, tuple[Any, ...]] = {
    "batch_statistics": (*[_ADDRESS] * 4, _NUMBER, _NUMBER, _ADDRESS, _INTEGER, _ADDRESS),
    "running_statistics": (*[_ADDRESS] * 4, _NUMBER, _ADDRESS),
    "forward": (_ADDRESS, _ADDRESS, *[_INTEGER] * 3, _ADDRESS),
    "backward": (_ADDRESS, _ADDRESS, *[_INTEGER] * 3, *[_ADDRESS] * 5),
}


@functools.cache
def compiled(channels: int) -> SimpleNamespace:
    """Return the `programs` for `channels` channels by name, called with addresses and sizes.

    The first call compiles them (0.06 s); nothing is stored on disk.
    """
    machine = _machine()
    code = llvm.parse_assembly(str(programs.module(channels)))
    _optimise(code, machine)
    engine = llvm.create_mcjit_compiler(code, machine)
    engine.finalize_object()
    found = {
        name: ctypes.CFUNCTYPE(None, *kinds)(engine.get_function_address(name)) for name, kinds in _ARGUMENTS.items()
    }
    return SimpleNamespace(**found, engine=engine)  # the engine owns the machine code


def _machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    processor, features = kernels_target()
    return llvm.Target.from_default_triple().create_target_machine(cpu=processor, features=features, opt=3)


def _optimise(code: Any, machine: Any) -> None:
    """Put variables into registers: all of LLVM's passes would take twice as long and gain nothing more."""
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.add_loop_rotate_pass()
    passes.run(code, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
