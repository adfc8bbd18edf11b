"""Devices by name, and threads."""

from __future__ import annotations

import pytest
import torch

from simulator.errors import ScenarioError
from simulator.production.training.device import bound_memory, choose_device, peak_memory, pin_threads


def with_cards(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("text", "cards", "expected"),
    [("auto", 0, "cpu"), ("auto", 1, "cuda"), ("cpu", 1, "cpu"), ("cuda", 1, "cuda"), ("cuda:1", 2, "cuda:1")],
)
def test_device_by_name(monkeypatch, text, cards, expected):
    with_cards(monkeypatch, cards)
    assert choose_device(text) == torch.device(expected)


@pytest.mark.parametrize(
    ("text", "cards", "message"),
    [
        ("cuda", 0, "expected device to be present, got 'cuda' with 0 CUDA devices"),
        ("cuda:2", 2, "expected device to be present, got 'cuda:2' with 2 CUDA devices"),
        ("gpu", 1, "expected device to be auto, cpu, cuda or cuda:N, got 'gpu'"),
        ("cuda:", 1, "expected device to be auto, cpu, cuda or cuda:N, got 'cuda:'"),
        ("cuda:-1", 1, "expected device to be auto, cpu, cuda or cuda:N, got 'cuda:-1'"),
        ("cpu:0", 1, "expected device to be auto, cpu, cuda or cuda:N, got 'cpu:0'"),
    ],
)
def test_devices_that_are_not_there(monkeypatch, text, cards, message):
    with_cards(monkeypatch, cards)
    with pytest.raises(ScenarioError, match=message):
        choose_device(text)


def test_threads_are_pinned():
    before = torch.get_num_threads()
    try:
        pin_threads(2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_no_threads():
    with pytest.raises(ScenarioError, match="expected threads to be at least 1, got 0"):
        pin_threads(0)


@pytest.mark.parametrize(("text", "index"), [("cuda", None), ("auto", None), ("cuda:1", 1)])
def test_memory_is_bounded_on_the_device_that_is_meant(monkeypatch, text, index):
    """torch refuses a device without an index here; None is the current one."""
    asked = []
    with_cards(monkeypatch, 2)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *given: asked.append(given))
    bound_memory(text, 0.25)
    bound_memory("cpu", 0.25)
    assert asked == [(0.25, index)]


def test_a_cpu_tells_no_memory():
    assert peak_memory(torch.device("cpu")) is None
