"""STRIP: a trigger keeps deciding the answer when other images are laid over it."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from defenses.base import Context, DoesNotApply, Screen, ScreenResult

__all__ = ["Strip"]


@final
class Strip(Screen):
    """Refuses images whose predictions stay sure under superposition with trusted images.

    Gao, Xu, Wang, Chen, Ranasinghe, Nepal: STRIP: A Defence Against Trojan Attacks on Deep Neural Networks (ACSAC
    2019).

    Options: `overlays` trusted images laid over each incoming one; `opacity` of the overlay, in (0, 1]: the sum is
    clipped at white; `false_positive_rate` on clean images at which the threshold is set, in (0, 1).

    Trusted images are split: the overlays, and the rest, whose entropies give the threshold. No incoming image
    influences another's verdict. Deviations: the threshold is the empirical quantile, not that of a fitted normal.
    Measured on `standard-cnn`, Fashion-MNIST, a 3x3 patch: 88 to 100 % of stamped images refused (7 models), and 3 to
    6 % of clean ones. Undefined with fewer than `overlays` + 20 trusted images: skipped. The price is `overlays`
    forward passes an image.
    """

    needs_trusted = True

    def __init__(self, *, overlays: int = 16, opacity: float = 1.0, false_positive_rate: float = 0.05) -> None:
        if overlays < 1:
            raise ValueError(f"expected overlays to be at least 1, got {overlays}; raise it")
        if not 0 < opacity <= 1:
            raise ValueError(f"expected opacity to be in (0, 1], got {opacity}; correct it")
        if not 0 < false_positive_rate < 1:
            raise ValueError(f"expected false_positive_rate to be in (0, 1), got {false_positive_rate}; correct it")
        self.overlays = overlays
        self.opacity = opacity
        self.false_positive_rate = false_positive_rate

    def screen(self, context: Context) -> ScreenResult:
        """Return which incoming images have less entropy than the threshold; score: minus the entropy in nats."""
        trusted, incoming = context.trusted.images, context.incoming
        if incoming is None or len(trusted) < self.overlays + 20:
            raise DoesNotApply(f"STRIP needs at least {self.overlays + 20} trusted images, there are {len(trusted)}")
        order = torch.randperm(len(trusted), generator=context.generator).to(trusted.device)
        overlays, held_out = trusted[order[: self.overlays]], trusted[order[self.overlays :]]
        threshold = self._entropy(context, held_out, overlays).quantile(self.false_positive_rate)
        entropy = self._entropy(context, incoming, overlays)
        evidence = {
            "threshold": round(float(threshold), 6),
            "mean_entropy": round(float(entropy.mean()), 6) if len(entropy) else None,
        }
        return ScreenResult(entropy < threshold, scores=-entropy, evidence=evidence)

    def _entropy(self, context: Context, images: Tensor, overlays: Tensor) -> Tensor:
        """Return the mean entropy (N,) in nats of the predictions for each image under all overlays."""
        total = torch.zeros(len(images), device=images.device)
        for overlay in overlays:
            logits = context.logits((images + self.opacity * overlay).clamp(0, 1)) if len(images) else total[:, None]
            log = logits.log_softmax(1)
            total = total - (log.exp() * log).sum(1)
        return total / len(overlays)
