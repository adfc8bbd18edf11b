"""Defenses that go wrong, each in one way. Named in tests as `defend_faults:Name`."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import torch
from torch import nn

from defenses.base import (
    Context,
    Defense,
    DoesNotApply,
    Filter,
    FilterResult,
    Inspector,
    InspectorResult,
    Repair,
    RepairResult,
    Screen,
    ScreenResult,
)


def _all(context: Context) -> torch.Tensor:
    assert context.window is not None
    return torch.ones(len(context.window), dtype=torch.bool)


class Raises(Filter):
    def filter(self, context: Context) -> FilterResult:
        raise RuntimeError("no luck\ntoday")


class TellsPlaces(Filter):
    """Says where things lie: in memory, and on this machine."""

    def filter(self, context: Context) -> FilterResult:
        raise OSError(
            f"{object()!r} not in '/data/some one/a.bin', \"/tmp/x y\" nor /var/lib/{id(self)}/b.so: "
            "see file:///srv/c, 3 /4 of and/or ratio 1/2, https://example.org/help"
        )


class RaisesAtLength(Filter):
    def filter(self, context: Context) -> FilterResult:
        raise RuntimeError("long " * 200)


class Recurses(Filter):
    def filter(self, context: Context) -> FilterResult:
        return self.filter(context)


class Exits(Filter):
    def filter(self, context: Context) -> FilterResult:
        sys.exit(3)


class Dies(Filter):
    def filter(self, context: Context) -> FilterResult:
        os._exit(7)


class Hangs(Filter):
    def filter(self, context: Context) -> FilterResult:
        while True:
            time.sleep(1)


class Skips(Filter):
    def filter(self, context: Context) -> FilterResult:
        raise DoesNotApply("nothing to do here")


class WrongShape(Filter):
    def filter(self, context: Context) -> FilterResult:
        return FilterResult(_all(context)[1:])


class WrongType(Filter):
    def filter(self, context: Context) -> FilterResult:
        return FilterResult(_all(context).float())


class WrongResult(Filter):
    def filter(self, context: Context) -> Any:
        return _all(context)


class DropsAll(Filter):
    def filter(self, context: Context) -> FilterResult:
        return FilterResult(~_all(context))


class DropsClass(Filter):
    """Drops all of class 0 and the first row of another class."""

    def filter(self, context: Context) -> FilterResult:
        assert context.window is not None
        keep = (context.window.labels != 0).cpu()
        keep[keep.nonzero()[0]] = False
        return FilterResult(keep)


class NanEvidence(Filter):
    def filter(self, context: Context) -> FilterResult:
        return FilterResult(_all(context), evidence={"share": float("nan")})


class TensorEvidence(Filter):
    def filter(self, context: Context) -> FilterResult:
        return FilterResult(_all(context), evidence={"share": torch.ones(2)})


class AltersWindow(Filter):
    def filter(self, context: Context) -> FilterResult:
        assert context.window is not None
        context.window.images[0] = 0.25
        return FilterResult(_all(context))


class AltersTrusted(Repair):
    def repair(self, context: Context) -> RepairResult:
        context.trusted.labels.add_(1)
        return RepairResult(context.model)


class NanWeights(Repair):
    def repair(self, context: Context) -> RepairResult:
        with torch.no_grad():
            next(context.model.parameters()).fill_(float("nan"))
        return RepairResult(context.model)


class OtherNetwork(Repair):
    def repair(self, context: Context) -> RepairResult:
        return RepairResult(nn.Linear(2, 2))


class NanScore(Inspector):
    def inspect(self, context: Context) -> InspectorResult:
        return InspectorResult(True, float("nan"), 1.0)


class TensorVerdict(Inspector):
    def inspect(self, context: Context) -> Any:
        return InspectorResult(torch.tensor(True), 2.0, 1.0)  # type: ignore[arg-type]


class ShortScreen(Screen):
    def screen(self, context: Context) -> ScreenResult:
        return ScreenResult(torch.ones(1, dtype=torch.bool))


class Prints(Filter):
    """Writes to standard output in three ways, and drops the first row."""

    def filter(self, context: Context) -> FilterResult:
        print("through print")  # noqa: T201
        os.system("echo through a child >/dev/null; echo through a child")
        keep = _all(context)
        keep[0] = False
        return FilterResult(keep)


class ShowsEnvironment(Filter):
    def filter(self, context: Context) -> FilterResult:
        return FilterResult(_all(context), evidence={"names": sorted(os.environ), "threads": torch.get_num_threads()})


class DrawsGlobally(Filter):
    """Uses what it should not: torch's global generator."""

    def filter(self, context: Context) -> FilterResult:
        keep = torch.rand(len(_all(context))) > 0.3
        return FilterResult(keep)


class DrawsTwice(Filter):
    """Draws from the context's generator, and from torch's global one, as a network's dropout does."""

    def filter(self, context: Context) -> FilterResult:
        drawn = {"own": torch.rand(8, generator=context.generator).tolist(), "global": torch.rand(8).tolist()}
        return FilterResult(_all(context), evidence=drawn)


class Remembers(Filter):
    """Counts its calls in itself."""

    def __init__(self) -> None:
        self._calls = 0

    def filter(self, context: Context) -> FilterResult:
        self._calls += 1
        return FilterResult(_all(context), evidence={"calls": self._calls})


class Looks(Filter):
    """Runs the model on the window three times, once on a copy."""

    def filter(self, context: Context) -> FilterResult:
        import copy

        assert context.window is not None
        context.logits(context.window.images)
        context.features(context.window.images)
        copy.deepcopy(context.model)(context.window.images)
        return FilterResult(_all(context), again=True)


class NoSurface(Defense):
    """Extends the base of the four surfaces."""


class NoDefense:
    """Not a defense at all."""


class BadConstructor(Filter):
    def __init__(self) -> None:
        raise KeyError("gone")

    def filter(self, context: Context) -> FilterResult:
        return FilterResult(_all(context))
