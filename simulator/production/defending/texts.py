"""What a stranger's code says, as a sentence for a record: one line, cut to length, the same on every machine."""

from __future__ import annotations

import re
from typing import Final

#: characters of a reason in a record
LONGEST_REASON: Final = 300
_LONGEST_TEXT = 100_000

_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]+")
#: an absolute path in quotes, which may hold spaces, or bare up to the next separator
_PATH = re.compile(
    r"""(?<=')/[^']+(?=')|(?<=")/[^"]+(?=")|(?<![\w./:)\]}])(?:file://)?/(?=[A-Za-z_.~])[^\s'"<>,;:()\[\]]+"""
)


def short(text: str, longest: int = LONGEST_REASON) -> str:
    """Return `text` in one line, cut to length, without what differs from process to process and machine to machine."""
    line = " ".join(_PATH.sub("<path>", _ADDRESS.sub("<address>", cleaned(text))).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def cleaned(text: str) -> str:
    """Return `text` with a blank for every character that cannot be printed, or that no file can hold."""
    return "".join(character if character.isprintable() else " " for character in text[:_LONGEST_TEXT])
