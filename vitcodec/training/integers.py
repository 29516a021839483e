"""A model folder of integers out of a trained model, and back.

Beside what encoding and decoding need the folder gets the floating-point parts that training goes on from, in half
precision: three files, which wheels leave out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from .. import files
from ..adaptive_filter import FilterNumbers, no_filters
from ..coding.maps import log_thresholds
from ..context.model import ContextModel
from ..errors import WeightsError
from ..models import build_autoencoder
from ..models.autoencoder import Autoencoder, parameter_count
from ..models.summary import kmac_per_pixel
from ..models.synthesis import ConvSynthesis
from ..pipeline import loading
from ..pipeline.loading import Coder
from ..pretrained import registry
from ..pretrained.config import FLOAT_CONTEXT, FLOAT_SYNTHESIS, FLOAT_TRANSFORM, PretrainedConfig
from ..pretrained.integer_model import CodingNumbers, IntegerModel
from ..pretrained.loading import own_name, stored_name
from ..quality import step_position
from ..subbands import Subbands
from . import round_context
from .assemble import analysis_graph, dequantiser, encoder_numbers, in_8_bits, write_folder
from .coding_tables import Counts, fit_coding_tables
from .filters import EncodedSample, fit_filters
from .model import TrainingModel
from .reporting import Report, followed, silent
from .round_context import base_scales
from .rounding import Gauge, RoundedSynthesis, measure

FLOAT_FILES = FLOAT_TRANSFORM, FLOAT_SYNTHESIS, FLOAT_CONTEXT
QUANTILE = 0.999  # of the magnitudes that a map's scale leaves room for
GAUGE, SYNTHESIS = "gauge.", "synthesis."  # prefixes of tensors
MEASURING, ROUNDING, TRACING = "measuring the entropy model", "rounding networks to integers", "tracing the encoder"
TABLES, FILTERS = "fitting tables", "fitting filters"

# tokens (1, h, w, c) as floats, and their step, (1,) in 8-bit levels
FloatSample = tuple[Subbands, Tensor]
# tokens, int32 NumPy (1, h, w, c), and their quality
TokenSample = tuple[Subbands, int]


def is_integer_ready(model: TrainingModel) -> bool:
    """Whether a model's decoder can be of integers."""
    return isinstance(model.autoencoder.synthesis, ConvSynthesis)


def model_config(
    model: TrainingModel, folder: Path, name: str, dead_zone: float, training: Mapping[str, Any], tune: str
) -> PretrainedConfig:
    """config.json of a model, but for hashes."""
    autoencoder, context = model.autoencoder, model.context.config
    return PretrainedConfig(
        name=name,
        family=autoencoder.family,
        folder=folder,
        sha256="",
        transform=autoencoder.settings,
        context=context,
        dead_zone=dead_zone,
        tune=tune,
        parameters=parameter_count(model),
        kmac_per_pixel=kmac_per_pixel(autoencoder.family, autoencoder.settings, context),
        licence="Apache-2.0",
        training=training,
    )


@torch.no_grad()
def write_integer_model(
    model: TrainingModel,
    folder: Path,
    name: str,
    calibration: Sequence[FloatSample],
    counted: Callable[[Coder], Iterable[EncodedSample]],
    dead_zone: float,
    training: Mapping[str, Any],
    tune: str,
    gauge: Gauge | None = None,
    proposals: bytes | None = None,
    report: Report = silent,
) -> None:
    """Write a folder. The model may lie on another device, and comes to the CPU.

    calibration: what the magnitudes of maps are measured on. counted: makes the tokens that the tables are fitted to,
    with the model, whose tables are not yet fitted. gauge: of a synthesis that was trained with its rounding; without
    one it is measured. proposals: the graph of the encoder's network (training/proposals.py). report: told how far it
    is. Raises WeightsError.
    """
    autoencoder, context = model.autoencoder.eval(), model.context.eval()
    net, device = cast(ConvSynthesis, autoencoder.synthesis), autoencoder.gain.device
    gauge = gauge or measure(net, ((_scaled(autoencoder, q, s), step_position(s)) for q, s in calibration), QUANTILE)
    measured = measure_context(context, calibration, report)
    model.cpu()
    report(ROUNDING, 0, 1)
    synthesis = RoundedSynthesis(net, Gauge(gauge.quantile, {k: v.cpu() for k, v in gauge.largest.items()}))
    layers, features = round_context.round_context(context, measured)
    config = model_config(model, folder, name, dead_zone, training, tune)
    report(ROUNDING, 1, 1)
    report(TRACING, 0, 1)
    analysis = in_8_bits(analysis_graph(cast(torch.nn.Module, autoencoder.analysis)))

    def write(tables: tuple[np.ndarray, np.ndarray, np.ndarray], filters: FilterNumbers) -> None:
        numbers = CodingNumbers(features, base_scales(context), log_thresholds(), *tables)
        whole = IntegerModel(
            layers,
            context.config,
            numbers,
            synthesis.export(),
            synthesis.shape,
            dequantiser(autoencoder),
            encoder_numbers(autoencoder),
            filters,
        )
        write_folder(config, whole, analysis, proposals)

    write(Counts().tables(), no_filters())
    report(TRACING, 1, 1)
    coder = loading.load(PretrainedConfig.read(folder), str(device), torch.get_num_threads())
    samples = list(counted(coder))
    own = ((tokens, quality) for _, tokens, quality in followed(samples, TABLES, len(samples), report))
    tables, filters = fit_coding_tables(coder.encoder.entropy, own), no_filters()
    if tune == "psnr":  # least squares is what models for PSNR are after, and no others
        filters = fit_filters(coder.decoder.transform, followed(samples, FILTERS, len(samples), report))
    write(tables, filters)
    _write_float(model, gauge, folder)


def measure_context(
    context: ContextModel, calibration: Sequence[FloatSample], report: Report
) -> round_context.Measured:
    """What the float context model does on the samples that it is rounded for."""
    return round_context.measure(context, followed(calibration, MEASURING, len(calibration), report))


def _scaled(autoencoder: Autoencoder, tokens: Subbands, step: Tensor) -> Subbands:
    """Tokens -> coefficients in steps, as the synthesis gets them."""
    return autoencoder._scale(tokens, autoencoder.inverse_gain - autoencoder.gain, step_position(step))


def _write_float(model: TrainingModel, gauge: Gauge, folder: Path) -> None:
    rest = {k: v if "gain" in k else v.half() for k, v in model.autoencoder.state_dict().items()}
    synthesis = {k: rest.pop(k) for k in list(rest) if k.startswith(SYNTHESIS)}
    synthesis |= {f"{GAUGE}{k}": v.float() for k, v in gauge.largest.items()}
    for name, tensors in zip(FLOAT_FILES, (rest, synthesis), strict=False):
        data = save({k: v.contiguous() for k, v in tensors.items()})
        files.write_atomic(folder / name, data, overwrite=True)
    write_float_context(model.context, folder)


def write_float_context(context: ContextModel, folder: Path) -> None:
    """The float context model, in half precision."""
    data = save({stored_name(k): v.half().contiguous() for k, v in context.state_dict().items()})
    files.write_atomic(folder / FLOAT_CONTEXT, data, overwrite=True)


def load_float_context(config: PretrainedConfig, folder: Path | None = None) -> ContextModel:
    """What write_float_context wrote, to the model's folder or another one. Raises OSError, KeyError, RuntimeError."""
    model = ContextModel(config.context)
    file = (folder or config.folder) / FLOAT_CONTEXT
    model.load_state_dict({own_name(k): v.float() for k, v in load_file(file).items()})
    return model


def context_source(config: PretrainedConfig) -> Path:
    """The folder whose float context model training can start from.

    It is the model's own. Wheels leave that of most models out, to be half as large, but hold that of the default
    model: with the same layers, and trained on much the same tokens, it takes the place of theirs.
    """
    if config.integers or (config.folder / FLOAT_CONTEXT).is_file():
        return config.folder
    default = next((c for c in registry.available() if c.name == registry.DEFAULT_MODEL), config)
    fits = default.context == config.context and (default.folder / FLOAT_CONTEXT).is_file()
    return default.folder if fits else config.folder


def parts_lacking(config: PretrainedConfig, names: Sequence[str]) -> WeightsError:
    """That files which training starts from are not there."""
    return WeightsError(
        f"{config.folder}: lacks {' or '.join(names)}, which training starts from; take them from the "
        f"source repository where that has them, or start with --init {registry.DEFAULT_MODEL}"
    )


def parts_unfit(config: PretrainedConfig) -> WeightsError:
    """That such files are of another version."""
    return WeightsError(
        f"{config.folder}: was made by another version of the program; start from the wavelet, or from newer weights"
    )


def load_float(config: PretrainedConfig) -> tuple[TrainingModel, Gauge]:
    """What a folder of integers was made of. Raises WeightsError where parts are absent or do not fit together."""
    try:
        transform, synthesis = (load_file(config.folder / name) for name in (FLOAT_TRANSFORM, FLOAT_SYNTHESIS))
        gauge = {k.removeprefix(GAUGE): synthesis.pop(k) for k in list(synthesis) if k.startswith(GAUGE)}
        autoencoder = build_autoencoder(config.family, config.transform)
        autoencoder.load_state_dict({k: v.float() for k, v in (transform | synthesis).items()})
        context = load_float_context(config)
    except FileNotFoundError as error:
        raise parts_lacking(config, FLOAT_FILES) from error
    except (KeyError, RuntimeError) as error:
        raise parts_unfit(config) from error
    return TrainingModel(autoencoder, context), Gauge(QUANTILE, gauge)
