"""Families in floating point: exact tokens, pixels by torch, the search by the true gradient."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_rgb
from small_model import write_small_family

from vitcodec import wavelet
from vitcodec.analysis import COLOUR
from vitcodec.bitstream import container, salvage
from vitcodec.codec import Codec
from vitcodec.coding.groups import CHROMA, LUMA
from vitcodec.distortion import MultiScaleSSIM, PixelGradient, SquaredError
from vitcodec.errors import UsageError, WeightsError
from vitcodec.metrics import psnr
from vitcodec.options import EncodeOptions
from vitcodec.picture import Picture
from vitcodec.pretrained import loading
from vitcodec.pretrained.config import PretrainedConfig
from vitcodec.quality import lagrangian
from vitcodec.regions import Plan
from vitcodec.search import pixel_error
from vitcodec.search.efforts import FLOAT_EFFORTS
from vitcodec.search.importance import Perceived, band_weights, place_weights
from vitcodec.search.measures import Target
from vitcodec.search.tuning import MS_SSIM
from vitcodec.subbands import Subbands
from vitcodec.tiles import Area, Region, TileGrid

CNN = {"widths": (16, 16, 16), "blocks": (1, 1, 1)}
BEIT = {"width": 32, "blocks": 1, "decoder_width": 32, "memory_blocks": 1, "decoder_blocks": 1, "window": 4}
TOKENS = {"coding": "tokens"}


def load(folder: Path, *arguments) -> Codec:
    write_small_family(folder, *arguments)
    return Codec.from_pretrained(f"local-dir:{folder}", "cpu")


@pytest.fixture(scope="module")
def cnn(tmp_path_factory) -> Codec:
    codec = load(tmp_path_factory.mktemp("cnn"), "cnn", CNN)
    codec.autoencoder.tile = 128
    return codec


@pytest.fixture(scope="module")
def beit(tmp_path_factory) -> Codec:
    return load(tmp_path_factory.mktemp("beit"), "beit", BEIT)


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    return make_rgb(200, 150, seed=2)


@pytest.fixture(scope="module")
def target(rgb) -> Target:
    bands = wavelet.forward(torch.from_numpy(rgb[:64, :96]).float()[None])
    bands = bands.map(lambda t: (t / 20).numpy())
    return Target(bands, bands, 47, [Area(0, 0, 4, 6)])


def equal(a: Subbands, b: Subbands) -> bool:
    return all(np.array_equal(x, y) for x, y in a.zip(b))


@pytest.mark.parametrize("effort", [1, 2])
def test_a_file_is_read_back_as_it_was_written(cnn, rgb, effort):
    picture = Picture(rgb, alpha=rgb[..., 0].copy())
    data = cnn.encode(picture, quality=60, effort=effort, **TOKENS)
    assert cnn.engine == "torch"
    tokens = cnn.decompress(data).bands
    assert equal(tokens, cnn.encode_tokens(picture, quality=60, effort=effort).bands)
    decoded = cnn.decode(data)
    with torch.no_grad():
        floats = tokens.map(lambda t: torch.from_numpy(t).float())
        wanted = cnn.autoencoder.decode(floats, cnn.autoencoder.steps[59:60])[0].round().clamp(0, 255).numpy()
    assert np.abs(decoded.rgb - wanted[:150, :200]).max() <= 1 and np.array_equal(decoded.alpha, picture.alpha)


@pytest.mark.parametrize("reduce", [0, 2])
def test_a_region_is_a_part_of_the_whole(cnn, rgb, reduce):
    data = cnn.encode(Picture(np.tile(rgb, (2, 2, 1))), quality=60, effort=1, tile=128, **TOKENS)
    whole, region = cnn.decode(data, reduce=reduce).rgb, Region(140, 90, 60, 80)
    part, shown = cnn.decode(data, reduce=reduce, region=region).rgb, region.reduced(reduce)
    expected = whole[shown.y : shown.y + shown.height, shown.x : shown.x + shown.width]
    assert part.shape == expected.shape and np.abs(part.astype(int) - expected).max() <= 1


def test_a_gray_picture_stays_gray(cnn, rgb):
    gray = Picture(rgb[..., :1].repeat(3, -1), gray=True)
    decoded = cnn.decode(cnn.encode(gray, quality=60, effort=1, **TOKENS))
    assert decoded.gray and (decoded.rgb[..., 0] == decoded.rgb[..., 2]).all()


def test_the_search_lowers_the_cost(cnn, target):
    search = cnn._coder.encoder.searches.search(2)
    before = target.latents.map(lambda t: np.rint(t).astype(np.int32))
    assert search.evaluate(target, search(target, before)).cost < search.evaluate(target, before).cost
    assert [config.gradients for config in FLOAT_EFFORTS.values()] == [0, 1, 2, 3, 4, 6, 10, 20, 40]


def test_tiles_may_have_qualities_of_their_own(cnn, rgb):
    picture = Picture(np.tile(rgb[:128, :128], (1, 2, 1)))
    options = EncodeOptions(50, tile=128, effort=1, **TOKENS)
    plan = Plan(TileGrid(256, 128, 128), np.array([20, 90]))
    mixed = container.pack(cnn._coder.encoder._encode_tokens(picture, options, plan))
    decoded = cnn.decode(mixed).rgb
    errors = [psnr(picture.rgb[:, part], decoded[:, part]) for part in (slice(0, 120), slice(136, 256))]
    assert errors[1] > errors[0] + 5
    for quality, part in ((20, slice(0, 112)), (90, slice(144, 256))):
        alone = cnn.decode(cnn.encode(picture, quality=quality, tile=128, effort=1, **TOKENS)).rgb
        assert psnr(alone[:, part], decoded[:, part]) > 38
    reduced = cnn.decode(mixed, reduce=2).rgb
    assert reduced.shape == (32, 64, 3) and psnr(reduced, picture.rgb[2::4, 2::4]) > 18


def test_erased_tokens_are_filled_in(beit, cnn, rgb):
    picture = Picture(rgb)
    for effort in (1, 2):
        whole, half = (beit.encode(picture, quality=60, effort=effort, keep_tokens=k, **TOKENS) for k in (1, 0.5))
        assert len(half) < 0.95 * len(whole) and psnr(rgb, beit.decode(half).rgb) > 18
    assert psnr(beit.decode(whole, reduce=2).rgb, beit.decode(half, reduce=2).rgb) > 18
    part = beit.decode(half, region=Region(100, 60, 90, 80)).rgb
    assert np.abs(part.astype(int) - beit.decode(half).rgb[60:140, 100:190]).max() <= 1
    # one that knows nothing of erased tokens gets them interpolated, but writes none
    with pytest.raises(UsageError, match="-m beit"):
        cnn.encode(picture, effort=1, keep_tokens=0.5)


def test_a_tile_that_was_not_received_is_filled_in(cnn):
    rgb = np.full((150, 200, 3), (200, 120, 60), np.uint8)
    broken = bytearray(cnn.encode(Picture(rgb), quality=60, effort=1, tile=128, **TOKENS))
    chunk = next(chunk for chunk in container.describe(bytes(broken)).chunks if chunk.type == "TOKL")
    broken[chunk.offset + 6] ^= 1
    found = salvage.unpack(bytes(broken)).contents
    assert found.erased == {(0, 0)} and psnr(rgb, cnn.decode(found).rgb) > 25


def noise(target, rng):
    return target.original.map(lambda t: rng.normal(0, 0.3, t.shape).astype(np.float32))


def test_the_squared_error_is_perceived_as_what_it_is(cnn, target):
    evaluate = cnn._coder.encoder.searches.search(2).evaluate
    errors, step = noise(target, np.random.default_rng(0)), evaluate.step(target.quality)
    slope = PixelGradient(SquaredError())
    with torch.no_grad():  # as an export calls it
        perceived = Perceived(slope, target, errors, step)
        original, pixels = (pixel_error.in_pixels(bands) for bands in (target.original, errors))
        assert np.allclose(slope(original, pixels, step), pixels, atol=1e-3)
    weighed = perceived.target
    assert np.allclose(weighed.pixel_weights, 1, atol=1e-3) and np.allclose(weighed.band_weights, 1, atol=1e-3)
    tokens = target.latents.map(lambda t: np.rint(t).astype(np.int32))
    plain, state = evaluate(target, tokens), evaluate(weighed, tokens)
    perceived.steered(state)  # the slope at the errors above
    assert state.distortion == pytest.approx(plain.distortion, rel=1e-3)
    assert all(np.allclose(a, b, atol=0.01) for a, b in perceived.steered(state).felt.zip(plain.felt))


def test_a_third_of_the_slope_counts(cnn, target):
    evaluate = cnn._coder.encoder.searches.search(2).evaluate
    errors, step = noise(target, np.random.default_rng(0)), evaluate.step(target.quality)
    seen = []

    def flat(original, error, step):
        seen.append(error)
        return np.zeros_like(error)

    perceived = Perceived(flat, target, errors, step)
    state = evaluate(perceived.target, target.latents.map(lambda t: np.rint(t).astype(np.int32)))
    for count in (1, 2):  # the slope of the first state is known, that of the second is asked for
        steered = perceived.steered(state)
        assert len(seen) == count and steered.pixels is state.pixels
        assert all(np.allclose(a, b * 2 / 3, atol=1e-6) for a, b in steered.felt.zip(state.felt))
    assert np.array_equal(seen[1], state.pixels.astype(np.float32))


class Uneven(SquaredError):
    """A squared error that weighs the left half four times, and brightness three times."""

    def bits_per_pixel(self, image, decoded, step, erased=None):
        where = torch.ones(image.shape[1:3])
        where[:, : image.shape[2] // 2] = 4.0
        colours = ((image - decoded) @ torch.from_numpy(COLOUR.T)) * torch.tensor([3.0, 1, 1]).sqrt()
        return (where[None, ..., None] * colours.square()).sum((1, 2, 3)) * lagrangian(step) / where.numel()


def test_places_and_bands_weigh_as_the_distortion_does(cnn, target):
    evaluate = cnn._coder.encoder.searches.search(2).evaluate
    errors, step = noise(target, np.random.default_rng(0)), evaluate.step(target.quality)
    found = Perceived(PixelGradient(Uneven()), target, errors, step).target
    middle = found.pixel_weights.shape[1] // 2
    left, right = found.pixel_weights[:, : middle - 16].mean(), found.pixel_weights[:, middle + 16 :].mean()
    assert left / right == pytest.approx(4, rel=0.05)
    luma, chroma = found.band_weights[1:, LUMA].mean(), found.band_weights[1:, CHROMA].mean()
    assert luma / chroma == pytest.approx(3, rel=0.05) and found.band_weights.dtype == np.float32
    # regions of interest weigh in addition
    half = np.full(found.pixel_weights.shape, 0.5, np.float32)
    other = Perceived(PixelGradient(Uneven()), replace(target, pixel_weights=half), errors, step).target
    assert np.allclose(other.pixel_weights, found.pixel_weights / 2, rtol=1e-3)


def test_bands_weigh_a_state_as_places_do(cnn, target):
    """A weight of 2 of every band is one of every pixel."""
    evaluate = cnn._coder.encoder.searches.search(2).evaluate
    tokens = target.latents.map(lambda t: np.rint(t).astype(np.int32))
    ones = np.ones([16 * n for n in target.original.grid], np.float32)
    by_band, by_place = (
        evaluate(replace(target, pixel_weights=ones * a, band_weights=np.full((5, 9), b, np.float32)), tokens)
        for a, b in ((1, 2), (2, 1))
    )
    assert by_band.distortion == pytest.approx(by_place.distortion)
    assert by_band.distortion == pytest.approx(2 * evaluate(target, tokens).distortion)
    assert all(np.allclose(a, b, atol=1e-4) for a, b in by_band.felt.zip(by_place.felt))
    weights = evaluate.weights(target.quality)
    for a, b in zip(*(weights.curvature_at(state.curvature) for state in (by_band, by_place)), strict=True):
        assert np.allclose(a, b)


def test_a_model_for_ms_ssim_is_searched_for_ms_ssim(tmp_path, rgb):
    codec = load(tmp_path, "cnn", CNN, "ms-ssim")
    search, plain = codec._coder.encoder.searches.search(2), codec._coder.encoder.searches.search(1)
    assert search.evaluate.tuning is MS_SSIM
    assert isinstance(search.slope.distortion, MultiScaleSSIM)
    image = make_rgb(192, 192, seed=4)
    area = Area(0, 0, 12, 12)
    latents, original = codec._coder.encoder.analysis.with_coefficients(image, area, area, 30)
    target, before = Target(original, latents, 30, [area]), latents.map(lambda t: np.rint(t).astype(np.int32))
    evaluate = search.evaluate
    seen = Perceived(search.slope, target, evaluate.errors(target, before), evaluate.step(30)).target
    assert evaluate(seen, search(target, before)).cost < evaluate(seen, before).cost
    assert plain(target, before) is before
    # what is too small for five scales keeps its tokens
    small = Picture(rgb[:64, :64])
    assert equal(*(codec.encode_tokens(small, effort=effort).bands for effort in (1, 2)))


def test_a_model_for_ssimulacra2_weighs_pixels(tmp_path):
    codec = load(tmp_path, "cnn", CNN, "ssimulacra2")
    search = codec._coder.encoder.searches.search(2)
    texture = np.random.default_rng(0).normal(128, np.where(np.arange(96) < 48, 5, 50)[:, None], (96, 96, 3))
    image, area = texture.clip(0, 255).astype(np.uint8), Area(0, 0, 6, 6)  # faint texture beside strong one
    latents, original = codec._coder.encoder.analysis.with_coefficients(image, area, area, 30)
    target, tokens = Target(original, latents, 30, [area]), latents.map(lambda t: np.rint(t).astype(np.int32))
    evaluate = search.evaluate
    seen = Perceived(search.slope, target, evaluate.errors(target, tokens), evaluate.step(30)).target
    weights = seen.pixel_weights
    assert weights.shape == (96, 96) and weights.dtype == np.float32
    assert weights[:, :32].mean() > 1.5 * weights[:, 64:].mean()
    assert evaluate(seen, search(target, tokens)).cost < evaluate(seen, tokens).cost


def test_what_has_no_error_weighs_evenly():
    nothing = Subbands(np.zeros((1, 2, 2, 3)), tuple(np.zeros((1, 32 >> k, 32 >> k, 9)) for k in range(1, 5)))
    planes = np.zeros((3, 32, 32), np.float32)
    assert (band_weights(planes, planes, nothing) == 1).all()
    assert np.isfinite(place_weights(planes, planes)).all()


def test_large_weights_come_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "PART", 100_000)
    codec = load(tmp_path, "cnn", CNN)
    assert codec.config.parts == len(list(tmp_path.glob("model*.safetensors"))) > 2
    assert not codec.config.integers and codec.config.hashes[0][0] == codec.config.files


def test_weights_that_do_not_fit_are_refused_in_a_line(tmp_path):
    write_small_family(tmp_path, "cnn", CNN)
    config = PretrainedConfig.read(tmp_path)
    object.__setattr__(config, "transform", {"widths": (8, 8, 8)})
    with pytest.raises(WeightsError, match="do not fit together") as found:
        loading.load_floats(config)
    assert "\n" not in str(found.value)
