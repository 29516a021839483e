"""Where training runs: on one device, or in several processes with a device each through accelerate."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

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
        if device.type == "cuda" and torch.cuda.is_available():
            if device.index is not None:
                torch.cuda.set_device(device)
            # for what stays in float32; whole numbers below 2^11 are exact in it
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "bfloat16"

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which the forward pass runs at the precision."""
        if self.precision == "float32":
            return nullcontext()
        # what autocast kept from one step would be wrong in the next where a CUDA graph holds it
        return torch.autocast(self.device.type, PRECISIONS[self.precision], cache_enabled=False)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their mean over all processes."""

    def agree(self, value: float) -> float:
        """The first process's value, in all of them."""
        return value

    def close(self) -> None:
        """Leave the other processes, of which none may need this one any more."""

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
            from accelerate import Accelerator
        except ImportError as error:
            raise UsageError("training in several processes needs accelerate: pip install 'vitcodec[train]'") from error
        self.accelerator = Accelerator(cpu=cpu)
        super().__init__(self.accelerator.device, precision)
        self.first = self.accelerator.is_main_process

    def average(self, tensors: Sequence[Tensor]) -> None:
        flat = torch.cat([t.flatten() for t in tensors])
        torch.distributed.all_reduce(flat)
        parts = (flat / self.processes).split([t.numel() for t in tensors])
        torch._foreach_copy_(list(tensors), [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)])

    def agree(self, value: float) -> float:
        from accelerate.utils import broadcast

        return float(broadcast(torch.tensor(value, device=self.device)))

    def close(self) -> None:
        self.accelerator.wait_for_everyone()
        torch.distributed.destroy_process_group()  # left to the end of the program, its threads can abort it

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
