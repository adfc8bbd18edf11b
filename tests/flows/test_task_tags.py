"""A flow run's tags stay its own: for each tag of a task Prefect asks its server before the task may begin."""

from __future__ import annotations

from pathlib import Path

from prefect import get_client, tags
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import TaskRun

from flows.simulate import Execution, simulate


def test_tasks_have_no_tags_that_a_server_which_is_away_would_be_asked_for(
    tiny: Path, workspace: Path, prefect_server: None
) -> None:
    with tags("kept-by-the-flow-run"):
        simulate(scenario=str(tiny), until=0, run="tagged", execution=Execution(processes=0))
    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=["kept-by-the-flow-run"]))
        )
        answer = client._client.post("/task_runs/filter", json={"flow_runs": {"id": {"any_": [str(run.id)]}}})
    found = [TaskRun.model_validate(item) for item in answer.json()]
    assert len(found) > 10
    assert [task.tags for task in found] == [[]] * len(found)
