"""A complete custom defense: refit the classifier's last layer on trusted images alone, by ridge regression."""

import torch
from torch.nn.functional import one_hot

from defenses.base import Context, Repair, RepairResult


class RefitHead(Repair):
    """Fit the last layer to trusted images alone: they give it no reason to use what only the trigger activates."""

    needs_trusted = True

    def __init__(self, *, ridge: float = 10.0) -> None:
        self.ridge = ridge  # strength of the L2 penalty on the weights

    def repair(self, context: Context) -> RepairResult:
        features = context.features(context.trusted.images)
        wanted = one_hot(context.trusted.labels, context.classes).float()
        centred, pull = features - features.mean(0), self.ridge * torch.eye(features.shape[1], device=context.device)
        weight = torch.linalg.solve(centred.T @ centred + pull, centred.T @ (wanted - wanted.mean(0))).T
        head = context.model.get_submodule(context.feature_layer)
        head.weight.data, head.bias.data = weight, wanted.mean(0) - weight @ features.mean(0)
        return RepairResult(context.model)
