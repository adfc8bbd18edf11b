"""What a user can get wrong on the command line: one sentence on standard error, the right exit code, no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.cli import main

MISTAKES = [
    (["run", "quickstrat"], "'quickstrat'.*did you mean 'quickstart'"),
    (["run", "no/such.yaml"], "no such file"),
    (["run", "quickstart", "--set", "periods"], "--set to be KEY=VALUE"),
    (["run", "quickstart", "--set", "perids=3"], "'perids'"),
    (["run", "quickstart", "--set", "periods=none"], "periods"),
    (["run", "quickstart", "--device", "gpu"], "device"),
    (["run", "quickstart", "--no-prefect", "--set", "attack.use=pach"], "'pach'.*did you mean"),
    (["show", "quickstrat"], "'quickstrat'"),
    (["list", "attack"], "did you mean 'attacks'"),
    (["check", "nowhere:Thing"], "nowhere"),
    (["resume", "nowhere"], "expected the folder or name of a run, got 'nowhere'"),
    (["report", "nowhere"], "expected the folder or name of a run, got 'nowhere'"),
    (["audit", "models:/a", "--defense", "strop"], "'strop'.*did you mean 'strip'"),
    (["audit", "models:/a", "--defense", "activation-clustering"], "inspector, a repair or a screen, got the filter"),
    (["audit", "models:/a", "--defense", "{use: strip, may: [hold]}"], "options of the defense, got 'may'"),
    (["audit", "models:/a", "--defense", "{use: strip, rate: 7}"], "an option it knows, got 'rate'"),
    (["audit", "runs:/a/b", "--defense", "strip"], "named as models:/NAME/VERSION"),
    (["audit", "models:/a/Production", "--defense", "strip"], "to be a number, got 'Production'"),
    (["audit", "models:/a", "--defense", "strip", "--trusted", "no.npz"], "no such file; correct --trusted"),
    (["audit", "models:/a", "--defense", "strip", "--images", "no.npz"], "no such file; correct --images"),
    (["audit", "models:/a", "--defense", "strip", "--architecture", "no.json"], "--architecture to be a file"),
    (["audit", "models:/a", "--defense", "strip", "--seconds", "0"], "Invalid value"),
    (["audit", "models:/a", "--defense", "clp", "--save", "a-file"], "--save to name a folder"),
    (["delete", "nowhere"], "expected the folder or name of a run, got 'nowhere'"),
]


@pytest.fixture(autouse=True)
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBBDOOR_WORKSPACE", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").touch()


def told(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> tuple[object, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return ended.value.code, captured.err


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES, ids=[" ".join(a) for a, _ in MISTAKES])
def test_a_mistake_is_a_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = told(capsys, arguments)
    assert code == 2
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(" ".join(text.split()))


def test_an_unknown_display_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = told(capsys, ["run", "quickstart", "--display", "loud"])
    assert code == 2
    assert "live" in text


def test_a_folder_with_something_in_it_is_not_written_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    code, text = told(capsys, ["run", "quickstart", "--no-prefect", "--out", "mine"])
    assert code == 2
    assert "to be new or empty" in text
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
