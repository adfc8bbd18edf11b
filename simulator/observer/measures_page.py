"""`docs/measures.md`, from the table of measures: `python -m simulator.observer.measures_page > docs/measures.md`."""

from __future__ import annotations

import sys

from simulator.observer.measures import MEASURES, Measure

HEAD = """# Measures

What every figure of ebbdoor means. Written by `python -m simulator.observer.measures_page`, from the table that the
console, the plots and the report read; edit `simulator/observer/measures.py`, not this page.

A reading is a number or a reason why there is none; undefined is never 0. The *key* is the name in `periods.jsonl`, the
*reading* the name in MLflow.

"""


def page() -> str:
    """Return the page."""
    return HEAD + "\n".join(_section(item) for item in MEASURES)


def _section(item: Measure) -> str:
    good = {True: "higher is better", False: "lower is better", None: "neither end is good"}[item.higher_is_better]
    low, high = ("no bound" if bound is None else f"{bound:g}" for bound in item.bounds)
    names = f"key `{item.key}`" + (f", reading `{item.reading}`" if item.reading else "")
    return f"## {item.label}\n\n{item.definition}\n\n{names}; {item.unit}, from {low} to {high}; {good}.\n"


if __name__ == "__main__":
    sys.stdout.write(page())
