"""Bad scenarios, each with the sentence that it is answered with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from simulator.errors import ScenarioError
from simulator.preflight.scenario import check_scenario
from simulator.scenario.load import load_scenario
from simulator.scenario.overrides import arm_scenario

#: what is set in the quickstart -> the sentence, whole
OVERRIDES: list[tuple[list[str], str]] = [
    # keys
    (["perods=3"], "the scenario: expected a key the scenario knows, got 'perods'; did you mean 'periods'?"),
    (["stream.bacth=3"], "stream: expected a key stream knows, got 'bacth'; did you mean 'batch'?"),
    (["recipe.update.epoch=3"], "recipe.update: expected a key update knows, got 'epoch'; did you mean 'epochs'?"),
    (["trusted.form=latest"], "trusted: expected a key trusted knows, got 'form'; did you mean 'from'?"),
    (
        ["recipe.replay.xyz=3"],
        "recipe.replay: expected a key replay knows, got 'xyz'; it knows share, after_rollback",
    ),
    (
        ["recipe.replay.after_rollback=leave"],
        "expected recipe.replay.after_rollback to be 'drop' or 'keep', got 'leave'; choose one of them",
    ),
    (
        ["defenses.0.use=oracle"],
        "defenses: expected another name than that of the labelled filter, got 'oracle'; "
        "write oracle: true for it, or register your defense by another name",
    ),
    # --set itself
    (["periods"], "expected --set to be KEY=VALUE, got 'periods'; write e.g. --set stream.batch=500"),
    (["=3"], "expected --set to be KEY=VALUE, got '=3'; write e.g. --set stream.batch=500"),
    (["stream..batch=3"], "expected a dotted key such as stream.batch, got 'stream..batch'; write one"),
    (["seed.x=3"], "expected seed to hold keys, got 0; set seed itself"),
    (
        ["drift.5.degrees=3"],
        "expected drift to be followed by a place in its list, at most 1, got '5'; drift.1 appends an item",
    ),
    (
        ["drift.first=3"],
        "expected drift to be followed by a place in its list, at most 1, got 'first'; drift.1 appends an item",
    ),
    (["stream={a: 1, a: 2}"], "--set stream: expected every key once, got 'a' in lines 1 and 1; remove one"),
    # types
    (
        ["periods=many"],
        "expected periods to be a whole number, got 'many'; write one without quotes or a decimal point",
    ),
    (["periods='3'"], "expected periods to be a whole number, got '3'; write one without quotes or a decimal point"),
    (["periods=3.0"], "expected periods to be a whole number, got 3.0; write one without quotes or a decimal point"),
    (["periods=true"], "expected periods to be a whole number, got true; write one without quotes or a decimal point"),
    (["oracle=yes"], "expected oracle to be true or false, got 'yes'; write one of them without quotes"),
    (["name=3"], "expected name to be text, got 3; put it in quotes"),
    (["defense_seconds=slow"], "expected defense_seconds to be a number, got 'slow'; write one without quotes"),
    (["drift={use: noise}"], 'expected drift to be a list, got {"use": "noise"}; write it in square brackets'),
    (["stream=3"], "expected stream to be a mapping, got 3; write its keys indented below it"),
    (["arms=[a]"], 'expected arms to be a mapping, got ["a"]; write its keys indented below it'),
    (["attack=patch"], "expected attack to be a plug-in with its options, got 'patch'; write {use: NAME}"),
    (["attack={size: 3}"], "expected attack.use to be given, got nothing; add it"),
    (["base={}"], "expected base.from to be given, got nothing; add it"),
    # ranges and choices
    (["periods=0"], "expected periods to be at least 1, got 0; raise it"),
    (["periods=20000"], "expected periods to be at most 10000, got 20000; lower it"),
    (["seed=-1"], "expected seed to be at least 0, got -1; raise it"),
    (["stream.batch=0"], "expected stream.batch to be above 0, got 0; raise it"),
    (["recipe.update.batch=1"], "expected recipe.update.batch to be at least 2, got 1; raise it"),
    (["recipe.replay.share=1.5"], "expected recipe.replay.share to be at most 1.0, got 1.5; lower it"),
    (["defense_seconds=.inf"], "expected defense_seconds to be a finite number, got Infinity; write one"),
    (["device=gpu"], "expected device to be auto, cpu, cuda or cuda:N, got 'gpu'; choose one of them"),
    (["stream.reuse=maybe"], "expected stream.reuse to be 'refuse' or 'recycle', got 'maybe'; choose one of them"),
    (["shadow.period=2"], "shadow: expected a key shadow knows, got 'period'; did you mean 'periods'?"),
    (["shadow.periods=-1"], "expected shadow.periods to be at least 0, got -1; raise it"),
    (["trusted.from=-1"], "expected trusted.from to be 'latest' or at least 0, got -1; raise it"),
    (["twins=[fast]"], "expected twins.0 to be 'paced' or 'free', got 'fast'; choose one of them"),
    (
        ["attack.stamped=before"],
        "expected attack.stamped to be 'after-drift' or 'before-drift', got 'before'; choose one of them",
    ),
    (
        ["name=Mine"],
        "expected name to be lower-case letters, digits and dashes, 60 at most and no dash first, "
        "got 'Mine'; rename it",
    ),
    (
        ["arms={A B: {}}"],
        "expected a name in arms to be lower-case letters, digits and dashes, 40 at most and no dash first, "
        "got 'A B'; rename it",
    ),
    (["arms={}"], "expected arms to be at least 1 long, got {}; add one"),
    # plug-ins
    (["attack.use=pach"], "expected a known attack, or module:Name, got 'pach'; did you mean 'patch' or 'tact'?"),
    (
        ["drift.0.use=zzz"],
        "drift.0: expected a known drift, or module:Name, got 'zzz'; `ebbdoor list drifts` shows them all",
    ),
    (["attack.sise=3"], "attack 'patch': expected an option it knows, got 'sise'; did you mean 'size'?"),
    (
        ["attack.target=1.5"],
        "attack 'patch': expected target to be a whole number, got 1.5; write one without quotes or a decimal point",
    ),
    (["campaign.rate=1.5"], "campaign 'one-shot': expected rate to be at most 1.0, got 1.5; lower it"),
    (
        ["recipe.update.schedule.rate=-1"],
        "arm 'constant': recipe.update.schedule: schedule 'constant': expected rate to be above 0.0, got -1; raise it",
    ),
    (
        ["monitor.use=simulator.production.policy:Never"],
        "expected monitor 'simulator.production.policy:Never' to extend simulator.production.monitors.base.Monitor, "
        "got Never; name a monitor",
    ),
    (
        ["gate={use: no_such_module:Gate}"],
        "expected gate 'no_such_module:Gate' to be importable, got ModuleNotFoundError: No module named "
        "'no_such_module'; install its package, or run where its file lies",
    ),
    (
        ["gate={use: simulator.production.gate:NoGat}"],
        "expected module 'simulator.production.gate' to hold 'NoGat', got none; did you mean 'NoGate'?",
    ),
    (
        ["gate={use: 'my gate:Gate'}"],
        "expected gate 'my gate:Gate' to be module:Name, got other text; write e.g. my_file:MyClass",
    ),
    (
        ["recipe.network={use: mobilnet_v2}"],
        "recipe.network: expected a known network, or module:Name, got 'mobilnet_v2'; "
        "did you mean 'mobilenet_v2' or 'mobilenet_v3_small' or 'mobilenet_v3_large'?",
    ),
    (
        ["recipe.network={use: resnet18, classes: 10}"],
        "recipe.network: network 'resnet18': expected 'classes' to come from the source, got it set; remove it",
    ),
    # arms
    (
        ["arms.x={seed: 1}"],
        "arm 'x': expected an override of what arms may differ in, got 'seed'; set it for the whole run",
    ),
    (
        ["arms.x={source.use: digits}"],
        "arm 'x': expected an override of what arms may differ in, got 'source'; set it for the whole run",
    ),
    (["arms.x={recipe.update.epochs: 0}"], "arm 'x': expected recipe.update.epochs to be above 0, got 0; raise it"),
    (
        ["arms.x={strem.batch: 5}"],
        "arm 'x': the scenario: expected a key the scenario knows, got 'strem'; did you mean 'stream'?",
    ),
    # together
    (
        ["recipe.base.batch=20000"],
        "expected recipe.base.batch to be at most stream.base (10000 rows), got 20000; lower it, or raise stream.base",
    ),
    (
        ["stream.batch=100"],
        "expected recipe.update.batch to be at most stream.batch (100 rows), got 128; lower it, or raise stream.batch",
    ),
    (
        ["stream.label_delay=6"],
        "expected stream.label_delay to be below periods (6), got 6; lower it, or no label ever arrives",
    ),
    (
        ["shadow.periods=6"],
        "expected shadow.periods to be below periods (6), got 6; "
        "lower it, or no challenger ever comes out of its shadow",
    ),
    (
        ["gate={use: rules, file: no-such-file.yaml}"],
        "expected the promotion rules in '{here}/no-such-file.yaml', got no such file; put it there",
    ),
    (["gate={use: rules}"], "gate 'rules': expected file to be given, got nothing; add it"),
    (["trusted.from=7"], "expected trusted.from to be at most periods (6), got 7; name a period that is played"),
    (
        ["campaign.period=7"],
        "expected campaign 'one-shot' to poison in some period from 0 to 6, got a rate of 0 in all of them; "
        "change its periods or rates, or raise periods",
    ),
    (
        ["attack={use: none}"],
        "expected an attack for the campaign 'one-shot' to carry out, got none; "
        "choose an attack, or campaign: {use: none}",
    ),
    (
        ["campaign={use: none}"],
        "expected a campaign to carry out the attack 'patch', got none; choose a campaign, or attack: {use: none}",
    ),
    (
        ["monitor={use: none}", "policy={use: on-alarm}"],
        "expected a monitor for the policy 'on-alarm' to listen to, got none; choose a monitor or another policy",
    ),
    (
        ["trusted.images=0", "gate={use: none}", "monitor={use: mmd, reference: promotion}"],
        "expected trusted.images to be at least 2 for the monitor 'mmd' and its reference: promotion, got 0; "
        "raise it, or choose another reference",
    ),
    (
        ["trusted.images=1", "monitor={use: evidently, reference: promotion}"],
        "expected trusted.images to be at least 2 for the monitor 'evidently' and its reference: promotion, got 1; "
        "raise it, or choose another reference",
    ),
    (
        ["stream.validation=1", "monitor={use: evidently}"],
        "expected stream.validation to be at least 2 for the monitor 'evidently', got 1; "
        "raise it, or choose another monitor",
    ),
    (
        ["trusted.images=0"],
        "expected trusted.images to be above 0 for the gate 'accuracy', got 0; "
        "raise it, or leave the gate 'accuracy' out",
    ),
    (
        ["probes=[{use: dose}, {use: dose}]"],
        "expected one probe to give the reading 'backdoor/trigger_ed50', got 2; leave the others out",
    ),
    (
        ["stream.relearning=5"],
        "expected probes.2.poisoned to be at most stream.relearning (5 rows), got 10; "
        "lower it, or raise stream.relearning",
    ),
    (
        ["probes=[{use: relearning, draws: 4}]"],
        "expected probes.0.draws to be at most 3, got 4; lower it",
    ),
    (["twins=[paced, paced]"], "expected every kind of twin once, got paced, paced; remove one"),
    (
        ["device=cpu", "recipe.precision=bfloat16"],
        "expected recipe.precision to be float32 on cpu, got bfloat16; 16-bit training needs device: cuda",
    ),
    (
        ["base={from: model.pt}"],
        "expected the checkpoint to be a .safetensors file, got '{here}/model.pt', which may be a pickle and is never "
        'opened; convert it where you trust it: python -c "import sys, torch; from safetensors.torch import '
        "save_file; c = torch.load(sys.argv[1], map_location='cpu', weights_only=True); c = next((c[k] for k in "
        "('state_dict', 'model', 'net') if k in c), c); save_file({k: v.contiguous().clone() for k, v in c.items()}, "
        'sys.argv[2])" {here}/model.pt {here}/model.safetensors',
    ),
    (
        ["base={from: no.safetensors}"],
        "expected a checkpoint file at '{here}/no.safetensors', got none; check base.from",
    ),
]

#: a file's text -> what its sentence holds after the path
TEXTS: list[tuple[str, str]] = [
    ("name: a\nseed: 1\nname: b\n", "expected every key once, got 'name' in lines 1 and 3; remove one"),
    ("stream:\n  batch: 3\n  batch: 4\n", "expected every key once, got 'batch' in lines 2 and 3; remove one"),
    ("name: a\nstream: {batch: 3\nseed: 1\n", "in line 3"),
    ("name: a\n\tseed: 1\n", "in line 2"),
    ("- a\n- b\n", 'to hold the keys of a scenario, got ["a", "b"]; add some'),
    ("", "to hold the keys of a scenario, got null; add some"),
    ("true: 3\n", "expected keys to be text, got True; put it in quotes"),
    ("arms: !!python/object:os.system {}\n", "could not determine a constructor"),
    ("drift: !!set {a, b}\n", "expected plain values, got set"),
    ("arms: &a {x: *a}\n", "expected plain values, got an anchor inside itself; remove it"),
    ("seed: *b\n", "found undefined alias"),
]


@pytest.mark.parametrize(("overrides", "sentence"), OVERRIDES, ids=[" ".join(row[0]) for row in OVERRIDES])
def test_override_is_refused(overrides: list[str], sentence: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        check_scenario(load_scenario("quickstart", overrides))
    assert str(caught.value).splitlines() == [sentence.replace("{here}", str(Path.cwd()))]
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("rule", "overrides", "sentence"),
    [
        (
            "{number: agreement, at_least: 0.7}",
            [],
            "expected shadow.periods to be above 0 for the rules in '{file}' on agreement, got 0; "
            "raise it, or remove the rule",
        ),
        (
            "{number: candidate_accuracy, at_least: 0.7}",
            ["trusted.images=0"],
            "expected trusted.images to be above 0 for the rules in '{file}' on accuracy, got 0; "
            "raise it, or remove the rule",
        ),
        (
            "{inspectors: passed}",
            ["defenses=[{use: scripted, surface: screen}]"],
            "expected an inspector among the defenses for the rules in '{file}', got none; add one, or remove the rule",
        ),
        ("{number: agreement}", [], None),
    ],
)
def test_rules_that_nothing_is_measured_for_are_refused(
    rule: str, overrides: list[str], sentence: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "promotion.yaml"
    file.write_text(f"- {rule}\n...\n", "utf-8")
    scenario = load_scenario("quickstart", [f"gate={{use: rules, file: {file}}}", *overrides])
    with pytest.raises(ScenarioError) as caught:
        check_scenario(scenario)
    expected = "rule 1: expected either number with at_least or at_most" if sentence is None else sentence
    assert expected.replace("{file}", str(file)) in str(caught.value)


def test_rules_that_are_measured_are_accepted(tmp_path: Path) -> None:
    rules = "- {number: agreement, at_least: 0.7}\n- {number: accuracy_change, at_least: 0}\n- {inspectors: passed}\n"
    (tmp_path / "promotion.yaml").write_text(rules + "...\n", "utf-8")
    gate = f"gate={{use: rules, file: {tmp_path / 'promotion.yaml'}}}"
    check_scenario(load_scenario("quickstart", [gate, "shadow.periods=2", "defenses=[{use: scripted}]"]))


@pytest.mark.parametrize(("text", "part"), TEXTS)
def test_text_is_refused(text: str, part: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ScenarioError, match=re.escape(part)) as caught:
        load_scenario(str(path))
    assert str(path) in str(caught.value)


def test_checkpoint_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"no tensors")
    with pytest.raises(ScenarioError, match=r"expected '.*mine\.safetensors' to be a safetensors file"):
        check_scenario(load_scenario("quickstart", [f"base={{from: '{path}'}}"]))


def test_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(ScenarioError, match="expected the weights to be those of the network"):
        check_scenario(load_scenario("digits", [f"base={{from: '{path}'}}"]), data=True)


def test_unknown_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(ScenarioError, match=r"got 'quikstart'; did you mean 'quickstart'\?"):
        load_scenario("quikstart")


def test_preset_near_none_is_answered_with_all() -> None:
    with pytest.raises(ScenarioError, match="presets are defended, digits, persistent, quickstart, static"):
        load_scenario("zzz")


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"none\.yaml, got no such file; check the path"):
        load_scenario(str(tmp_path / "none.yaml"))
    with pytest.raises(ScenarioError, match="give a readable text file"):
        load_scenario(str(tmp_path))


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(ScenarioError, match="give a readable text file"):
        load_scenario(str(path))


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario("quickstart", ["seed=-1", "stream.bacth=3", "gate=none"])
    assert len(str(caught.value).splitlines()) == 3


def test_mistakes_of_plugins_and_clashes_are_named_at_once() -> None:
    with pytest.raises(ScenarioError) as caught:
        check_scenario(load_scenario("quickstart", ["attack.size=x", "drift.0.use=no", "stream.label_delay=9"]))
    assert len(str(caught.value).splitlines()) == 3


def test_unknown_arm_is_answered_with_the_nearest() -> None:
    with pytest.raises(ScenarioError, match=r"got 'constnt'; did you mean 'constant'\?"):
        arm_scenario(load_scenario("quickstart"), "constnt")


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (["attack.target=10"], "target"),
        (["attack.size=9"], "size"),
        (["stream.batch=1000"], "rows"),
        (["source={use: npz, path: none.npz}"], "none.npz"),
        (["recipe.frozen=[feature]"], "feature"),
        # as many rows as a draw has, which some of the target class are among
        (["probes=[{use: relearning, poisoned: 20}]"], "to have 20 rows to poison"),
        (["recipe.network={use: alexnet}"], "expected network 'alexnet' to take images of (1, 8, 8)"),
    ],
    ids=lambda value: str(value),
)
def test_what_does_not_fit_the_data_is_refused(overrides: list[str], part: str) -> None:
    scenario = load_scenario("digits", overrides)
    with pytest.raises(ScenarioError, match=re.escape(part)) as caught:
        check_scenario(scenario, data=True)
    assert re.search("expected .+, got .+; .+", str(caught.value))
