"""A whole custom defense: cut what the head reads of features that trusted images hardly use."""

import torch

from defenses.base import Context, Repair, RepairResult


class ShrinkHead(Repair):
    """A backdoor likes to live in features that clean images leave idle."""

    needs_trusted = True

    def __init__(self, *, share: float = 0.2) -> None:
        self.share = share  # of the features, the idlest first

    def repair(self, context: Context) -> RepairResult:
        use = context.features(context.trusted.images).abs().mean(0)
        idle = use <= use.quantile(self.share)
        with torch.no_grad():
            context.model.get_submodule(context.feature_layer).weight[:, idle] = 0
        return RepairResult(context.model, {"cut_features": int(idle.sum())})
