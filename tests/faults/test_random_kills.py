"""Which kills the harness draws: every target in turn, and a seed says it all."""

from __future__ import annotations

from collections import Counter


def test_every_target_gets_as_many_kills() -> None:
    from random_kills import TARGETS, choose

    kills = choose(60, seed=0)
    assert Counter(kill.target for kill in kills) == dict.fromkeys(TARGETS, 12)
    assert all(0 <= kill.share < 1 for kill in kills)
    assert len({kill.share for kill in kills}) == 60


def test_a_seed_says_it_all() -> None:
    from random_kills import choose

    assert choose(20, seed=5) == choose(20, seed=5)
    assert choose(20, seed=5) != choose(20, seed=6)
