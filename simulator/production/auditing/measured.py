"""Whether a model can be asked at all, and its accuracy on trusted images: asked like a defense, in its process."""

from __future__ import annotations

from typing import Final, final

import torch

from defenses.base import Context, Inspector, InspectorResult

#: how the class below is named in a job
MEASURED: Final = "simulator.production.auditing.measured:Measured"


@final
class Measured(Inspector):
    """Asks the model about the trusted images, or where there are none about two grey ones; flags nothing.

    The evidence is `accuracy`: the share of trusted images that it classifies as labelled, None without any. Raises
    `ValueError` where the answers are not finite numbers.
    """

    def inspect(self, context: Context) -> InspectorResult:
        trusted = context.trusted
        images = trusted.images if len(trusted) else torch.full((2, *trusted.images.shape[1:]), 0.5)
        logits = context.logits(images.to(context.device))
        if not torch.isfinite(logits).all():
            raise ValueError("expected finite logits, got NaN or infinity")
        right = int((logits.argmax(1) == trusted.labels).sum()) if len(trusted) else 0
        accuracy = right / len(trusted) if len(trusted) else None
        return InspectorResult(False, 0.0, 0.0, {"accuracy": accuracy})
