"""Third-party code that was changed since a run was begun: refused, or accepted and noted with the next periods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from simulator.errors import ChangedCodeError
from simulator.production.registry.base import Entry, Ledger, RunHead, going
from simulator.scenario.code import FOLDER
from simulator.scenario.identity import BASE, REREAD, changes, code_of
from simulator.scenario.model import Scenario

#: the key in an entry's metadata: what had changed before its period, name -> digest (None: gone)
CODE_CHANGED = "code_changed"

#: the option that accepts a change, as a command line has it
ACCEPT = "--accept-changed-code"


def changed_since(head: RunHead, entries: Sequence[Entry], now: Mapping[str, str]) -> dict[str, str | None]:
    """Return what differs between the code of a line's last period and `now`: name -> digest, None where it is gone.

    Nothing where the run was opened without digests. Files that are read anew at every use are left out, and so are
    those of a base that was taken into period 0 already.
    """
    if not head.code:
        return {}
    known: dict[str, str | None] = dict(head.code)
    for entry in entries:
        known |= entry.metadata.get(CODE_CHANGED, {})
    before = {name: digest for name, digest in known.items() if digest is not None}
    left_out = (REREAD, BASE) if entries else (REREAD,)
    return {name: digest for name, digest in changes(before, now).items() if not name.startswith(left_out)}


def expect_same_code(head: RunHead, ledger: Ledger, scenario: Scenario, *, accept: bool) -> None:
    """Raise `ChangedCodeError` where a line with periods left would go on with other code; not if `accept`."""
    now = code_of(scenario)
    found: set[str] = set()
    for key in going({key.name: key for key in head.lineages}, ledger.ends()).values():
        entries = ledger.entries(key)
        if len(entries) <= scenario.periods:
            found |= changed_since(head, entries, now).keys()
    if found and not accept:
        raise ChangedCodeError(
            f"expected the code of run '{head.run}' to be as it was, got a change of {named(found)}; put it back, or "
            f"go on with {ACCEPT}, which the run will say"
        )


def expect_worker_sees(there: Mapping[str, str], here: Mapping[str, str]) -> None:
    """Raise `ChangedCodeError` in a worker process whose third-party code differs from that of its parent."""
    found = [name for name in changes(there, here) if not name.startswith(REREAD)]
    if found:
        raise ChangedCodeError(
            f"expected the code of plug-ins to stay as it is while a run is played, got a change of {named(found)}; "
            "put it back, and go on with the run"
        )


def named(found: Iterable[str]) -> str:
    """Return the names of changed files and packages in a sentence."""
    names = sorted(name.removeprefix("file ").removeprefix(FOLDER).removeprefix(BASE) for name in found)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def code_changes(entries: Mapping[str, Sequence[Entry]]) -> list[dict[str, Any]]:
    """Return the accepted changes of a run, by line and period: what its report says of them."""
    return [
        {"line": name, "period": entry.record.period, "changed": dict(entry.metadata[CODE_CHANGED])}
        for name, mine in entries.items()
        for entry in mine
        if entry.metadata.get(CODE_CHANGED)
    ]
