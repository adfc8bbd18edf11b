"""What a defense that runs beside the timeline may do: its slips are put back or are its outcome, and nothing else.

What it cannot survive there (hanging, killing the process, leaving threads and programs) is for a process of its own.
"""

from __future__ import annotations

import os
import random
import sys
from contextlib import closing

import numpy as np
import pytest
import torch

from defenses.base import Context, DoesNotApply, Filter, FilterResult
from simulator.guard.settings import read_settings
from simulator.production.defending.driver import Defenders
from simulator.production.defending.runner import Limits
from simulator.records import Outcome
from simulator.scenario.model import Use
from tests.guard.slips import CONTAINED, REFUSED
from tests.production.test_hostile_defenses import ARCHITECTURE, MODEL, ROWS

#: what a slip that raises comes to; the others are put back, and their result is used
RAISED = {
    "exits": "raised SystemExit: 0",
    "raises": "raised RuntimeError: no luck today",
    "memory": "raised MemoryError",
    "raises oddly": "raised KeyError: ",
    "base": "raised Odd: of no kind",
    "text": "raised Silent",
    "raises silently": "raised Silent",
    "skips": "does not apply",
}


class Odd(BaseException):
    """Is no `Exception`."""


class Silent(Exception):
    """Cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Slips(Filter):
    """Does what `slip` names, and keeps all rows but the first."""

    def __init__(self, *, slip: str = "none") -> None:
        self.slip = slip

    def filter(self, context: Context) -> FilterResult:
        assert context.window is not None
        keep = torch.arange(len(context.window)) > 0
        draws = [torch.rand(()).item(), np.random.rand(), random.random()]
        if self.slip in ("base", "text", "skips"):
            raise {"base": Odd("of no kind"), "text": Silent(), "skips": DoesNotApply()}[self.slip]
        if self.slip == "inputs":
            context.window.images.numpy()[:] = 0
        if self.slip == "model":
            context.model.register_forward_hook(lambda *given: given[2] * 0)
            context.model.train()
        if self.slip == "gradients":
            context.model.requires_grad_(False)
        {**REFUSED, **CONTAINED}.get(self.slip, lambda: None)()
        return FilterResult(keep, evidence={"draws": draws})


def filtered(*slips: str) -> list[Outcome]:
    uses = tuple(Use.model_validate({"use": f"{__name__}:Slips", "slip": slip}) for slip in slips)
    device = torch.device("cpu")
    made = Defenders(
        uses, architecture=ARCHITECTURE, device=device, limits=Limits(60.0), in_process=True, threads=1, seed=0
    )
    with closing(made):
        return list(made.filter(MODEL, ROWS, ROWS, period=1, subject="champion").outcomes)


#: a thread or a program stays where it is, in this process: that is for a process of its own
STAYS = {"thread", "timer thread", "pool", "program"}
SLIPS = sorted({*REFUSED, *CONTAINED, *RAISED, "inputs", "model", "gradients"} - STAYS)


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_put_back_or_its_outcome(slip: str) -> None:
    before, process = read_settings(), (os.getpid(), dict(os.environ), list(sys.path), random.getstate())
    weights = {name: value.clone() for name, value in MODEL.weights.items()}
    alone, images = filtered("none", "none"), ROWS.images.clone()
    first, second = filtered(slip, "none")
    assert read_settings() == before
    assert (os.getpid(), dict(os.environ), list(sys.path), random.getstate()) == process
    assert all(torch.equal(value, MODEL.weights[name]) for name, value in weights.items())
    assert torch.equal(images, ROWS.images)
    assert second == alone[1]
    if slip == "inputs":
        assert first.reason.endswith("got window.images changed; work on a copy")
    elif slip in RAISED:
        assert first.status == ("skipped" if slip == "skips" else "failed")
        assert first.reason.startswith(RAISED[slip])
    else:
        assert first == alone[0]
