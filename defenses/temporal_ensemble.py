"""Temporal ensemble: earlier versions answer where they agree against the one that serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, final

import torch
from annotated_types import Ge, Interval
from torch.nn.functional import one_hot

from defenses.base import Context, DoesNotApply, Screen, ScreenResult, Size


@final
@dataclass(frozen=True, kw_only=True)
class TemporalEnsemble(Screen):
    """Lets the versions that served before the champion vote on each image, and answers or refuses where they differ.

    Ours; the members are snapshots of one lineage, as in Snapshot Ensembles (Huang et al., ICLR 2017), where they serve
    accuracy. A backdoor that came with an update is not in the versions before it. One that was in the base is in all,
    and one that has faded in the champion may still be in them: then this screen makes things worse.

    Options: `versions`: how many ancestors vote, at most 8; `agreement`: the share of them that must name one class,
    another than the champion's; `mode`: `answer` that class in its place, or `refuse`.

    It has no threshold that is measured: `agreement` is a vote. It is skipped with fewer than two ancestors. Under
    drift they know less than the champion does: watch clean accuracy behind the screen. Costs a pass for each image and
    ancestor, and one of the champion.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, History, PastVersion, Rows
    >>> def always(label):
    ...     head = nn.Linear(4, 3)
    ...     head.weight.data.zero_(), head.bias.data.copy_(torch.eye(3)[label])
    ...     return nn.Sequential(nn.Flatten(), head)
    >>> history = History(
    ...     tuple(PastVersion(i, i - 1 if i else None, i, served=(i,), load=lambda i=i: always((1, 1, 2)[i]))
    ...     for i in range(3)), champion=2)
    >>> incoming, labels = torch.zeros(2, 1, 2, 2), torch.zeros(0, dtype=torch.long)
    >>> context = Context(
    ...     model=always(2), feature_layer="1", classes=3, device=torch.device("cpu"), history=history,
    ...     trusted=Rows(incoming[:0], labels), generator=torch.Generator(), incoming=incoming,
    ... )
    >>> TemporalEnsemble().screen(context).answers.tolist()
    [1, 1]
    >>> TemporalEnsemble(mode="refuse").screen(context).flagged.tolist()
    [True, True]
    """

    versions_back = 9  # the champion among them

    versions: Annotated[int, Ge(2), Interval(le=8)] = 4
    agreement: Annotated[float, Interval(gt=0.5, le=1)] = 1.0
    mode: Literal["answer", "refuse"] = "answer"

    def screen(self, context: Context) -> ScreenResult:
        """Return answers or refusals; score: the share of ancestors that agree on another class than the champion's."""
        members = [one for one in context.history.lineage()[1:] if one.load is not None and one.served][: self.versions]
        if context.incoming is None or len(members) < 2:
            raise DoesNotApply(f"temporal-ensemble needs at least two versions that served before, got {len(members)}")
        own = context.logits(context.incoming).argmax(1)
        votes = torch.zeros(len(own), context.classes, device=own.device)
        for member in members:
            votes += one_hot(_named(context, member.model()), context.classes)
        count, named = votes.max(1)
        share = torch.where(named == own, 0.0, count / len(members))
        against = share >= self.agreement
        answers = torch.where(against, named, -1)
        flagged = against if self.mode == "refuse" else torch.zeros_like(against)
        evidence = {"versions": [member.ordinal for member in members], "differ": int(against.sum())}
        return ScreenResult(flagged, share, evidence, answers=answers if self.mode == "answer" else None)

    def passes(self, size: Size) -> int:
        """Return the passes of all members for every image."""
        return (1 + self.versions) * size.rows


@torch.no_grad()
def _named(context: Context, model: torch.nn.Module, batch: int = 500) -> torch.Tensor:
    assert context.incoming is not None
    return torch.cat([model(part).argmax(1) for part in context.incoming.split(batch)])
