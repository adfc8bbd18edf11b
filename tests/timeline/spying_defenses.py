"""Defenses of every surface that walk over all they can reach, and say to `LISTENERS` what they were handed."""

from __future__ import annotations

import gc
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from defenses.base import (
    Context,
    Filter,
    FilterResult,
    Inspector,
    InspectorResult,
    Repair,
    RepairResult,
    Screen,
    ScreenResult,
    State,
    Training,
    TrainingResult,
)
from defenses.recipe_steps import to_train_on, trained_plainly

#: called with each context, while the call goes on
LISTENERS: list[Callable[[str, Context], None]] = []
#: what leads to everything that was ever imported, so that it says nothing of a context
_WORLDWIDE = (types.ModuleType, type, types.FrameType, types.CodeType, types.BuiltinFunctionType)


def reachable(root: Any) -> Iterator[Any]:
    """Yield every object that can be reached from `root`: by fields, slots, containers, closures and defaults."""
    waiting, known, held = [root], set(), []
    while waiting:
        one = waiting.pop()
        if id(one) in known or isinstance(one, _WORLDWIDE):
            continue
        known.add(id(one))
        held.append(one)  # so that no other object gets its id
        yield one
        waiting.extend(_referents(one))


def _referents(one: Any) -> list[Any]:
    if isinstance(one, types.FunctionType):  # all but its module's globals
        cells = [cell.cell_contents for cell in one.__closure__ or ()]
        return [*cells, one.__defaults__, one.__kwdefaults__, one.__dict__]
    if isinstance(one, torch.Tensor):
        return [one.grad if one.is_leaf else None, one._base, one.grad_fn, vars(one)]
    return gc.get_referents(one)


def _listen(surface: str, context: Context) -> None:
    for listener in LISTENERS:
        listener(surface, context)


class SpyFilter(Filter):
    versions_back = periods_back = 2
    remembers = True

    def filter(self, context: Context) -> FilterResult:
        _listen("filter", context)
        assert context.window is not None
        keep = torch.ones(len(context.window), dtype=torch.bool)
        keep[0] = False
        return FilterResult(keep, state=State({"period": context.period}, {"row": context.window.images[0]}))


class SpyTraining(Training):
    versions_back = periods_back = 2

    def train(self, context: Context) -> TrainingResult:
        _listen("training", context)
        trained_plainly(context.model, *to_train_on(context), context.generator)
        return TrainingResult(context.model)


class SpyRepair(Repair):
    versions_back = periods_back = 2

    def repair(self, context: Context) -> RepairResult:
        _listen("repair", context)
        with torch.no_grad():
            for weight in nn.ModuleList([context.model.get_submodule(context.feature_layer)]).parameters():
                weight.mul_(0.999)
        return RepairResult(context.model)


class SpyInspector(Inspector):
    versions_back = periods_back = 2
    remembers = True

    def inspect(self, context: Context) -> InspectorResult:
        _listen("inspector", context)
        return InspectorResult(False, 0.0, 1.0, state=State({"period": context.period}))


class SpyRefuser(Screen):
    """Refuses every image."""

    versions_back = periods_back = 2

    def screen(self, context: Context) -> ScreenResult:
        _listen("screen", context)
        assert context.incoming is not None
        return ScreenResult(torch.ones(len(context.incoming), dtype=torch.bool))


class SpyScreen(Screen):
    versions_back = periods_back = 2

    def screen(self, context: Context) -> ScreenResult:
        _listen("screen", context)
        assert context.incoming is not None
        return ScreenResult(torch.zeros(len(context.incoming), dtype=torch.bool))
