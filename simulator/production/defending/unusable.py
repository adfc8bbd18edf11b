"""What of a result cannot be used, and JSON values that are checked so that they read back as they were given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

#: whole numbers are smaller: what reads JSON elsewhere holds 64 bits
_LARGEST_INTEGER: Final = 2**63


class Unusable(Exception):
    """A result that cannot be used, and why in one sentence."""


def json_values(name: str, value: Any) -> dict[str, Any]:
    """Return a mapping as JSON values, so that it is the same after travelling; or raise `Unusable`.

    >>> json_values("evidence", {"share": 0.5, "rows": (1, 2)})
    {'share': 0.5, 'rows': [1, 2]}
    """
    if not isinstance(value, Mapping):
        raise Unusable(f"expected {name} to be a mapping, got {type(value).__name__}")
    try:
        text = json.dumps(dict(value), allow_nan=False, ensure_ascii=False)
        text.encode()  # no half of a surrogate pair, which no file and no store can hold
        found: dict[str, Any] = json.loads(text, parse_int=_integer)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unusable(f"expected {name} to be finite JSON values, got some that are not ({error})") from None
    return found


def _integer(digits: str) -> int:
    if abs(int(digits)) < _LARGEST_INTEGER:
        return int(digits)
    raise ValueError(f"a whole number of {len(digits)} digits")
