"""Settings of runs and studies side by side, two of them paired by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from ebbdoor.runs import Run
from ebbdoor.studies import PlayedStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from simulator.study.compare import Compared
    from simulator.study.statistics.values import Finding


@final
@dataclass(frozen=True)
class Comparison:
    """Settings side by side; `finding` where two were compared, None else.

    `differences`: the dotted keys in which their scenarios differ -> the value of each setting.
    """

    compared: tuple[Compared, ...]
    differences: Mapping[str, Sequence[Any]]
    finding: Finding | None = None

    @property
    def sentence(self) -> str:
        """The finding in words; empty where nothing was compared."""
        from simulator.study.compare import sentence

        return "" if self.finding is None else sentence(self.finding)

    def settings(self) -> DataFrame:
        """Return one row a setting: counts, and medians with their range over the seeds."""
        from pandas import json_normalize

        from simulator.study.results import settings_of

        return json_normalize(settings_of([row for setting in self.compared for row in setting.rows]))

    def plot(self) -> Figure:
        """Return net ASR over the periods, a colour a setting: every seed thin, the median bold."""
        from simulator.study.report.overlay import overlay

        return overlay({setting.label: setting.nets for setting in self.compared})


def compare(
    *played: Run | PlayedStudy | str | Path,
    one: str | None = None,
    other: str | None = None,
    measure: str = "survival",
) -> Comparison:
    """Compare settings of runs and studies, objects or folders.

    With `one` and `other`, names of settings, their `measure` (survival, or a column of the timelines table) is
    compared seed by seed with an exact test. Its hypothesis was not fixed before the run: for that, write a study's
    claim.
    Raises `ScenarioError` for an unknown setting or measure, and where two settings cannot be compared.
    """
    from simulator.errors import ScenarioError
    from simulator.study.compare import differing_keys, find_setting, paired, read_compared, require_comparable

    if (one is None) != (other is None) or (one is not None and one == other):
        raise ScenarioError("expected one and other to be two settings, or neither, got one of them; name two settings")
    found = read_compared([_folder(each) for each in played])
    chosen = found if one is None or other is None else [find_setting(found, one), find_setting(found, other)]
    require_comparable(chosen)
    finding = None if one is None else paired(chosen[0], chosen[1], measure)
    return Comparison(tuple(chosen), differing_keys(chosen), finding)


def _folder(given: Run | PlayedStudy | str | Path) -> Path:
    return given.folder if isinstance(given, Run | PlayedStudy) else Path(given).absolute()
