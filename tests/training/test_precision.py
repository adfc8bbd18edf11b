"""What float32 means on CUDA: torch's choices hold no GPU, so that they are seen without one."""

from __future__ import annotations

import pytest
import torch

from simulator.errors import ScenarioError
from simulator.production.training.device import arithmetic, autocast, check_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def chosen() -> list[str]:
    backends = (torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul)
    return [backend.fp32_precision for backend in backends]


@pytest.mark.parametrize(("precision", "expected"), [("float32", "ieee"), ("tf32", "tf32"), ("bfloat16", "ieee")])
def test_products_are_rounded_only_where_a_recipe_says_so(precision, expected):
    before, legacy = chosen(), torch.backends.cudnn.allow_tf32
    with arithmetic(precision, CUDA):
        assert chosen() == [expected] * 3
    assert chosen() == before
    assert torch.backends.cudnn.allow_tf32 == legacy
    with arithmetic(precision, CPU):
        assert chosen() == before


def test_tf32_is_no_autocast_and_not_for_a_cpu():
    with autocast("tf32", CUDA):
        assert not torch.is_autocast_enabled("cuda")
    with pytest.raises(ScenarioError, match="got tf32; tf32 training needs device: cuda"):
        check_precision("tf32", CPU)
