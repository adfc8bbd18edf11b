"""A defense whose decisions are given in advance, to test what the platform does with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, final

import torch
from annotated_types import Ge, Interval
from torch import Tensor

from defenses.base import (
    Context,
    Defense,
    Filter,
    FilterResult,
    Hold,
    Inspector,
    InspectorResult,
    Purge,
    Repair,
    RepairResult,
    Request,
    Retrain,
    RollBack,
    Rows,
    Screen,
    ScreenResult,
    State,
    Surface,
    Training,
    TrainingResult,
)
from defenses.bounds import bounded
from defenses.recipe_steps import to_train_on, trained_plainly

Action = Literal["keep", "flag", "raise"]
#: what to ask for in which period: the kind of request with its other fields; `rows` is a share, of the first rows
Asks = Mapping[int, Sequence[Mapping[str, Any]]]


@bounded
def ScriptedDefense(  # noqa: N802  a surface is a property of a class, so this stands for five of them
    *,
    surface: Surface = "inspector",
    script: dict[int, Action] | None = None,
    otherwise: Action = "keep",
    share: Annotated[float, Interval(ge=0, le=1)] = 0.1,
    again: bool = False,
    remembers: bool = False,
    after_rollback: Literal["keep", "clear"] = "keep",
    back: Annotated[int, Ge(0)] = 0,
    asks: dict[int, list[dict[str, Any]]] | None = None,
    answer: Annotated[int, Ge(0)] | None = None,
) -> Defense:
    """Return a defense of `surface` that does in each period what `script` says, or else what `otherwise` says.

    `keep` finds nothing. `flag` finds something: a filter drops `share` of the rows, a repair shrinks the weights of
    the feature layer by `share`, an inspector flags the model, a screen refuses `share` of the images, or answers the
    class `answer` to them; a training leaves the model as it was, and else trains as the platform would. `raise` raises
    `RuntimeError`. There is no threshold. A filter with `again` asks for its second look. The rows are drawn from the
    context's generator.

    With `remembers` it counts its calls in its state, which a screen cannot. With `back` it loads so many versions and
    batches. Its evidence then says what it was handed. `asks` are requests by period, such as `{3: [{kind: roll-back,
    to: 1}, {kind: purge, periods: [2], rows: 0.1}]}`, which names the first tenth of the rows.

    >>> import torch
    >>> from torch import nn
    >>> from defenses.base import Context, Rows
    >>> rows = Rows(torch.rand(10, 1, 4, 4), torch.arange(10) % 2)
    >>> context = Context(
    ...     model=nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), feature_layer="1", classes=2,
    ...     device=torch.device("cpu"), trusted=rows, generator=torch.Generator().manual_seed(0), window=rows, period=3,
    ... )
    >>> int(ScriptedDefense(surface="filter", script={3: "flag"}, share=0.4).filter(context).keep.sum())
    6
    """
    plan = Script(dict(script or {}), otherwise, share, remembers=remembers, back=back, asks=asks or {})
    made: Defense
    if surface == "filter":
        made = ScriptedFilter(plan, again)
    elif surface == "screen":
        made = ScriptedScreen(plan, answer)
    else:
        members = {"repair": ScriptedRepair, "inspector": ScriptedInspector, "training": ScriptedTraining}
        made = members[surface](plan)
    said = {"remembers": remembers, "after_rollback": after_rollback, "versions_back": back, "periods_back": back}
    for name, value in said.items():  # of a class of one's own these are class attributes
        setattr(made, name, value)
    return made


@final
class Script:
    """What to do in which period; `share` is how much of it."""

    def __init__(
        self,
        periods: dict[int, Action],
        otherwise: Action,
        share: float,
        *,
        remembers: bool = False,
        back: int = 0,
        asks: Asks | None = None,
    ) -> None:
        self._periods, self._otherwise, self.share = periods, otherwise, share
        self._remembers, self._back, self._asks = remembers, back, asks or {}

    def flags(self, period: int) -> bool:
        """Return whether to find something in `period`; raise where the script says so."""
        action = self._periods.get(period, self._otherwise)
        if action == "raise":
            raise RuntimeError(f"the script says so for period {period}")
        return action == "flag"

    def seen(self, context: Context) -> dict[str, Any]:
        """Return evidence of what the platform remembers, for a script that looks back."""
        if not (self._remembers or self._back):
            return {}
        history = context.history
        return {
            "handed": [context.state.period, dict(context.state.values)],
            "champion": history.champion,
            "versions": [[one.ordinal, one.parent, one.period, list(one.served)] for one in history.versions],
            "statuses": [[outcome.status for outcome in one.outcomes] for one in history.versions],
            "accuracies": [one.trusted_accuracy for one in history.versions],
            "signals": [[one.period, one.alarm] for one in history.signals],
            "loaded": [[one.ordinal, _checksum(one.weights().values())] for one in history.versions if one.load],
            "rows": [[one.period, _checksum([one.rows().images])] for one in history.batches if one.load],
            "batches": [one.period for one in history.batches],
        }

    def state(self, context: Context) -> State | None:
        """Return the count of calls so far, this one included: as a value, and as a tensor of its length."""
        calls = context.state.values.get("calls", 0) + 1
        return State({"calls": calls}, {"calls": torch.arange(calls)}) if self._remembers else None

    def requests(self, context: Context) -> tuple[Request, ...]:
        """Return what to ask for in the context's period."""
        rows = 0 if context.window is None else len(context.window)
        return tuple(_request(asked, rows) for asked in self._asks.get(context.period, ()))

    def hit(self, count: int, context: Context) -> Tensor:
        """Return a mask bool (count,) on the CPU that holds for the share of rows to hit, or for none."""
        mask = torch.zeros(count, dtype=torch.bool)
        if self.flags(context.period):
            mask[torch.randperm(count, generator=context.generator)[: round(self.share * count)]] = True
        return mask


@final
class ScriptedFilter(Filter):
    """The filter of `ScriptedDefense`."""

    def __init__(self, script: Script, again: bool) -> None:
        self._script, self._again = script, again

    def filter(self, context: Context) -> FilterResult:
        rows: Rows | tuple[()] = context.window or ()
        keep, evidence = ~self._script.hit(len(rows), context), self._script.seen(context)
        state, requests = self._script.state(context), self._script.requests(context)
        return FilterResult(keep, evidence=evidence, again=self._again, state=state, requests=requests)


@final
class ScriptedTraining(Training):
    """The training of `ScriptedDefense`."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def train(self, context: Context) -> TrainingResult:
        if not self._script.flags(context.period):
            trained_plainly(context.model, *to_train_on(context), context.generator)
        evidence, state = self._script.seen(context), self._script.state(context)
        return TrainingResult(context.model, evidence, state=state, requests=self._script.requests(context))


@final
class ScriptedRepair(Repair):
    """The repair of `ScriptedDefense`."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def repair(self, context: Context) -> RepairResult:
        if self._script.flags(context.period):
            with torch.no_grad():
                for weight in context.model.get_submodule(context.feature_layer).parameters():
                    weight.mul_(1 - self._script.share)
        evidence, state = self._script.seen(context), self._script.state(context)
        return RepairResult(context.model, evidence, state=state, requests=self._script.requests(context))


@final
class ScriptedInspector(Inspector):
    """The inspector of `ScriptedDefense`."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def inspect(self, context: Context) -> InspectorResult:
        """Return the script's verdict, with score 1 for flagged and 0 for not."""
        flagged = self._script.flags(context.period)
        evidence, state = self._script.seen(context), self._script.state(context)
        return InspectorResult(
            flagged, float(flagged), 0.5, evidence, state=state, requests=self._script.requests(context)
        )


@final
class ScriptedScreen(Screen):
    """The screen of `ScriptedDefense`."""

    def __init__(self, script: Script, answer: int | None) -> None:
        self._script, self._answer = script, answer

    def screen(self, context: Context) -> ScreenResult:
        incoming = context.incoming if context.incoming is not None else torch.empty(0)
        hit, evidence = self._script.hit(len(incoming), context), self._script.seen(context)
        requests = self._script.requests(context)
        if self._answer is None:
            return ScreenResult(hit, evidence=evidence, requests=requests)
        answers = torch.where(hit, self._answer, -1)
        return ScreenResult(torch.zeros_like(hit), evidence=evidence, answers=answers, requests=requests)


def _request(asked: Mapping[str, Any], rows: int) -> Request:
    fields = {"reason": "the script says so", **asked}
    kind = fields.pop("kind")
    if kind == "purge":
        share = fields.pop("rows", None)
        mask = None if share is None else torch.arange(rows) < round(share * rows)
        return Purge(fields["reason"], tuple(fields.get("periods", ())), mask)
    made: Request = {"roll-back": RollBack, "retrain": Retrain, "hold": Hold}[kind](**fields)
    return made


def _checksum(tensors: Iterable[Tensor]) -> float:
    return round(sum(float(value.double().sum()) for value in tensors), 6)
