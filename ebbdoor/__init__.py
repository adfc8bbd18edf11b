"""ebbdoor from Python: play scenarios and studies or open what was played, read it as tables, draw it, compare it.

    import ebbdoor

    run = ebbdoor.run("digits", set={"periods": 3}, out="runs/first")   # or: ebbdoor.open_run("runs/first")
    print(run.verdict)
    run.readings()                                                     # pandas: a row an arm, twin and period
    run.plot().savefig("first.svg")

    study = ebbdoor.study("rates.yaml", out="studies/rates")            # or: ebbdoor.open_study("studies/rates")
    study.timelines()
    ebbdoor.compare(study, one="main rate=0.1", other="main rate=0.01")

Played without Prefect: `flows.simulate.simulate` and `flows.studies.study.study` are the flows. Mistakes raise
`ebbdoor.EbbdoorError`, in words that say what to do. Base classes of plug-ins stay where docs/writing-plugins.md and
docs/writing-a-defense.md name them.
"""

from ebbdoor.comparison import Comparison, compare
from ebbdoor.runs import Run, open_run, run
from ebbdoor.studies import PlayedStudy, open_study, study
from simulator.errors import EbbdoorError

__all__ = [
    "Comparison",
    "EbbdoorError",
    "PlayedStudy",
    "Run",
    "compare",
    "open_run",
    "open_study",
    "run",
    "study",
]
