"""What a study comes to, setting by setting, against hand-worked seeds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from simulator.study.results import lifetime_of, settings_rows, settings_texts, show_column
from simulator.study.rows import timeline_rows
from simulator.study.statistics.lifetimes import Lifetime
from simulator.study.timelines import PlayedTimeline

Build = Callable[..., PlayedTimeline]


@pytest.fixture
def three_and_one(played: Build) -> list[PlayedTimeline]:
    """A setting erased after 1, after 3 and not within 4 updates, and never planted once; another with one seed."""
    return [
        played([0.9, 0.2, 0.2, 0.2, 0.2], seed=100, clean=[0.8, 0.7, 0.7, 0.7, 0.7]),
        played([0.8, 0.7, 0.7, 0.4, 0.1], seed=101, clean=[0.8, 0.8, 0.8, 0.8, 0.8]),
        played([0.7, 0.7, 0.7, 0.7, 0.7], seed=102, clean=[0.8, 0.9, 0.9, 0.9, 0.9]),
        played([0.3, 0.1, 0.1, 0.1, 0.1], seed=103, clean=[0.8, 0.6, 0.6, 0.6, 0.6]),
        played([0.9, 0.2, 0.2, 0.6, 0.6], arm="other", seed=100),
    ]


def test_a_setting_counts_what_became_of_its_seeds(three_and_one: list[PlayedTimeline]) -> None:
    one, other = settings_rows(three_and_one)
    assert [one[key] for key in ("setting", "n", "planted", "erased", "revived")] == ["main", 4, 3, 2, 0]
    assert [one[f"{state}_at_end"] for state in ("alive", "erased", "censored", "unknown")] == [1, 2, 0, 0]
    assert one["seeds"] == [100, 101, 102, 103]
    assert [other[key] for key in ("setting", "n", "planted", "erased", "revived")] == ["other", 1, 1, 1, 1]
    assert [other[f"{state}_at_end"] for state in ("alive", "erased", "censored", "unknown")] == [1, 0, 0, 0]


def test_the_restricted_mean_is_over_the_planted_seeds(three_and_one: list[PlayedTimeline]) -> None:
    one, _ = settings_rows(three_and_one)
    # min(1, 4), min(3, 4) and min(4, 4), each followed over 4 updates
    assert (one["restricted_mean"], one["horizon"]) == (pytest.approx((1 + 3 + 4) / 3), 4)


def test_alive_erased_and_censored_at_the_end_are_told_apart(played: Build) -> None:
    nets = [[0.9] * 5, [0.9, 0.9, 0.9, 0.9, 0.14], [0.9, 0.9, 0.9, 0.2, 0.1], [0.9, 0.1, 0.1, 0.1, 0.6]]
    found = settings_rows([played(line, seed=seed) for seed, line in enumerate(nets)])[0]
    # the second is at 14 % and not yet erased: not alive; the fourth was erased, and is alive
    assert [found[f"{state}_at_end"] for state in ("alive", "erased", "censored")] == [2, 1, 1]
    text = settings_texts([found])[0]
    assert [text[title] for title in ("alive at the end", "erased at the end", "censored", "came back")] == [
        "2 of 4",
        "1 of 4",
        "1 of 4",
        "1 of 4",
    ]


def test_spreads_hold_median_and_range(three_and_one: list[PlayedTimeline]) -> None:
    one, _ = settings_rows(three_and_one)
    assert one["survival_updates"] == {"median": 3, "low": 1, "high": 4, "n": 3, "beyond": ["high"]}
    found = one["final_clean_accuracy"]
    assert (found["median"], found["low"], found["high"], found["n"]) == (pytest.approx(0.75), 0.6, 0.9, 4)
    assert one["final_triggered_effect"] is None


def test_people_read_medians_beside_the_range(three_and_one: list[PlayedTimeline]) -> None:
    one, other = settings_texts(settings_rows(three_and_one))
    assert one["survival"] == "3 (1 to >4)"
    assert one["mean survival"] == "2.7 of 4"
    assert one["planted"] == "3 of 4"
    assert one["alive at the end"] == "1 of 3"
    assert one["net ASR at first"] == "75.0% (30.0% to 90.0%)"
    assert one["triggered effect at last"] == "–"
    assert (other["survival"], other["came back"], other["net ASR at last"]) == ("1", "1 of 1", "60.0%")


def test_seeds_without_a_value_are_counted(played: Build) -> None:
    effect = {"backdoor/triggered_effect": 0.5}
    texts = settings_texts(
        settings_rows(
            [played([0.9, 0.9], seed=seed, extra={1: effect} if seed < 102 else None) for seed in (100, 101, 102)]
        )
    )
    assert texts[0]["triggered effect at last"] == "50.0% (50.0% to 50.0%, 2 of 3 seeds)"


def test_a_setting_that_is_never_planted_has_no_survival(played: Build) -> None:
    row = settings_rows([played([0.1, 0.1])])[0]
    assert (row["planted"], row["horizon"], row["restricted_mean"], row["survival_updates"]) == (0, None, None, None)
    text = settings_texts([row])[0]
    assert (text["survival"], text["mean survival"], text["alive at the end"]) == ("not planted", "–", "–")


def test_what_is_undefined_is_never_0(played: Build) -> None:
    row = settings_rows([played([None, None])])[0]
    assert [row[key] for key in ("planted", "erased", "alive_at_end", "revived")] == [None] * 4
    text = settings_texts([row])[0]
    assert (text["planted"], text["survival"], text["came back"]) == ("–", "–", "–")


@pytest.mark.parametrize(
    ("nets", "beyond"),
    [
        # erased after 1 (twice), alive after 1: the middle one is 1 whatever the last would have come to
        (([0.9, 0.1, 0.1], [0.9, 0.1, 0.1], [0.9, 0.9]), ["high"]),
        (([0.9, 0.9], [0.9, 0.7, 0.1, 0.1], [0.9, 0.7, 0.1, 0.1]), ["low", "high"]),
        (([0.9, 0.9], [0.9, 0.9], [0.9, 0.7, 0.1, 0.1]), ["low", "median", "high"]),
    ],
)
def test_a_figure_is_a_lower_bound_where_a_censored_life_decides_it(
    played: Build, nets: tuple[list[float], ...], beyond: list[str]
) -> None:
    # the first case: 1, 1, >1; the second: >1, 2, 2 (its least is 1 or 2); the third: >1, >1, 2
    lines = [played(line, seed=seed) for seed, line in enumerate(nets)]
    found = settings_rows(lines)[0]["survival_updates"]
    assert found["beyond"] == beyond


def test_a_row_gives_its_lifetime(played: Build) -> None:
    row = timeline_rows([played([0.9, 0.9, 0.3, 0.2])])[0]
    assert lifetime_of(row) == Lifetime(2, ended=True)
    assert lifetime_of(row, 0.1) == Lifetime(3, ended=False)
    assert lifetime_of(timeline_rows([played([0.2, 0.2])])[0]) is None


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("final_clean_accuracy", 0.871, "87.1%"),
        ("mean_clean_accuracy", 0.5, "50.0%"),
        ("initial_trigger_ed50", 0.254, "0.25"),
        ("exposure", 3.0, "3"),
        ("exposure", 3.456, "3.46"),
        ("final_net_attack_success", None, "–"),
    ],
)
def test_values_are_shown_in_their_unit(column: str, value: float | None, text: str) -> None:
    assert show_column(column, value) == text
