"""Which timelines were kept although code or data had been changed since: a column of the tables, and texts of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from simulator.loop.changed_code import named
from simulator.study.timelines import PlayedTimeline

#: timeline -> names of the files, packages and data that were changed since it was played (`changed_code_of`)
Changed = Mapping[str, Sequence[str]]

#: the last column of both tables, in a study that has such a timeline: a JSON list of what was changed
COLUMN: Final = "changed_code"


def with_changed_code(rows: Sequence[Mapping[str, Any]], changed: Changed) -> list[dict[str, Any]]:
    """Return a table's rows with `COLUMN` as their last column; as they are where no timeline has anything to say."""
    if not any(row["timeline"] in changed for row in rows):
        return [dict(row) for row in rows]
    return [{**row, COLUMN: json.dumps(list(changed.get(row["timeline"], [])), ensure_ascii=False)} for row in rows]


def changed_texts(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return setting, seeds and what was changed, a row for each setting and change; `rows` as of `with_changed_code`.

    Of an absolute path the last part is told.
    """
    found: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        names = json.loads(row.get(COLUMN) or "[]")
        if names:
            found.setdefault((row["setting"], named(map(_without_folders, names))), []).append(row["seed"])
    return [
        {"setting": setting, "seeds": ", ".join(map(str, sorted(set(seeds)))), "changed": what}
        for (setting, what), seeds in found.items()
    ]


def changed_of(played: Sequence[PlayedTimeline], changed: Changed) -> list[dict[str, str]]:
    """Return `changed_texts` of the timelines that were `played`."""
    about = [one.timeline for one in played]
    rows = [{"timeline": one.name, "setting": one.setting, "seed": one.seed} for one in about]
    return changed_texts(with_changed_code(rows, changed))


def changed_notes(texts: Sequence[Mapping[str, str]]) -> list[str]:
    """Return `changed_texts` as sentences."""
    return [
        f"{text['setting']}, seed {text['seeds']}: code or data were changed, which was accepted: {text['changed']}"
        for text in texts
    ]


def _without_folders(name: str) -> str:
    """The name of a change without folders of this machine: `file /there/a.png` is `file a.png`."""
    kind, blank, path = name.partition(" ")
    return f"{kind} {Path(path).name}" if blank and Path(path).is_absolute() else name
