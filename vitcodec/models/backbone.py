"""timm's backbones as encoders. Presets alone need them, so timm is imported when one is built.

The projection of a backbone's patch embedding is replaced by `PatchEmbedding`, to which the wavelet's coefficients
enter beside the pixels.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import WeightsError
from .tokens import PIXEL_UNIT, PatchEmbedding


def create(name: str, **settings: Any) -> Any:
    """A timm model without classifier. Raises WeightsError for an unknown name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import timm

    if not timm.is_model(name.split(".")[0]):
        raise WeightsError(
            f"timm {timm.__version__} has no model '{name}'; install the timm that this model was made with"
        )
    return timm.create_model(name, num_classes=0, **settings)


class TimmTokens(nn.Module):
    """The blocks of timm's VisionTransformer or Beit over an area of at most window x window tokens."""

    def __init__(self, name: str, window: int):
        super().__init__()
        self.settings: dict[str, Any] = {"img_size": 16 * window, "drop_path_rate": 0.0}
        self.window = window
        self.net = create(name, **self.settings)
        self.net.patch_embed = self.net.patch_embed.norm
        for block in self.net.blocks:
            block.attn.qkv_bias_separate = True  # Beit: call the layer itself, so that its hooks run

    def forward(self, x: Tensor) -> Tensor:
        """(n, r, c, width) -> the same; Beit's position biases need r = c = window."""
        from timm.layers import resample_abs_pos_embed

        n, r, c, width = x.shape
        net = self.net
        x = torch.cat((net.cls_token.expand(n, -1, -1), x.flatten(1, 2)), 1)
        if net.pos_embed is not None:
            x = x + resample_abs_pos_embed(net.pos_embed, (r, c), (self.window, self.window), num_prefix_tokens=1)
        for block in net.blocks:
            x = block(x)
        return net.fc_norm(net.norm(x))[:, 1:].view(n, r, c, width)


class TimmStages(nn.Module):
    """The stages of timm's SwinTransformer: features at stride 4 -> features at strides 4, 8, 16 and 32."""

    def __init__(self, name: str):
        super().__init__()
        self.settings: dict[str, Any] = {"strict_img_size": False, "drop_path_rate": 0.0}
        self.net = create(name, **self.settings)
        self.net.patch_embed = self.net.patch_embed.norm

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, H/4, W/4, width) -> maps at strides 4, 8, 16 and 32, each twice as wide as the one before."""
        maps, x = [], self.net.patch_embed(x)
        for stage in self.net.layers:
            x = stage(x)
            maps.append(x)
        return [*maps[:-1], self.net.norm(x)]


@torch.no_grad()
def load_pretrained(analysis: nn.Module, tag: str) -> None:
    """Fill a preset's encoder with timm's pretrained weights. Raises WeightsError.

    tag: timm's name of the weights, as vit_base_patch16_224.augreg2_in21k_ft_in1k. They are downloaded to the hub's
    cache where they are not in it.
    """
    body, embedding = analysis.body, next(m for m in analysis.modules() if isinstance(m, PatchEmbedding))
    assert isinstance(body, TimmTokens | TimmStages)
    try:
        trained = create(tag, pretrained=True, **body.settings)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise WeightsError(
            f"timm's pretrained weights '{tag}' are neither in the hub's cache nor can they be downloaded "
            f"({type(error).__name__}: {reason}); "
            "connect to the network and unset HF_HUB_OFFLINE, or start with --init wavelet"
        ) from error
    projection, config = trained.patch_embed.proj, trained.pretrained_cfg
    trained.patch_embed = trained.patch_embed.norm
    body.net.load_state_dict(trained.state_dict())
    fill_embedding(embedding.enter, projection, config["mean"], config["std"])


@torch.no_grad()
def fill_embedding(enter: nn.Linear, projection: nn.Conv2d, mean: Sequence[float], deviation: Sequence[float]) -> None:
    """Give the embedding of patches the weights of a projection of normalised pixels, (x / 255 - mean) / deviation."""
    weight = projection.weight / torch.tensor(deviation)[:, None, None]
    enter.weight.zero_()
    enter.weight[:, : weight[0].numel()] = weight.flatten(1) * (PIXEL_UNIT / 255)
    gray = 128 / 255 - torch.tensor(mean)
    enter.bias.copy_(projection.bias + (weight * gray[:, None, None]).sum((1, 2, 3)))
