"""What defenses wrote into their memory in a period, short enough for a line of `periods.jsonl` and for a page."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

#: characters of remembered values as JSON; the record has them whole
_LONGEST: Final = 300


def remembered(state: Mapping[str, Any], period: int) -> dict[str, dict[str, Any]]:
    """Return what was written in `period`, by the defense's name, out of the platform's `state` in its record.

    `values` is JSON text, cut where it is long; `tensors` are shapes by name.

    >>> remembered({"defense_states": {"mine": {"period": 2, "values": {"moves": [0.5]}}}}, 2)
    {'mine': {'values': '{"moves": [0.5]}', 'tensors': {}}}
    >>> remembered({"defense_states": {"mine": {"period": 2, "values": {}}}}, 3)
    {}
    """
    states = state.get("defense_states", {})
    return {name: _brief(one) for name, one in states.items() if one["period"] == period}


def _brief(one: Mapping[str, Any]) -> dict[str, Any]:
    text = json.dumps(one["values"])
    values = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
    return {"values": values, "tensors": _shapes(one["tensors"]) if "tensors" in one else {}}


def _shapes(blob: str) -> dict[str, list[int]]:
    """The shapes in a safetensors file in base64: its header is JSON behind its length in eight bytes."""
    file = base64.b64decode(blob)
    header = json.loads(file[8 : 8 + int.from_bytes(file[:8], "little")])
    return {name: about["shape"] for name, about in sorted(header.items()) if name != "__metadata__"}
