"""The power of a study's claims, simulated beforehand: against the closed forms of the normal and the binomial."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from flows.cli import main
from simulator.errors import ScenarioError
from simulator.study.claims.power import power_to_decide, simulate
from simulator.study.load import load_study
from simulator.study.power import powers, read_values
from simulator.study.statistics.values import Claim, Endpoint

EFFECT = Claim("a", "a", Endpoint("effect", "after all", "share"), "greater", 0.1)
SHARE = Claim("s", "s", Endpoint("erased", "by update 20", "of seeds", "share"), "greater", 0.7)
VALUES = Path(__file__).parents[2] / "docs" / "power" / "permanence.yaml"


def test_with_many_values_it_is_the_power_of_the_t_test() -> None:
    # 2,000 values leave little open: the differences are normal with mean 0.5 and deviation 1
    values = np.random.default_rng(0).normal(0, 1, 2000)
    values = 0.5 + (values - values.mean()) / values.std(ddof=1)
    found = power_to_decide(EFFECT, values.tolist(), 0.05, pairs=20)
    beyond = stats.t.ppf(0.975, 19)
    exact = stats.nct.sf(beyond, 19, 0.4 * math.sqrt(20))
    assert found == pytest.approx(exact, abs=0.05)


def test_with_many_values_a_share_has_the_power_of_the_binomial_test() -> None:
    found = power_to_decide(SHARE, [1.0] * 1900 + [0.0] * 100, 0.05, pairs=20)
    decided = [k for k in range(21) if stats.binomtest(k, 20, 0.7).pvalue <= 0.05]
    assert found == pytest.approx(sum(stats.binom.pmf(k, 20, 0.95) for k in decided), abs=0.04)


def test_a_small_pilot_promises_less() -> None:
    pilot = [0.3, 0.5, 0.7]
    spread = (np.array([0.3, 0.5, 0.7] * 100) - 0.5) / np.sqrt(2 / 3) * 0.2 + 0.5
    many = power_to_decide(EFFECT, spread.tolist(), 0.05, pairs=10)
    few = power_to_decide(EFFECT, pilot, 0.05, pairs=10)
    assert few is not None
    assert many is not None
    assert few < many
    assert simulate(EFFECT, [0.3, 0.5], 10) is None


def test_the_permanence_study_says_its_power_beforehand() -> None:
    study = load_study("permanence")
    found = powers(study, *read_values(VALUES))
    told = {one.id: one.decided for one in found if one.decided is not None}
    assert set(told) == set(study.power)
    assert told == pytest.approx(dict(study.power), abs=0.006)
    assert min(seed for seeds in (study.seeds, *study.arm_seeds.values()) for seed in seeds) >= 200


def test_bad_values_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ScenarioError, match="expected values of the study's claims, got some of 'nothing'"):
        powers(load_study("permanence"), {"nothing": [1.0]})
    path = tmp_path / "values.yaml"
    path.write_text("4-drift: {values: []}\n")
    with pytest.raises(ScenarioError, match="got '4-drift' without numbers; correct it"):
        read_values(path)
    with pytest.raises(SystemExit) as stopped:
        main(["power", "permanence"])
    assert stopped.value.code == 2
    assert "expected values to simulate from, got none" in capsys.readouterr().err
