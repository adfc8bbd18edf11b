"""Why a method does not find the small backdoor of `ebbdoor check`: what is written of it elsewhere, or its numbers.

The backdoor: 40 of the 400 rows of an update of `compact-cnn`, 40 of the 83 of its class, attack success 0.85.
"""

from __future__ import annotations

#: of 40 poisoned rows: a filter that drops nine in ten on average drops fewer once in 65 windows (binomial)
RECALL = 0.8

#: in these words of its docstring
DOCSTRING = {
    "none": "Keeps every row and looks at nothing",
    "loss-isolation": "it does not work there",
    "abl": "it does not work there",
    "bti-dbf": "It does not work on the small networks here",
    "forgetting-sweep": "It never flags a model",
    "trigger-difference": "and 2 of 6 on digits",
    "ibd-psc": "in networks of two or three layers amplification hardly changes which logit is the largest",
    "scale-up": "Does not work here",
}

#: in these words of `docs/repairs.md`
PAGE = {
    "anp": "`clp`, `anp`, `i-bau` and `sau` do not work at these settings",
    "clp": "`clp`, `anp`, `i-bau` and `sau` do not work at these settings",
    "sau": "`clp`, `anp`, `i-bau` and `sau` do not work at these settings",
    "fst": "its new last layer costs ten points and more, and the limit then leaves the model as it was",
}

#: drops so many rows of the poison's class at most: a fixed share of the 400 rows, far from the 40 that are poison
FIXED = {"loss-isolation": 4, "spectral-signatures": 6, "spectre": 6}

#: compares versions with at least so many earlier ones (its option `least`), and here there are three
LEAST = ("canary-relearning", "version-difference")

#: trains on the rows of the window as they are labelled, poison included: it keeps or loses what the champion knows
TRAINS = ("ewc", "ft-sam", "lwf", "schedule-sweep")

#: should find it, was looked into, and is right not to: the figure and its cause
FIGURE = {
    "activation-clustering": "none of 40 rows: nearly half of the class is poison, and is in the larger cluster; the"
    " method judges the smaller one, of 29 of the 83 rows, where 14 of the class's 17 trusted images are too",
    "scan": "none of 40 rows: the digit 1 of this small set is two groups by nature; the index of its class is 2.9, and"
    " 3.5 in the same window without poison, where 7.4 is contaminated",
    "strip-filter": "17 of 40 rows at its rate of 1 %; 35 and more at the 5 % of the screen `strip` (tested)",
}

EXCUSED = {*DOCSTRING, *PAGE, *FIXED, *LEAST, *TRAINS, *FIGURE}
