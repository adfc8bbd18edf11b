"""`ebbdoor compare` of an export that was edited: also where its own digests were made to fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.commands.compare import compare
from simulator.errors import StoreError
from simulator.observer.seal import SEAL, sealed


def edit(folder: Path) -> None:
    """Raise the clean accuracy of the last line by a point, and seal the folder as ebbdoor would."""
    lines = (folder / "periods.jsonl").read_text().splitlines()
    row = json.loads(lines[-1])
    lines[-1] = json.dumps({**row, "clean_accuracy": row["clean_accuracy"] + 0.01})
    texts = {"periods.jsonl": "\n".join(lines) + "\n", "scenario.yaml": (folder / "scenario.yaml").read_text()}
    summary = json.loads((folder / "summary.json").read_text())
    whole = sealed({key: value for key, value in summary.items() if key != SEAL}, texts)
    (folder / "periods.jsonl").write_text(texts["periods.jsonl"])
    (folder / "summary.json").write_text(json.dumps(whole))


def test_an_export_is_compared_with_the_ledger_of_the_same_workspace(kept: Any, tmp_path: Path) -> None:
    compare(["whole"])
    edit(kept.workspace / "whole")
    with pytest.raises(StoreError, match=r"expected period 1 of 'main' .* got another clean_accuracy; write it"):
        compare(["whole"])


def unseal(folder: Path, **changes: Any) -> None:
    """Take the digests out of `summary.json`, and change its top-level values."""
    summary = json.loads((folder / "summary.json").read_text())
    del summary[SEAL]
    (folder / "summary.json").write_text(json.dumps(summary | changes))


def test_an_export_of_earlier_definitions_is_compared_in_what_they_share(kept: Any) -> None:
    folder = kept.workspace / "whole"
    arms = json.loads((folder / "summary.json").read_text())["arms"]
    newer = ("state", "erased", "revived_periods", "dips")
    before = {key: value for key, value in arms["main"].items() if key not in newer} | {"censored": True}
    unseal(folder, environment={}, arms={"main": before})
    compare(["whole"])
    whole = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(whole | {"arms": {"main": before | {"final_clean_accuracy": 1.0}}}))
    with pytest.raises(StoreError, match="to sum up what run 'whole' committed, got another arms"):
        compare(["whole"])


def test_an_export_without_its_digests_is_refused(kept: Any) -> None:
    unseal(kept.workspace / "whole")
    with pytest.raises(StoreError, match=r"summary.json' to hold the digests .* got none: they were removed; write it"):
        compare(["whole"])


def test_a_summary_without_digests_or_version_is_compared_with_the_ledger(kept: Any) -> None:
    folder = kept.workspace / "whole"
    arms = json.loads((folder / "summary.json").read_text())["arms"]
    unseal(folder, environment={}, arms={"main": {**arms["main"], "final_clean_accuracy": 1.0}})
    with pytest.raises(
        StoreError, match=r"summary.json' to sum up what run 'whole' committed, got another arms; write"
    ):
        compare(["whole"])


def test_a_line_that_was_left_out_or_made_up_is_told(kept: Any) -> None:
    folder = kept.workspace / "whole"
    unseal(folder, environment={})
    path = folder / "periods.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(StoreError, match=r"to hold the 4 periods that run 'whole' committed, got 3; write it anew"):
        compare(["whole"])
    path.write_text("".join([*lines, json.dumps({**json.loads(lines[-1]), "period": 2}) + "\n"]))
    with pytest.raises(StoreError, match=r"expected period 2 of 'main' .* got a period that was not committed; write"):
        compare(["whole"])


def test_an_export_whose_run_is_in_no_store_here_is_read_as_it_is(
    kept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(kept.workspace / "whole")
    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(tmp_path))
    compare([str(kept.workspace / "whole")])


def test_a_run_that_was_changed_in_mlflow_by_a_number_only_is_not_called_edited(kept: Any) -> None:
    kept.client.delete_model_version("ebbdoor.whole.main", "2")
    compare(["whole"])
