"""Where training runs: one device, or several processes with a GPU each through accelerate."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from ..errors import UsageError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Engine:
    """One device in this process. precision: of matrix products and convolutions; weights, wavelet and probabilities stay in float32."""

    first = True  # whether this process writes files and validates

    def __init__(self, device: torch.device, precision: str = "float32"):
        self.device, self.precision = device, precision

    def prepare(self, model: nn.Module) -> nn.Module:
        """The module to call for the loss."""
        return model

    def autocast(self) -> AbstractContextManager[object]:
        return (
            nullcontext()
            if self.precision == "float32"
            else torch.autocast(self.device.type, PRECISIONS[self.precision])
        )

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def agree(self, value: float) -> float:
        """The first process's value, in all of them."""
        return value

    @property
    def rank(self) -> int:
        return 0

    @property
    def processes(self) -> int:
        return 1


class AcceleratedEngine(Engine):
    """This process's share of a run that torchrun or `accelerate launch` started: gradients are averaged over the processes."""

    def __init__(self, precision: str = "float32", cpu: bool = False):
        try:
            from accelerate import Accelerator, DistributedDataParallelKwargs
        except ImportError as error:
            raise UsageError("training in several processes needs accelerate: pip install 'vitcodec[train]'") from error
        # small crops leave the heads of the low band's sparsest grids without a value, and --entropy-only the transforms without a gradient
        self.accelerator = Accelerator(
            cpu=cpu, kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)]
        )
        super().__init__(self.accelerator.device, precision)
        self.first = self.accelerator.is_main_process

    def prepare(self, model: nn.Module) -> nn.Module:
        return self.accelerator.prepare(model)

    def backward(self, loss: Tensor) -> None:
        self.accelerator.backward(loss)

    def agree(self, value: float) -> float:
        from accelerate.utils import broadcast

        return float(broadcast(torch.tensor(value, device=self.device)))

    @property
    def rank(self) -> int:
        return self.accelerator.process_index

    @property
    def processes(self) -> int:
        return self.accelerator.num_processes


def engine(device: str = "auto", precision: str = "float32") -> Engine:
    """device as in devices.choose. Raises DeviceError, UsageError."""
    from ..devices import choose

    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision '{precision}'; give {' or '.join(PRECISIONS)}")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return AcceleratedEngine(precision, cpu=device == "cpu")
    return Engine(choose(device)[0], precision)
