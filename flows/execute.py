"""Execute an order of `ebbdoor run` or `ebbdoor resume`: as a Prefect flow, or as the bare loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flows import settings
from flows.runs.costs import telling
from flows.runs.folder import RunFolder
from flows.runs.play import checked, open_place, play_place
from flows.runs.queue import due_now, live_values
from flows.servers.companion import prefect_api
from simulator.errors import RunHeldError, StoreUnavailableError
from simulator.system.startup import beginning
from simulator.system.worker import prestarted_workers

if TYPE_CHECKING:
    from flows.displays.base import Display
    from simulator.loop.events import Event
    from simulator.scenario.model import Scenario


@dataclass(frozen=True, slots=True)
class Order:
    """A run to play: `scenario` is None when the ledger has it; `name` and `overrides` are how the user gave it."""

    folder: RunFolder
    scenario: Scenario | None = None
    name: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    bare: bool = False
    until: int | None = None
    processes: int | None = None
    take_over: bool = False
    accept_changed_code: bool = False
    live: bool = False
    every: float | None = None


#: the display of a scenario's run, in a block
Shown = Callable[["Scenario"], AbstractContextManager["Display[Event]"]]
Say = Callable[[str], None]


def _unheard(text: str) -> None:
    """Nobody asked."""


def execute(order: Order, display: Shown, say: Say, doing: Say = _unheard) -> None:
    """Play the order under the display of its scenario; `say` prints what is neither progress nor a result.

    `doing` is told what is done before the first period can begin, which takes seconds.
    """
    with _prestarted(order):
        doing("checking the scenario" if order.scenario else "reading what is committed")
        if order.bare:
            _bare(order, display, say, doing)
            return
        settings.mute_console()
        with ExitStack() as stack:
            with beginning():  # first: for a mistake no server is started
                stack.enter_context(checked(order.scenario, say))
                _expect_own_folder(order)
            doing("starting Prefect")
            await_server = stack.enter_context(prefect_api(order.folder.workspace, say))
            with beginning():  # while the server starts
                import flows.advance
                import flows.simulate  # noqa: F401
                from simulator.production.registry.open import import_client

                import_client()

            await_server()
            expect_answer()
            doing("opening the stores")
            with telling(say):
                _as_flow(order, display)


def _expect_own_folder(order: Order) -> None:
    """Raise `SourceError` where the scenario's drop folder belongs to another run."""
    from simulator.world.arrivals.admit import check_owner

    if order.scenario is not None:
        check_owner(order.scenario, order.folder.run)


def _prestarted(order: Order) -> AbstractContextManager[None]:
    """Start the workers that are needed in any case, where the scenario is known: an arm each, as cores allow."""
    if order.scenario is None:
        return nullcontext()
    most = (os.cpu_count() or 1) if order.processes is None else order.processes
    return prestarted_workers(min(len(order.scenario.arms), most), order.scenario.threads, order.scenario.numerics)


def _bare(order: Order, display: Shown, say: Say, doing: Say) -> None:
    from simulator.loop.events import plain

    pace = None if order.scenario is None else live_values(order.scenario, order.live, order.every, order.until)
    with ExitStack() as stack:
        with beginning():
            stack.enter_context(checked(order.scenario, say))
            stack.enter_context(telling(say))
            doing("opening the stores")
            stores = stack.enter_context(
                open_place(
                    order.folder,
                    order.scenario,
                    take_over=order.take_over,
                    live=pace,
                    accept_changed_code=order.accept_changed_code,
                )
            )
        listen = stack.enter_context(display(stores.scenario))
        due = due_now(stores, say)  # by an arrived file or by the clock
        until = due.last if order.until is None else min(order.until, due.last)
        play_place(order.folder, stores, wrap=plain, listen=listen, until=until, processes=order.processes)


def expect_answer() -> None:
    """Raise `StoreUnavailableError` where no Prefect server answers: a flow cannot begin without one."""
    from prefect import get_client

    with get_client(sync_client=True) as client:
        failure = client.api_healthcheck()
    if failure is not None:
        raise StoreUnavailableError(
            f"expected the Prefect server at PREFECT_API_URL to answer, got {type(failure).__name__}; "
            "start it, unset the variable, or use --no-prefect"
        )


def _as_flow(order: Order, display: Shown) -> None:
    from prefect import tags

    from flows.advance import advance
    from flows.parameters import Execution
    from flows.reporting.stamps import TAG
    from flows.simulate import DISPLAY, simulate

    execution = Execution(
        processes=order.processes, take_over=order.take_over, accept_changed_code=order.accept_changed_code
    )
    token = DISPLAY.set(display)
    try:
        with tags(TAG):
            if order.scenario is None:
                done = advance(run=str(order.folder.folder), periods=None, until=order.until, execution=execution)
                if done["held"] is not None:  # a schedule would try again; on a command line it is an error
                    raise RunHeldError(done["held"])
            else:
                simulate(
                    scenario=order.name,
                    overrides=dict(order.overrides),
                    run=order.folder.run,
                    out=str(order.folder.folder),
                    until=order.until,
                    live=order.live,
                    every=order.every,
                    execution=execution,
                )
    finally:
        DISPLAY.reset(token)
