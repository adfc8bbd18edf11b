"""Where to kill: chosen from what an undisturbed run passes, so that nothing it does is left out."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kill_trace import Mark, Trigger

__all__ = ["Execution", "Point", "choose"]

#: `alone`: one process; `workers`: lines and defenses in processes of their own; `server`: through an MLflow server;
#: `flow`: as a Prefect flow
Execution = Literal["alone", "workers", "server", "flow"]
#: how points take turns; `flow` and `workers` take longest
_TURNS: tuple[Execution, ...] = ("alone", "server", "alone", "workers", "alone", "server", "alone", "flow")


@dataclass(frozen=True)
class Point:
    """One kill."""

    number: int
    kind: Literal["stage", "store", "moment"]
    trigger: Trigger
    execution: Execution

    @property
    def where(self) -> str:
        """In words, such as `before train of main, period 2`."""
        place = f"{self.trigger.edge} {self.trigger.what}"
        return f"{self.trigger.delay * 1000:.0f} ms into {self.trigger.what}" if self.trigger.delay else place


def choose(marks: Sequence[Mark], count: int, seed: int) -> list[Point]:
    """Return `count` points: every stage of every line, every kind of write, and random moments, in turns.

    The period of each is drawn. With fewer points than places, kinds of write are left out first.
    """
    draw = random.Random(seed)
    stages = _drawn([mark for mark in marks if _is_boundary(mark)], draw)
    writes = _drawn([mark for mark in marks if not _is_stage(mark) and mark.edge == "after"], draw)
    moments = max(count // 6, count - len(stages) - len(writes))
    fixed = count - moments
    share = min(len(stages), max(round(0.6 * fixed), fixed - len(writes)))
    triggers: list[tuple[Literal["stage", "store", "moment"], Trigger]] = []
    triggers += [("stage", Trigger(mark.what, mark.nth, mark.edge)) for mark in stages[:share]]
    triggers += [("store", Trigger(mark.what, mark.nth, mark.edge)) for mark in writes[: fixed - share]]
    triggers += [("moment", _moment(marks, draw)) for _ in range(moments)]
    draw.shuffle(triggers)
    return [_point(number, kind, trigger) for number, (kind, trigger) in enumerate(triggers[:count], 1)]


def _point(number: int, kind: Literal["stage", "store", "moment"], trigger: Trigger) -> Point:
    execution = _TURNS[number % len(_TURNS)]
    if execution == "server" and "create_experiment" in trigger.what:  # all points share the server's experiment
        execution = "alone"
    alone = execution == "workers" and number % 2 == 1  # the workers must notice by themselves
    return Point(number, kind, Trigger(trigger.what, trigger.nth, trigger.edge, trigger.delay, not alone), execution)


def _drawn(marks: Sequence[Mark], draw: random.Random) -> list[Mark]:
    """One mark of each kind, its period drawn, in an order that is drawn."""
    kinds: dict[tuple[str, str], list[Mark]] = {}
    for mark in marks:
        kinds.setdefault((re.sub(r"\d+", "N", mark.what), mark.edge), []).append(mark)
    found = [draw.choice(alike) for alike in kinds.values()]
    draw.shuffle(found)
    return found


def _moment(marks: Sequence[Mark], draw: random.Random) -> Trigger:
    """A moment within a stage, any stage as likely as the other."""
    begin = draw.choice([mark for mark in marks if _is_stage(mark) and mark.edge == "before"])
    ended = next(mark for mark in marks if (mark.what, mark.nth, mark.edge) == (begin.what, begin.nth, "after"))
    return Trigger(begin.what, begin.nth, "before", max(0.0005, draw.random() * (ended.at - begin.at)))


def _is_stage(mark: Mark) -> bool:
    return ", period " in mark.what


def _is_boundary(mark: Mark) -> bool:
    """The end of a stage is the beginning of the next, except for the last."""
    return _is_stage(mark) and (mark.edge == "before" or mark.what.startswith(("commit", "register")))
