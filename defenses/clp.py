"""Channel Lipschitzness pruning: a channel that a small change of its input excites most is cut. It needs no data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, final

import torch
from annotated_types import Gt
from torch import Tensor

from defenses.base import Context, DoesNotApply, Repair, RepairResult, Size
from defenses.channels import Layer, layers


@torch.no_grad()
def lipschitz(layer: Layer) -> Tensor:
    """Return an upper bound on the Lipschitz constant of each channel of `layer`: (channels,).

    The spectral norm of the channel's kernel as a matrix (inputs, height x width), times what BatchNorm scales by.

    >>> from torch import nn
    >>> convolution = nn.Conv2d(2, 1, 1)
    >>> _ = convolution.weight.data.copy_(torch.tensor([[[[3.0]], [[4.0]]]]))
    >>> round(float(lipschitz(Layer("0", convolution, None))), 3)  # a matrix of one column: its length
    5.0
    """
    bound: Tensor = torch.linalg.matrix_norm(layer.convolution.weight.flatten(2).float(), ord=2)
    if layer.norm is None or layer.norm.running_var is None:
        return bound
    scale = bound.new_ones(()) if layer.norm.weight is None else layer.norm.weight
    scaled: Tensor = bound * (scale / (layer.norm.running_var + layer.norm.eps).sqrt()).abs()
    return scaled


@final
@dataclass(frozen=True, kw_only=True)
class ChannelLipschitz(Repair):
    """Silences the channels whose Lipschitz bound is far above that of the other channels of their layer.

    Zheng, Tang, Li, Liu: Data-free Backdoor Removal based on Channel Lipschitzness (ECCV 2022), called CLP.

    Option: `deviations`: standard deviations above the layer's mean beyond which a channel is cut.

    Needs no trusted images. Costs a forward pass of one blank image, which shows the order of the layers. Its threshold
    is the paper's.

    Differs from the paper: a convolution belongs to the BatchNorm that reads its output, found by executing the model,
    not by the order in which modules were registered; a convolution whose output no BatchNorm reads is judged by its
    kernel alone. Published (CIFAR-10, ResNet-18): a 3x3 patch at 5 % falls from 89 to 24.5 % attack success for 1.3
    points of accuracy. In a layer of n channels no value lies more than (n - 1) / sqrt(n) deviations above the mean:
    with fewer than 11 channels nothing is ever cut by the default. What was measured here stands in `docs/repairs.md`.

    >>> from torch import nn
    >>> from defenses.base import Rows
    >>> convolution = nn.Conv2d(1, 16, 1, bias=False)
    >>> _ = convolution.weight.data.fill_(0.5)
    >>> convolution.weight.data[7] = 9.0
    >>> context = Context(
    ...     model=nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2)),
    ...     feature_layer="3", classes=2, device=torch.device("cpu"),
    ...     trusted=Rows(torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.long)), generator=torch.Generator(),
    ... )
    >>> ChannelLipschitz().repair(context).evidence
    {'pruned': {'0': [7]}, 'channels': 16}
    """

    calibration = "paper"

    deviations: Annotated[float, Gt(0)] = 3.0

    def repair(self, context: Context) -> RepairResult:
        """Return the model without the conspicuous channels; scores: every channel's bound in deviations."""
        found = layers(context)
        if not found:
            raise DoesNotApply("pruning by channels needs a network with a convolution")
        scores: dict[str, Tensor] = {}
        pruned: dict[str, Any] = {}
        for layer in found:
            bound = lipschitz(layer)
            spread = bound.std() if len(bound) > 1 else bound.new_zeros(())
            scores[layer.name] = (bound - bound.mean()) / spread.clamp(min=1e-12)
            cut = (scores[layer.name] > self.deviations).nonzero().flatten()
            if len(cut):
                layer.silence(cut)
                pruned[layer.name] = cut.tolist()
        evidence = {"pruned": pruned, "channels": sum(layer.channels for layer in found)}
        return RepairResult(context.model, evidence, scores=scores)

    def passes(self, size: Size) -> int:
        """Return the one pass that shows the order of the layers."""
        return 1
