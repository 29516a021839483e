"""The analysis as an ONNX graph computes what it computes in torch."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from vitcodec.models.swin import SwinConfig, swin_analysis
from vitcodec.subbands import Subbands
from vitcodec.training.assemble import analysis_graph


@pytest.fixture(scope="module")
def analysis():
    torch.manual_seed(0)
    model = swin_analysis(SwinConfig(widths=(32, 64, 128), blocks=(1, 1, 2), convolutions=1)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module")
def session(analysis):
    return onnxruntime.InferenceSession(analysis_graph(analysis), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (10, 14), (2, 26)])
def test_it_is_that_of_torch(analysis, session, rows, columns):
    details = tuple(torch.randn(1, 16 * rows >> level, 16 * columns >> level, 9) for level in range(1, 5))
    bands, position = Subbands(9 * torch.randn(1, rows, columns, 3), details), torch.tensor([0.4])
    with torch.no_grad():
        wanted = analysis(bands, position)
    names = [node.name for node in session.get_inputs()]
    found = session.run(None, dict(zip(names, [t.numpy() for t in (*bands, position)], strict=True)))
    for a, b in zip(wanted, found, strict=True):
        assert np.abs(a.numpy() - b).max() < 1e-4
    assert (wanted[1] - bands[1]).abs().max() > 0.1
