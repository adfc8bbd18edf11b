"""What was computed before, by the digest of everything it depends on: trainings and readings are never done twice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from torch import Tensor

__all__ = ["Memo", "NoMemo", "Remembered"]


@dataclass(frozen=True, slots=True)
class Remembered:
    """A result: JSON values, and tensors by name, on the CPU."""

    values: dict[str, Any]
    tensors: dict[str, Tensor] = field(default_factory=dict)


class Memo(ABC):
    """Hands back a result that was computed before from the same key, bit for bit; else computes and keeps it."""

    @abstractmethod
    def recall(self, kind: str, key: Mapping[str, Any], compute: Callable[[], Remembered]) -> Remembered:
        """Return the result of `compute` for `key`.

        `kind` (`training`, `readings`) groups results for people. `key` holds JSON values that name everything the
        result depends on but the environment (versions, threads, device), which the memo adds by itself. What `compute`
        raises is raised, and nothing is kept. Two processes that ask for one key at a time compute it once.
        """


@final
class NoMemo(Memo):
    """Remembers nothing."""

    def recall(self, kind: str, key: Mapping[str, Any], compute: Callable[[], Remembered]) -> Remembered:
        """Compute."""
        return compute()
