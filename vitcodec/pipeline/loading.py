"""A model folder of format 1 to an encoder and a decoder, on the engine that fits the device."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from ..analysis import Analysis
from ..coding.context_pass import Networks
from ..coding.entropy import EntropyModel
from ..engines import Engine
from ..errors import WeightsError
from ..integer import check
from ..parallel import cores
from ..pretrained import integer_model
from ..pretrained.config import PretrainedConfig
from ..pretrained.integer_model import IntegerModel
from ..pretrained.registry import verify
from ..search.model import SearchModel
from .decoder import Decoder
from .encoder import Encoder

ANALYSIS = "analysis"  # the name of its graph
ANALYSIS_HALO = 8  # sites; of the `swin` family
log = logging.getLogger("vitcodec")


@dataclass(frozen=True)
class Coder:
    """A model on an engine."""

    encoder: Encoder
    decoder: Decoder
    engine: str  # "onnxruntime" or "torch"
    reason: str  # why it is not onnxruntime; else empty


def load(config: PretrainedConfig, device: str = "cpu", threads: int | None = None) -> Coder:
    """device: "cpu" or what torch takes. Raises WeightsError."""
    verify(config)
    model = integer_model.load(config.files[0], config.synthesis, config.context)
    threads = threads or cores()
    engine, name, reason = engine_for(model, config, device, threads)
    coding = model.coding
    networks = Networks(engine, config.context, coding.look_up())
    entropy = EntropyModel(networks, coding.features, coding.base_scales, coding.tables())
    numbers = model.encoder
    analysis = Analysis(
        _AnalysisGraph(config, engine, threads).run, numbers.gains, numbers.steps, numbers.positions, ANALYSIS_HALO
    )
    return Coder(
        Encoder(config, analysis, entropy, SearchModel(model, engine, entropy, threads), threads),
        Decoder(engine, entropy, model.dequantiser, threads),
        name,
        reason,
    )


class _AnalysisGraph:
    """The analysis, in floating point: a graph that ONNX Runtime runs, whatever engine runs the integers."""

    def __init__(self, config: PretrainedConfig, engine: Engine, threads: int):
        self.config, self.engine, self.threads = config, engine, threads

    def run(self, *maps: np.ndarray) -> list[np.ndarray]:
        """As Analysis.network. Raises WeightsError."""
        from ..engines.onnx import GRAPHS, OnnxEngine, read_graphs

        if not isinstance(self.engine, OnnxEngine):  # when the first picture is encoded
            self.engine = OnnxEngine(read_graphs(self.config.folder / GRAPHS), self.threads)
        return self.engine.run(ANALYSIS, *maps)


def engine_for(model: IntegerModel, config: PretrainedConfig, device: str, threads: int) -> tuple[Engine, str, str]:
    """ONNX Runtime on CPUs, where it and the graphs can be used; else torch. Raises WeightsError.

    Returns the engine, its name, and why it is not onnxruntime where it is not.
    """
    problem = f"device {device}"
    if device == "cpu":
        try:
            from ..engines.onnx import GRAPHS, OnnxEngine, read_graphs

            engine = OnnxEngine(read_graphs(config.folder / GRAPHS), threads)
            if check.passes(engine.run(check.NAME, check.sample())):
                engine.prepare()
                return engine, "onnxruntime", ""
            problem = "onnxruntime gives wrong numbers on this processor"
        except ImportError as error:
            problem = f"onnxruntime cannot be used ({error})"
        except WeightsError as error:
            problem = str(error)
    try:
        from ..engines.torch import TorchEngine
    except ImportError as error:
        raise WeightsError(f"{problem}, and torch is not installed; pip install onnxruntime, or torch") from error
    log.info("%s: running on torch", problem)
    return TorchEngine(model.networks(), device), "torch", problem
