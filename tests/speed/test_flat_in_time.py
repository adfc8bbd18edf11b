"""What a run holds after many periods: as much as after few. Seconds are measured by `scaling.py`."""

from __future__ import annotations

import gc
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from simulator.loop.run import open_run, play
from simulator.production.lineage import ANCESTORS_KEPT
from simulator.production.registry.base import Entry
from simulator.production.registry.memory import MemoryLedger, MemoryRegistry
from simulator.scenario.model import Scenario

from .conftest import COUNTED

pytestmark = pytest.mark.slow  # 24 periods take 20 seconds

PERIODS = 24
#: without what draws anew each period
LONG: dict[str, Any] = COUNTED | {
    "periods": PERIODS,
    "stream": COUNTED["stream"] | {"reuse": "recycle"},
    "drift": [{"use": "brightness", "amount": 0.001}],
    "monitor": {"use": "none"},
    "probes": [{"use": "attack-success"}],
}


class Forgetful(MemoryRegistry):
    """A registry that keeps versions no longer than a line needs them: what is held besides is the loop's own."""

    def register(self, payload: Any) -> Any:
        answer = super().register(payload)
        self.versions[payload.lineage].pop(payload.ordinal - 10, None)
        return answer


@pytest.fixture(scope="module")
def long_run() -> tuple[list[Entry], dict[int, int]]:
    """The committed entries, and the bytes of tensors held after each period."""
    held: dict[int, int] = {}

    def listen(event: Any) -> None:
        if event.kind == "period-committed" and event.period % 6 == 0:
            held[event.period] = _bytes_held()

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(__file__).parent)
        scenario, registry, ledger = Scenario.model_validate(LONG), Forgetful(), MemoryLedger()
        head = open_run(scenario, registry, ledger, "run")
        return play(head, scenario, registry, ledger, processes=0, listen=listen)["main"], held


def _bytes_held() -> int:
    gc.collect()
    # By type: to ask some other objects for their class would be a warning, and what a compiler leaves behind in other
    # tests are tensors without memory. A sparse one, which a hostile plug-in's test made, has no storage to ask.
    tensors = [one for one in gc.get_objects() if type(one) in (torch.Tensor, torch.nn.Parameter)]
    dense = [one for one in tensors if one.layout is torch.strided]
    return sum({one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in dense}.values())


def test_no_tensor_outlives_the_versions_and_batches_in_use(long_run: tuple[list[Entry], dict[int, int]]) -> None:
    _, held = long_run
    # From period 12 on the registry keeps ten versions and the line champion, ancestors and their parents.
    assert ANCESTORS_KEPT < 10
    batch = 90 * 784 * 4
    assert max(held[18], held[24]) - held[12] < batch


def test_the_state_of_a_fresh_process_grows_by_a_handful_of_numbers_a_period(
    long_run: tuple[list[Entry], dict[int, int]],
) -> None:
    lengths = [len(json.dumps(entry.record.state)) for entry in long_run[0]]
    # Per period: a pair in `parents` ("[24, 23], ") and in `rates` ("[24, 0.0], "), a number in `trained` ("24, "), a
    # triple in `history` ("[24, false, true], "): 10 + 11 + 4 + 19 characters once all numbers have two digits.
    growth = [after - before for before, after in pairwise(lengths[15:])]
    assert max(growth) <= 10 + 11 + 4 + 19
