"""How far the weights have moved from the parent's and from the poisoned ancestor's."""

from __future__ import annotations

from typing import ClassVar, final

from torch import Tensor

from simulator.observer.probes.arithmetic import weight_distance
from simulator.observer.probes.base import Probe, ProbeView
from simulator.records import Reading


@final
class WeightDistance(Probe):
    """Relative L2 distance of the trainable weights to the parent's and to the poisoned ancestor's; at least 0.

    Undefined for a version without that relative, and where `arithmetic.weight_distance` is.

    >>> import torch
    >>> from torch import nn
    >>> from simulator.batch import Batch
    >>> test, model = Batch(torch.zeros(0, 2), torch.zeros(0), torch.zeros(0)), nn.Linear(2, 1, bias=False)
    >>> _ = nn.init.ones_(model.weight)
    >>> view = ProbeView(model, test, 2, stamped=None, target=0, parent={"weight": torch.full((1, 2), 2.0)})
    >>> WeightDistance().measure(view)["weights/distance_to_parent"].value  # half the parent's length away
    0.5
    """

    gives: ClassVar[tuple[str, ...]] = ("weights/distance_to_parent", "weights/distance_to_ancestor")

    def measure(self, view: ProbeView) -> dict[str, Reading]:
        """Return both distances; undefined for a version without that relative."""
        weights = {name: value.detach() for name, value in view.model.named_parameters()}
        return {
            "weights/distance_to_parent": _distance(weights, view.parent, "this version has no parent"),
            "weights/distance_to_ancestor": _distance(weights, view.ancestor, "this version has no poisoned ancestor"),
        }


def _distance(weights: dict[str, Tensor], other: dict[str, Tensor] | None, reason: str) -> Reading:
    return Reading.undefined(reason) if other is None else weight_distance(weights, other)
