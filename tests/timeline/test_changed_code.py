"""A run whose third-party code was edited goes on only when told to, and then it says so."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import ChangedCodeError
from simulator.loop.changed_code import CODE_CHANGED, changed_since, code_changes
from simulator.loop.events import Stage
from simulator.loop.run import continue_run, open_run, play
from simulator.production.registry.base import RunHead
from simulator.production.registry.entries import head_text, read_head
from simulator.scenario.identity import code_of
from tests.timeline.conftest import SMALL, Opened, digests, play_in_memory

UserFile = Callable[[str, str], None]

DRIFT = """
from simulator.world.drift import Drift
from user_amount import change

class Fade(Drift):
    def __init__(self, *, amount: float = 0.05) -> None:
        super().__init__(step=amount)
        self.amount = amount

    def apply(self, images, magnitude, generator):
        return change(images, magnitude)
"""
KEYS = {"drift": [{"use": "user_drift:Fade"}], "periods": 3, "twins": []}
DARKER = "def change(images, magnitude):\n    return images - magnitude\n"
INVERTED = "def change(images, magnitude):\n    return 1 - images\n"


@pytest.fixture
def begun(user_file: UserFile) -> Opened:
    """Return a run that was played to period 1 with a drift whose helper lies in a file of its own."""
    user_file("user_amount.py", DARKER)
    user_file("user_drift.py", DRIFT)
    run = Opened(**KEYS)
    run.play(until=1)
    return run


def test_an_edited_helper_refuses_to_go_on_and_names_the_file(begun: Opened, user_file: UserFile) -> None:
    user_file("user_amount.py", INVERTED)
    with pytest.raises(ChangedCodeError, match=r"the code of run 'run' to be as it was, got a change of user_"):
        continue_run(begun.registry, begun.ledger, "run")
    with pytest.raises(ChangedCodeError, match=r"a change of user_amount\.py; put it back, or go on with --accept-"):
        open_run(begun.scenario, begun.registry, begun.ledger, "run")
    assert len(begun.records()) == 2


def test_an_edited_folder_that_an_option_names_is_a_change_and_one_without_a_digest_is_unknown(
    user_file: UserFile, tmp_path: Path
) -> None:
    user_file("user_amount.py", DARKER)
    user_file("user_drift.py", DRIFT.replace("amount: float = 0.05", "amount: float = 0.05, patterns: str = ''"))
    folder = tmp_path / "patterns"
    folder.mkdir()
    (folder / "one.txt").write_text("1")
    run = Opened(**KEYS | {"drift": [{"use": "user_drift:Fade", "patterns": str(folder)}]})
    run.play(until=1)
    (folder / "one.txt").write_text("2")
    with pytest.raises(ChangedCodeError, match=r"a change of \S*/patterns; put it back"):
        continue_run(run.registry, run.ledger, "run")
    head = run.ledger.head("run")
    earlier = {name: digest for name, digest in head.code.items() if not name.startswith("folder ")}
    assert earlier.keys() < head.code.keys()
    assert changed_since(replace(head, code=earlier), [], code_of(run.scenario)) == {}


def test_put_back_it_goes_on_to_the_records_of_an_undisturbed_run(begun: Opened, user_file: UserFile) -> None:
    user_file("user_amount.py", INVERTED)
    user_file("user_amount.py", DARKER)
    continue_run(begun.registry, begun.ledger, "run")
    assert digests(begun.play()) == digests(play_in_memory(begun.scenario))


def test_accepted_it_is_noted_beside_the_next_period_and_not_asked_again(begun: Opened, user_file: UserFile) -> None:
    user_file("user_amount.py", INVERTED)
    continue_run(begun.registry, begun.ledger, "run", accept_changed_code=True)
    played = begun.play(until=2)
    noted = [entry.metadata.get(CODE_CHANGED, {}).keys() for entry in played["main"]]
    assert noted == [set(), set(), {"user_amount.py"}]
    assert [(one["line"], one["period"]) for one in code_changes(played)] == [("main", 2)]
    continue_run(begun.registry, begun.ledger, "run")
    user_file("user_amount.py", DARKER)  # other code than the last period's again
    with pytest.raises(ChangedCodeError, match="user_amount"):
        continue_run(begun.registry, begun.ledger, "run")


def test_records_do_not_depend_on_where_the_digests_are_kept(begun: Opened) -> None:
    assert "user_amount.py" in begun.head.code
    assert all("user_amount" not in record.model_dump_json() for record in begun.records())


def test_a_finished_run_may_be_reported_whatever_was_edited(begun: Opened, user_file: UserFile) -> None:
    begun.play()
    user_file("user_amount.py", INVERTED)
    continue_run(begun.registry, begun.ledger, "run")


def test_a_finished_arm_beside_a_diverged_one_may_be_reported_whatever_was_edited(user_file: UserFile) -> None:
    user_file("user_amount.py", DARKER)
    user_file("user_drift.py", DRIFT)
    huge = {"recipe.update.schedule": {"use": "constant", "rate": 1e30}}
    run = Opened(**KEYS | {"arms": {"hot": huge, "calm": {}}})
    run.play()
    assert [(end.arm, end.period) for end in run.ledger.ends()] == [("hot", 1)]
    user_file("user_amount.py", INVERTED)
    continue_run(run.registry, run.ledger, "run")


@pytest.mark.parametrize("code", [{}, {"user_drift.py": "1" * 64}])
def test_a_head_keeps_its_digests_and_one_of_before_has_none(code: Mapping[str, str]) -> None:
    head = RunHead("run", {}, "0" * 64, "1" * 64, (), code=code)
    text = head_text(head)
    assert read_head(text, "head.json") == head
    assert ("code" in text) == bool(code)


#: kind -> (key of the scenario, a member of its own that works)
MEMBERS: dict[str, tuple[str, str]] = {
    "monitors": ("monitor", "from simulator.production.monitors.base import NoMonitor as Mine"),
    "policies": ("policy", "from simulator.production.policy import EveryPeriod as Mine"),
    "gates": ("gate", "from simulator.production.gate import NoGate as Mine"),
    "campaigns": ("campaign", "from simulator.world.campaign import OneShot as Mine"),
    "attacks": ("attack", "from simulator.world.attacks.patch import Patch as Mine"),
    "networks": ("recipe.network", "from simulator.production.training.networks import standard_cnn as Mine"),
    "schedules": ("recipe.update.schedule", "from simulator.production.training.schedules import Constant as Mine"),
    "optimizers": ("recipe.update.optimizer", "from simulator.production.training.optimizers import Sgd as Mine"),
    "sources": ("source", "from simulator.world.sources.digits import Digits as Mine"),
    "probes": ("probes", "from simulator.observer.probes.clean_accuracy import CleanAccuracy as Mine"),
}


@pytest.mark.parametrize("kind", MEMBERS)
def test_every_kind_is_looked_at(user_file: UserFile, kind: str) -> None:
    key, text = MEMBERS[kind]
    user_file("user_kind.py", text + "\nimport user_help\n")
    user_file("user_help.py", "A = 1\n")
    run = Opened(**_with(key, [{"use": "user_kind:Mine"}] if key == "probes" else {"use": "user_kind:Mine"}))
    user_file("user_help.py", "A = 2\n")
    with pytest.raises(ChangedCodeError, match=r"user_help\.py"):
        continue_run(run.registry, run.ledger, "run")


def _with(key: str, value: Any) -> dict[str, Any]:
    first, *rest = key.split(".")
    if not rest:
        return {first: value}
    recipe = dict(SMALL["recipe"])
    if rest == ["network"]:
        return {"recipe": recipe | {"network": value}}
    return {"recipe": recipe | {rest[0]: dict(recipe[rest[0]]) | {rest[1]: value}}}


def test_an_edited_checkpoint_counts_until_it_has_served(tmp_path: Any) -> None:
    from safetensors.torch import save_file

    weights = play_weights()
    path = tmp_path / "base.safetensors"
    save_file(weights, path)
    run = Opened(base={"from": str(path)}, twins=[])
    save_file({name: value + (1 if value.is_floating_point() else 0) for name, value in weights.items()}, path)
    with pytest.raises(ChangedCodeError, match=r"base\.safetensors"):
        continue_run(run.registry, run.ledger, "run")
    continue_run(run.registry, run.ledger, "run", accept_changed_code=True)
    run.play(until=0)
    path.unlink()
    continue_run(run.registry, run.ledger, "run")


def play_weights() -> dict[str, Any]:
    """The weights of a network of the small scenario."""
    from simulator.production.training.networks import build_network
    from simulator.scenario.model import Use
    from simulator.tensors import weights_of

    return weights_of(build_network(Use(use="standard-cnn"), channels=1, size=(8, 8), classes=10, seed=0))


def test_a_worker_process_that_sees_other_code_than_its_parent_is_refused(
    begun: Opened, user_file: UserFile, tmp_path: Any
) -> None:
    (tmp_path / "user_amount.py").write_text(INVERTED)  # edited while the parent goes on with what it imported
    with pytest.raises(ChangedCodeError, match=r"stay as it is while a run is played.*user_amount\.py"):
        play(begun.head, begun.scenario, begun.registry, begun.ledger, processes=1)


DEFENSE = """
import torch
from defenses.base import Filter, FilterResult
from user_share import drop

class Mine(Filter):
    def filter(self, context):
        keep = torch.ones(len(context.window), dtype=torch.bool)
        keep[:drop()] = False
        return FilterResult(keep)
"""


def test_a_defense_edited_while_a_run_is_played_ends_it_and_put_back_it_goes_on(user_file: UserFile) -> None:
    user_file("user_share.py", "def drop(): return 1\n")
    user_file("user_filter.py", DEFENSE)
    run = Opened(defenses=[{"use": "user_filter:Mine"}], periods=1, twins=[])

    def wrap(name: str, function: Stage) -> Stage:
        def call(arm: str, of: str, now: int, **arguments: Any) -> dict[str, Any]:
            if (name, now) == ("monitor", 1):
                user_file("user_share.py", "def drop(): return 2\n")
            return function(arm, of, now, **arguments)

        return call

    told = "expected the code of defenses to stay as it is while a run is played, got a change of user_share.py; put it"
    with pytest.raises(ChangedCodeError, match=re.escape(told)):
        run.play(wrap=wrap)
    assert [record.period for record in run.records()] == [0]
    user_file("user_share.py", "def drop(): return 1\n")
    continue_run(run.registry, run.ledger, "run")
    run.play()
    assert [outcome.evidence["dropped"] for record in run.records() for outcome in record.outcomes] == [1, 1]


@pytest.mark.parametrize(
    "attack",
    [
        {"use": "picture", "size": 3},
        {"use": "all-to-all", "trigger": {"use": "picture", "size": 3}},
        {"use": "masked", "trigger": {"use": "picture", "size": 3}},
    ],
    ids=lambda attack: attack["use"],
)
def test_an_edited_trigger_picture_refuses_to_go_on(attack: dict[str, Any], tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "trigger.png"
    Image.new("RGB", (4, 4), "red").save(path)
    named = attack.get("trigger", attack)
    named = {**named, "image": str(path)}
    run = Opened(attack={**attack, "trigger": named} if "trigger" in attack else named)
    continue_run(run.registry, run.ledger, "run")
    Image.new("RGB", (4, 4), "blue").save(path)
    with pytest.raises(ChangedCodeError, match=r"a change of .*trigger\.png"):
        continue_run(run.registry, run.ledger, "run")
