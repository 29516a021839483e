"""What a run starts from: a model, perhaps grown, and for a decoder of integers the scales of its maps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UsageError, WeightsError
from ..models.synthesis import ConvSynthesis, GatedBlock
from ..pretrained import registry
from ..quality import round_tokens, step_position
from ..subbands import Subbands
from .config import NEW_MODELS, TrainingConfig
from .data import Crops
from .integers import QUANTILE, context_source, load_float
from .model import TrainingModel
from .package import initial_model
from .parts import read_average
from .rounding import Gauge, map_names, measure

RUN = "run:"  # before the folder of a run, in --init
SMALL = 1e-3  # standard deviation of a new block's last layer: all but nothing, and enough for a shift
GAUGE_STEPS = 200.0, 120.0, 64.0, 32.0, 12.0, 6.0, 3.0  # 8-bit levels, at which scales are measured
GAUGE_CROPS, GAUGE_SIDE = 4, 256  # at each of them


@dataclass(frozen=True)
class Start:
    """A model to train. gauge: what is known of the magnitudes of its maps. dead_zone: of rounding."""

    model: TrainingModel
    gauge: Gauge
    dead_zone: float
    note: str = ""  # what the user may not expect


def starting_point(
    init: str, name: str | None, grow: Mapping[str, Any], images: Sequence[np.ndarray], seed: int
) -> Start:
    """What a run starts from.

    init: as package.initial_model takes it, or run:FOLDER for the averaged weights of a run.
    grow: fields of the settings of "transform" and "context" that are to be larger. Other arguments: as
    package.initial_model. Raises UsageError, WeightsError.
    """
    gauge, dead_zone, note = Gauge(QUANTILE), TrainingConfig.dead_zone, ""
    if init.startswith(RUN):
        if name is not None:
            raise UsageError(f"-m is not for --init {RUN}FOLDER, which says what model it is; use --grow to add blocks")
        model, metadata, largest = read_average(Path(init.removeprefix(RUN)))
        gauge, dead_zone = Gauge(QUANTILE, largest), metadata["config"]["dead_zone"]
    else:
        model = initial_model(init, name, images, seed)
        if init not in NEW_MODELS:
            config = registry.find(init)
            dead_zone = config.dead_zone
            if (source := context_source(config)) != config.folder:
                note = (
                    f"{config.name}: its float entropy model is not installed, so training starts from that of "
                    f"{source.name}, which costs 2 to 6 % at first; the source repository has its own"
                )
            if isinstance(model.autoencoder.synthesis, ConvSynthesis):
                gauge = load_float(config)[1]
    return Start(grown(model, grow) if grow else model, gauge, dead_zone, note)


def grown(model: TrainingModel, changes: Mapping[str, Any]) -> TrainingModel:
    """A model with more blocks, which change nothing before they are trained, or next to nothing.

    changes: {"transform": {...}, "context": {...}}, fields of their settings. Raises UsageError for fields that do not
    exist, and where a layer would change its size.
    """
    description = model.description
    try:
        for part, own in changes.items():
            if part not in ("transform", "context"):
                raise KeyError(part)
            description[part] = description[part] | own
        # through JSON, as a checkpoint's description comes
        out = TrainingModel.build(json.loads(json.dumps(description)))
    except (KeyError, TypeError, ValueError, WeightsError) as error:
        raise UsageError(
            f"--grow: {error} is no setting that fits; give JSON as "
            '{"transform": {"synthesis": [1, 3, 2, 12]}, "context": {"extra_blocks": [0, 1, 3, 3]}}'
        ) from error
    state, known = out.state_dict(), model.state_dict()
    if wrong := [k for k, v in known.items() if k not in state or state[k].shape != v.shape]:
        raise UsageError(f"--grow would change {wrong[0]}; only blocks can be added")
    out.load_state_dict(state | known)
    return out


@torch.no_grad()
def ready_to_round(model: TrainingModel, gauge: Gauge, crops: Crops, dead_zone: float) -> Gauge:
    """The magnitudes of all maps of a ConvSynthesis: those that are known, and measured ones for the rest.

    Blocks that do nothing yet get small weights, as integers need some.
    """
    autoencoder, net = model.autoencoder, cast(ConvSynthesis, model.autoencoder.synthesis)
    for row in (*net.encoder, *net.decoder):
        blocks = list(cast(nn.Sequential, row))
        for before, block in pairwise(blocks):
            if isinstance(block, GatedBlock) and not block.down.weight.any():
                nn.init.normal_(block.down.weight, std=SMALL)
                block.scale.copy_(cast(Tensor, before.scale))

    def samples() -> Iterator[tuple[Subbands, Tensor]]:
        for value in GAUGE_STEPS:
            image = crops.batch(GAUGE_CROPS, min(GAUGE_SIDE, int(crops.shortest.max()) // 32 * 32))
            step = torch.full((len(image),), value, device=image.device)
            tokens = round_tokens(autoencoder.encode(image, step), dead_zone).map(Tensor.float)
            position = step_position(step)
            yield autoencoder._scale(tokens, autoencoder.inverse_gain - autoencoder.gain, position), position

    known = {name: t.to(crops.device) for name, t in gauge.largest.items()}
    if map_names(net) <= known.keys():
        return Gauge(gauge.quantile, known)
    return Gauge(gauge.quantile, measure(net, samples(), gauge.quantile).largest | known)
