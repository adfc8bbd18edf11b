"""Our kernels for a block: torch's layers in every bit, and only where that is so."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode

from simulator.batch import Batch
from simulator.production.training import blocks
from simulator.production.training.blocks import HalvingBlock, HalvingMaxPool
from simulator.production.training.device import has_avx2
from simulator.production.training.fit import fit
from simulator.production.training.kernels import fused, selftest
from simulator.scenario.model import Phase, Recipe

pytestmark = pytest.mark.skipif(not has_avx2(), reason="kernels round as torch on AVX2 does")
SIZES = [(28, 28), (14, 14), (7, 7), (9, 4), (2, 3)]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The counts of channels that kernels were called for."""
    seen: list[int] = []

    def counted(norm: nn.BatchNorm2d, maps: Tensor) -> Tensor:
        seen.append(norm.num_features)
        return fused.fused_block(norm, maps)

    monkeypatch.setattr(blocks, "fused_block", counted)
    return seen


def block_of(channels: int, inputs: int = 3) -> HalvingBlock:
    """A block with weights of its own, channels last."""
    generator = torch.Generator().manual_seed(channels)
    made = HalvingBlock(inputs, channels).to(memory_format=torch.channels_last)
    with torch.no_grad():
        for value in (*made.parameters(), made[1].running_mean, made[1].running_var):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.2)
    return made


def layers_of(made: HalvingBlock) -> nn.Sequential:
    """The same block of torch's own layers."""
    convolution, norm, _, _ = copy.deepcopy(made)
    return nn.Sequential(convolution, norm, nn.MaxPool2d(2), nn.ReLU())


def images_of(count: int, size: tuple[int, int], channels: int = 3) -> Tensor:
    """Images with many equal pixels, so that windows have several largest ones."""
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(-2, 3, (count, channels, *size), generator=generator) / 2
    return images.contiguous(memory_format=torch.channels_last)


def learned(network: nn.Module, images: Tensor) -> list[Tensor]:
    """What a step brings forth: outputs, gradients of images and weights, and the moments."""
    images = images.clone(memory_format=torch.preserve_format).requires_grad_()
    outputs = network.train()(images)
    arriving = torch.linspace(-1, 1, outputs.numel()).view(outputs.shape)
    return [outputs, *torch.autograd.grad(outputs, [images, *network.parameters()], arriving), *network.buffers()]


@pytest.mark.parametrize("channels", [8, 16, 24, 32, 64])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 5, 128])
def test_a_block_learns_as_torchs_layers_do(channels: int, size: tuple[int, int], count: int, calls: list[int]) -> None:
    made, images = block_of(channels), images_of(count, size)
    expected = learned(layers_of(made), images)
    found = learned(made, images)
    assert calls == [channels]
    assert [torch.equal(*pair) for pair in zip(found, expected, strict=True)] == [True] * len(expected)


@pytest.mark.parametrize("channels", [8, 32])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_block_answers_as_torchs_layers_do(
    channels: int, size: tuple[int, int], mode: Callable[[], torch.no_grad], calls: list[int]
) -> None:
    made, images = block_of(channels).eval(), images_of(4, size)
    with mode():
        assert torch.equal(made(images), layers_of(made)(images))
    assert calls == [channels]


def test_a_window_worked_by_hand() -> None:
    # Pixels 0, 1, 2, 5: mean 2, variance 3.5; (5 - 2) / sqrt(3.5) x 2 + 1 = 4.2071. The unbiased variance is 14 / 3.
    # Gradient g at the largest, d = (-2, -1, 0, 3): 2 / sqrt(3.5) x (g - 1 / 4 - d x 3 / (4 x 3.5)).
    norm = nn.BatchNorm2d(8, eps=0.0)
    norm.weight.data.fill_(2.0)
    norm.bias.data.fill_(1.0)
    pixels = torch.tensor([[0.0, 1.0], [2.0, 5.0]]).expand(1, 8, 2, 2).contiguous(memory_format=torch.channels_last)
    maps = pixels.clone(memory_format=torch.preserve_format).requires_grad_()
    found = fused.fused_block(norm, maps)
    found.sum().backward()
    assert found.flatten().tolist() == pytest.approx([4.2071] * 8, abs=1e-4)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.running_mean.tolist() == pytest.approx([0.2] * 8)
    assert norm.running_var.tolist() == pytest.approx([0.9 + 1.4 / 3] * 8)
    assert int(norm.num_batches_tracked or 0) == 1
    assert maps.grad is not None
    expected = [1.0690 * step for step in (-0.25 + 3 / 7, -0.25 + 3 / 14, -0.25, 0.75 - 9 / 14)]
    assert maps.grad[0, 0].flatten().tolist() == pytest.approx(expected, abs=1e-4)
    assert norm.bias.grad is not None
    assert norm.weight.grad is not None
    assert norm.bias.grad.tolist() == [1.0] * 8
    assert norm.weight.grad.tolist() == pytest.approx([3 / 3.5**0.5] * 8)


def test_what_is_not_a_number_goes_on() -> None:
    made, images = block_of(8), images_of(2, (8, 8))
    images[0, 0, 0, 0] = float("nan")
    with torch.no_grad():
        found, expected = made(images), layers_of(made).train()(images)
    assert torch.equal(found.isnan(), expected.isnan())
    assert found.isnan().any()


def test_training_gives_the_same_weights_with_and_without_kernels(
    bars: Batch, small_network: nn.Module, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def weights() -> dict[str, Tensor]:
        phase = Phase(epochs=2, batch=32)
        return fit(small_network, bars, phase, Recipe(), seed=1, update=False).model.state_dict()

    found = weights()
    assert len(calls) == 3 * 2 * 7  # three blocks, two epochs of seven batches
    monkeypatch.setattr(blocks, "matches_torch", lambda channels: False)
    expected = weights()
    assert len(calls) == 3 * 2 * 7
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_gradients_of_gradients_are_torchs() -> None:
    def slopes(network: nn.Module) -> list[Tensor]:
        images = images_of(3, (6, 6)).requires_grad_()
        outputs = network.train()(images)
        (first,) = torch.autograd.grad(outputs.square().sum(), [images], create_graph=True)
        return list(torch.autograd.grad(first.square().sum(), list(network.parameters())))

    made = block_of(8)
    for found, expected in zip(slopes(made), slopes(layers_of(made)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_backward_pass_can_be_made_twice() -> None:
    made, images = block_of(8), images_of(3, (6, 6))
    outputs = made(images).sum()
    first = torch.autograd.grad(outputs, list(made.parameters()), retain_graph=True)
    again = torch.autograd.grad(outputs, list(made.parameters()))
    assert all(map(torch.equal, first, again))


@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_hook_on_a_layer_is_called(place: int, calls: list[int]) -> None:
    made, seen = block_of(8), []
    with made[place].register_forward_hook(lambda *_: seen.append(place)):
        made(images_of(2, (6, 6)))
    assert (seen, calls) == ([place], [])
    made(images_of(2, (6, 6)))
    assert (seen, calls) == ([place], [8])


def test_a_layer_that_was_replaced_is_called(calls: list[int]) -> None:
    made = block_of(8)
    made[3] = nn.Tanh()
    assert float(made(images_of(2, (6, 6))).detach().max()) < 1.0
    assert calls == []


def _double(made: HalvingBlock, images: Tensor) -> Tensor:
    answer: Tensor = made.double()(images.double())
    return answer


def _plain_layout(made: HalvingBlock, images: Tensor) -> Tensor:
    answer: Tensor = made.to(memory_format=torch.contiguous_format)(images.contiguous())
    return answer


def _running_moments_with_gradients(made: HalvingBlock, images: Tensor) -> Tensor:
    answer: Tensor = made.eval()(images)
    return answer


def _two_threads(made: HalvingBlock, images: Tensor) -> Tensor:
    torch.set_num_threads(2)
    try:
        answer: Tensor = made(images)
    finally:
        torch.set_num_threads(1)
    return answer


def _per_image(made: HalvingBlock, images: Tensor) -> Tensor:
    made.eval()
    return torch.func.vmap(made)(images.unsqueeze(1)).flatten(0, 1)


def _functional(made: HalvingBlock, images: Tensor) -> Tensor:
    made.eval()

    def answer(weights: dict[str, Tensor]) -> Tensor:
        found: Tensor = torch.func.functional_call(made, weights, (images,))
        return found.sum()

    return torch.func.grad(answer)(dict(made.named_parameters()))["1.weight"]


def _tangent(made: HalvingBlock, images: Tensor) -> Tensor:
    made.eval()
    with forward_ad.dual_level(), torch.no_grad():
        answer = made(forward_ad.make_dual(images, torch.ones_like(images)))
        tangent: Tensor | None = forward_ad.unpack_dual(answer).tangent
    assert tangent is not None
    return tangent


def _watched(made: HalvingBlock, images: Tensor) -> Tensor:
    seen = []

    class Notes(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func)
            return func(*args, **kwargs or {})

    with Notes():
        answer: Tensor = made(images)
    assert torch.nn.functional.batch_norm in seen
    return answer


def _strided_moments(made: HalvingBlock, images: Tensor) -> Tensor:
    made[1].running_var = torch.ones(16)[::2]
    answer: Tensor = made(images)
    return answer


def _forward_of_its_own(made: HalvingBlock, images: Tensor) -> Tensor:
    made[3].forward = torch.tanh
    answer: Tensor = made(images)
    assert float(answer.detach().max()) < 1.0
    return answer


def _traced(made: HalvingBlock, images: Tensor) -> Tensor:
    graph = _Layers().trace(made)
    assert [node.target for node in graph.nodes if node.op == "call_module"] == ["0", "1", "2", "3"]
    answer: Tensor = fx.GraphModule(made, graph)(images)
    return answer


class _Layers(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not any(True for _ in m.children())


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")  # torch's own, for tangents
@pytest.mark.parametrize(
    "way",
    [
        _double,
        _plain_layout,
        _running_moments_with_gradients,
        _two_threads,
        _per_image,
        _functional,
        _tangent,
        _watched,
        _strided_moments,
        _forward_of_its_own,
        _traced,
    ],
)
def test_torchs_layers_are_called_where_kernels_do_not_fit(
    way: Callable[[HalvingBlock, Tensor], Tensor], calls: list[int]
) -> None:
    made, images = block_of(8), images_of(4, (6, 6))
    found = way(made, images)
    assert calls == []
    assert found.isfinite().all()


def test_rows_of_gradients_at_once_are_torchs() -> None:
    def slopes(network: nn.Module) -> Tensor:
        found: Tensor = torch.autograd.functional.jacobian(
            lambda images: network(images).sum((1, 2, 3)), images_of(2, (4, 4)), vectorize=True
        )
        return found

    made = block_of(8)
    torch.testing.assert_close(slopes(made), slopes(layers_of(made).train()), rtol=1e-4, atol=1e-5)


def test_training_passes_leave_what_an_answer_before_them_needs() -> None:
    made, images = block_of(8), images_of(3, (6, 6)).requires_grad_()
    answer = made.eval()(images).sum()
    made.train()(images.detach())
    (found,) = torch.autograd.grad(answer, [images])
    assert found.isfinite().all()


def test_a_weight_that_does_not_fit_is_refused_by_torch() -> None:
    made = block_of(8)
    made[1].weight = nn.Parameter(torch.ones(4))
    with pytest.raises(RuntimeError, match="weight should contain 8 elements not 4"):
        made(images_of(2, (6, 6)))


def test_a_part_of_a_block_is_a_sequence_of_layers() -> None:
    made = block_of(8)
    assert [type(layer) for layer in made[:2]] == [nn.Conv2d, nn.BatchNorm2d]
    assert made[:2](images_of(2, (6, 6))).shape == (2, 8, 6, 6)
    assert isinstance(made[-1], nn.ReLU)


def test_a_compiler_follows_the_layers() -> None:
    code = (  # in a process of its own: the compiler leaves much behind
        "import torch; torch.set_num_threads(1)\n"
        "from simulator.production.training.blocks import HalvingBlock\n"
        "made = HalvingBlock(3, 8).to(memory_format=torch.channels_last).eval()\n"
        "images = torch.rand(2, 3, 6, 6).contiguous(memory_format=torch.channels_last)\n"
        "compiled = torch.compile(made, backend='eager', fullgraph=True)\n"
        "with torch.no_grad(): print(torch.equal(compiled(images), made(images)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.split() == ["True"]


def test_twelve_channels_are_torchs(calls: list[int]) -> None:
    block_of(12)(images_of(2, (6, 6)))
    assert calls == []


def test_weights_keep_their_names_and_copies_their_kind() -> None:
    made = copy.deepcopy(block_of(8))
    assert [type(layer) for layer in made] == [nn.Conv2d, nn.BatchNorm2d, HalvingMaxPool, nn.ReLU]
    assert list(made.state_dict()) == [
        "0.weight",
        *(f"1.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
    ]


def test_kernels_that_round_otherwise_are_not_trusted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def otherwise(norm: nn.BatchNorm2d, maps: Tensor) -> Tensor:
        return fused.fused_block(norm, maps) * (1.0 + 2**-23)

    monkeypatch.setattr(selftest, "fused_block", otherwise)
    assert selftest.matches_torch.__wrapped__(8) is False
    assert "rounds otherwise than our kernels on this processor" in caplog.text


def test_a_processor_without_kernels_is_said_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nothing(norm: nn.BatchNorm2d, maps: Tensor) -> Tensor:
        raise RuntimeError("no target")

    monkeypatch.setattr(selftest, "fused_block", nothing)
    assert selftest.matches_torch.__wrapped__(8) is False
    assert "no kernels for this processor" in caplog.text


def test_the_trial_leaves_random_states_and_works_under_any_mode_and_device() -> None:
    before = torch.get_rng_state()
    with torch.inference_mode(), torch.device("meta"):
        assert selftest.matches_torch.__wrapped__(8)
    assert torch.equal(torch.get_rng_state(), before)


def test_where_torch_does_not_contract_products_its_layers_are_called() -> None:
    # torch's build for old processors rounds every product: a machine on which the trial has to fail.
    code = (
        "import torch; torch.set_num_threads(1)\n"
        "from simulator.production.training.kernels.selftest import matches_torch\n"
        "print(torch.backends.cpu.get_cpu_capability(), matches_torch(8))"
    )
    environment = os.environ | {"ATEN_CPU_CAPABILITY": "default"}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert found.stdout.split() == ["DEFAULT", "False"]
