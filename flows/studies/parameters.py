"""The parameters of the flows `study` and `timeline`, as narrow as a schema can say."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flows.parameters import Line
from flows.studies.executors import ExecutorName

Executor = Annotated[
    ExecutorName,
    Field(description="what plays the timelines: processes of this machine, flow runs on a work pool, or Ray's tasks"),
]
StudyName = Annotated[Line, Field(description="a preset's name, or a .yaml file's path")]
Workers = Annotated[
    int,
    Field(
        ge=1, le=1024, description="timelines at a time; of cohort, processes; by default the study's, else by cores"
    ),
]
Quick = Annotated[bool, Field(description="only the subset that the study names")]
Out = Annotated[Line, Field(description="the study's folder; by default it lies in the workspace under studies/NAME")]
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
