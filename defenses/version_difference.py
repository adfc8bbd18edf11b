"""Version difference: an update that teaches a backdoor moves the weights unlike the updates before it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
import torch
from annotated_types import Ge, Interval
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from defenses.base import Context, DoesNotApply, Inspector, InspectorResult, PastVersion, Threshold
from defenses.unusual import p_value_above

Weights = Mapping[str, Tensor]
#: what is measured of a move; the first depends on how much an update trains, the others on its shape alone
_MEASURES: tuple[str, ...] = ("length", "one_class", "one_direction")


@final
@dataclass(frozen=True, kw_only=True)
class VersionDifference(Inspector):
    """Tests the candidate's move from its parent against the moves of earlier versions and of fresh clean updates.

    Ours. A move is the difference of two versions' weights. Measured are the logarithms of `length` (its norm over
    the parent's), `one_class` (the largest over the median squared norm of the last layer's rows, one a class) and
    `one_direction` (the share of the last layer's move in its first singular direction). Each is tested one-sided
    against earlier moves that led to a version which served: a prediction interval for the next of normal values.

    Options: `false_alarm_rate` of a look, over the three; `least` earlier moves; with fewer, `fresh` clean updates take
    their place for the two measures of shape: the parent, fine-tuned on random halves of the trusted images for one
    epoch at `rate`, in batches of 32.

    Its threshold is a p-value beside earlier versions' moves, or fresh ones made from trusted images.

    It speaks of candidates, as other subjects did not just move, and needs the champion's weights. A sudden drift or
    another schedule moves weights unusually too. Costs no pass with enough earlier moves, else `fresh` short trainings.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, History, PastVersion, Rows
    >>> generator = torch.Generator().manual_seed(0)
    >>> start, steps = torch.randn(3, 4, generator=generator), torch.randn(8, 3, 4, generator=generator)
    >>> def model(weight):
    ...     head = nn.Linear(4, 3, bias=False)
    ...     head.weight.data = weight.clone()
    ...     return nn.Sequential(nn.Flatten(), head)
    >>> weights = [start + 0.01 * steps[:count].sum(0) for count in range(8)]  # seven small moves in all directions
    >>> versions = tuple(
    ...     PastVersion(one, one - 1 if one else None, one, served=(one,), load=lambda one=one: model(weights[one]))
    ...     for one in range(8))
    >>> def candidate(move):
    ...     return VersionDifference().inspect(Context(
    ...         model=model(weights[-1] + move), feature_layer="1", classes=3, device=torch.device("cpu"),
    ...         trusted=Rows(torch.zeros(0, 1, 2, 2), torch.zeros(0, dtype=torch.long)), generator=generator,
    ...         history=History(versions, champion=7)))
    >>> candidate(0.01 * steps[7]).flagged, candidate(torch.tensor([[0.0], [0.0], [5.0]]) * start[:1]).flagged
    (False, True)
    """

    needs_trusted = True  # until there are enough earlier moves
    calibration = "earlier versions"
    threshold_option = Threshold("false_alarm_rate", of="p_value", flags="below")
    versions_back = 12

    false_alarm_rate: Annotated[float, Interval(gt=0, lt=1)] = 0.01
    least: Annotated[int, Ge(3)] = 5
    fresh: Annotated[int, Ge(3)] = 8
    rate: Annotated[float, Interval(gt=0, le=1)] = 0.01

    def inspect(self, context: Context) -> InspectorResult:
        """Return whether the move is unusual; score: minus the decimal logarithm of the corrected p-value."""
        lineage = [version for version in context.history.lineage() if version.load is not None]
        if context.subject != "candidate" or not lineage:
            raise DoesNotApply("version-difference compares a candidate with the champion, and there is none at hand")
        head = f"{context.feature_layer}.weight" if context.feature_layer else "weight"
        own = measures_of(lineage[0].weights(), context.model.state_dict(), head)
        earlier = np.array([measures_of(*pair, head) for pair in _moves(context)]).reshape(-1, len(_MEASURES))
        values, kinds, names = earlier, _MEASURES, "earlier versions"
        if len(earlier) < self.least:
            fresh = np.array([measures_of(lineage[0].weights(), one, head) for one in self._fresh(context, lineage[0])])
            if not len(fresh):
                raise DoesNotApply(f"version-difference needs {self.least} earlier moves or 64 trusted images")
            values, kinds, names = fresh[:, 1:], _MEASURES[1:], "fresh clean updates"
        p_values = [
            p_value_above(float(own[_MEASURES.index(kind)]), values[:, place]) for place, kind in enumerate(kinds)
        ]
        corrected = min(1.0, len(kinds) * min(p_values))
        evidence = {
            "compared_with": f"{len(values)} {names}",
            "p_value": corrected,
            "p_values": {kind: float(f"{p:.3g}") for kind, p in zip(kinds, p_values, strict=True)},
            "measures": {kind: round(float(value), 4) for kind, value in zip(_MEASURES, own, strict=True)},
        }
        score, threshold = -np.log10(max(corrected, 1e-300)), -np.log10(self.false_alarm_rate)
        return InspectorResult(corrected <= self.false_alarm_rate, float(score), float(threshold), evidence)

    def _fresh(self, context: Context, parent: PastVersion) -> Iterator[Weights]:
        """Yield the weights of the parent fine-tuned on random halves of the trusted images."""
        rows, half = context.trusted, len(context.trusted) // 2
        if half < 32:
            return
        for _ in range(self.fresh):
            model = copy.deepcopy(parent.model()).train()
            optimizer = torch.optim.SGD(model.parameters(), lr=self.rate, momentum=0.9)
            chosen = torch.randperm(len(rows), generator=context.generator)[:half].to(rows.labels.device)
            for part in chosen.split(32):
                if len(part) > 1:  # BatchNorm needs two
                    optimizer.zero_grad()
                    cross_entropy(model(rows.images[part]), rows.labels[part]).backward()
                    optimizer.step()
            yield model.eval().state_dict()


def measures_of(before: Weights, after: Weights, head: str) -> NDArray[np.float64]:
    """Return the logarithms of length, one_class and one_direction of a move (3,); `head` names the last layer.

    >>> before = {"weight": torch.eye(3)}
    >>> after = {"weight": torch.eye(3) + torch.diag(torch.tensor([0.1, 0.1, 1.0]))}
    >>> np.exp(measures_of(before, after, "weight")).round(3).tolist()  # sqrt(1.02 / 3), 1 / 0.01, 1 / 1.02
    [0.583, 100.0, 0.98]
    """
    names = [name for name, value in after.items() if value.is_floating_point() and name in before]
    moved = sum(float((after[name] - before[name]).double().square().sum()) for name in names)
    size = sum(float(before[name].double().square().sum()) for name in names)
    step = (after[head] - before[head]).double().flatten(1)
    rows, singular = step.square().sum(1), torch.linalg.svdvals(step).square()
    tiny = 1e-30
    found = (
        (moved / max(size, tiny)) ** 0.5,
        float(rows.max()) / max(float(rows.median()), tiny),
        float(singular[0]) / max(float(singular.sum()), tiny),
    )
    return np.log(np.maximum(found, tiny))


def _moves(context: Context) -> Iterator[tuple[Weights, Weights]]:
    """Yield the weights before and after each move that led to a version which served."""
    at_hand = {version.ordinal: version for version in context.history.versions if version.load is not None}
    for version in at_hand.values():
        if version.served and version.parent is not None and version.parent in at_hand:
            yield at_hand[version.parent].weights(), version.weights()
