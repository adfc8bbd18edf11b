from __future__ import annotations

from flows.overrides import as_mapping, as_texts, with_options


def test_options_come_last_and_so_win() -> None:
    assert with_options(["seed=1", "periods=2"], seed=3, device="cpu") == [
        "seed=1",
        "periods=2",
        "seed=3",
        "device=cpu",
    ]
    assert with_options(["seed=1"]) == ["seed=1"]


def test_texts_and_mapping_say_the_same() -> None:
    texts = ["stream.batch=500", "defenses=[]", "attack={use: patch, size: 3}", "name=a=b"]
    mapping = {"stream.batch": 500, "defenses": [], "attack": {"use": "patch", "size": 3}, "name": "a=b"}
    assert as_mapping(texts) == mapping
    assert as_mapping(as_texts(mapping)) == mapping
