"""Every private name of torch that the project uses, and what for: any release of torch may change them.

pyproject.toml holds torch below the first release that was not measured; tests/training/test_torch_private.py asks each
name for what it is needed for, so that a release that lacks or changes one fails there and not in a run.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn.modules.module import _has_any_global_hook


def operations_are_watched() -> bool:
    """Whether something follows each of torch's operations, so that a kernel outside torch would be missed.

    A compiler, a transform of `torch.func`, a dispatch or function mode, `torch.jit.trace`, forward-mode tangents.
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._len_torch_function_stack() > 0
        or torch._C._is_tracing()
        or forward_ad._current_level >= 0
    )


def has_forward_hooks(module: nn.Module) -> bool:
    """Whether `module` calls something before or after its forward pass."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def is_hooked(module: nn.Module) -> bool:
    """Whether calling `module` does more than its class's `forward`: hooks of its own or of all modules."""
    return bool(
        "forward" in vars(module)
        or has_forward_hooks(module)
        or module._backward_hooks
        or module._backward_pre_hooks
        or _has_any_global_hook()
    )
