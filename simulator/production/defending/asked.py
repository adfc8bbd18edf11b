"""What a defense asks for beside its result: checked like every result, and as values and masks that travel."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from defenses.base import Hold, Purge, Request, Retrain, RollBack
from simulator.production.defending.texts import short
from simulator.production.defending.unusable import Unusable, json_values
from simulator.records import Asked

#: prefix of a purge's mask among the tensors of an answer, before the request's place
PURGE: Final = "purge:"
#: requests of one result, characters of a recipe as JSON, and the largest ordinal or period that is read
MOST_REQUESTS: Final = 16
_LONGEST_RECIPE: Final = 2_000
_LARGEST: Final = 2**31

#: the masks of purges, bool (N,) over the window on the CPU, by the request's place
Masks = Mapping[int, Tensor]


def read_requests(requests: Any, surface: str, rows: int) -> tuple[list[Asked], dict[int, Tensor]]:
    """Return the `requests` of a result, none of them granted, with the masks of purges; or raise `Unusable`.

    `rows` were in the window; 0 where there was none.
    """
    if not isinstance(requests, tuple | list):
        raise Unusable(f"expected requests to be a tuple, got {type(requests).__name__}")
    if requests and surface == "screen":
        raise Unusable("expected no requests of a screen, got some; it is called as often as there are images")
    if len(requests) > MOST_REQUESTS:
        raise Unusable(f"expected at most {MOST_REQUESTS} requests, got {len(requests)}; ask for less")
    masks = {place: _mask(one, rows) for place, one in enumerate(requests) if isinstance(one, Purge)}
    found = {place: mask for place, mask in masks.items() if mask is not None}
    return [_read(one, found.get(place)) for place, one in enumerate(requests)], found


def as_requests(values: Any, masks: Masks) -> tuple[Request, ...]:
    """Return requests as a result holds them, of the JSON `values` in an answer; or raise `Unusable`."""
    if not isinstance(values, list) or len(values) > MOST_REQUESTS or not masks.keys() <= set(range(len(values))):
        raise Unusable(f"expected its process to send at most {MOST_REQUESTS} requests, got something else")
    try:
        asked = [Asked.model_validate(one) for one in values]
    except ValueError:
        raise Unusable("expected its process to send requests of their form, got something else") from None
    return tuple(_request(one, masks.get(place)) for place, one in enumerate(asked))


def _request(asked: Asked, mask: Tensor | None) -> Request:
    match asked.kind:
        case "roll-back":
            return RollBack(-1 if asked.to is None else asked.to, asked.reason)
        case "retrain":
            return Retrain(asked.reason, asked.recipe)
        case "purge":
            return Purge(asked.reason, tuple(asked.periods), mask)
        case "hold":
            return Hold(asked.reason)


def _read(request: Any, mask: Tensor | None) -> Asked:
    match request:
        case RollBack():
            return Asked(kind="roll-back", reason=_reason(request), to=_number("to", request.to))
        case Retrain():
            return Asked(kind="retrain", reason=_reason(request), recipe=_recipe(request.recipe))
        case Purge():
            rows = None if mask is None else int(mask.sum())
            return Asked(kind="purge", reason=_reason(request), periods=_periods(request, mask), rows=rows)
        case Hold():
            return Asked(kind="hold", reason=_reason(request))
    raise Unusable(f"expected a request to be RollBack, Retrain, Purge or Hold, got {type(request).__name__}")


def _reason(request: Request) -> str:
    if not isinstance(request.reason, str) or not short(request.reason):
        got = "an empty one" if isinstance(request.reason, str) else type(request.reason).__name__
        raise Unusable(f"expected the reason of a request to be text, got {got}; say why, it is kept")
    return short(request.reason)


def _number(name: str, value: Any) -> int:
    if type(value) is int and 0 <= value < _LARGEST:
        return value
    raise Unusable(f"expected {name} of a request to be a whole number from 0 on, got {short(repr(value))}")


def _recipe(recipe: Any) -> dict[str, Any]:
    found = json_values("the recipe of a retraining", recipe)
    size = len(json.dumps(found))
    if size > _LONGEST_RECIPE:
        raise Unusable(f"expected the recipe of a retraining to be at most {_LONGEST_RECIPE} characters, got {size}")
    return found


def _periods(purge: Purge, mask: Tensor | None) -> list[int]:
    if not isinstance(purge.periods, Sequence) or isinstance(purge.periods, str | bytes):
        raise Unusable(f"expected periods of a purge to be a tuple of them, got {type(purge.periods).__name__}")
    if not purge.periods and mask is None:
        raise Unusable("expected a purge to name periods or rows, got neither")
    return sorted({_number("periods", period) for period in purge.periods})


def _mask(purge: Purge, rows: int) -> Tensor | None:
    value = purge.rows
    if value is None:
        return None
    if rows == 0:
        raise Unusable("expected rows of a purge to be None where no window is shown, got some; name periods")
    if isinstance(value, Tensor) and value.dtype == torch.bool and tuple(value.shape) == (rows,):
        return value.detach().cpu()
    got = f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    raise Unusable(f"expected rows of a purge to be a bool tensor of shape ({rows},), got {got}")
