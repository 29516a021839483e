"""CUDA graphs: what a function launches on a GPU is recorded once and then launched as a whole.

Within one, nothing may wait for the device, and nothing may be copied from the CPU: no constant that lies there, no
`new_tensor` of a list, no number that is read back. Every tensor that changes between calls has to stay where it is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

WARM_UP = 3  # calls before the recording, in which libraries and compiled parts get ready


def captured(function: Callable[[], None], before: Callable[[], None]) -> Callable[[], None]:
    """A function without arguments as one CUDA graph.

    It is called WARM_UP times first. before: called ahead of each of these calls and of the recording, to undo what is
    not to add up.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            before()
            function()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    before()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay
