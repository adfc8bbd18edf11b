"""`docs/measures.md`, from the table of measures: `python -m simulator.observer.measures_page > docs/measures.md`."""

from __future__ import annotations

import sys

from simulator.observer.measures import MEASURES, Measure

HEAD = """# Measures

What every figure of ebbdoor means. Written by `python -m simulator.observer.measures_page`, from the table that the
console, the plots and the report read; edit `simulator/observer/measures.py`, not this page.

A reading is a number or a reason why there is none; undefined is never 0. The *key* is the name in `periods.jsonl`, the
*reading* the name in MLflow.

## Alive, erased, censored

Each period that a version serves is one reading of the backdoor. At a threshold (0.5; also 0.1) it is

- **planted** by the first period with net ASR at the threshold or above;
- **erased** by the first of two periods in a row below it, whichever versions served in them, one twice or two;
- **back** with the first period at the threshold or above after that; it then lives until it is erased again.

**Survival** counts from the planting to the first erasure, in updates (promoted retrainings; the headline) and in
periods. Where it was never erased, both are lower bounds. What is known at the end is the **state**:

| state | last periods |
|---|---|
| `alive` | the last one is at the threshold or above, be it that the backdoor came back |
| `erased` | the last two or more are below |
| `censored` | the last one alone is below: the run ended before an erasure could be told |
| `unknown` | readings are missing that could decide |
| `not planted` | all are below |

`a` is a period at the threshold or above, `b` one below, all promoted:

| periods | survival | came back | state |
|---|---|---|---|
| `aaaa` | more than 3 updates | | `alive` |
| `aaab` | more than 3 updates | | `censored` |
| `aabb` | 2 updates | | `erased` |
| `abab` | more than 3 updates: one period below is no erasure | | `censored` |
| `abba` | 1 update | in period 3 | `alive` |
| `abbabaa` | 1 update | in period 3, and not again in 5 | `alive` |

A life in updates says nothing of time: a policy that updates rarely may keep a backdoor in service for many periods
over few updates. Compare policies by `survival_periods` or by exposure. Decision 0015 gives the reasons.

**Dormant** is a last version with net ASR below 0.5 that still remembers: its re-learned net ASR (own minus paced
twin's) is at least 0.2, and at least 0.2 above that of an unrelated trigger. .51 beside .42 for the unrelated trigger
is a model that re-learns anything. Unknown where a control that could decide is missing.

## What a verdict does not know

**A missing reading is neither below nor above a threshold.** What is said of a backdoor's life is known where every
value of the missing readings would give the same, and unknown elsewhere. `a` is net ASR at the threshold or above, `b`
below, `?` undefined, one period each:

| periods | planted | survival in updates |
|---|---|---|
| `??b` | unknown: the first two may have reached the threshold | unknown |
| `?aa` | yes, in period 0 or 1: the first late reading is not the planting | unknown, at least 1; alive at the end |
| `a?a` | in period 0 | more than 2: one period below would not be an erasure |
| `aa?` | in period 0 | more than 2 |
| `a?b`, `ab?` | in period 0 | unknown, at least 1: the missing one may be the second below |
| `a?bb` | in period 0 | unknown, 1 or 2; erased |
| `abb?` | in period 0 | 1; whether it came back is unknown |

In `summary.json` what is unknown is null, with its reason; `survival_updates_between` holds the fewest and the most
updates that the readings allow (null: it may have outlived the run). Exposure and the highest net ASR need all periods;
`highest_known_net_attack_success` is the highest of those that are known. In a study a timeline that is unknown is
counted as such and left out of means, curves and paired tests, with the reason.

**A model that classifies nothing has no verdict.** Where `collapsed` is 1 or `better_than_chance` is 0, no reading of a
backdoor is evidence of it or against it: the version counts as one without a reading, and so does one whose paced twin
is so where the twin is subtracted. What was measured stays in `periods.jsonl` and in MLflow, where the tag `no_verdict`
says why it does not count. In MLflow a reading that was defined a period ago and is not any more gets one point NaN,
so that the run's page does not show the old value as the current one.

**Better than chance** is tested over the unstamped test images of the classes that training has seen so far, all of
the same weight. By chance the answers do not depend on the image. Two exact one-sided tests are made, each at 0.5 %,
so that chance passes in at most 1 %. The first is binomial: as many right answers or more, each with the share of the
most frequent class. The second asks for each class whether it is told from the others (Fisher's exact test, at 0.5 %
divided by the number of classes): so a model is not failed because one class has most of the test images. With images
of one class only there is nothing to tell apart, and the flag is 0.

**The true drift of batches that arrive as files is unknown.** Their alarms are counted, but neither called false nor
late.

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
