"""What defenses remember from call to call: checked like every result, kept with the record of the period."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, final

import torch
from safetensors.torch import load, save
from torch import Tensor

from defenses.base import State
from simulator.production.defending.unusable import Unusable, json_values

#: prefix of a remembered tensor's name among the tensors of a job or an answer
STATE: Final = "state:"
#: what a file of tensors keeps for its header: a tensor of that name could be written, and never read again
_RESERVED: Final = "__metadata__"
#: bytes of a state: its values as JSON text, its tensors and their names
LARGEST_STATE: Final = 1_000_000
_DTYPES: Final = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
)  # fmt: skip


def read_state(state: Any, surface: str, *, remembers: bool) -> State | None:
    """Return the `state` of a result as it is kept, None where there is none; or raise `Unusable`.

    Its values come back as JSON gives them, its tensors on the CPU.
    """
    if state is None:
        return None
    if not isinstance(state, State):
        raise Unusable(f"expected state to be a defenses.base.State or None, got {type(state).__name__}")
    if surface == "screen":
        raise Unusable("expected no state of a screen, got some; it is called as often as there are images to look at")
    if not remembers:
        raise Unusable("expected state only of a class that remembers, got some; set remembers = True in the class")
    values, tensors = json_values("state values", state.values), _tensors(state.tensors)
    if not _has_text_keys(state.values):
        raise Unusable("expected the keys of state values to be text, got others; JSON knows no others")
    size = len(json.dumps(values)) + sum(len(name.encode()) + value.nbytes for name, value in tensors.items())
    if size > LARGEST_STATE:
        raise Unusable(f"expected state of at most {LARGEST_STATE} bytes, got {size}; remember less")
    return State(values, tensors)


def _has_text_keys(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _has_text_keys(inner) for key, inner in value.items())
    return not isinstance(value, list | tuple) or all(map(_has_text_keys, value))


def _tensors(given: Any) -> dict[str, Tensor]:
    if not isinstance(given, Mapping):
        raise Unusable(f"expected state tensors to be a mapping, got {type(given).__name__}")
    found = {}
    for name, value in given.items():
        if not isinstance(name, str) or not name.isprintable():
            raise Unusable("expected the names of state tensors to be printable text, got others")
        if name == _RESERVED:
            raise Unusable(f"expected no state tensor named '{name}', which a file of tensors reserves; rename it")
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.dtype not in _DTYPES:
            got = f"{value.dtype}, {value.layout}" if isinstance(value, Tensor) else type(value).__name__
            raise Unusable(f"expected state tensor '{name}' to be dense, of whole or real numbers, got {got}")
        if value.nbytes > LARGEST_STATE:
            raise Unusable(f"expected state of at most {LARGEST_STATE} bytes, got {value.nbytes}; remember less")
        if not torch.isfinite(value).all():
            raise Unusable(f"expected state tensor '{name}' to be finite, got NaN or infinity")
        found[name] = value.detach().to("cpu", copy=True).contiguous()
    return found


@final
class Memory:
    """The states of a lineage's defenses, by their names in the scenario."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}

    def of(self, name: str) -> State:
        """Return what a defense is handed; an empty state while it has written none."""
        return self._states.get(name, State())

    def write(self, name: str, state: State, period: int) -> None:
        """Take the place of what was remembered by a checked `state`."""
        self._states[name] = State(state.values, state.tensors, period)

    def clear(self, names: Iterable[str], after: int) -> None:
        """Forget those of the defenses `names` that were last written after the period `after`."""
        for name in names:
            period = self.of(name).period
            if period is not None and period > after:
                del self._states[name]

    def to_json(self) -> dict[str, Any]:
        """Return what a fresh process needs, as JSON values; nothing while nothing is remembered."""
        states = {name: _encoded(state) for name, state in sorted(self._states.items())}
        return {"defense_states": states} if states else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a platform's state that holds what `to_json` returned."""
        self._states = {name: _decoded(values) for name, values in state.get("defense_states", {}).items()}


def _encoded(state: State) -> dict[str, Any]:
    blob = {"tensors": base64.b64encode(save(dict(state.tensors))).decode()} if state.tensors else {}
    return {"period": state.period, "values": dict(state.values), **blob}


def _decoded(values: Mapping[str, Any]) -> State:
    tensors = load(base64.b64decode(values["tensors"])) if "tensors" in values else {}
    return State(dict(values["values"]), tensors, values["period"])
