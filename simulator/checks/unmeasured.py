"""The sentence that says why a defense was not measured on the example, written in one place and read in another.

It imports nothing: the process that prints it need not train the example.
"""

from __future__ import annotations

from typing import Final

#: how each such sentence begins
NOT_MEASURED: Final = "Not measured: "
_UNUSABLE: Final = "the platform could not use its result: "
_RAISED: Final = "it raised "


def unusable(reason: object) -> str:
    """Return the sentence about a result that the platform could not use, for `reason`.

    >>> unusable("expected a mask, got None")
    'Not measured: the platform could not use its result: expected a mask, got None.'
    """
    return f"{NOT_MEASURED}{_UNUSABLE}{reason}."


def raised(what: str) -> str:
    """Return the sentence about a defense that raised `what`."""
    return f"{NOT_MEASURED}{_RAISED}{what}."


def reason_of(line: str) -> str:
    """Return what was raised, or why a result could not be used; empty for other sentences.

    >>> reason_of(raised("ValueError: no luck")), reason_of("In this example it flags neither model.")
    ('ValueError: no luck', '')
    """
    for start in (NOT_MEASURED + _UNUSABLE, NOT_MEASURED + _RAISED):
        if line.startswith(start):
            return line.removeprefix(start).removesuffix(".")
    return ""
