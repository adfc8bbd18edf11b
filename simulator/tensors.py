"""Models as values: named tensors taken out of a model and hashed, and which of its layers keep running statistics."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import final

import torch
from torch import Tensor, nn

from simulator.errors import PluginError
from simulator.guard.inputs import writes

#: torch's layers that normalise over the batch; torch's own name for their common base is private
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return contiguous copies on the CPU of all parameters and buffers in the state dict of `model`."""
    return {
        name: value.detach().to("cpu", copy=True).contiguous(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over names, dtypes, shapes and bytes of `weights`; the order of names does not matter."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().cpu().contiguous(memory_format=torch.contiguous_format)
        head = f"{name}\0{value.dtype}\0{tuple(value.shape)}".encode()
        digest.update(len(head).to_bytes(8, "big") + head)
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@final
class ModelVersion:
    """A trained model that is not changed any more, and its weights: hashed once, copied to the CPU until `release`.

    The copy doubles what a version on the CPU takes, so it is not kept from period to period; the hash is.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._writes = self._counted()

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """All parameters and buffers on the CPU by name: to be read, never changed."""
        return weights_of(self.model)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the weights."""
        return weights_digest(self.weights)

    def release(self) -> None:
        """Free the copy of the weights; asked for again, it is made again."""
        self.__dict__.pop("weights", None)

    def expect_unchanged(self) -> None:
        """Raise `PluginError` when the model was changed in place; torch does not count writes through `.data`."""
        if self._writes != self._counted():
            raise PluginError(
                "expected the weights of a version to stay as they were, got a change in place; "
                "let the monitor, gate or probe that makes it work on a copy, `ebbdoor check` tells which one does not"
            )

    def _counted(self) -> tuple[int, ...]:
        return writes((*self.model.parameters(), *self.model.buffers()))
