"""Closed-loop correction: what the networks get wrong is mended, photographs are left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import make_rgb

from vitcodec.correction import correct
from vitcodec.quality import round_tokens


@pytest.fixture(scope="session")
def codec(floating):
    return floating


def tokens_of(codec, rgb, quality):
    point = codec.entropy.point(quality, codec.autoencoder.steps)
    image = torch.from_numpy(rgb).float()[None]
    with torch.no_grad():
        return image, round_tokens(codec.autoencoder.encode(image, point.step), 0.1), point.step


def error(codec, image, tokens, step):
    """Mean squared 8-bit levels."""
    with torch.no_grad():
        return (codec.autoencoder.decode(tokens.map(torch.Tensor.float), step) - image).square().mean().item()


@pytest.mark.parametrize("quality", [50, 90])
def test_a_pattern_of_saturated_colours_is_mended(codec, quality):
    y, x = np.mgrid[:64, :64]
    rgb = np.where(((x + y) % 2)[..., None] == 0, [255, 0, 0], [0, 255, 0]).astype(np.uint8)
    image, tokens, step = tokens_of(codec, rgb, quality)
    mended = correct(codec.autoencoder, image, tokens, step)
    assert all(a.dtype == torch.int32 and a.shape == b.shape for a, b in mended.zip(tokens))
    assert error(codec, image, mended, step) < error(codec, image, tokens, step) / 4


def test_only_the_sites_that_are_wrong_and_their_neighbours_change(codec):
    y, x = np.mgrid[:64, :64]
    rgb = make_rgb(256, 64)
    rgb[:, :64] = np.where(((x + y) % 2)[..., None] == 0, [255, 0, 0], [0, 255, 0])
    image, tokens, step = tokens_of(codec, rgb, 90)
    mended = correct(codec.autoencoder, image, tokens, step)
    assert not torch.equal(mended[1][:, :, :32], tokens[1][:, :, :32])
    assert torch.equal(mended[1][:, :, 64:], tokens[1][:, :, 64:])


def test_photographs_are_left_alone_and_take_no_time(codec, monkeypatch):
    image, tokens, step = tokens_of(codec, make_rgb(64, 64), 90)
    monkeypatch.setattr(codec.autoencoder, "decode", None)  # not called
    assert correct(codec.autoencoder, image, tokens, step) is tokens
