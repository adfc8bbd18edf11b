"""How a version is named to people: by the registry's number, beside the ordinal that options and records use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

#: an ordinal in a sentence of ours, but for one that stands beside its version's number already
_ORDINAL: Final = re.compile(r"(?<!\()\bordinal (\d+)\b")


def version_words(ordinal: int, numbers: Mapping[int, int]) -> str:
    """Return a version by its number in `numbers`, by ordinal; by the next to its ordinal where that is not known.

    >>> version_words(0, {}), version_words(3, {3: 7})
    ('version 1 (ordinal 0)', 'version 7 (ordinal 3)')
    """
    return f"version {numbers.get(ordinal, ordinal + 1)} (ordinal {ordinal})"


def with_numbers(text: str, numbers: Mapping[int, int]) -> str:
    """Return a recorded sentence of ours, which names versions by ordinals, with their numbers.

    >>> with_numbers("ordinal 0 serves from now on", {})
    'version 1 (ordinal 0) serves from now on'
    """
    return _ORDINAL.sub(lambda found: version_words(int(found[1]), numbers), text)
