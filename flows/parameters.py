"""The parameters that flows share, as narrow as a schema can be, so that Prefect's server refuses impossible values."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from flows.runs.due import LONGEST
from flows.studies.executors import ExecutorName

#: no line breaks, no other control characters, no space at either end
_LINE = r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$"
_KEY = r"^[^\x00-\x20\x7f.=]+(\.[^\x00-\x20\x7f.=]+)*$"
_MOST_PERIODS = 10_000

#: a name or a path, on one line
Line = Annotated[str, Field(pattern=_LINE, max_length=4096)]

#: of a scenario or a study
PresetName = Annotated[Line, Field(description="a preset's name, or a .yaml file's path")]
Overrides = Annotated[
    dict[Annotated[str, Field(pattern=_KEY)], Any],
    Field(
        description='dotted keys and their values: {"stream.batch": 500}',
        max_length=1000,
        json_schema_extra={"additionalProperties": False},
    ),
]
Seed = Annotated[int, Field(ge=0, description="the scenario's seed")]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$", description="auto, cpu, cuda or cuda:N")]
RunName = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][a-z0-9-]{0,99}$", description="the run's name; made up by default; an open one goes on"),
]
Run = Annotated[
    Line,
    Field(description="an open run's name or folder; by default the live one that is longest overdue, else the newest"),
]
Out = Annotated[Line, Field(description="the run's folder; by default it lies in the workspace under its name")]
Until = Annotated[int, Field(ge=0, le=_MOST_PERIODS, description="stop after this period and leave the run open")]
Periods = Annotated[
    int, Field(ge=0, le=_MOST_PERIODS, description="how many periods to play, 0: none; null: all that are left")
]
Every = Annotated[
    float,
    Field(
        gt=0,
        le=LONGEST,
        allow_inf_nan=False,
        description="seconds between the periods of a live run; null: one whenever it is advanced",
    ),
]
Retrain = Annotated[
    str, Field(pattern=_LINE, max_length=1000, description="why the next period retrains, whatever the policy says")
]
Arm = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$", description="the arm to retrain; by default all")]

# of studies and their timelines
Executor = Annotated[
    ExecutorName,
    Field(description="what plays the timelines: processes of this machine, flow runs on a work pool, or Ray's tasks"),
]
Workers = Annotated[
    int,
    Field(
        ge=1, le=1024, description="timelines at a time; of cohort, processes; by default the study's, else by cores"
    ),
]
Quick = Annotated[bool, Field(description="only the subset that the study names")]
StudyOut = Annotated[
    Line, Field(description="the study's folder; by default it lies in the workspace under studies/NAME")
]
Deployment = Annotated[
    str,
    Field(
        pattern=r"^[^\x00-\x1f\x7f/]+/[^\x00-\x1f\x7f/]+$",
        max_length=400,
        description="the deployment of the flow `timeline` that the executor work-pool calls",
    ),
]
Folder = Annotated[Line, Field(description="the folder of a study, as this machine sees it")]
Cache = Annotated[Line, Field(description="the folder of cached results; by default cache/ in the workspace")]
TimelineName = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,199}$", description="one of the study's timelines: ARM-pN-sSEED")
]

# of audits
ModelAddresses = Annotated[
    list[Annotated[str, Field(pattern=r"^models:/[^\x00-\x1f\x7f]+$", max_length=1000)]],
    Field(
        min_length=1,
        max_length=1000,
        description="models:/NAME/VERSION, models:/NAME@ALIAS, models:/NAME for all its versions, or models:/m-ID",
    ),
]
AuditDefenses = Annotated[
    list[Line | dict[str, Any]],
    Field(
        min_length=1,
        max_length=100,
        description="inspectors, repairs and screens: NAME, or {use: NAME, option: value}",
    ),
]
TrustedFile = Annotated[Line, Field(description="the path of an .npz of images and labels that you trust")]
ImagesFile = Annotated[Line, Field(description="the path of an .npz of images for screens")]
AuditSeconds = Annotated[
    float, Field(ge=1, le=200_000, allow_inf_nan=False, description="time limit of one defense's call, in seconds")
]


class Execution(BaseModel):
    """How a run is carried out; none of it changes a number, but code that is accepted as changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    processes: Annotated[int, Field(ge=0, le=1024)] | None = Field(
        None, description="worker processes; 0: none; by default one an arm"
    )
    take_over: bool = Field(False, description="become the writer of a run that another host holds")
    accept_changed_code: bool = Field(
        False, description="go on although the user's own code was changed since the run was begun; the run says so"
    )
    wait: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = Field(
        0.0, description="seconds to wait for a run that another process holds"
    )
