"""A study from Python: played or opened, with its tables and verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from pandas import DataFrame

    from simulator.study.model import Study


@final
@dataclass(frozen=True)
class PlayedStudy:
    """A study as the files in its `folder` hold it."""

    folder: Path

    @property
    def study(self) -> Study:
        """The study itself, after defaults."""
        from simulator.study.run import read_study

        return read_study(self.folder)

    @property
    def report(self) -> Path:
        """The report: one HTML file."""
        return self.folder / "report.html"

    def timelines(self) -> DataFrame:
        """Return one row a timeline: survival, first and last readings, alarms, what defenses did, seconds.

        A null has its reason in the column `reasons`, a JSON object. Columns: docs/studies.md.
        """
        return self._table("timelines")

    def periods(self) -> DataFrame:
        """Return one row a timeline, lineage and period: what was done, and every reading."""
        return self._table("periods")

    def settings(self) -> DataFrame:
        """Return one row a setting: counts, and medians with their range over the seeds."""
        from pandas import json_normalize

        from simulator.study.results import settings_of
        from simulator.study.tables import read_table

        return json_normalize(settings_of(read_table(self.folder, "timelines")))

    def verdicts(self) -> DataFrame:
        """Return one row a claim: verdict, estimate with its interval, p after correction, n, and the reason."""
        from pandas import json_normalize

        from simulator.system.files import read_json

        return json_normalize(read_json(self.folder / "verdicts.json")["claims"])

    def _table(self, name: str) -> DataFrame:
        from pandas import DataFrame

        from simulator.study.tables import read_table

        return DataFrame(read_table(self.folder, name))


def study(
    name: str | Path | Mapping[str, Any],
    *,
    set: Mapping[str, Any] | None = None,  # noqa: A002 - as on the command line and in a study
    out: str | Path | None = None,
    workers: int | None = None,
    executor: str = "processes",
    quick: bool = False,
    progress: bool = True,
) -> PlayedStudy:
    """Play a study, without Prefect, and return it. Given again, it goes on from the timelines that are complete.

    `name`: a study's name, a YAML file, or the study's own keys; `set` lays dotted keys over its scenario. `out`: its
    folder; `studies/NAME` in the workspace by default. `workers` and `executor`: as `ebbdoor study` has them. `quick`:
    only the subset that the study names. Raises `EbbdoorError`; complete timelines are always kept.
    """
    from flows import settings
    from flows.displays.study import StudyMode, study_display
    from flows.runs.folder import shown
    from flows.studies.execute import StudyOrder, execute_study

    values = _study(name, set or {})
    folder = settings.study_folder(values.name, out, settings.use_workspace())
    order = StudyOrder(values, values.name, folder, {}, executor, workers, quick, bare=True)
    mode = StudyMode.plain if progress else StudyMode.none
    with study_display(mode, f"{values.name} · {shown(folder)}") as listen:
        execute_study(order, listen, lambda _: None)
    return PlayedStudy(folder)


def open_study(folder_or_name: str | Path) -> PlayedStudy:
    """Return a study that was played: by its folder, or by its name in the workspace."""
    from flows import settings
    from simulator.errors import ScenarioError

    workspace = settings.default_workspace()
    for folder in (Path(folder_or_name), workspace / "studies" / folder_or_name):
        if (folder / "study.json").is_file():
            return PlayedStudy(folder.absolute())
    raise ScenarioError(
        f"expected the folder or name of a study, got '{folder_or_name}', where no study.json is; "
        f"studies lie in {workspace / 'studies'}"
    )


def _study(given: str | Path | Mapping[str, Any], overrides: Mapping[str, Any]) -> Study:
    from simulator.study.load import load_study, study_of

    start = study_of(given) if isinstance(given, Mapping) else load_study(str(given))
    if not overrides:
        return start
    tree = start.model_dump(mode="json", by_alias=True)
    return study_of({**tree, "set": {**tree["set"], **overrides}})
