"""What the checks share: who is checked, how a check fails, and comparisons of whole answers."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from simulator.guard.inputs import model_print
from simulator.guard.settings import Beside, put_back, read_settings, seed_all
from simulator.scenario import catalog

T = TypeVar("T")

#: a seed that nobody uses, so that a call that seeds is seen as well as one that draws
_UNUSUAL = 974_211_337


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found. `message` says what was expected and what was got, or why nothing was tried.

    `tried` is False where the check does not apply to this plug-in, or where its class skips it; both pass.
    """

    name: str
    passed: bool
    message: str
    tried: bool = True


class Failed(Exception):
    """A check found what must not be."""


class Inapplicable(Exception):
    """A check has nothing to try on this plug-in, and why."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The plug-in under check: its kind, the name it was given by, the class or function, options to build it with.

    A class whose options have no sensible default (a path) says in `example` what the checks may build it with.
    """

    kind: str
    use: str
    member: Any
    given: Mapping[str, Any] = field(default_factory=dict)

    def make(self) -> Any:
        """Return a new one, built as a scenario would."""
        return catalog.build(self.kind, self.use, self.given)

    def make_bare(self) -> Any:
        """Return a new one, built outside the guard that would put back what its constructor changes."""
        return self.member(**catalog.check_options(self.use, self.member, self.given))


def expect(holds: bool, sentence: str) -> None:
    """Fail the check with `sentence` unless `holds`."""
    if not holds:
        raise Failed(sentence)


def same(left: Any, right: Any) -> bool:
    """Whether two answers are equal throughout: tensors bit for bit (NaN equals NaN), models by their weights."""
    if isinstance(left, Tensor):
        return isinstance(right, Tensor) and left.dtype == right.dtype and _equal(left, right)
    if isinstance(left, np.ndarray):
        return isinstance(right, np.ndarray) and np.array_equal(left, right)
    if isinstance(left, nn.Module):
        return same(dict(left.state_dict()), dict(right.state_dict()))
    if is_dataclass(left) and not isinstance(left, type):
        return type(left) is type(right) and all(
            same(getattr(left, f.name), getattr(right, f.name)) for f in fields(left)
        )
    if isinstance(left, Mapping):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, Sequence) and not isinstance(left, str):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


def quiet(call: Callable[[], T]) -> T:
    """Return what `call` returns; fail when it changes a global random state or a setting of the process.

    A first call may import modules that do so once; the fault is in a call that does so again. All is put back.
    """
    answer, touched = _observed(call)
    if touched:
        answer, touched = _observed(call)
    expect(
        not touched,
        f"expected every global state to be left alone, got a change of {', '.join(touched)}; "
        "draw from the generator you are given",
    )
    return answer


def unchanged(call: Callable[[], T], **inputs: Any) -> T:
    """Return what `call` returns; fail when it changed one of the tensors, models or generators among `inputs`."""
    before = {name: _frozen(value) for name, value in inputs.items()}
    answer = quiet(call)
    for name, value in inputs.items():
        expect(
            same(_frozen(value), before[name]), f"expected {name} to be left as it was, got a change; work on a copy"
        )
    return answer


def _observed(call: Callable[[], T]) -> tuple[T, list[str]]:
    beside, settings = Beside.taken(), read_settings()
    seed_all(_UNUSUAL)
    before = _random_states()
    try:
        answer = call()
        touched = [name for name, value in _random_states().items() if not same(value, before[name])]
    finally:
        left = put_back(settings)
        beside.put_back()
    return answer, [*touched, *left]


def _frozen(value: Any) -> Any:
    if isinstance(value, nn.Module):
        return [{name: tensor.clone() for name, tensor in value.state_dict().items()}, model_print(value)]
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, Tensor):
        return [value.detach().clone(), value.requires_grad]
    return copy.deepcopy(value)


def _equal(left: Tensor, right: Tensor) -> bool:
    if left.shape != right.shape:
        return False
    return bool(((left == right) | ((left != left) & (right != right))).all())


def _random_states() -> dict[str, Any]:
    return {
        "random's generator": random.getstate(),
        "NumPy's generator": np.random.get_state(legacy=False),
        "torch's generator": torch.get_rng_state(),
    }
