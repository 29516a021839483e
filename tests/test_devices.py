"""Choosing a device, where there is a GPU and where there is none."""

from __future__ import annotations

import pytest
import torch

from vitcodec.devices import choose
from vitcodec.errors import DeviceError, UsageError


def machine(monkeypatch, gpus=0, mps=False):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"GPU {number}")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(("gpus", "mps", "expected"), [(2, True, "cuda:0"), (0, True, "mps"), (0, False, "cpu")])
def test_auto_takes_the_best(monkeypatch, gpus, mps, expected):
    machine(monkeypatch, gpus, mps)
    device, reason = choose("auto")
    assert str(device) == expected and reason


def test_named_devices(monkeypatch):
    machine(monkeypatch, gpus=2, mps=True)
    assert [str(choose(name)[0]) for name in ("cpu", "cuda", "cuda:1", "mps")] == ["cpu", "cuda:0", "cuda:1", "mps"]


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_what_is_not_there_is_an_error_with_a_remedy(monkeypatch, name):
    machine(monkeypatch)
    with pytest.raises(DeviceError, match="auto"):
        choose(name)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:-1", "CPU"])
def test_what_is_no_device_is_a_usage_error(monkeypatch, name):
    machine(monkeypatch)
    with pytest.raises(UsageError, match="auto"):
        choose(name)


def test_a_gpu_too_many(monkeypatch):
    machine(monkeypatch, gpus=2)
    with pytest.raises(DeviceError, match="cuda:0 to cuda:1"):
        choose("cuda:2")
