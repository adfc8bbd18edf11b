"""One plug-in of each in-process kind, whose option `slip` names what it does wrong; with `none` it is a good one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from simulator.observer.probes.base import Probe, ProbeView
from simulator.production.gate import Gate, GateView
from simulator.production.monitors.base import Monitor, MonitorView
from simulator.production.policy import Policy, PolicyView
from simulator.production.training.optimizers import OptimizerFactory
from simulator.production.training.schedules import Schedule
from simulator.records import Decision, Judgement, Reading, Signal
from simulator.world.attacks.base import CLEAN, Attack, Poisoned
from simulator.world.attacks.patch import Patch
from simulator.world.campaign import Campaign, CampaignView
from simulator.world.drift import Drift
from simulator.world.sources.base import Source, SourceData
from simulator.world.sources.digits import Digits
from tests.guard.slips import IN_PLACE, slipped


def unchecked(kind: Any, **values: Any) -> Any:
    """A value of ours that skipped its own checks."""
    return kind.model_construct(**{**kind(**_PLAIN[kind]).model_dump(), **values})


_PLAIN: dict[Any, dict[str, Any]] = {
    Signal: {"method": "mine"},
    Decision: {"retrain": True, "why": "mine"},
    Reading: {"value": 0.5},
}


class Watching(Monitor):
    """Says the batch's mean."""

    def __init__(self, *, slip: str = "none") -> None:
        self.slip = slip

    def observe(self, view: MonitorView) -> Signal:
        slipped(self.slip, [view.current, view.reference], view.model)
        answers: dict[str, Any] = {
            "nan": lambda: unchecked(Signal, score=float("nan")),
            "type": lambda: {"method": "mine"},
            "nothing": lambda: None,
            "tensor": lambda: unchecked(Signal, detail={"mean": view.current.mean()}),
            "huge": lambda: Signal(method="mine", detail={"text": "x" * 2_000_000}),
            "huge number": lambda: Signal(method="mine", detail={"count": 10**400}),
            "surrogate": lambda: Signal(method="\udcff"),
        }
        return answers.get(self.slip, lambda: Signal(method="mine", score=0.5, threshold=1.0))()


class Deciding(Policy):
    """Retrains always."""

    def __init__(self, *, slip: str = "none") -> None:
        self.slip = slip

    def decide(self, view: PolicyView) -> Decision:
        slipped(self.slip)
        answers: dict[str, Any] = {
            "type": lambda: True,
            "nothing": lambda: None,
            "unchecked": lambda: unchecked(Decision, retrain="perhaps"),
            "huge": lambda: Decision(retrain=True, why="x" * 2_000_000),
            "surrogate": lambda: Decision(retrain=True, why="\udcff"),
        }
        return answers.get(self.slip, lambda: Decision(retrain=True, why="always"))()


class Judging(Gate):
    """Promotes always."""

    def __init__(self, *, slip: str = "none") -> None:
        self.slip = slip

    def judge(self, view: GateView) -> Judgement:
        slipped(self.slip)
        serving = view.champion if view.candidate is None else view.candidate
        assert serving is not None
        return Judgement(action="kept" if view.candidate is None else "promoted", why="always", serving=serving)


class Fading(Drift):
    """Darkens by 0.05 a period."""

    def __init__(self, *, slip: str = "none") -> None:
        super().__init__(step=0.05)
        self.slip = slip

    def magnitude(self, period: int) -> float:
        answers: dict[str, Any] = {"nan magnitude": float("nan"), "huge magnitude": 10**400, "text magnitude": "much"}
        return answers.get(self.slip, super().magnitude(period))  # type: ignore[no-any-return]

    def apply(self, images: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
        slipped(self.slip, [images])
        faded = (images - magnitude).clamp(0, 1)
        answers: dict[str, Any] = {
            "nan": faded * float("nan"),
            "infinite": faded + float("inf"),
            "type": faded.double(),
            "shape": faded[:1],
            "array": faded.detach().numpy(),
            "nothing": None,
        }
        return answers.get(self.slip, faded)  # type: ignore[no-any-return]

    def prior(self, shares: Tensor, magnitude: float) -> Tensor | None:
        answers: dict[str, Any] = {
            "nan prior": shares * float("nan"),
            "sum prior": shares * 2,
            "shape prior": shares[:2],
        }
        return answers.get(self.slip)


class Stamping(Attack):
    """Stamps a white square."""

    def __init__(self, *, slip: str = "none") -> None:
        self.slip = slip
        self._patch = Patch(target=0, size=2)

    def poison(self, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> Poisoned:
        slipped(self.slip, [images, labels])
        good = self._patch.poison(images, labels, rate, generator)
        answers: dict[str, Any] = {
            "nan": lambda: replace(good, images=good.images * float("nan")),
            "range": lambda: replace(good, images=good.images * 3),
            "type": lambda: replace(good, images=good.images.double()),
            "fewer": lambda: Poisoned(good.images[:9], good.labels[:9], good.roles[:9]),
            "label": lambda: replace(good, labels=good.labels + 90),
            "label type": lambda: replace(good, labels=good.labels.float()),
            "role": lambda: replace(good, roles=good.roles + 3),
            "clean rows": lambda: replace(good, images=1 - good.images),
            "relabelled": lambda: replace(good, labels=torch.where(good.roles == CLEAN, 1, good.labels)),
            "tuple": lambda: (good.images, good.labels, good.roles),
        }
        return answers.get(self.slip, lambda: good)()  # type: ignore[no-any-return]

    def stamp(self, images: Tensor, opacity: float = 1.0) -> Tensor:
        stamped = self._patch.stamp(images, opacity)
        answers = {"nan stamp": stamped * float("nan"), "range stamp": stamped * 3, "shape stamp": stamped[..., :2]}
        return answers.get(self.slip, stamped)


class Poisoning(Campaign):
    """Poisons period 0."""

    adaptive = False

    def __init__(self, *, slip: str = "none") -> None:
        self.slip = slip

    def rate(self, view: CampaignView) -> float:
        slipped(self.slip)
        if self.slip == "state":
            view.state["tensor"] = torch.zeros(2)
        if self.slip == "huge state":
            view.state["text"] = "x" * 2_000_000
        answers: dict[str, Any] = {
            "nan": float("nan"),
            "above": 1.5,
            "below": -0.1,
            "type": "often",
            "nothing": None,
            "huge": 10**400,
        }
        return answers.get(self.slip, 0.1 if view.period == 0 else 0.0)  # type: ignore[no-any-return]


class Measuring(Probe):
    """Reads the mean of the largest logit."""

    gives: ClassVar[tuple[str, ...]] = ("mine/logit",)

    def __init__(self, *, slip: str = "none") -> None:
        self.slip = slip

    def measure(self, view: ProbeView) -> dict[str, Reading]:
        slipped(self.slip, [view.test.images, view.test.labels], view.model)
        for name in view.shared:  # results of others
            view.shared[name] = torch.zeros_like(view.shared[name])
        with torch.no_grad():
            value = float(view.model(view.test.images).amax(1).mean())
        mine = Reading.of(value)
        answers: dict[str, Any] = {
            "nan": {"mine/logit": unchecked(Reading, value=float("nan"))},
            "infinite": {"mine/logit": unchecked(Reading, value=float("inf"))},
            "type": {"mine/logit": value},
            "undeclared": {"mine/logit": mine, "mine/other": mine},
            "of another": {"mine/logit": mine, "clean/accuracy": Reading.of(1.0)},
            "missing": {},
            "nothing": None,
            "list": [mine],
            "huge": {"mine/logit": Reading.undefined("x" * 2_000_000)},
        }
        return answers.get(self.slip, {"mine/logit": mine})  # type: ignore[no-any-return]


class Stepping(Schedule):
    """0.05 throughout."""

    def __init__(self, *, slip: str = "none") -> None:
        self.slip = slip

    def rate_at(self, step: int, steps: int) -> float:
        slipped(self.slip)
        answers: dict[str, Any] = {
            "nan": float("nan"),
            "infinite": float("inf"),
            "negative": -0.1,
            "beyond": 1e39,
            "huge": 10**400,
            "text": "fast",
            "nothing": None,
        }
        return answers.get(self.slip, 0.05)  # type: ignore[no-any-return]


class Descending(OptimizerFactory):
    """Plain descent."""

    def __init__(self, *, slip: str = "none") -> None:
        self.slip = slip

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        given = list(parameters)
        slipped(self.slip, [one.data for one in given] if self.slip in IN_PLACE else ())
        answers: dict[str, Any] = {"type": lambda: 0.1, "nothing": lambda: None}
        return answers.get(self.slip, lambda: torch.optim.SGD(given, lr=0.1))()  # type: ignore[no-any-return]


class Loading(Source):
    """The digits."""

    def __init__(self, *, slip: str = "none") -> None:
        self.slip = slip

    def load(self) -> SourceData:
        slipped(self.slip)
        data = Digits().load()
        answers: dict[str, Any] = {
            "type": lambda: replace(data, images=data.images.astype(np.float64)),
            "shape": lambda: replace(data, images=data.images[:, 0]),
            "fewer": lambda: replace(data, labels=data.labels[:9]),
            "label": lambda: replace(data, labels=data.labels + 90),
            "label type": lambda: replace(data, labels=data.labels.astype(np.float64)),
            "test": lambda: replace(data, test_images=data.test_images[..., :4]),
            "classes": lambda: replace(data, classes=10**30),
            "digest": lambda: replace(data, digest=""),
            "nothing": lambda: None,
            "tuple": lambda: (data.images, data.labels),
        }
        return answers.get(self.slip, lambda: data)()  # type: ignore[no-any-return]


class Linear(nn.Module):
    """A linear network whose forward pass may slip."""

    def __init__(self, inputs: int, classes: int, slip: str) -> None:
        super().__init__()
        self.slip, self.calls = slip, 0
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        if self.calls > 4:  # not while it is tried out
            slipped(self.slip, [images])
        found: Tensor = self.classifier(images.flatten(1))
        return found


def linear(*, channels: int, size: tuple[int, int], classes: int, slip: str = "none", built: bool = False) -> nn.Module:
    """A linear network; `built`: it slips when it is made, not when it is used."""
    if built:
        slipped(slip)
    return Linear(channels * size[0] * size[1], classes, "none" if built else slip)
