"""Scenarios that load, and what they then hold."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from simulator.errors import ScenarioError
from simulator.preflight.scenario import check_scenario
from simulator.production.training.schedules import rates_of
from simulator.scenario.catalog import build
from simulator.scenario.load import load_scenario, presets
from simulator.scenario.model import Scenario
from simulator.scenario.overrides import arm_scenario, resolved_arms, scenario_of
from simulator.scenario.plugins import resolved
from simulator.scenario.text import parse

#: the design's example, section 5, written out by hand
QUICKSTART = {
    "name": "quickstart",
    "seed": 0,
    "periods": 6,
    "device": "auto",
    "threads": 1,
    "source": {"use": "fashion-mnist"},
    "stream": {"base": 10000, "batch": 2000, "reuse": "refuse", "label_delay": 0},
    "drift": [{"use": "rotation", "degrees": 5, "pattern": "gradual"}],
    "attack": {"use": "patch", "target": 0, "size": 3, "stamped": "after-drift"},
    "campaign": {"use": "one-shot", "period": 0, "rate": 0.05},
    "monitor": {"use": "evidently"},
    "policy": {"use": "every-period"},
    "recipe": {
        "network": {"use": "compact-cnn"},
        "base": {
            "epochs": 4,
            "batch": 128,
            "optimizer": {"use": "sgd"},
            "schedule": {"use": "one-cycle", "peak": 0.1},
        },
        "update": {
            "epochs": 4,
            "batch": 128,
            "optimizer": {"use": "sgd"},
            "schedule": {"use": "constant", "rate": 0.01},
        },
    },
    "trusted": {"images": 500, "from": "latest"},
    "defenses": [],
    "gate": {"use": "accuracy", "tolerance": 0.05},
    "probes": [{"use": "attack-success"}, {"use": "dose"}, {"use": "relearning"}],
    "arms": {
        "constant": {},
        "constant-mean": {"recipe.update.schedule": {"use": "constant", "rate": 0.1546875}},
        "slanted-triangular": {"recipe.update.schedule": {"use": "slanted-triangular", "peak": 0.3}},
    },
}


def tree(scenario: Scenario) -> dict[str, object]:
    return scenario.model_dump(mode="json", by_alias=True)


def holds(whole: object, part: object) -> bool:
    """Whether `whole` holds every key of `part`, all the way down."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and holds(whole[key], part[key]) for key in part)
    return whole == part


def test_presets_are_the_five() -> None:
    assert presets() == ["defended", "digits", "persistent", "quickstart", "static"]


@pytest.mark.parametrize("name", presets())
def test_preset_can_be_run(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    check_scenario(scenario)


@pytest.mark.parametrize("name", presets())
def test_preset_says_what_it_shows(name: str) -> None:
    text = Path("simulator/scenario/presets", f"{name}.yaml").read_text("utf-8")
    assert text.startswith("# ")
    assert f"\n#     ebbdoor run {name}\n" in text
    assert "\n# Expected duration: " in text


def test_digits_preset_fits_its_data() -> None:
    check_scenario(load_scenario("digits"), data=True)


def test_quickstart_holds_the_design_values() -> None:
    assert holds(tree(load_scenario("quickstart")), QUICKSTART)


def test_an_arm_of_the_quickstart_has_the_mean_rate_of_its_triangle_and_another_shape() -> None:
    """Fifteen whole batches of 128 and one of 80 in 2,000 rows, four times over: 64 steps."""
    scenario, steps = load_scenario("quickstart"), 4 * 16
    rates = {}
    for name in ("constant-mean", "slanted-triangular"):
        schedule = arm_scenario(scenario, name).recipe.update.schedule
        rates[name] = rates_of(build("schedules", schedule.use, schedule.options), steps)
    assert sum(rates["constant-mean"]) == pytest.approx(sum(rates["slanted-triangular"]), rel=1e-12)
    assert len(set(rates["constant-mean"])) == 1 < len(set(rates["slanted-triangular"]))


def test_file_is_loaded_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nstream: {batch: 500}\n", "utf-8")
    scenario = load_scenario(str(path))
    assert (scenario.name, scenario.stream.batch, scenario.stream.base) == ("mine", 500, 10000)


def test_override_reaches_into_sections_lists_and_plugins() -> None:
    overrides = ["stream.batch=500", "drift.0.degrees=8", "campaign.rate=1e-2", "drift.1={use: noise}", "seed=3"]
    scenario = load_scenario("quickstart", overrides)
    assert (scenario.stream.batch, scenario.stream.base, scenario.seed) == (500, 10000, 3)
    assert scenario.drift[0].options == {"degrees": 8, "pattern": "gradual"}
    assert scenario.drift[1].use == "noise"
    assert scenario.campaign.options == {"period": 0, "rate": 0.01}


def test_override_replaces_a_plugin_whole_and_merges_a_section() -> None:
    scenario = load_scenario("quickstart", ["attack={use: blend}", "stream={batch: 700, test: 100}"])
    assert (scenario.attack.use, scenario.attack.options) == ("blend", {})
    assert (scenario.stream.batch, scenario.stream.test, scenario.stream.base) == (700, 100, 10000)


def test_later_override_wins() -> None:
    assert load_scenario("quickstart", ["periods=2", "periods=9"]).periods == 9


def test_override_of_a_default_nobody_wrote() -> None:
    scenario = scenario_of({})
    assert load_scenario("quickstart", ["recipe.replay.share=0.5"]).recipe.replay.share == 0.5
    assert scenario == Scenario()


def test_base_keeps_its_own_default_schedule() -> None:
    for scenario in (
        scenario_of({"recipe": {"base": {"epochs": 1}}}),
        Scenario.model_validate({"recipe": {"base": {"epochs": 1}}}),
    ):
        assert scenario.recipe.base.schedule.use == "one-cycle"
        assert scenario.recipe.update.schedule.use == "constant"


def test_arms_are_replaced_whole_or_one_by_one() -> None:
    assert list(load_scenario("quickstart", ["arms={only: {}}"]).arms) == ["only"]
    scenario = load_scenario("quickstart", ["arms.constant.recipe.update.epochs=2", "arms.fresh={stream.batch: 400}"])
    assert scenario.arms["constant"] == {"recipe.update.epochs": 2}
    assert list(scenario.arms) == ["constant", "constant-mean", "slanted-triangular", "fresh"]


def test_arm_is_the_scenario_with_its_overrides() -> None:
    scenario = load_scenario("quickstart")
    arm = arm_scenario(scenario, "slanted-triangular")
    assert arm.recipe.update.schedule.model_dump() == {"use": "slanted-triangular", "peak": 0.3}
    assert arm.recipe.update.epochs == 4
    assert arm.arms == {"main": {}}
    rest = {"recipe", "arms"}
    assert arm.model_dump(exclude=rest) == scenario.model_dump(exclude=rest)


def test_arms_that_ask_for_the_same_have_one_digest() -> None:
    scenario = load_scenario("quickstart", ["arms={a: {}, b: {stream.batch: 2000}, c: {stream.batch: 400}}"])
    digests = {name: arm_scenario(scenario, name).digest() for name in scenario.arms}
    assert digests["a"] == digests["b"] != digests["c"]


def test_arm_of_an_arm_is_itself() -> None:
    arm = arm_scenario(load_scenario("quickstart"), "constant")
    assert arm_scenario(arm, "main") == arm


def test_loading_what_was_saved_gives_the_same() -> None:
    scenario = load_scenario("quickstart", ["trusted.from=3", "base={from: model.safetensors}"])
    again = scenario_of(tree(scenario))
    assert again == scenario
    assert again.digest() == scenario.digest()


def test_resolved_fills_in_the_plugins_defaults() -> None:
    shown = resolved(load_scenario("quickstart", ["recipe.network={use: mobilenet_v2}"]))
    assert shown["recipe"]["update"]["optimizer"] == {
        "use": "sgd",
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "nesterov": False,
    }
    assert shown["campaign"] == {"use": "one-shot", "period": 0, "rate": 0.05}
    assert shown["recipe"]["network"] == {"use": "mobilenet_v2"}
    assert shown["attack"]["stamped"] == "after-drift"
    assert resolved(scenario_of(shown)) == shown


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("1:30", "1:30"),
        ("1e-3", 0.001),
        ("2.5E+2", 250.0),
        (".5", 0.5),
        ("010", "010"),
        ("-7", -7),
        ("2020-01-01", "2020-01-01"),
        ("cuda:1", "cuda:1"),
        ("~", None),
        ("", None),
        ("'3'", "3"),
        ("{0: a}", {"0": "a"}),
        ("[1, [2]]", [1, [2]]),
    ],
)
def test_yaml_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = parse(text, "text")
    assert found == value
    assert type(found) is type(value)


def test_yaml_anchors_and_merges_work() -> None:
    text = "base: &base {a: 1, b: 2}\nother: {<<: *base, b: 3}\n"
    assert parse(text, "text")["other"] == {"a": 1, "b": 3}


def test_loading_a_scenario_is_quick_because_it_brings_no_torch() -> None:
    code = "import sys; from simulator.scenario.load import load_scenario; load_scenario('quickstart', ['seed=1'])"
    code += "; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_user_checkpoint_excuses_an_attack_without_a_campaign(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_file({"weight": torch.zeros(1)}, path)
    check_scenario(load_scenario("quickstart", [f"base={{from: '{path}'}}", "campaign={use: none}"]))


def test_policy_on_alarm_may_do_without_a_monitor_when_it_has_a_deadline() -> None:
    check_scenario(load_scenario("quickstart", ["monitor={use: none}", "policy={use: on-alarm, at_most: 3}"]))


def test_an_arm_is_resolved_once_and_handed_on() -> None:
    scenario = load_scenario("quickstart")
    again = load_scenario("quickstart")
    arms = resolved_arms(scenario)
    assert list(arms) == list(scenario.arms)
    assert all(arm_scenario(again, name) is arm for name, arm in arms.items())


def test_a_whole_number_and_its_fraction_keep_their_own_digests() -> None:
    whole, fraction = (load_scenario("quickstart", [f"attack={{use: patch, size: {size}}}"]) for size in ("3", "3.0"))
    assert whole == fraction
    name = next(iter(whole.arms))
    assert arm_scenario(whole, name).digest() != arm_scenario(fraction, name).digest()


def test_a_changed_copy_has_its_own_digest() -> None:
    scenario = load_scenario("quickstart")
    assert scenario.model_copy().digest() == scenario.digest()
    changed = scenario.model_copy(update={"seed": 5})
    assert changed.tree["seed"] == 5
    assert changed.digest() != scenario.digest()


def write_and_close(descriptor: int, text: bytes) -> None:
    os.write(descriptor, text)
    os.close(descriptor)


def test_a_pipe_into_which_nobody_writes_is_refused_and_one_with_a_writer_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ScenarioError, match=r"pipe\.yaml to hold the keys of a scenario, got"):
        load_scenario(str(tmp_path / "pipe.yaml"))
    ours, theirs = os.pipe()  # as a shell's `<(command)`
    writer = threading.Timer(0.2, write_and_close, [theirs, b"seed: 7\n"])
    writer.start()
    assert load_scenario(f"/dev/fd/{ours}").seed == 7
    writer.join()
    os.close(ours)
