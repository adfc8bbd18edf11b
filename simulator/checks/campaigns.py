"""Checks of campaigns: the rate is a share of rows and depends on the view alone."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from simulator.checks.material import CASES, images_of
from simulator.checks.subject import Inapplicable, Subject, expect, quiet
from simulator.guard.values import check_json
from simulator.scenario import catalog
from simulator.world.campaign import Campaign, CampaignView


def rate_is_a_share(subject: Subject) -> None:
    """The rate lies in [0, 1] in every period, with and without a model to query."""
    for asked in (False, True):
        rates, _ = _play(subject.make(), asked)
        outside = [rate for rate in rates if not 0 <= rate <= 1]
        expect(not outside, f"expected rates in [0, 1], got {outside}")


def most_is_kept(subject: Subject) -> None:
    """No rate is above `most`, where the campaign states it: a run checks this rate before it starts."""
    campaign: Campaign = subject.make()
    highest = max(_play(campaign, True)[0])
    expect(
        campaign.most is None or highest <= campaign.most,
        f"expected no rate above most = {campaign.most}, got {highest}; state the highest",
    )


def same_view_same_rate(subject: Subject) -> None:
    """Two campaigns with the same options give the same rates for the same views, without global random state."""
    expect(_play(subject.make(), True) == _play(subject.make(), True), "expected the same rates, got others")


def memory_is_in_the_view(subject: Subject) -> None:
    """All memory is in `view.state`, as JSON values: a new campaign continues where another stopped."""
    rates, states = _play(subject.make(), True)
    for state in states:
        try:
            json.dumps(state, allow_nan=False)
        except (TypeError, ValueError) as error:
            expect(False, f"expected the state to hold JSON values, got {error}")
        check_json(catalog.plugin(subject.kind, subject.use), state, "a state")
    for period in (3, 11):
        state = json.loads(json.dumps(states[period - 1]))
        rate = subject.make().rate(_view(period, state, True))
        expect(rate == rates[period], f"expected a fresh one to give {rates[period]} in period {period}, got {rate}")


def adaptive_is_declared(subject: Subject) -> None:
    """One that is not `adaptive` gives a rate that depends on nothing but the period."""
    campaign: Campaign = subject.make()
    if campaign.adaptive:
        raise Inapplicable("it is adaptive")
    rates, _ = _play(campaign, True)
    alone = [subject.make().rate(CampaignView(period=period)) for period in range(len(rates))]
    expect(alone == rates, "expected rates that depend on the period alone, got others; declare adaptive = True")


def _play(campaign: Campaign, asked: bool) -> tuple[list[float], list[dict[str, Any]]]:
    state: dict[str, Any] = {}
    rates, states = [], []
    for period in range(12):
        view = _view(period, json.loads(json.dumps(state)), asked)
        rates.append(quiet(lambda: campaign.rate(view)))  # noqa: B023
        state = view.state
        states.append(json.loads(json.dumps(state)))
    return rates, states


def _view(period: int, state: dict[str, Any], asked: bool) -> CampaignView:
    """Return the view of a champion that predicts the target for three periods, then not for three, and so on."""
    answer = int(period % 6 >= 3)

    def query(images: Tensor) -> Tensor:
        return torch.full((len(images),), answer)

    def stamped(count: int) -> Tensor:
        return images_of(CASES[0], min(count, 20))

    return CampaignView(period, state, query if asked and period else None, stamped)
