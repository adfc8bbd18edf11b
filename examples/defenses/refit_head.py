"""A whole custom defense: fit the classifier's head anew, on trusted images alone, by ridge regression."""

import torch
from torch.nn.functional import one_hot

from defenses.base import Context, Repair, RepairResult


class RefitHead(Repair):
    """A head that never saw the trigger has no use for the features that only the trigger wakes."""

    needs_trusted = True

    def __init__(self, *, ridge: float = 10.0) -> None:
        self.ridge = ridge  # pull of the weights towards 0

    def repair(self, context: Context) -> RepairResult:
        features = context.features(context.trusted.images)
        wanted = one_hot(context.trusted.labels, context.classes).float()
        centred, pull = features - features.mean(0), self.ridge * torch.eye(features.shape[1], device=context.device)
        weight = torch.linalg.solve(centred.T @ centred + pull, centred.T @ (wanted - wanted.mean(0))).T
        head = context.model.get_submodule(context.feature_layer)
        head.weight.data, head.bias.data = weight, wanted.mean(0) - weight @ features.mean(0)
        return RepairResult(context.model)
