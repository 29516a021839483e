"""Where training runs: on one device, or in several processes with a device each through accelerate."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from ..devices import choose
from ..errors import UsageError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Engine:
    """One device in this process.

    precision: a key of PRECISIONS, for matrix products and convolutions. Weights, wavelet and probabilities stay in
    float32.
    """

    first = True  # whether this process is the one that writes files and validates

    def __init__(self, device: torch.device, precision: str = "float32"):
        self.device, self.precision = device, precision

    def prepare(self, model: nn.Module) -> nn.Module:
        """The module to call in training: the model, or what wraps it."""
        return model

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which the forward pass runs at the precision."""
        return (
            nullcontext()
            if self.precision == "float32"
            else torch.autocast(self.device.type, PRECISIONS[self.precision])
        )

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to the weights' own."""
        loss.backward()

    def agree(self, value: float) -> float:
        """The first process's value, in all of them."""
        return value

    @property
    def rank(self) -> int:
        """This process's number, from 0."""
        return 0

    @property
    def processes(self) -> int:
        """How many processes train together."""
        return 1


class AcceleratedEngine(Engine):
    """One process of a run that torchrun or `accelerate launch` started: gradients are averaged over the processes.

    cpu: train on the CPU even where there are GPUs. Raises UsageError without accelerate.
    """

    def __init__(self, precision: str = "float32", cpu: bool = False):
        try:
            from accelerate import Accelerator, DistributedDataParallelKwargs
        except ImportError as error:
            raise UsageError("training in several processes needs accelerate: pip install 'vitcodec[train]'") from error
        # some weights may have no gradient: small crops have no values on the low band's sparsest grid, and
        # --entropy-only fixes the transforms
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
    """The engine of this process: of several if the environment says that there are.

    device: auto, cpu, cuda[:N] or mps. precision: a key of PRECISIONS. Raises DeviceError, UsageError.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision '{precision}'; give {' or '.join(PRECISIONS)}")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return AcceleratedEngine(precision, cpu=device == "cpu")
    return Engine(choose(device)[0], precision)
