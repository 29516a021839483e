"""A model folder to an encoder and a decoder, on the engine that fits the device."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..coding.context_pass import Networks
from ..coding.entropy import EntropyModel
from ..engines import Engine
from ..enhancement import Enhancement, no_enhancement
from ..errors import WeightsError
from ..integer import check
from ..integer.enhancement import enhancement_network, reach
from ..integer.synthesis import middle_reach
from ..parallel import cores
from ..pretrained import integer_model
from ..pretrained.config import SEARCH, PretrainedConfig
from ..pretrained.enhancements import read_enhancement
from ..pretrained.integer_model import ContextNumbers, IntegerModel
from ..pretrained.registry import verify
from ..search.tuning import TUNINGS as SEARCHES
from .decoder import Decoder
from .integers import IntegerTransform

if TYPE_CHECKING:
    from ..engines.onnx import OnnxEngine
    from ..search.adjoint import Exact
    from ..search.importance import PixelSlope
    from ..search.rounds import Slopes
    from .encoder import Encoder

ANALYSIS = "analysis"  # the name of its graph
ENHANCEMENT = "enhancement"  # that of its network
ANALYSIS_HALO = 8  # sites; of the `swin` family
OLDEST = 1, 20  # of ONNX Runtime
log = logging.getLogger("vitcodec")


@dataclass(frozen=True)
class Coder:
    """A model on an engine."""

    decoder: Decoder
    make_encoder: Callable[[], Encoder]
    engine: str  # "onnxruntime" or "torch"
    reason: str  # why it is not onnxruntime; else empty

    @cached_property
    def encoder(self) -> Encoder:
        """Made, and its modules imported, when the first picture is encoded."""
        return self.make_encoder()


def load(config: PretrainedConfig, device: str = "cpu", threads: int | None = None) -> Coder:
    """device: "cpu" or what torch takes. Raises WeightsError."""
    verify(config)
    if config.tune not in SEARCHES:
        raise WeightsError(
            f"{config.folder}: tuned for {config.tune!a}, which this vitcodec does not know; upgrade vitcodec"
        )
    threads = threads or cores()
    return _load_integers(config, device, threads) if config.integers else _load_floats(config, device, threads)


def _load_integers(config: PretrainedConfig, device: str, threads: int) -> Coder:
    model = integer_model.load(config.files[0], config.synthesis, config.context)
    networks, name, reason = engine_for(model, config, device, threads)
    entropy = entropy_model(model, networks)
    enhancements = cache(lambda number: _enhancement(config, model, number, device if name == "torch" else "", threads))
    transform = IntegerTransform(
        networks, model.dequantiser, model.filter, threads, middle_reach(model.synthesis), enhancements
    )

    def encoder() -> Encoder:
        from ..analysis import Analysis
        from ..search.model import SearchModel
        from ..search.proposals import NETWORK
        from .encoder import Encoder

        floats, numbers = _float_engine(config, networks, threads), model.encoder

        def run(network: str) -> Callable[..., list[np.ndarray]]:
            return lambda *maps: floats.run(network, *maps)

        def gradient() -> Slopes:
            from ..search.gradient import Gradient

            return Gradient(model, adjoint=exact().adjoint if exact else None)

        analysis = Analysis(run(ANALYSIS), numbers.gains, numbers.steps, numbers.positions, ANALYSIS_HALO)
        proposals = run(NETWORK) if NETWORK in floats.graphs else None
        exact = cache(lambda: _exact(config, model, threads)) if config.search else None
        search = SearchModel(entropy, transform, gradient, proposals, exact, threads, **_tuned(config))
        return Encoder(config, analysis, entropy, search, threads)

    return Coder(Decoder(entropy, transform, threads), encoder, name, reason)


def _enhancement(
    config: PretrainedConfig, model: IntegerModel, number: int, device: str, threads: int
) -> Enhancement | None:
    """As Transform.enhancement. device: of torch; empty for ONNX Runtime. Raises WeightsError, UnsupportedError."""
    if not 1 <= number <= len(config.enhancements):
        return no_enhancement(number)
    found = read_enhancement(config, number)
    engine: Engine
    if device:
        from ..engines.torch import TorchEngine

        engine = TorchEngine({ENHANCEMENT: enhancement_network(found.layers)}, device)
    else:
        from ..engines.onnx import OnnxEngine

        engine = OnnxEngine({ENHANCEMENT: found.graph}, threads)
    return Enhancement(lambda x: engine.run(ENHANCEMENT, x), reach(found.layers), model.dequantiser)


def _exact(config: PretrainedConfig, model: IntegerModel, threads: int) -> Exact:
    """Proposals with the exact slope of the distortion. Raises WeightsError."""
    from ..engines.onnx import OnnxEngine, open_graphs
    from ..search.adjoint import NETWORK, RATES, Adjoint, Exact, weights_of
    from ..search.proposals import Proposals

    engine = OnnxEngine(open_graphs(config.folder / SEARCH, config.search), threads)
    engine.supply(NETWORK, lambda: weights_of(model.synthesis, model.shape))
    rates = (lambda *maps: engine.run(RATES, *maps)) if RATES in engine.graphs else None
    return Exact(Adjoint(lambda *maps: engine.run(NETWORK, *maps), model.dequantiser), Proposals(rates, threads))


def _load_floats(config: PretrainedConfig, device: str, threads: int) -> Coder:
    """A family in floating point: torch runs its integers too."""
    from ..engines.torch import TorchEngine
    from ..pretrained.loading import load_floats
    from .floats import FloatTransform

    autoencoder, model = load_floats(config, device)
    entropy, transform = entropy_model(model, TorchEngine(model.networks(), device)), FloatTransform(autoencoder)

    def encoder() -> Encoder:
        from ..search.efforts import FLOAT_EFFORTS
        from ..search.gradient import Gradient
        from ..search.model import SearchModel
        from .encoder import Encoder

        search = SearchModel(
            entropy,
            transform,
            lambda: Gradient(model, transform.restored, device),
            threads=threads,
            efforts=FLOAT_EFFORTS,
            **_tuned(config),
        )
        erase = transform.erase if autoencoder.supports_erasure else None
        return Encoder(config, transform.analysis(), entropy, search, threads, autoencoder.tile, erase)

    return Coder(Decoder(entropy, transform, threads), encoder, "torch", "the model computes in floating point")


def _tuned(config: PretrainedConfig) -> dict[str, Any]:
    """How a search minimises what a model was trained for: arguments of SearchModel."""
    if config.tune == "psnr":
        return {}

    def slope() -> PixelSlope:
        from ..distortion import TUNINGS, PixelGradient

        return PixelGradient(TUNINGS[config.tune])

    return {"tuning": SEARCHES[config.tune], "slope": slope}


def entropy_model(model: ContextNumbers, engine: Engine) -> EntropyModel:
    """What codes a model's tokens, with an engine that runs its context networks."""
    coding = model.coding
    networks = Networks(engine, model.context_config, coding.look_up())
    return EntropyModel(networks, coding.features, coding.base_scales, coding.tables())


def _float_engine(config: PretrainedConfig, engine: Engine, threads: int) -> OnnxEngine:
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
