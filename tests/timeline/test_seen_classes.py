"""Which classes were trained on so far: of periods whose rows were trained on, in a fresh process too."""

from __future__ import annotations

import json

import torch

from simulator.loop.seen_classes import SeenClasses


def test_classes_count_once_their_period_was_trained_on() -> None:
    seen = SeenClasses()
    seen.arrived(0, torch.tensor([2, 0, 2]))
    assert seen.after([]) == ()
    assert seen.after([0]) == (0, 2)
    seen.arrived(1, torch.tensor([0, 5]))
    seen.arrived(2, torch.tensor([7]))
    assert seen.after([0]) == (0, 2)  # late labels, or a policy that waits
    assert seen.after([0, 1]) == (0, 2, 5)


def test_a_fresh_process_knows_them() -> None:
    seen = SeenClasses()
    seen.arrived(0, torch.tensor([1, 0]))
    seen.arrived(1, torch.tensor([3]))
    assert seen.after([0]) == (0, 1)
    fresh = SeenClasses()
    fresh.restore(json.loads(json.dumps(seen.state())))
    assert fresh.after([0, 1]) == (0, 1, 3)
    assert fresh.state() == {"trained": [0, 1, 3], "waiting": []}


def test_a_run_that_did_not_record_them_does_not_know_them() -> None:
    seen = SeenClasses()
    seen.restore(None)
    seen.arrived(3, torch.tensor([1]))
    assert seen.after([0, 1, 2, 3]) is None
    fresh = SeenClasses()
    fresh.restore(json.loads(json.dumps(seen.state())))
    assert fresh.after([3]) is None
