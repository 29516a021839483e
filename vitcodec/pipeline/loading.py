"""A model folder of format 1 to an encoder and a decoder, on the engine that fits the device."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..coding.context_pass import Networks
from ..coding.entropy import EntropyModel
from ..engines import Engine
from ..errors import WeightsError
from ..integer import check
from ..integer.synthesis import middle_reach
from ..parallel import cores
from ..pretrained import integer_model
from ..pretrained.config import PretrainedConfig
from ..pretrained.integer_model import IntegerModel
from ..pretrained.registry import verify
from .decoder import Decoder

if TYPE_CHECKING:
    from .encoder import Encoder

ANALYSIS = "analysis"  # the name of its graph
ANALYSIS_HALO = 8  # sites; of the `swin` family
log = logging.getLogger("vitcodec")


@dataclass(frozen=True)
class Coder:
    """A model on an engine."""

    config: PretrainedConfig
    numbers: IntegerModel
    networks: Engine
    entropy: EntropyModel
    engine: str  # "onnxruntime" or "torch"
    threads: int

    @cached_property
    def encoder(self) -> Encoder:
        """Made, and its modules imported, when the first picture is encoded."""
        from ..analysis import Analysis
        from ..search.model import SearchModel
        from .encoder import Encoder

        numbers = self.numbers.encoder
        graph = _AnalysisGraph(self.config, self.networks, self.threads)
        analysis = Analysis(graph.run, numbers.gains, numbers.steps, numbers.positions, ANALYSIS_HALO)
        search = SearchModel(self.numbers, self.networks, self.entropy, self.threads)
        return Encoder(self.config, analysis, self.entropy, search, self.threads)

    @cached_property
    def decoder(self) -> Decoder:
        reach = middle_reach(self.numbers.synthesis)
        return Decoder(self.networks, self.entropy, self.numbers.dequantiser, self.threads, reach)


def load(config: PretrainedConfig, device: str = "cpu", threads: int | None = None) -> Coder:
    """device: "cpu" or what torch takes. Raises WeightsError."""
    verify(config)
    model = integer_model.load(config.files[0], config.synthesis, config.context)
    threads = threads or cores()
    engine, name = engine_for(model, config, device, threads)
    coding = model.coding
    networks = Networks(engine, config.context, coding.look_up())
    entropy = EntropyModel(networks, coding.features, coding.base_scales, coding.tables())
    return Coder(config, model, engine, entropy, name, threads)


class _AnalysisGraph:
    """The analysis, in floating point: a graph that ONNX Runtime runs, whatever engine runs the integers."""

    def __init__(self, config: PretrainedConfig, engine: Engine, threads: int):
        self.config, self.engine, self.threads = config, engine, threads

    def run(self, *maps: np.ndarray) -> list[np.ndarray]:
        """As Analysis.network. Raises WeightsError."""
        from ..engines.onnx import GRAPHS, OnnxEngine, open_graphs

        if not isinstance(self.engine, OnnxEngine):  # when the first picture is encoded
            self.engine = OnnxEngine(open_graphs(self.config.folder / GRAPHS), self.threads)
        return self.engine.run(ANALYSIS, *maps)


def engine_for(model: IntegerModel, config: PretrainedConfig, device: str, threads: int) -> tuple[Engine, str]:
    """ONNX Runtime on CPUs, where it and the graphs can be used; else torch. Raises WeightsError."""
    problem = f"device {device}"
    if device == "cpu":
        try:
            from ..engines.onnx import GRAPHS, OnnxEngine, open_graphs

            engine = OnnxEngine(open_graphs(config.folder / GRAPHS), threads)
            if check.passes(engine.run(check.NAME, check.sample())):
                engine.prepare()
                return engine, "onnxruntime"
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
    return TorchEngine(model.networks(), device), "torch"
