"""A network that somebody has pickled with its weights. It is made only in the confined process of a defense's call.

Reading a pickle runs what is in it. This is the one place where that is done, and nothing leads here unless a person
said so (`ebbdoor audit --allow-pickle`).
"""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

#: how the function below is named in an architecture
UNPICKLED: Final = "simulator.production.auditing.unpickled:unpickled"


def unpickled(*, channels: int, size: tuple[int, int], classes: int, path: str) -> nn.Module:
    """Return the module in the file at `path`, as `torch.save(module, path)` wrote it; `ValueError` for other things.

    What the other options say is checked as that of every network.
    """
    found = torch.load(path, map_location="cpu", weights_only=False)
    if not isinstance(found, nn.Module):
        raise ValueError(f"expected the pickle to hold a torch.nn.Module, got {type(found).__name__}; log the model")
    return found
