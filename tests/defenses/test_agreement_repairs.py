"""Agreement of repairs with their authors' own code, on one small fixed network.

The numbers were computed with that code, which is no dependency of ours, at these commits: CLP with
rkteddy/channel-Lipschitzness-based-pruning 5209c83, ANP with csdongxian/ANP_backdoor ec7b179, I-BAU with
YiZeng623/I-BAU d4bfa52, FST with AISafety-HKUST/stable_backdoor_purification 37d2ef5, SAU with SCLBD/BackdoorBench
f02e353. Where ours differs, a test says how.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from defenses import anp, fst, i_bau
from defenses.anp import AdversarialNeuronPruning
from defenses.base import Context, Rows
from defenses.channels import layers
from defenses.clp import ChannelLipschitz, lipschitz
from defenses.fst import FeatureShiftTuning
from defenses.i_bau import ImplicitUnlearning
from defenses.sau import SharedAdversarialUnlearning

#: `channel_lips` of `CLP(net, 3.0)`, for each of the two layers
LIPSCHITZ = (
    (0.103156, 2.778012, 2.526617, 5.185164),
    (0.30512, 3.808515, 4.187482, 0.453199, 4.23748, 1.053573, 0.429799, 80.666962, 2.283799, 5.143103, 1.411809,
     1.746748),
)  # fmt: skip
#: `neuron_mask` of both layers after three steps of `mask_train` with its defaults
MASKS = (
    (1.0, 1.0, 0.79216, 1.0),
    (1.0, 0.84384, 0.41553, 1.0, 0.5675, 1.0, 1.0, 0.30504, 1.0, 1.0, 1.0, 1.0),
)
#: lengths of the hypergradients of `fixed_point(pert, parameters, 5, GradientDescent(loss_inner, 0.1), loss_outer)`
HYPERGRADIENTS = (0.4905, 0.50907, 0.54984, 2.63085, 1.40074, 0.59447, 4.09783, 0.72447)
#: those of `loss_outer` alone, without the part through the perturbation
DIRECT = (0.48835, 0.50772, 0.54967, 2.62818, 1.39987, 0.59428, 4.09481, 0.72426)
#: `batch_pert` after one round over two batches
PERTURBATION = (
    -0.1878, -0.1253, -0.0844, -0.0182, -0.1986, -0.1058, -0.1212, -0.0187, -0.1616, -0.1072, -0.1123, -0.024, -0.0699,
    -0.0911, -0.0723, -0.0445,
)  # fmt: skip
#: the new last layer's first row after three epochs of one batch, and the lengths of all parameters
SHIFTED = (
    0.38365, -0.37084, 0.07345, -0.14315, -0.30957, -0.1267, -0.08111, 0.13459, 0.27447, -0.54048, -0.27552, 0.12674,
)  # fmt: skip
LENGTHS = (2.07612, 2.14364, 1.97365, 5.97253, 2.96459, 3.31041, 1.89299, 0.00733)

#: the change of the first image after one step of `Shared_PGD.attack`
SHARED = (0.0, 0.2, 0.2, 0.0, 0.2, 0.2, 0.0, 0.2, 0.2, 0.2, 0.2, 0.0, 0.0, 0.2, 0.0, 0.0)


def test_lipschitz_bounds_and_what_is_cut_are_the_same() -> None:
    """Theirs leaves out BatchNorm's 1e-5 under the root of the variance: a hundred thousandth here, at most."""
    context = _context(_network(seventh=20.0))
    for layer, theirs in zip(layers(context), LIPSCHITZ, strict=True):
        np.testing.assert_allclose(lipschitz(layer).numpy(), theirs, rtol=2e-5)
    assert ChannelLipschitz().repair(context).evidence["pruned"] == {"3": [7]}


def test_masks_after_three_adversarial_steps_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows in one batch; the random start of each change was set to ours in their code."""
    monkeypatch.setattr(anp, "batches", lambda rows, **_: iter([rows] * 3))
    context = _context(_network(seventh=20.0))
    method = AdversarialNeuronPruning(steps=3)
    masks = method._masks(context, layers(context), context.trusted)
    for mask, theirs in zip(masks, MASKS, strict=True):
        np.testing.assert_allclose(mask.numpy(), theirs, atol=2e-5)


def test_hypergradients_are_the_same() -> None:
    """One batch of ten, of which theirs perturbs one at random; ours the first, as the batches are drawn in any order.

    With more batches theirs takes the first of them for the part through the perturbation, ours the one at hand.
    """
    model, (images, labels) = _network(scale=0.3), _rows()
    change = torch.from_numpy(0.1 * np.random.default_rng(16).normal(size=(1, 1, 4, 4))).float()
    found = ImplicitUnlearning(share=0.1)._hypergradient(model, change, Rows(images, labels))
    np.testing.assert_allclose([float(one.norm()) for _, one in found], HYPERGRADIENTS, rtol=1e-4)
    assert all(total > direct for total, direct in zip(HYPERGRADIENTS, DIRECT, strict=True))


def test_the_perturbation_is_the_same_where_nothing_bounds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper bounds its length, as ours does; their code has that line commented out."""
    images, labels = _rows()
    parts = [Rows(images[:5], labels[:5]), Rows(images[5:], labels[5:])]
    monkeypatch.setattr(i_bau, "batches", lambda rows, **_: iter(parts))
    free, bounded = (
        ImplicitUnlearning(steps=2, radius=radius)._perturbation(
            _network(scale=0.3), Rows(images, labels), torch.Generator()
        )
        for radius in (1e9, 0.05)
    )
    np.testing.assert_allclose(free.flatten().numpy(), PERTURBATION, atol=1e-4)
    torch.testing.assert_close(bounded, free * 0.05 / free.square().mean().sqrt())


def test_the_shifted_last_layer_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its new weights were set to the same ones in both. Ours has a weight decay of 5e-4 beside, theirs has none."""
    drawn = torch.from_numpy(np.random.default_rng(17).uniform(-0.2, 0.2, size=(3, 12))).float()

    def draw(head: nn.Linear, generator: torch.Generator) -> None:
        head.weight.data.copy_(drawn)
        head.bias.data.zero_()

    monkeypatch.setattr(fst, "_draw", draw)
    model, (images, labels) = _network(scale=0.3), _rows()
    method = FeatureShiftTuning(epochs=3, batch=10, shift=0.0)
    method._shift(model, model.get_submodule("8"), Rows(images, labels), 0.2, torch.Generator())  # type: ignore[arg-type]
    found = [parameter.detach() for parameter in model.parameters()]
    np.testing.assert_allclose(found[-2][0].numpy(), SHIFTED, atol=2e-5)
    np.testing.assert_allclose([float(one.norm()) for one in found], LENGTHS, rtol=5e-5, atol=1e-5)


def test_the_first_shared_example_is_the_same() -> None:
    """From the same start; theirs begins with all pixels brighter. Ours then stays within [0, 1], theirs does not.

    In later steps theirs leaves out the loss of images that mislead a model already; ours goes on with them.
    """
    old, new, (images, _) = _network(scale=0.3), _network(scale=0.3), _rows()
    _weight(new, 8).add_(torch.from_numpy(0.2 * np.random.default_rng(18).normal(size=(3, 12))).float())
    labels = old(images).argmax(1)
    method = SharedAdversarialUnlearning(steps=1)
    found = method._shared(old, new, Rows(images, labels), torch.Generator().manual_seed(0))
    theirs = (images[0].flatten() + torch.tensor(SHARED)).clamp(0, 1)
    torch.testing.assert_close(found[0].flatten(), theirs)


def test_the_loss_on_shared_examples_is_the_same() -> None:
    """Theirs is 1.03195, and 1.17329 with the fourth row, which the old model gets wrong without any change.

    Theirs then takes it for no trigger, ours does: it adds a quarter of -log(1 - 0.499).
    """
    images = torch.tensor([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [2.0, 0.0, 1.0], [0.0, 1.0, 0.0]]).view(4, 1, 1, 3)
    changed = torch.tensor([[0.0, 2.0, 0.0], [0.0, 2.5, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.5]]).view(4, 1, 1, 3)
    labels, old, head = torch.tensor([0, 1, 0, 2]), nn.Flatten(), nn.Linear(3, 3, bias=False)
    head.weight.data.copy_(torch.tensor([[1.0, 0.2, 0.0], [0.0, 1.0, 0.1], [0.3, 0.0, 1.0]]))
    new, method = nn.Sequential(nn.Flatten(), head), SharedAdversarialUnlearning()
    three, four = (
        float(method._loss(old, new, Rows(images[:count], labels[:count]), changed[:count]).detach())
        for count in (3, 4)
    )
    np.testing.assert_allclose(three, 1.03195, atol=1e-5)
    believed = torch.softmax(head(changed[3].flatten()), 0)[1].detach()
    np.testing.assert_allclose(four, 1.17329 - float(torch.log1p(-believed)) / 4, atol=1e-5)


def _network(scale: float = 1.0, seventh: float = 1.0) -> nn.Sequential:
    """Two convolutions with BatchNorm and a head of normal weights, times `scale`; one channel times `seventh`."""
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
        *(nn.Conv2d(4, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 3)),
    )
    rng = np.random.default_rng(14)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            drawn = rng.normal(size=tuple(value.shape))
            value.copy_(torch.from_numpy(np.abs(drawn) + 0.5 if name.endswith("running_var") else drawn))
    for place in (0, 3, 8):
        _weight(model, place).mul_(scale)
    _weight(model, 3)[7].mul_(seventh)
    return model.eval()


def _weight(model: nn.Module, place: int) -> Tensor:
    return model.get_parameter(f"{place}.weight").data


def _rows() -> tuple[Tensor, Tensor]:
    return torch.from_numpy(np.random.default_rng(15).random((10, 1, 4, 4))).float(), torch.arange(10) % 3


def _context(model: nn.Module) -> Context:
    generator = torch.Generator().manual_seed(0)
    return Context(copy.deepcopy(model), "8", 3, torch.device("cpu"), Rows(*_rows()), generator)
