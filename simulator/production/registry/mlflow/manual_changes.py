"""What a person changed in MLflow's registry: which of it can be adopted, and how to undo the rest. Only read here."""

from __future__ import annotations

from collections.abc import Mapping

from simulator.errors import StoreError
from simulator.production.lineage import ALIASES, CHAMPION, LineageState
from simulator.production.registry.mlflow.stored import Stored, named_version
from simulator.records import LineageKey


def moved_by_hand(
    run: str,
    lineage: LineageKey,
    now: LineageState,
    stored: Mapping[int, Stored],
    aliases: Mapping[str, str],
    published: Mapping[int, int],
    *,
    closed: bool,
) -> int | None:
    """Return the version to which a person moved the alias `champion`; None when it is where `now`, the ledger, has it.

    A killed process may leave it elsewhere: at what period `now.last` + 1 came to, in `published` by period, or where
    it was before an operator's roll-back. Raises `StoreError` for what cannot be adopted as a roll-back: no champion
    any more, a version that is not ours or never served, another line than an arm's, and whatever it is unless the run
    was `closed`: a request of the killed process may have arrived late.
    """
    if now.champion is None:
        return None
    number = aliases.get(CHAMPION)
    if now.champion not in stored or stored[now.champion].number is None:
        raise StoreError(f"{_expected(run, lineage, now, stored)}, got it deleted; {_asked(run, lineage, now, stored)}")
    if number is None:
        raise StoreError(
            f"{_expected(run, lineage, now, stored)}, got no such alias; {_asked(run, lineage, now, stored)}"
        )
    named = next((ordinal for ordinal, one in stored.items() if one.number == number), None)
    if named == now.champion or (named is not None and _left_by_a_kill(named, now, published)):
        return None
    if named not in now.served or lineage.control != "none":
        what = "a version that is not ebbdoor's" if named is None else "one that never served"
        what = what if lineage.control == "none" else "another one, and a twin follows its arm"
        raise StoreError(
            f"{_expected(run, lineage, now, stored)}, got it moved by hand to version {number}, {what}; "
            f"{_asked(run, lineage, now, stored)}"
        )
    if not closed:
        raise StoreError(
            f"{_expected(run, lineage, now, stored)}, got version {number}, moved by hand or by the process that was "
            f"killed; {_asked(run, lineage, now, stored, number)}"
        )
    return named


def placed(now: LineageState, stored: Mapping[int, Stored]) -> dict[str, str]:
    """Return the version's number, in MLflow, that each of our aliases but `champion` has where `now` stands."""
    named = {alias: stored[ordinal].number for alias, ordinal in now.aliases().items() if ordinal in stored}
    return {alias: number for alias, number in named.items() if number is not None and alias != CHAMPION}


def put_back(lineage: LineageKey, wanted: Mapping[str, str], aliases: Mapping[str, str]) -> list[str]:
    """Say which of our aliases but `champion` a person moved; they decide nothing, and ebbdoor sets them anew.

    `wanted`: where they were put last; `aliases`: where they are.
    """
    return [
        f"the alias '{alias}' of '{lineage.name}' was moved by hand from {_place(wanted.get(alias))} to "
        f"{_place(aliases.get(alias))}; it decides nothing, and ebbdoor sets it by its own ledger (to let another "
        "version serve, use `ebbdoor rollback`, or move 'champion')"
        for alias in ALIASES
        if alias != CHAMPION and aliases.get(alias) != wanted.get(alias)
    ]


def _place(number: str | None) -> str:
    return "no version" if number is None else f"version {number}"


def missing_rows(lineage: LineageKey, now: LineageState, stored: Mapping[int, Stored]) -> list[str]:
    """Say which committed versions somebody deleted from the registry."""
    gone = sorted(ordinal for ordinal in now.committed if ordinal not in stored or stored[ordinal].number is None)
    return [f"{named_version(ordinal, stored)} of '{lineage.name}', which was deleted in MLflow" for ordinal in gone]


def _left_by_a_kill(named: int, now: LineageState, published: Mapping[int, int]) -> bool:
    undone = sum(action.to is not None for action in now.since)
    before = now.served[-undone - 1 : -1] if undone else ()
    return named in before or named not in now.committed or published.get(now.last + 1) == named


def _expected(run: str, lineage: LineageKey, now: LineageState, stored: Mapping[int, Stored]) -> str:
    assert now.champion is not None
    version = named_version(now.champion, stored)
    return f"expected the alias 'champion' of '{lineage.name}' of run '{run}' to name {version}, which serves"


def _asked(
    run: str, lineage: LineageKey, now: LineageState, stored: Mapping[int, Stored], to: str | None = None
) -> str:
    """Return the two ways out; `to`: MLflow's number of the version that is to serve, by default the one before."""
    back = f"put it back with `ebbdoor reconcile --restore {run}`"
    others = [stored[o].number for o in reversed(now.served) if o != now.champion and o in stored and stored[o].number]
    if lineage.control != "none" or not others:
        return back
    to = others[0] if to is None else to
    return f"{back}, or let another serve: `ebbdoor rollback {run} --arm {lineage.arm} --to {to} --reason WHY`"
