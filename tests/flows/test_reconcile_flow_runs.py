"""Flow runs that Prefect still calls running though their processes have ended: a real server, real client calls."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest
from prefect import flow, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.states import Pending, Running, State

from flows.operate.reconcile import reconcile_flow_runs
from flows.operate.wording import Ask, Row
from flows.reporting.stamps import TAG, stamp, stamp_of
from flows.servers.pools import ensure, zombies
from simulator.system.holder import Holder


@flow(name="some-flow", persist_result=False)
def some_flow() -> str:
    from prefect.runtime import flow_run

    stamp("stamped")
    return str(flow_run.id)


@pytest.fixture(scope="module")
def dead() -> Holder:
    """A process of this host that has ended."""
    code = "from simulator.system.holder import *; print(*Holder.current().values().values(), sep='\\n')"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return Holder(*printed.splitlines())


def begin(name: str, state: State, holder: Holder | None, *, tags: list[str] | None = None) -> UUID:
    """Make a flow run in `state` that `holder` has stamped."""
    with get_client(sync_client=True) as client:
        made = client.create_flow_run(some_flow, name=name, state=state, tags=[TAG] if tags is None else tags)
        if holder is not None:
            labels = {"run": f"run-of-{name}", **holder.values()}
            client.update_flow_run_labels(made.id, {f"ebbdoor.{key}": value for key, value in labels.items()})
        return made.id


def found(run: UUID) -> FlowRun:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run)


def reconciled(ask: Ask, run: UUID) -> Row | None:
    """Reconcile everything; return the row of one."""
    name = found(run).name
    rows = reconcile_flow_runs(ask, lambda run: ("2 of 6 updates are committed", "`ebbdoor resume it`"))
    mine = [row for row in rows if row.run == f"run-of-{name}" or f"'{name}'" in row.done]
    assert len(mine) <= 1
    return mine[0] if mine else None


@pytest.mark.parametrize("state", [Running, Pending], ids=["running", "pending"])
def test_a_dead_process_has_crashed_and_the_message_says_what_is_committed(
    state: Callable[[], State], dead: Holder, prefect_server: None
) -> None:
    run = begin(f"dead-{state.__name__.lower()}", state(), dead)
    dry = reconciled(Ask(dry_run=True), run)
    assert dry is not None
    assert "would be crashed" in dry.done
    assert not found(run).state.is_final()
    row = reconciled(Ask(), run)
    assert row is not None
    assert (row.where, row.was, row.now) == ("Prefect", state().name, "Crashed")
    assert found(run).state.is_crashed()
    message = found(run).state.message
    assert f"process {dead.pid} on host '{dead.host}' ended and left it {row.was}" in message
    assert "2 of 6 updates are committed" in message
    assert "`ebbdoor resume it`" in message
    assert reconciled(Ask(), run) is None


def test_a_living_process_is_left_alone_even_when_told_to_take_over(prefect_server: None) -> None:
    run = begin("alive", Running(), Holder.current())
    row = reconciled(Ask(take_over=True), run)
    assert row is not None
    assert "being worked on by process" in row.done
    assert found(run).state.is_running()


def test_what_cannot_be_known_is_left_until_told_otherwise(dead: Holder, prefect_server: None) -> None:
    runs = [
        begin("elsewhere", Running(), replace(dead, host="another-host")),
        begin("unstamped", Pending(), None),
    ]
    for run in runs:
        row = reconciled(Ask(), run)
        assert row is not None
        assert "left alone" in row.done
        assert "--take-over" in row.next
        assert not found(run).state.is_final()
    for run in runs:
        reconciled(Ask(take_over=True), run)
        assert found(run).state.is_crashed()


def test_flow_runs_of_others_are_not_touched(prefect_server: None) -> None:
    run = begin("of-somebody", Running(), None, tags=[])
    assert reconciled(Ask(take_over=True), run) is None
    assert found(run).state.is_running()


def test_a_flow_run_says_which_process_plays_it(prefect_server: None) -> None:
    noted = stamp_of(found(UUID(some_flow())))
    assert noted is not None
    assert noted.run == "stamped"
    assert replace(noted.holder, token="") == replace(Holder.current(), token="")


def test_the_automation_is_there_once_and_stays_switched_off(prefect_server: None) -> None:
    with get_client(sync_client=True) as client:
        ensure(client, zombies())
        (made,) = client.read_automations_by_name(zombies().name)
        assert made.enabled
        client.update_automation(made.id, zombies().model_copy(update={"enabled": False}))
        ensure(client, zombies())
        (again,) = client.read_automations_by_name(zombies().name)
        assert again.id == made.id
        assert not again.enabled
        client.delete_automation(made.id)


def test_an_automation_that_somebody_else_made_under_our_name_stays(prefect_server: None) -> None:
    theirs = zombies().model_copy(update={"description": "a colleague's", "tags": ["theirs"], "enabled": False})
    earlier = zombies().model_copy(update={"tags": []})  # an earlier version gave them no tag
    with get_client(sync_client=True) as client:
        made = client.create_automation(theirs)
        ours = [client.create_automation(earlier), client.create_automation(zombies())]
        ensure(client, zombies())
        left = {one.id: one.description for one in client.read_automations_by_name(zombies().name)}
        assert left.pop(made) == "a colleague's"
        assert len(left) == 1  # of ours there is one
        assert set(left) < set(ours)
        for one in (made, *left):
            client.delete_automation(one)
