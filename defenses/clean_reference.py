"""A clean model of the suspect's architecture: what is natural for the data, learned from trusted images alone."""

from __future__ import annotations

from torch import nn

from defenses.base import Context
from defenses.fitting import Plan, cosine, fine_tune
from defenses.row_losses import started_anew

_BATCH, _RATE = 50, 0.05


def clean_reference(context: Context, epochs: int) -> nn.Module:
    """Return a copy of the context's model, trained anew on the trusted images alone; in eval mode.

    Stochastic gradient descent over `epochs`, in batches of 50, at a learning rate that falls from 0.05 to 0, with
    images that are moved a little. It is far less accurate than the suspect; which classes lie close to each other it
    shows all the same.
    """
    model = started_anew(context.model, context.generator)
    plan = Plan(epochs=epochs, batch=_BATCH, rate=cosine(_RATE))
    fine_tune(model, context.trusted, plan, context.generator)
    return model


def reference_passes(trusted: int, epochs: int) -> int:
    """Return the passes of training one: each image forward and back in each epoch, and once more for BatchNorm."""
    return trusted * (3 * epochs + 1)
