"""What is asked of a run from outside, noted in its ledger once."""

from __future__ import annotations

from flows.playing import Stores

__all__ = ["note_request"]


def note_request(stores: Stores, arm: str | None, reason: str) -> list[str]:
    """Have `arm` (None: every arm) retrain in its next period, and return the arms for which that was not noted yet.

    The caller holds the run. A flow run that is repeated asks for the same again, and changes nothing. An arm that has
    no period left is passed over, unless it is the one named.
    """
    from simulator.run import request_retraining

    arms = [key.arm for key in stores.head.lines if key.control == "none"] if arm is None else [arm]
    noted = []
    for each in arms:
        if (arm is None and _is_complete(stores, each)) or _is_noted(stores, each, reason):
            continue
        request_retraining(stores.head, stores.ledger, each, reason)
        noted.append(each)
    return noted


def _last(stores: Stores, arm: str) -> int:
    from simulator.records import LineKey

    return len(stores.ledger.entries(LineKey(arm=arm))) - 1


def _is_complete(stores: Stores, arm: str) -> bool:
    return _last(stores, arm) >= stores.scenario.periods


def _is_noted(stores: Stores, arm: str, reason: str) -> bool:
    if arm not in {key.arm for key in stores.head.lines}:
        return False  # `request_retraining` says which arms there are
    last = _last(stores, arm)
    return any(
        (action.kind, action.period, action.reason) == ("retrain", last, reason)
        for action in stores.ledger.actions(arm)
    )
