"""Private names of torch: each is there, does what it is used for, and stands in one module."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from simulator.production.training.torch_private import has_forward_hooks, is_hooked, operations_are_watched
from simulator.tensors import BATCH_NORMS

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "simulator/production/training/torch_private.py"


class Functions(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class Dispatches(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("mode", "watched"),
    [
        (nullcontext, False),
        (torch.no_grad, False),
        (torch.inference_mode, False),
        (Functions, True),
        (Dispatches, True),
        (forward_ad.dual_level, True),
    ],
    ids=["nothing", "no gradients", "inference", "function mode", "dispatch mode", "tangents"],
)
def test_modes_are_seen(mode: Callable[[], AbstractContextManager[Any]], watched: bool) -> None:
    with mode():
        assert operations_are_watched() is watched


@pytest.mark.filterwarnings("ignore:.torch.jit.trace. is deprecated")
def test_transforms_and_traces_are_seen() -> None:
    seen = []

    def look(values: Tensor) -> Tensor:
        seen.append(operations_are_watched())
        return values * 2

    torch.func.vmap(look)(torch.ones(2))
    torch.jit.trace(look, torch.ones(2), check_trace=False)
    assert seen == [True, True]


def plain(layer: nn.Module) -> None:
    """Leave it."""


def replaced_forward(layer: nn.Module) -> None:
    layer.forward = lambda values: values


def removed(layer: nn.Module) -> None:
    layer.register_forward_hook(lambda *_: None).remove()


HOOKS = {
    "none": (plain, False, False),
    "one that was removed": (removed, False, False),
    "after": (lambda layer: layer.register_forward_hook(lambda *_: None), True, True),
    "before": (lambda layer: layer.register_forward_pre_hook(lambda *_: None), True, True),
    "after gradients": (lambda layer: layer.register_full_backward_hook(lambda *_: None), True, False),
    "before gradients": (lambda layer: layer.register_full_backward_pre_hook(lambda *_: None), True, False),
    "another forward": (replaced_forward, True, False),
}


@pytest.mark.parametrize("name", HOOKS)
def test_hooks_are_seen(name: str) -> None:
    put, hooked, around_forward = HOOKS[name]
    layer = nn.ReLU()
    put(layer)
    assert (is_hooked(layer), has_forward_hooks(layer)) == (hooked, around_forward)


def test_hooks_of_all_modules_are_seen() -> None:
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        assert is_hooked(nn.ReLU())
    finally:
        handle.remove()
    assert not is_hooked(nn.ReLU())


def test_layers_that_normalise_over_the_batch_are_those_of_torchs_private_base() -> None:
    base = nn.modules.batchnorm._BatchNorm
    public = [kind for kind in vars(nn).values() if isinstance(kind, type) and issubclass(kind, base)]
    lasting = [kind for kind in public if not issubclass(kind, nn.modules.lazy.LazyModuleMixin)]
    assert set(BATCH_NORMS) == set(lasting)


def private_names(path: Path) -> Iterator[str]:
    """Private modules and attributes of torch that a file imports or reaches through `torch`, `nn` and their parts."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            dotted = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            dotted = [ast.unparse(node)]
        else:
            continue
        for name in dotted:
            parts = name.split(".")
            if not all(part.isidentifier() for part in parts):
                continue  # an attribute of what an expression gives
            torchs = parts[0] in ("torch", "torchvision", "nn", "functional", "forward_ad", "optim")
            hooks = parts[-1].startswith("_") and parts[-1].endswith(("_hooks", "_hooks_with_kwargs"))
            if hooks or (torchs and any(part.startswith("_") and not part.endswith("__") for part in parts)):
                yield name


def test_private_names_stand_in_one_module() -> None:
    files = [path for package in ("simulator", "flows", "defenses") for path in (ROOT / package).rglob("*.py")]
    found = {path.relative_to(ROOT).as_posix(): sorted(set(private_names(path))) for path in files}
    assert len(files) > 100
    assert set(private_names(MODULE)) == {
        "forward_ad._current_level",
        "module._backward_hooks",
        "module._backward_pre_hooks",
        "module._forward_hooks",
        "module._forward_pre_hooks",
        "torch._C",
        "torch._C._are_functorch_transforms_active",
        "torch._C._is_tracing",
        "torch._C._len_torch_dispatch_stack",
        "torch._C._len_torch_function_stack",
        "torch.nn.modules.module._has_any_global_hook",
    }
    del found[MODULE.relative_to(ROOT).as_posix()]
    assert {path: names for path, names in found.items() if names} == {}
