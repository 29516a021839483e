"""Pictures from latents in which tokens are erased."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vitcodec import wavelet
from vitcodec.bitstream import container, salvage
from vitcodec.bitstream.container import Contents
from vitcodec.bitstream.metadata import unpack_erasures
from vitcodec.codec import Codec
from vitcodec.errors import FormatError, UsageError
from vitcodec.images import Picture, read_image
from vitcodec.metrics import psnr
from vitcodec.models import erasure, untrained
from vitcodec.models.autoencoder import Autoencoder
from vitcodec.options import EncodeOptions
from vitcodec.pretrained import loading, registry
from vitcodec.subbands import Subbands
from vitcodec.tiles import Region
from vitcodec.training.floats import write_folder

EXAMPLES = Path(__file__).parent.parent / "examples"
STEP = torch.tensor([16.0])
TRAINED = [config for config in registry.available() if config.family == "beit"]


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    return read_image(EXAMPLES / "astronaut.png").rgb[:256, 128:384]


def latents_of(model: Autoencoder, rgb: np.ndarray) -> Subbands:
    with torch.no_grad():
        return model.encode(torch.from_numpy(rgb.copy()).float()[None], STEP).map(torch.round)


def quality(model: Autoencoder, rgb: np.ndarray, latents: Subbands, erased: torch.Tensor | None) -> float:
    with torch.no_grad():
        return psnr(rgb, model.decode(latents, STEP, erased)[0].round().clamp(0, 255).to(torch.uint8).numpy())


def mean_filled(rgb: np.ndarray, latents: Subbands, erased: torch.Tensor) -> float:
    image = wavelet.inverse(erasure.fill(latents, erased, erasure.mean).map(lambda t: t * STEP))
    return psnr(rgb, image[0].round().clamp(0, 255).to(torch.uint8).numpy())


def test_interpolation_keeps_received_tokens_and_fills_in_the_others():
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(17.0), indexing="ij")
    low = torch.stack((x, y, x + y), -1)[None]
    erased = erasure.random_erasure(1, 12, 17, 0.4, torch.Generator().manual_seed(0))
    filled = erasure.interpolated(low, erased)
    assert (filled[~erased] == low[~erased]).all()
    error = (filled - low)[erased].abs()
    assert error.mean() < 0.8 and error.max() < 6
    assert (erasure.interpolated(low, torch.ones_like(erased)) == 0).all()
    assert (erasure.interpolated(low, torch.zeros_like(erased)) == low).all()


def test_the_share_that_is_erased():
    for share in (0, 0.1, 0.5, 1):
        assert erasure.random_erasure(2, 8, 8, share).sum((1, 2)).tolist() == [round(64 * share)] * 2


@pytest.mark.parametrize("name", ["swin", "beit"])
def test_the_values_of_erased_tokens_do_not_matter(name, rgb):
    """And all tokens of a window may be erased."""
    torch.manual_seed(0)
    model = untrained(name)
    for p in model.synthesis.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.02)
    latents = latents_of(model, rgb)
    erased = erasure.random_erasure(1, 16, 16, 0.3, torch.Generator().manual_seed(1))
    other = Subbands(latents.low.masked_fill(erased[..., None], 99), latents.details)
    with torch.no_grad():
        assert (model.decode(latents, STEP, erased) == model.decode(other, STEP, erased)).all()
        assert model.decode(latents, STEP, torch.ones_like(erased)).isfinite().all()
        assert (model.decode(latents, STEP, torch.zeros_like(erased)) - model.decode(latents, STEP)).abs().max() < 1e-3


def test_gradients_reach_the_mask_token():
    model = untrained("beit")
    torch.nn.init.normal_(model.synthesis.leave.weight, std=0.02)
    for query in model.synthesis.queries:
        torch.nn.init.normal_(query.block.proj.weight, std=0.02)
    image = 255 * torch.rand(1, 64, 64, 3)
    erased = erasure.random_erasure(1, 4, 4, 0.5)
    model.decode(model.encode(image, STEP), STEP, erased).square().mean().backward()
    assert model.synthesis.enter.mask_token.grad.any() and model.synthesis.nothing.grad.any()


def test_erasing_the_cheapest_tokens_costs_less_than_erasing_at_random(rgb):
    model = untrained("beit")
    latents = latents_of(model, rgb)
    erased = erasure.cheapest_to_erase(model, latents, STEP, 0.7)
    assert erased.sum() == round(0.3 * erased.numel())
    at_random = erasure.random_erasure(1, 16, 16, 0.3, torch.Generator().manual_seed(0))
    assert quality(model, rgb, latents, erased) > quality(model, rgb, latents, at_random) + 2


def test_tokens_of_regions_are_kept_first(rgb):
    model = untrained("beit")
    latents = latents_of(model, rgb)
    first = torch.zeros(1, 16, 16, dtype=torch.bool)
    first[:, 3:9, 2:14] = True
    erased = erasure.cheapest_to_erase(model, latents, STEP, 0.5, first)
    assert erased.sum() == 128 and not erased[first].any()
    most = erasure.cheapest_to_erase(model, latents, STEP, 0.2, first)
    assert most.sum() == 205 and most[~first].all(), "only when no others are left"


# ---- whole files


@pytest.fixture(scope="module")
def codec(floating) -> Codec:
    return floating


@pytest.fixture(scope="module")
def filler(tmp_path_factory) -> Codec:
    """A codec that can fill in tokens: an untrained beit with the entropy coding and the gains of cnn."""
    config, folder = registry.find("cnn"), tmp_path_factory.mktemp("beit")
    trained, model = loading.load_floats(config)
    start = untrained("beit").requires_grad_(False)
    start.load_state_dict({"gain": trained.gain, "inverse_gain": trained.inverse_gain}, strict=False)
    write_folder(replace(config, folder=folder, family="beit", transform=start.settings), start, model)
    return Codec.from_pretrained(f"local-dir:{folder}", "cpu")


@pytest.mark.parametrize("tile", [None, 128])
def test_erased_tokens_of_a_file_are_filled_in(filler, rgb, tile):
    picture = Picture(rgb[:200, :230])
    whole = filler.encode(picture, quality=60, effort=1, tile=tile)
    half = filler.encode(picture, quality=60, effort=1, tile=tile, keep_tokens=0.5)
    assert len(half) < 0.95 * len(whole)
    erased = unpack_erasures(container.unpack(half)).by_encoder
    assert erased.shape == (14, 16) and erased.sum() == erased.size // 2
    assert psnr(picture.rgb, filler.decode(half).rgb) > 18
    # received tokens are better, though their neighbours' wavelets reach into them
    received = (~erased).repeat(16, 0).repeat(16, 1)[:200, :230]
    decoded = filler.decode(half).rgb
    kept, filled = (psnr(picture.rgb[place][None], decoded[place][None]) for place in (received, ~received))
    assert kept > filled + 2
    reduced = filler.decode(half, reduce=2).rgb
    assert psnr(filler.decode(whole, reduce=2).rgb, reduced) > 18
    part = filler.decode(half, region=Region(100, 60, 90, 100)).rgb
    assert np.abs(part.astype(int) - filler.decode(half).rgb[60:160, 100:190]).max() <= 1


@pytest.mark.parametrize("offset", ["+0", "+20"])
def test_with_regions_their_tokens_are_kept_first(filler, rgb, offset):
    """Where the tiles have one quality, and where they have two."""
    picture, box = Picture(rgb[:160, :160]), Region(20, 30, 60, 50)
    data = filler.encode(picture, quality=60, effort=1, keep_tokens=0.6, roi=[box], roi_quality=offset, tile=128)
    erased = unpack_erasures(container.unpack(data)).by_encoder
    assert not erased[1:5, 1:5].any() and erased.mean() == pytest.approx(0.4, abs=0.04)
    assert filler.decode(data).rgb.shape == picture.rgb.shape


def test_received_tokens_are_read_back_as_written(filler, rgb):
    tokens = latents_of(filler.autoencoder, rgb).map(lambda t: t.int().numpy())
    erased = erasure.random_erasure(1, 16, 16, 0.4, torch.Generator().manual_seed(3)).numpy()
    entropy = filler._coder.decoder.entropy
    point = entropy.point(50)
    payloads, coded = entropy.encode(tokens, point, erased)
    read = entropy.decode(payloads, point, 16, 16, erased=erased)
    for a, b, before in read.zip(coded, tokens):
        assert (a == b).all()
        received = ~erased.repeat(a.shape[1] // 16, 1).repeat(a.shape[2] // 16, 2)
        assert (a[received] == before[received]).all()


def test_which_models_can_erase_tokens_and_how_many(filler, codec, rgb):
    picture = Picture(rgb[:64, :64])
    with pytest.raises(UsageError, match="-m beit"):
        codec.encode(picture, effort=1, keep_tokens=0.5)
    for share in (0, -1, 1.5):
        with pytest.raises(UsageError, match="share"):
            filler.encode(picture, effort=1, keep_tokens=share)
    assert filler.encode(picture, effort=1, keep_tokens=1) == filler.encode(picture, effort=1)


def test_a_mask_of_the_wrong_size_is_refused(filler, rgb):
    contents = container.unpack(filler.encode(Picture(rgb[:64, :64]), effort=1, keep_tokens=0.5))
    for mask in (b"", contents.metadata["MASK"] + b"x"):
        contents.metadata["MASK"] = mask
        with pytest.raises(FormatError, match="mask"):
            filler.decode(container.pack(contents))


@pytest.mark.parametrize("kind", ["filler", "codec"])
def test_a_file_may_say_that_all_tokens_are_erased(kind, request):
    """No encoder writes that; any model decodes it."""
    codec = request.getfixturevalue(kind)
    header = codec._coder.encoder.header(Picture(np.zeros((40, 70, 3), np.uint8)), EncodeOptions())
    nothing = dict.fromkeys(container.payload_order(header), b"")
    decoded = codec.decode(container.pack(Contents(header, {"MASK": b"\xff" * 3}, nothing))).rgb
    assert decoded.shape == (40, 70, 3) and 100 < decoded.mean() < 156


@pytest.mark.parametrize("kind", ["filler", "codec"])
def test_a_tile_that_was_not_received_is_filled_in_from_its_neighbours(kind, rgb, request):
    which = request.getfixturevalue(kind)
    data = which.encode(Picture(rgb), quality=60, effort=1, tile=128)
    broken = bytearray(data)
    first = next(chunk for chunk in container.describe(data).chunks if chunk.type == "TOKL")
    broken[first.offset + 6] ^= 1
    found = salvage.unpack(bytes(broken))
    assert found.contents.erased == {(0, 0)} and found.damage == ["erased: the low band in 1 of 4 tiles"]
    before, after = which.decode(data).rgb, which.decode(found.contents).rgb
    assert psnr(before[128:, 128:], after[128:, 128:]) > 30
    tile = before[:128, :128]
    assert psnr(tile, after[:128, :128]) > psnr(tile, np.full_like(tile, 128)) + 1


def test_without_the_mask_nothing_is_salvaged(filler, rgb):
    data = filler.encode(Picture(rgb[:64, :64]), effort=1, keep_tokens=0.5)
    mask = next(chunk for chunk in container.describe(data).chunks if chunk.type == "MASK")
    broken = bytearray(data)
    broken[mask.offset + mask.size - 1] ^= 1
    with pytest.raises(FormatError, match="the mask of erased tokens"):
        salvage.unpack(bytes(broken))


@pytest.mark.skipif(not TRAINED, reason="no weights of the beit family are installed")
def test_trained_weights_win_over_mean_filling(rgb):
    """And are about as good as the interpolation that they start from, which does most of it: docs/families.md."""
    model, _ = loading.load_floats(TRAINED[0])
    latents = latents_of(model, rgb)
    start = untrained("beit")
    gains = {"gain": model.gain, "inverse_gain": model.inverse_gain}
    start.load_state_dict(gains, strict=False)
    for share in (0.1, 0.3, 0.5):
        erased = erasure.random_erasure(1, 16, 16, share, torch.Generator().manual_seed(0))
        ours = quality(model, rgb, latents, erased)
        assert ours > mean_filled(rgb, latents, erased) + 1
        assert ours > quality(start, rgb, latents, erased) - 0.3
    assert quality(model, rgb, latents, None) > quality(model, rgb, latents, erasure.random_erasure(1, 16, 16, 0.1))
