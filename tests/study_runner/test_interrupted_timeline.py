"""What is removed of a timeline that was interrupted: its own records, nothing else."""

from __future__ import annotations

from pathlib import Path

from simulator.study.play import clear_interrupted


def test_records_go_and_what_others_put_there_stays(tmp_path: Path) -> None:
    ours = ["head.json", "main/0000.json", "main/after-0000.00.json", "main.twin/0000.json"]
    others = ["writer.json", "notes.txt", "main/notes.json", "figures/0000.json"]
    for name in (*ours, *others):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    clear_interrupted(tmp_path, ["main", "main.twin"])
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == set(others)
