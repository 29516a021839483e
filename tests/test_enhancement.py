"""The enhancement of pixels: the same numbers on every engine, what files say of it, and that training finds one."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from vitcodec import Codec, enhancement, fixed_point
from vitcodec.bitstream import container
from vitcodec.bitstream.header import Header, pack_header, parse_header
from vitcodec.dequantiser import STEP_FACTOR_BITS, Dequantiser, log_table
from vitcodec.engines.onnx import OnnxEngine
from vitcodec.engines.reference import ReferenceEngine
from vitcodec.engines.torch import TorchEngine
from vitcodec.enhancement import Enhancement
from vitcodec.errors import FormatError, UnsupportedError, WeightsError
from vitcodec.integer.enhancement import FEATURES, PIXELS, block_name, enhancement_network, fits, reach
from vitcodec.integer.layers import LARGEST, WEIGHT_LIMIT, Layer
from vitcodec.integer.onnx_ops import graph_of
from vitcodec.picture import Picture
from vitcodec.pipeline import loading
from vitcodec.pretrained import registry
from vitcodec.pretrained.config import CONFIG, PretrainedConfig, parts_of
from vitcodec.pretrained.enhancements import add_enhancement, read_enhancement
from vitcodec.quality import step_of
from vitcodec.training.enhancement import (
    EnhancementNet,
    RoundedEnhancement,
    features,
    from_sites,
    measure_scales,
    planes_of,
    sizes,
    to_sites,
)


def small_layers(rng, width, blocks, limit=20):
    """Random layers whose maps neither vanish nor overflow."""

    def layer(outputs, inputs, size, signs):
        weight = rng.integers(-limit, limit + 1, (outputs, size, size, inputs)).astype(np.int8)
        shift = np.full(outputs, round(np.log2(limit * (size * size * inputs) ** 0.5)), np.uint8)
        return Layer(weight, rng.integers(-900, 900, outputs).astype(np.int32), shift, *signs)

    found = {"enter": layer(width, FEATURES, 3, (True, False))}
    found |= {block_name(k): layer(width, width, 3, (False, True)) for k in range(blocks)}
    return found | {"leave": layer(PIXELS, width, 1, (False, True))}


def dequantiser():
    steps = np.rint([step_of(q) * (1 << STEP_FACTOR_BITS) for q in range(1, 101)]).astype(np.int32)
    return Dequantiser(np.ones((100, 5, 9), np.int32), steps, np.arange(100, dtype=np.uint8), log_table())


def some_planes(rng, height, width, spread=900):
    smooth = np.cumsum(np.cumsum(rng.normal(0, 3, (3, height, width)), 1), 2)
    return np.rint(smooth + rng.normal(0, spread, smooth.shape)).astype(np.int32)


@pytest.fixture(scope="module")
def enhanced(tmp_path_factory):
    """A folder of `swin` with a random enhancement."""
    folder = tmp_path_factory.mktemp("models") / "swin"
    shutil.copytree(registry.find("swin").folder, folder)
    config = json.loads((folder / CONFIG).read_text())
    config.pop("enhancements", None)
    (folder / CONFIG).write_text(json.dumps(config))
    for path in folder.glob("enhancement-*"):
        path.unlink()
    assert add_enhancement(folder, small_layers(np.random.default_rng(0), 16, 2)) == 1
    return folder


@pytest.fixture(scope="module")
def codec(enhanced):
    return Codec.from_pretrained(f"local-dir:{enhanced}", device="cpu")


def photo(height=96, width=128):
    rng = np.random.default_rng(3)
    rgb = some_planes(rng, height, width, 200).transpose(1, 2, 0) / 20 + 120
    return Picture(np.clip(rgb, 0, 255).astype(np.uint8))


def test_every_engine_gives_the_same_numbers():
    rng = np.random.default_rng(1)
    for limit in (20, WEIGHT_LIMIT):
        layers = small_layers(rng, 32, 3, limit)
        x = rng.integers(0, 256, (1, 13, 18, FEATURES)).astype(np.uint8)
        x[:, :5] = 255
        network = enhancement_network(layers)
        wanted = ReferenceEngine({"e": network}).run("e", x)[0]
        assert wanted.std() > 1
        for engine in (OnnxEngine({"e": graph_of(network)}), TorchEngine({"e": network})):
            np.testing.assert_array_equal(engine.run("e", x)[0], wanted)


def test_the_features_are_pixels_contrasts_and_the_quality():
    rng, numbers = np.random.default_rng(2), dequantiser()
    one = Enhancement(lambda x: [x], 3, numbers)
    planes = some_planes(rng, 24, 32)
    for quality in (1, 30, 100):
        found = one.features(planes, np.array([[[quality]]]))[0].astype(int) - 128
        levels = torch.from_numpy(planes[:, 2:-2, 2:-2] / 2**fixed_point.FRACTION_BITS).float()[None]
        step = torch.tensor([float(numbers.steps[quality - 1]) / (1 << STEP_FACTOR_BITS)])
        place = torch.tensor([float(numbers.positions[quality - 1]) - 128])
        wanted = features(levels, step, place)[0].permute(1, 2, 0).numpy()
        # training repeats the pixels at the border of a crop, where decoding knows those beyond
        assert np.abs(found - wanted)[1:-1, 1:-1].max() <= 0.51 + 0.01 * 128 / step.item()


def test_the_quality_of_every_pixel_counts():
    rng, numbers = np.random.default_rng(4), dequantiser()
    layers = small_layers(rng, 8, 1)
    engine = ReferenceEngine({"e": enhancement_network(layers)})
    one = Enhancement(lambda x: engine.run("e", x), reach(layers), numbers)
    r = one.reach
    planes = some_planes(rng, 24 + 2 * r, 16 + 2 * r)
    shape = (planes.shape[1] // 2, planes.shape[2] // 2)
    same = one(planes, np.full(shape, 40))
    np.testing.assert_array_equal(same, one(planes, np.array([[40]])))
    halves = np.full(shape, 40)
    halves[:, shape[1] // 2 :] = 80
    both = one(planes, halves)
    far = 2 * one.sites
    assert (both[:, :, : 8 - far] == same[:, :, : 8 - far]).all()
    assert (both[:, :, 8:] != same[:, :, 8:]).any()


def test_the_header_holds_its_number():
    header = Header(640, 480, 50, False, "swin", bytes(8), 1024)
    for number in range(8):
        packed = pack_header(replace(header, enhancement=number))
        assert parse_header(container.Reader(packed, "x"))[0].enhancement == number
        assert len(packed) == len(pack_header(header))
    with pytest.raises(ValueError, match="enhancement 8"):
        replace(header, enhancement=8)
    with pytest.raises(ValueError, match="lossless"):
        Header(640, 480, 0, False, "", b"", 1024, 1)


def with_number(data, number):
    contents = container.unpack(data)
    contents.header = replace(contents.header, enhancement=number)
    return container.pack(contents)


def test_files_say_that_their_pixels_are_enhanced(codec, monkeypatch):
    data = with_number(codec.encode(photo(), quality=20, effort=1), 1)
    shown = codec.decode(data).rgb
    contents = container.unpack(with_number(data, 0))
    plain = codec.decode(container.pack(contents)).rgb
    assert (shown != plain).any()
    np.testing.assert_array_equal(codec.decode(codec.decompress(data)).rgb, shown)

    def no_onnxruntime(*_):
        raise WeightsError("not today")

    monkeypatch.setattr(loading, "_on_onnxruntime", no_onnxruntime)
    on_torch = Codec.from_pretrained(f"local-dir:{codec.config.folder}", device="cpu", threads=2)
    assert "torch" in repr(on_torch)
    np.testing.assert_array_equal(on_torch.decode(data).rgb, shown)
    # a smaller picture is made without the network, and without what comes after it
    small = codec.decode(data, reduce=1).rgb
    np.testing.assert_array_equal(small, codec.decode(container.pack(contents), reduce=1).rgb)


def test_a_file_whose_enhancement_is_not_there_says_what_to_do(codec):
    data = codec.encode(photo(64, 64), quality=20, effort=1)
    with pytest.raises(UnsupportedError, match=r"enhancement 5 .* upgrade"):
        codec.decode(with_number(data, 5))
    cnn = Codec.from_pretrained("cnn", device="cpu")
    data = cnn.encode(photo(64, 64), quality=20, effort=1)
    with pytest.raises(UnsupportedError, match="enhancement 1"):
        cnn.decode(with_number(data, 1))


@pytest.mark.parametrize("effort", [1, 3])
@pytest.mark.parametrize("size", [(40, 30), (300, 200)])
def test_the_encoder_asks_for_it_where_it_helps(codec, monkeypatch, effort, size):
    """One that knows the colour of a picture, and one that does not."""
    transform = codec._coder.encoder.searches.transform
    picture = Picture(np.full((*size, 3), (77, 130, 21), np.uint8))
    right = np.rint(planes_of(torch.from_numpy(picture.rgb[None, :1, :1]))[0].numpy() * 32).astype(np.int32)
    for colour, number in ((right, 1), (right + 500, 0)):
        known = Known(transform.dequantiser, colour)
        monkeypatch.setattr(type(transform), "enhancement", lambda *_, known=known: known)
        data = codec.encode(picture, quality=5, effort=effort, coding="tokens")
        assert container.unpack(data).header.enhancement == number


class Known(Enhancement):
    """Paints everything in one colour, planes (3, 1, 1)."""

    def __init__(self, numbers, colour):
        super().__init__(lambda x: [x], 1, numbers)
        object.__setattr__(self, "colour", colour)

    def __call__(self, planes, qualities):
        return np.broadcast_to(self.colour, planes[:, self.reach : -self.reach, self.reach : -self.reach].shape)


def test_reserved_flags_are_refused_as_before(codec):
    data = bytearray(codec.encode(photo(64, 64), quality=20, effort=1))
    at = data.index(b"HEAD") + 4 + 1 + 1 + 1 + 1  # length, width, height, quality
    for bit in (1, 6, 7):
        packed = bytearray(pack_header(container.unpack(bytes(data)).header))
        packed[3] |= 1 << bit
        with pytest.raises(UnsupportedError, match="flags"):
            parse_header(container.Reader(bytes(packed), "x"))
    assert at < len(data)


@pytest.mark.parametrize("damage", ["changed", "missing", "other layers", "hash"])
def test_a_damaged_enhancement_is_never_used(enhanced, tmp_path, damage):
    folder = tmp_path / "swin"
    shutil.copytree(enhanced, folder)
    config = PretrainedConfig.read(folder)
    path = config.enhancement(1)
    if damage == "changed":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif damage == "missing":
        path.unlink()
    elif damage == "other layers":
        layers = small_layers(np.random.default_rng(0), 16, 2)
        layers["leave"] = small_layers(np.random.default_rng(0), 16, 2, limit=9)["enter"]
        layers["leave"] = replace(layers["leave"], weight=layers["leave"].weight[:, 1:2, 1:2, :16], signed_input=False)
        assert not fits(layers)
        add_enhancement(folder, layers)
        config = PretrainedConfig.read(folder)
        with pytest.raises(WeightsError, match="another network"):
            read_enhancement(config, 2)
        return
    else:
        text = json.loads((folder / CONFIG).read_text())
        text["enhancements"] = ["00" * 32]
        (folder / CONFIG).write_text(json.dumps(text))
    with pytest.raises(WeightsError, match=r"enhancement-1\.safetensors.*reinstall"):
        read_enhancement(PretrainedConfig.read(folder), 1)
    with pytest.raises(WeightsError, match="reinstall"):
        registry.verify_all(PretrainedConfig.read(folder))


def test_it_goes_wherever_its_model_goes(codec, tmp_path):
    """To another folder, and to the hub and back."""
    codec.save_pretrained(tmp_path / "copy")
    config = PretrainedConfig.read(tmp_path / "copy")
    registry.verify_all(config)
    assert read_enhancement(config, 1).layers.keys() == {"enter", "block0", "block1", "leave"}
    assert parts_of(tmp_path / "copy" / CONFIG) == ["model.safetensors", "enhancement-1.safetensors"]


def test_training_takes_off_what_is_to_be_taken_off():
    """Planes with a pattern of each 2x2 pixels: in floating point, rounded, and as it is stored."""
    torch.manual_seed(0)
    net, step, place = EnhancementNet(8, 1), torch.tensor([20.0, 20.0]), torch.tensor([3.0, 3.0])
    pattern = torch.tensor([[4.0, -4], [-4, 4]]).tile(16, 16)

    def pictures():
        clean = torch.rand(2, 3, 1, 1).mul(100).sub(50).expand(-1, -1, 32, 32)
        return clean + pattern * 2, clean

    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(150):
        noisy, clean = pictures()
        loss = (noisy + net(noisy, step, place) - clean).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    noisy, clean = pictures()
    rounded = RoundedEnhancement(net, measure_scales(net, [(noisy, step, place)]))
    with torch.no_grad():
        left = [(noisy + n(noisy, step, place) - clean).square().mean().item() for n in (net, rounded)]
    assert max(left) < 0.2 * (noisy - clean).square().mean().item()
    layers = rounded.export()
    assert fits(layers)
    assert sizes(net.state_dict()) == (8, 1)
    engine = ReferenceEngine({"e": enhancement_network(layers)})
    x = torch.round(features(noisy[:1], step[:1], place[:1])).permute(0, 2, 3, 1) + 128
    sums = torch.from_numpy(engine.run("e", x.numpy().astype(np.uint8))[0]).float()
    stored = from_sites(sums.permute(0, 3, 1, 2)) * step[0] / 1024
    with torch.no_grad():
        np.testing.assert_allclose(stored, rounded(noisy[:1], step[:1], place[:1]), atol=1 / 32)


def test_sites_and_back():
    planes = torch.randn(2, 3, 8, 12)
    np.testing.assert_array_equal(from_sites(to_sites(planes)), planes)
    one = enhancement._in_sites(planes[0].numpy())[0]
    np.testing.assert_array_equal(to_sites(planes)[0].permute(1, 2, 0), one)


def test_the_largest_numbers_stay_in_range():
    """Pixels far out of range, at the finest step: nothing wraps."""
    one = Enhancement(lambda x: [x], 3, dequantiser())
    planes = np.full((3, 16, 16), 1 << 20, np.int32)
    planes[:, ::2, ::2] = -(1 << 20)
    found = one.features(planes, np.array([[[100]]]))
    assert set(np.unique(found[..., PIXELS:-1])) == {0, LARGEST[False]}


def test_damage_in_the_header_is_seen(codec):
    data = bytearray(codec.encode(photo(64, 64), quality=20, effort=1))
    data[20] ^= 8
    with pytest.raises((FormatError, UnsupportedError)):
        codec.decode(bytes(data))
