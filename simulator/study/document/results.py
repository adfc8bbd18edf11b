"""Results as Markdown, from `verdicts.json` alone: what a page may say of a study, and no more.

A page holds blocks between two comments, `<!-- results of STUDY -->` and `<!-- end of results -->`, or
`<!-- claims ID, ID of STUDY, STUDY -->` and `<!-- end of claims -->`. `with_results` puts in what the studies' verdicts
bear; a test compares every page with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simulator.study.claims.sentences import amount

#: the folder of the verdicts beside the study's document
VERDICTS = "verdicts"
_BLOCK = re.compile(r"<!-- results of ([a-z0-9-]+) -->\n.*?<!-- end of results -->", re.DOTALL)
_CLAIMS = re.compile(r"<!-- claims ([a-z0-9, -]+) of ([a-z0-9, -]+) -->\n.*?<!-- end of claims -->", re.DOTALL)
_WORDS = {"holds": "Holds", "fails": "Fails, the data contradict it", "undecided": "Undecided"}


def with_results(text: str, folder: Path) -> str:
    """Return a page's text with each block filled from the verdicts in `folder`."""

    def results(found: re.Match[str]) -> str:
        said = results_text(found[1], _known(found[1], folder))
        return f"<!-- results of {found[1]} -->\n{said}\n<!-- end of results -->"

    def claims(found: re.Match[str]) -> str:
        wanted = found[1].split(", ")
        studies = {name: _known(name, folder) for name in found[2].split(", ")}
        return f"<!-- claims {found[1]} of {found[2]} -->\n{claims_text(wanted, studies)}\n<!-- end of claims -->"

    return _CLAIMS.sub(claims, _BLOCK.sub(results, text))


def _known(name: str, folder: Path) -> Mapping[str, Any] | None:
    path = folder / VERDICTS / f"{name}.json"
    known: Mapping[str, Any] | None = json.loads(path.read_text("utf-8")) if path.exists() else None
    return known


def claims_text(wanted: Sequence[str], studies: Mapping[str, Mapping[str, Any] | None]) -> str:
    """Return a table of the claims `wanted` as each study asked and answered them.

    `studies`: name -> verdicts; None: not played.
    """
    rows = ["| claim | study | what it asks | verdict | estimate | seeds |", "| --- | --- | --- | --- | --- | --- |"]
    for identity in wanted:
        for name, verdicts in studies.items():
            if verdicts is None:
                rows.append(f"| {identity} | {name} | – | not played | – | – |")
                continue
            rows += [_row(name, claim) for claim in verdicts["claims"] if claim["id"] == identity]
    return "\n".join(rows)


def _row(study: str, claim: Mapping[str, Any]) -> str:
    estimate = "–" if claim["estimate"] is None else amount(claim["estimate"], claim["endpoint"]["unit"])
    link = f"[{study}]({study}.md#{claim['id']})"
    sentence = claim["sentence"].replace("|", "\\|")
    return f"| {claim['id']} | {link} | {sentence} | **{claim['verdict']}** | {estimate} | {claim['pairs']} |"


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
