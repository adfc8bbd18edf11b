"""Results as Markdown, from `verdicts.json` alone: what a page may say of a study, and no more.

A page holds a block between two comments, `<!-- results of NAME -->` and `<!-- end of results -->`. `with_results` puts
in what the study's verdicts bear; a test compares every page with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: the folder of the verdicts beside the study's document
VERDICTS = "verdicts"
_BLOCK = re.compile(r"<!-- results of ([a-z0-9-]+) -->\n.*?<!-- end of results -->", re.DOTALL)
_WORDS = {"holds": "Holds", "fails": "Fails, the data contradict it", "undecided": "Undecided"}


def with_results(text: str, folder: Path) -> str:
    """Return a page's text with each block filled from the verdicts in `folder`."""

    def block(found: re.Match[str]) -> str:
        name = found[1]
        path = folder / VERDICTS / f"{name}.json"
        known = json.loads(path.read_text("utf-8")) if path.exists() else None
        return f"<!-- results of {name} -->\n{results_text(name, known)}\n<!-- end of results -->"

    return _BLOCK.sub(block, text)


def results_text(name: str, verdicts: Mapping[str, Any] | None) -> str:
    """Return counts and every claim's sentence under its verdict; None: the study has not been played."""
    if verdicts is None:
        return (
            f"The study `{name}` has not been played with its present claims, so nothing is said of its results here. "
            "An earlier version of it had endpoints that could not decide their claims."
        )
    claims: Sequence[Mapping[str, Any]] = verdicts["claims"]
    by_word = {word: [claim for claim in claims if claim["verdict"] == word] for word in _WORDS}
    counts = ", ".join(f"{len(mine)} {'hold' if word == 'holds' else word}" for word, mine in by_word.items())
    lines = [f"Of {len(claims)} claims: {counts.replace('fails', 'fail')}."]
    for word, mine in by_word.items():
        lines += (
            ["", f"{_WORDS[word]}:", "", *(f"- {claim['id']}: {claim['sentence']}" for claim in mine)] if mine else []
        )
    return "\n".join(lines)
