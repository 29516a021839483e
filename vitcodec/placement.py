"""On which device a model runs, and what is said where torch would be needed and is not there."""

from __future__ import annotations

from typing import Any

from .errors import DeviceError, VitcodecError, WeightsError
from .parallel import may_have_gpu
from .pretrained.config import PretrainedConfig


def chosen_device(config: PretrainedConfig, device: str, threads: int | None) -> Any:
    """Raises DeviceError, WeightsError."""
    if config.integers and (device == "cpu" or (device == "auto" and not may_have_gpu())):
        return "cpu"
    try:
        import torch
    except ImportError as error:
        raise without_torch(config, device) from error
    from .devices import choose

    if threads:
        torch.set_num_threads(threads)
    return choose(device)[0]


def without_torch(config: PretrainedConfig, device: str) -> VitcodecError:
    if config.integers:
        return DeviceError(f"device {device} needs PyTorch, which is not installed; pip install torch, or take the CPU")
    return WeightsError(
        f"model '{config.name}' computes in floating point on PyTorch, which is not installed; pip install torch"
    )
