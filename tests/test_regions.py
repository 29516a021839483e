"""Regions of interest: boxes, masks, COCO's JSON and detectors to the qualities of tiles, in Python and by `encode`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_rgb
from PIL import Image
from small_model import write_small_model
from storing import call, lines, made, one_line

from vitcodec import regions
from vitcodec.bitstream import container
from vitcodec.bitstream.metadata import tile_qualities
from vitcodec.cli import regions as cli_regions
from vitcodec.codec import Codec
from vitcodec.errors import UsageError
from vitcodec.options import EncodeOptions
from vitcodec.picture import Picture
from vitcodec.target import Target, encode
from vitcodec.tiles import Area, Region, TileGrid

SIZE = 300, 140  # 3x2 tiles of 128 pixels


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    write_small_model(folder)
    return folder


@pytest.fixture(scope="module")
def codec(model: Path) -> Codec:
    return Codec.from_pretrained(model, "cpu")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path) -> Path:
    """The working folder, with a.png, where the small model is the default."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VITCODEC_MODEL", str(model))
    monkeypatch.delenv("VITCODEC_DEVICE", raising=False)
    (tmp_path / "photos").mkdir()
    Image.fromarray(make_rgb(*SIZE)).save("photos/a.png")
    return tmp_path


def of(data: bytes) -> list[int]:
    """The qualities of a file's tiles."""
    return tile_qualities(container.unpack(data)).tolist()


def run(*args: Any) -> Any:
    return call("encode", "photos/a.png", "-o", "a.vitc", "--effort", 1, "--device", "cpu", "--overwrite", *args)


# ---- in Python


def test_tiles_that_a_region_touches_are_better(codec: Codec) -> None:
    rgb = make_rgb(*SIZE)
    data = codec.encode(rgb, quality=40, effort=1, roi=[Region(120, 5, 10, 20)], roi_quality=60)
    assert of(data) == [60, 60, 40, 40, 40, 40]
    header = Codec.info(data).header
    assert (header.tile, header.quality) == (128, 60)
    assert codec.decode(data).rgb.shape == rgb.shape
    tokens = codec.encode_tokens(rgb, quality=40, effort=1, roi=[Region(120, 5, 10, 20)], roi_quality=60)
    assert tokens == codec.decompress(data) == codec.decompress(codec.compress(tokens))


def test_qualities_are_absolute_or_offsets() -> None:
    corner, grid = [Region(290, 130, 1, 1)], TileGrid(*SIZE, 128)
    for given, expected in (
        ({}, (70, 50)),
        ({"roi_quality": "-10", "background_quality": "+30"}, (40, 80)),
        ({"roi_quality": 30, "background_quality": "20"}, (30, 20)),
        ({"quality": 95}, (100, 95)),
        ({"quality": 10, "background_quality": "-20"}, (30, 1)),
    ):
        found = regions.tile_qualities(EncodeOptions(roi=corner, **given), grid)
        assert found.tolist() == [expected[1]] * 5 + [expected[0]], given
    for value in ("", "high", "+", 0, 101, "+100", "1.5", "--3"):
        for name in ("roi_quality", "background_quality"):
            with pytest.raises(UsageError, match="quality"):
                EncodeOptions(**{name: value})


def test_one_quality_everywhere_is_a_normal_file(codec: Codec) -> None:
    rgb = make_rgb(*SIZE)
    everywhere = codec.encode(rgb, quality=40, effort=1, roi=[Region(-5, -5, 999, 999)], roi_quality=60)
    assert everywhere == codec.encode(rgb, quality=60, effort=1)
    assert codec.encode(rgb, quality=60, effort=1, roi=[], roi_quality=90) == everywhere


def test_flat_pictures_hold_tokens_and_larger_tiles_are_kept(codec: Codec) -> None:
    flat = np.zeros((140, 300, 3), np.uint8)
    assert Codec.info(codec.encode(flat, effort=1)).header.lossless
    data = codec.encode(flat, effort=1, roi=[Region(0, 0, 1, 1)], tile=256)
    assert of(data) == [70, 50] and Codec.info(data).header.tile == 256


def test_regions_that_cannot_be(codec: Codec) -> None:
    with pytest.raises(UsageError, match=r"region 300,0,5,5 lies outside the picture of 300x140"):
        codec.encode(make_rgb(*SIZE), roi=[Region(300, 0, 5, 5)])
    with pytest.raises(UsageError, match="no area"):
        EncodeOptions(roi=[Region(0, 0, 0, 5)])
    with pytest.raises(UsageError, match="a list of Region"):
        EncodeOptions(roi=[(1, 2, 3)])
    with pytest.raises(UsageError, match="lossless"):
        EncodeOptions(roi=[Region(0, 0, 1, 1)], coding="lossless")
    with pytest.raises(UsageError, match="no area"):
        regions.of_box(5, 5, float("nan"), 3)


def test_a_target_moves_the_base_and_regions_keep_their_offset(codec: Codec) -> None:
    options = EncodeOptions(effort=1, roi=[Region(0, 0, 9, 9)], roi_quality="+30")
    picture = Picture(make_rgb(150, 40))
    size = len(codec.encode(picture, options, quality=35))
    found = encode(codec, picture, Target(size=size), options)
    assert len(found.data) <= size and of(found.data) == [found.quality + 30, found.quality]


def test_tiles_grow_with_the_picture() -> None:
    sides = [regions.tile_side(EncodeOptions(), *size) for size in ((9, 9), (512, 512), (1365, 2048), (9000, 9000))]
    assert sides == [128, 128, 512, 1024] and regions.tile_side(EncodeOptions(tile=256), 9, 9) == 256


def test_parts_are_tiles_of_one_quality_with_what_is_around_them() -> None:
    grid = TileGrid(900, 500, 128)
    plan = regions.plan(EncodeOptions(roi=[Region(300, 5, 1, 1)], tile=128), grid)
    block = Area(0, 0, 32, 56)
    outer, inner = plan.parts(block)
    assert (outer.quality, inner.quality) == (50, 70) and inner.tiles == [2]
    assert inner.area == Area(0, 8, 16, 24) and outer.area == block
    assert sorted([*outer.tiles, *inner.tiles]) == grid.under(block)
    even = regions.plan(EncodeOptions(), grid)
    assert even.parts(block) == [regions.Part(block, 50, grid.under(block))] and even.kept(block, 0.7) == 0.7


def test_pixels_outside_regions_weigh_less() -> None:
    grid = TileGrid(*SIZE, 128)
    plan = regions.plan(EncodeOptions(roi=[Region(40, 30, 20, 10), Region(290, 100, 10, 40)]), grid)
    weights = plan.pixel_weights(Area(0, 0, 10, 20), 0.1)
    assert weights.shape == (160, 320) and weights.dtype == np.float32
    assert (weights[30:40, 40:60] == 1).all() and (weights[100:, 290:] == 1).all(), "padding goes with the last pixels"
    assert weights[0, 0] == weights[80, 50] == np.float32(0.1)
    fall = weights[35, 59:77]
    assert (np.diff(fall) < 0)[:16].all() and fall[8] == pytest.approx(0.1**0.5)
    assert np.array_equal(plan.pixel_weights(Area(2, 4, 4, 6), 0.1), weights[32:96, 64:160])


def test_masks_become_rectangles() -> None:
    mask = np.random.default_rng(0).random((140, 300)) < 0.002
    found = np.zeros(mask.shape, int)
    for x, y, width, height in regions.of_mask(mask, 300, 140):
        found[y : y + height, x : x + width] += 1
    for y in range(0, 140, 16):
        for x in range(0, 300, 16):
            assert (found[y : y + 16, x : x + 16] == mask[y : y + 16, x : x + 16].any()).all()
    assert regions.of_mask(np.ones((140, 300), bool), 300, 140) == [Region(0, 0, 300, 140)]


@pytest.mark.parametrize("effort", [1, 3])
def test_what_is_outside_a_region_takes_few_bits_though_its_tile_is_better(codec: Codec, effort: int) -> None:
    rgb, whole, small = make_rgb(160, 128), Region(0, 0, 128, 128), Region(20, 20, 50, 50)
    options = EncodeOptions(quality=30, roi_quality=70, effort=effort)
    both = [codec.encode(rgb, options, roi=[region]) for region in (whole, small)]
    assert of(both[0]) == of(both[1]) and len(both[1]) < 0.93 * len(both[0])
    errors = [(codec.decode(data).rgb.astype(float) - rgb) ** 2 for data in both]
    inside, outside = np.s_[20:70, 20:70], np.s_[90:128, :128]
    assert errors[1][inside].mean() < 1.2 * errors[0][inside].mean()
    assert errors[1][outside].mean() > 1.3 * errors[0][outside].mean()


# ---- on the command line


def test_boxes_on_the_command_line(folder: Path) -> None:
    result = run("--roi", "0,0,9,9", "--roi", "260,130,99,99", "--roi-quality", "+10", "--background-quality", "-20")
    assert result.exit_code == 0, result.output
    assert "2 regions of quality 60, all else 30" in result.output
    assert of(Path("a.vitc").read_bytes()) == [60, 30, 30, 30, 30, 60]
    (record, _) = lines(run("--roi", "260,130,99,99", "--json"))
    assert record["regions"] == [[260, 130, 40, 10]] and record["quality"] == 50
    said = call("info", "a.vitc").stdout
    assert "quality 50 to 70" in said and "quality 70: 1 tile within 256,128,44,12" in said
    (record, _) = lines(call("info", "a.vitc", "--json"))
    assert record["regions"] == [{"quality": 70, "tiles": 1, "box": [256, 128, 44, 12]}]


def test_regions_that_leave_no_background(folder: Path) -> None:
    result = run("--roi", "0,0,300,130", "--roi-quality", 60)
    assert result.exit_code == 0 and "its regions touch every tile of 128 pixels" in result.output
    assert "quality 60 everywhere" in result.output and of(Path("a.vitc").read_bytes()) == [60]


def test_masks(folder: Path) -> None:
    mask = np.zeros((140, 300), np.uint8)
    mask[139, 130] = 1
    Image.fromarray(mask).save("mask.png")
    assert "a mask of quality 70, all else 50" in run("--roi-mask", "mask.png").output
    assert of(Path("a.vitc").read_bytes()) == [50, 50, 50, 50, 70, 50]
    Image.fromarray(mask * 0).save("mask.png")
    result = run("--roi-mask", "mask.png")
    assert result.exit_code == 0 and "note: photos/a.png: no region was found" in result.output
    Path("a.vitc").unlink()
    Image.fromarray(mask.T).save("mask.png")
    one_line(run("--roi-mask", "mask.png"), 1, "photos/a.png", "the mask has 140x300 pixels, the picture 300x140")
    one_line(run("--roi-mask", "none.png"), 1, "none.png")
    assert not [name for name in made() if name.endswith(".vitc")]


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (["--roi", "1,2,3"], "--roi '1,2,3' is not understood"),
        (["--roi", "1,2,0,4"], "with an area"),
        (["--roi", "300,0,5,5"], "outside the picture"),
        (["--roi", "0,0,5,5", "--roi-quality", "101"], "quality 101 is out of range"),
        (["--roi", "0,0,5,5", "--background-quality", "0"], "quality 0 is out of range"),
        (["--roi", "0,0,5,5", "--roi-quality", "best"], "'best' is not understood"),
        (["--roi", "0,0,5,5", "--lossless"], "--lossless and regions of interest contradict"),
        (["--roi-quality", "60"], "--roi-quality needs regions"),
        (["--background-quality", "-5"], "--background-quality needs regions"),
        (["--roi-detector", "x", "--roi", "0,0,5,5"], "--roi-detector needs --roi-detect"),
        (["--roi-detect", ","], "names no class"),
        (
            ["--roi", "0,0,5,5", "--roi-quality", "60", "--background-quality", "20", "--target-size", "9k"],
            "nothing to search",
        ),
    ],
)
def test_options_that_make_no_sense(folder: Path, args: list[str], part: str) -> None:
    one_line(run(*args), 1 if "outside" in part else 2, part)  # whether it is outside, the picture says
    assert not Path("a.vitc").exists()


# ---- detectors


class Finds:
    def __init__(self, boxes: list[tuple[float, float, float, float]]):
        self.found = boxes

    def boxes(self, rgb: np.ndarray, score: float) -> list[tuple[float, float, float, float]]:
        assert rgb.shape == (140, 300, 3) and score == 0.5
        return self.found


def test_what_a_detector_finds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(classes: Any, name: str | None, device: str) -> Finds:
        asked.append((tuple(classes), name, device))
        return Finds(boxes)

    monkeypatch.setattr(cli_regions, "load_detector", load)
    boxes = [(200.0, 129.5, 30.0, 4.0)]
    assert run("--roi-detect", "person,dog", "--roi-detect", "cat", "--roi-detector", "org/x").exit_code == 0
    assert asked == [(("person", "dog", "cat"), "org/x", "cpu")]
    assert of(Path("a.vitc").read_bytes()) == [50, 50, 50, 50, 70, 50]
    boxes = []
    result = run("--roi-detect", "person", "--background-quality", 20)
    assert result.exit_code == 0 and "no region was found" in result.output
    assert of(Path("a.vitc").read_bytes()) == [50]


@pytest.mark.skipif(importlib.util.find_spec("transformers") is not None, reason="transformers is installed")
def test_without_transformers(folder: Path) -> None:
    one_line(run("--roi-detect", "person"), 2, "needs transformers", "pip install 'vitcodec[detect]'")


def test_detr_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector with random weights, from a folder."""
    transformers = pytest.importorskip("transformers")
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8] * 4, depths=[1] * 4, layer_type="basic", out_features=["stage4"]
    )
    sizes = dict.fromkeys(("d_model", "encoder_ffn_dim", "decoder_ffn_dim"), 16)
    counts = dict.fromkeys(("encoder_layers", "decoder_layers"), 1)
    heads = dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2)
    config = transformers.DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=backbone,
        num_queries=3,
        id2label={0: "person", 1: "dog"},
        label2id={"person": 0, "dog": 1},
        **sizes,
        **counts,
        **heads,
    )
    detector = transformers.DetrForObjectDetection(config)
    detector.class_labels_classifier.bias.data[0] = 9  # every query is a person
    detector.save_pretrained("detr")
    transformers.DetrImageProcessor().save_pretrained("detr")
    result = run("--roi-detect", "Person", "--roi-detector", "./detr", "--roi-quality", 80)
    assert result.exit_code == 0 and 80 in of(Path("a.vitc").read_bytes()), result.output
    assert "no region" in run("--roi-detect", "dog", "--roi-detector", "./detr").output
    one_line(run("--roi-detect", "persn", "--roi-detector", "./detr"), 2, "did you mean person?")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    one_line(run("--roi-detect", "person", "--roi-detector", "./none"), 1, "detector './none' cannot be loaded")
