"""A model folder of format 1 to an encoder and a decoder, on the engine that fits the device."""

from __future__ import annotations

import logging
import re
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
OLDEST = 1, 20  # of ONNX Runtime
log = logging.getLogger("vitcodec")


@dataclass(frozen=True)
class Coder:
    """A model on an engine."""

    config: PretrainedConfig
    numbers: IntegerModel
    networks: Engine
    entropy: EntropyModel
    engine: str  # "onnxruntime" or "torch"
    reason: str  # why it is not onnxruntime; else empty
    threads: int

    @cached_property
    def encoder(self) -> Encoder:
        """Made, and its modules imported, when the first picture is encoded."""
        from ..analysis import Analysis
        from ..search.model import SearchModel
        from .encoder import Encoder

        numbers = self.numbers.encoder
        floats = _float_engine(self.config, self.networks, self.threads)

        def network(*maps: np.ndarray) -> list[np.ndarray]:
            return floats.run(ANALYSIS, *maps)

        analysis = Analysis(network, numbers.gains, numbers.steps, numbers.positions, ANALYSIS_HALO)
        search = SearchModel(self.numbers, self.networks, self.entropy, self.threads, floats=floats)
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
    engine, name, reason = engine_for(model, config, device, threads)
    coding = model.coding
    networks = Networks(engine, config.context, coding.look_up())
    entropy = EntropyModel(networks, coding.features, coding.base_scales, coding.tables())
    return Coder(config, model, engine, entropy, name, reason, threads)


def _float_engine(config: PretrainedConfig, engine: Engine, threads: int) -> Engine:
    """What runs the encoder's networks, in floating point: ONNX Runtime, whatever runs the integers.

    Raises WeightsError.
    """
    try:
        from ..engines.onnx import GRAPHS, OnnxEngine, open_graphs
    except ImportError as error:
        raise WeightsError(f"encoding needs onnxruntime ({error}); pip install onnxruntime") from error
    if isinstance(engine, OnnxEngine):
        return engine
    return OnnxEngine(open_graphs(config.folder / GRAPHS, config.graphs), threads)


def engine_for(model: IntegerModel, config: PretrainedConfig, device: str, threads: int) -> tuple[Engine, str, str]:
    """ONNX Runtime on CPUs, where it and the graphs can be used; else torch. Raises WeightsError.

    Returns the engine, its name, and why it is not onnxruntime where it is not.
    """
    reason = f"device {device}"
    if device == "cpu":
        try:
            return _on_onnxruntime(config, threads), "onnxruntime", ""
        except WeightsError as error:
            reason = str(error)
    try:
        from ..engines.torch import TorchEngine
    except ImportError as error:
        raise WeightsError(f"{reason}; or pip install torch, which takes over") from error
    log.info("%s: running on torch", reason)
    return TorchEngine(model.networks(), device), "torch", reason


def _on_onnxruntime(config: PretrainedConfig, threads: int) -> Engine:
    """Raises WeightsError where ONNX Runtime or the graphs cannot be used, and says what would help."""
    try:
        import onnxruntime

        if tuple(map(int, re.findall(r"\d+", onnxruntime.__version__)[:2])) < OLDEST:
            raise ImportError(f"version {onnxruntime.__version__} is too old")
        from ..engines.onnx import GRAPHS, OnnxEngine, open_graphs
    except ImportError as error:
        wanted = f"onnxruntime>={'.'.join(map(str, OLDEST))}"
        raise WeightsError(f"onnxruntime cannot be used ({error}); pip install '{wanted}'") from error
    engine = OnnxEngine(open_graphs(config.folder / GRAPHS, config.graphs), threads)
    if not check.passes(engine.run(check.NAME, check.sample())):
        raise WeightsError(
            f"onnxruntime {onnxruntime.__version__} gives wrong numbers on this processor; install another version"
        )
    engine.prepare()
    return engine
