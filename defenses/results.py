"""What a defense returns: one frozen result a surface.

Each may hold `evidence`, finite JSON values for people and for the record; `requests`, see `defenses.requests`; and
`state`, what a class that `remembers` is handed back at its next call (None leaves that as it is).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from defenses.context import State
from defenses.requests import Request


@dataclass(frozen=True, slots=True)
class FilterResult:
    """`keep` bool (N,) over the window's rows; `scores` float (N,) or None, higher = more suspicious.

    `again` asks once for "drop these rows and train again", with the candidate's features.
    """

    keep: Tensor
    scores: Tensor | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    again: bool = False
    requests: tuple[Request, ...] = field(default=(), kw_only=True)
    state: State | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """`model`, trained: of the architecture of the context's model."""

    model: nn.Module
    evidence: Mapping[str, Any] = field(default_factory=dict)
    requests: tuple[Request, ...] = field(default=(), kw_only=True)
    state: State | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class RepairResult:
    """`model` has the architecture of the context's model; its weights replace the candidate's.

    `scores`: by the name of a layer, float (channels,), higher = more suspicious.
    """

    model: nn.Module
    evidence: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Tensor] = field(default_factory=dict, kw_only=True)
    requests: tuple[Request, ...] = field(default=(), kw_only=True)
    state: State | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class InspectorResult:
    """`flagged`: the model is judged backdoored. `score` higher = more suspicious, beside its `threshold`.

    `class_scores` float (classes,), higher = more suspicious; `triggers` float32 (classes, C, H, W) in [0, 1], reversed
    triggers as images, NaN for a class without one.
    """

    flagged: bool
    score: float
    threshold: float
    evidence: Mapping[str, Any] = field(default_factory=dict)
    class_scores: Tensor | None = field(default=None, kw_only=True)
    triggers: Tensor | None = field(default=None, kw_only=True)
    requests: tuple[Request, ...] = field(default=(), kw_only=True)
    state: State | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class ScreenResult:
    """`flagged` bool (N,) over the incoming images: these are refused an answer.

    `answers` int64 (N,) or None: the class to answer in the model's place; -1 where the model answers itself.
    """

    flagged: Tensor
    scores: Tensor | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    answers: Tensor | None = field(default=None, kw_only=True)
    requests: tuple[Request, ...] = field(default=(), kw_only=True)
    state: State | None = field(default=None, kw_only=True)
