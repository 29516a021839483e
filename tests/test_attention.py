"""What tokens attend to: the weights that the blocks multiply values with, at the places that these come from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_rgb
from PIL import Image
from small_model import write_small_family, write_small_model
from torch import Tensor, nn
from typer.testing import CliRunner

from vitcodec.attention import AttentionMap, most_varied
from vitcodec.cli import app, values
from vitcodec.cli.compare import _entrants
from vitcodec.codec import Codec
from vitcodec.errors import InputError, UsageError, WeightsError
from vitcodec.evaluation.attention import figures, heat
from vitcodec.models import build_autoencoder
from vitcodec.models.attention import attended
from vitcodec.models.autoencoder import Autoencoder
from vitcodec.models.tokens import by_areas
from vitcodec.tiles import Region

STEP = torch.tensor([16.0])
SMALL: dict[str, dict[str, Any]] = {
    "swin": {"widths": (16, 24, 32), "head": 16, "window": 4},
    "vit": {"width": 32, "blocks": 2, "decoder_width": 32, "head": 16, "window": 4},
    "beit": {"width": 32, "blocks": 2, "decoder_width": 32, "head": 16, "window": 4},
    "cnn": {"widths": (16, 24, 32)},
}


def stirred(family: str) -> Autoencoder:
    torch.manual_seed(1)
    autoencoder = build_autoencoder(family, SMALL[family]).eval().requires_grad_(False)
    for p in autoencoder.parameters():
        p += 0.1 * torch.randn_like(p)
    return autoencoder


def watched(block: nn.Module, *names: str) -> dict[str, list[Any]]:
    """name of a layer in the block -> (input, output) of every call; "": the block's own inputs."""
    calls: dict[str, list[Any]] = {"": []}
    block.register_forward_pre_hook(lambda _, inputs: calls[""].append(inputs))
    for name in names:
        found = calls[name] = []
        getattr(block, name).register_forward_hook(lambda _, inputs, out, found=found: found.append((inputs[0], out)))
    return calls


def by_heads(x: Tensor, heads: int) -> Tensor:
    """(..., C) -> (heads, ..., C / heads)"""
    return x.unflatten(-1, (heads, -1)).movedim(-2, 0)


@pytest.mark.parametrize("shifted", [False, True])
def test_windows_give_what_the_block_computes(shifted: bool) -> None:
    """Of every token of 10x10: the shares times the values are what goes into the projection, padding included."""
    autoencoder, image = stirred("swin"), torch.from_numpy(make_rgb(160, 160)).float()[None]
    block = autoencoder.analysis.encoder[2][int(shifted)]
    calls = watched(block, "qkv", "proj")
    maps = {}
    for row in range(10):
        for column in range(10):
            found = attended(autoencoder, image, STEP, 16 * row + 3, 16 * column + 15)
            assert [m.layer for m in found] == ["encoder.2.0", "encoder.2.1"]
            maps[row, column] = found[shifted]
    before = calls["proj"][0][0][0]  # (10, 10, C)
    norm = block.norm1(calls[""][0][0])[0]
    on_map, nothing = (by_heads(t, 3 * block.heads)[2 * block.heads :] for t in (block.qkv(norm), block.qkv.bias))
    for (row, column), m in maps.items():
        assert (m.stride, m.row, m.column) == (16, row, column) and m.kind.endswith("shifted") == shifted
        rows, columns = m.weights.shape[1:]
        assert m.top <= row < m.top + rows <= 10 and m.left <= column < m.left + columns <= 10
        assert torch.allclose(m.weights.sum((1, 2)) + m.outside, torch.ones(block.heads))
        around = on_map[:, m.top : m.top + rows, m.left : m.left + columns]
        out = (m.weights[..., None] * around).sum((1, 2)) + m.outside[:, None] * nothing
        assert torch.allclose(out, by_heads(before[row, column], block.heads), atol=1e-5)
    inner = maps[5, 5]
    assert inner.weights.shape[1:] == (4, 4) and (inner.top, inner.left) == ((2, 2) if shifted else (4, 4))
    assert (maps[0, 0].outside > 0).all() == shifted and (maps[0, 0].weights.shape[1:] == (2, 2)) == shifted


@pytest.mark.parametrize("family", ["vit", "beit"])
def test_areas_give_what_the_block_computes(family: str) -> None:
    """Of tokens of 10x14, which are 2x3 areas of 4x4, and smaller ones at two edges."""
    autoencoder, image = stirred(family), torch.from_numpy(make_rgb(224, 160)).float()[None]
    block = autoencoder.analysis.body.blocks[1]
    block = block.block if family == "beit" else block
    calls = watched(block, "q", "kv", "proj")
    areas: list[Tensor] = []  # the sites of every call, as by_areas cuts them
    by_areas(lambda x: areas.append(x[..., 0]) or x, 4, torch.arange(140).view(1, 10, 14, 1))
    with torch.no_grad():
        autoencoder.encode(image, STEP)
    found = {s: attended(autoencoder, image, STEP, s // 14 * 16, s % 14 * 16)[1] for s in (*range(0, 140, 5), 139)}
    for call, sites in enumerate(areas):
        (_, query), (_, kv), (before, _) = (calls[name][call] for name in ("q", "kv", "proj"))
        bias = calls[""][call][2].squeeze(0)[:, None] if family == "beit" else 0
        q = by_heads(query, block.heads)
        k, v = (by_heads(t, block.heads) for t in kv.chunk(2, -1))
        shares = (q @ k.mT / 16**0.5 + bias).softmax(-1)
        assert torch.allclose(shares @ v, by_heads(before, block.heads), atol=1e-5)
        for area, order in enumerate(sites.flatten(1).tolist()):
            for i, m in ((i, found.pop(site)) for i, site in enumerate(order) if site in found):
                assert torch.allclose(m.weights.flatten(1), shares[:, area, i], atol=1e-6) and not m.outside.any()
                assert torch.allclose(m.typical.flatten(1), shares[:, area].mean(1), atol=1e-6)
                rows, columns = m.weights.shape[1:]
                assert order == [14 * (m.top + r) + m.left + c for r in range(rows) for c in range(columns)]
    assert not found, "every token was in an area"


class OneBlock(nn.Module):
    """timm's Swin block in place of an autoencoder: its output is its input and what the values of attention add."""

    def __init__(self, side: int, shift: int):
        super().__init__()
        from timm.models.swin_transformer import SwinTransformerBlock

        torch.manual_seed(0)
        block = SwinTransformerBlock(8, (56, 56), 2, window_size=7, shift_size=shift, dynamic_mask=True)
        block.norm1, block.mlp = nn.Identity(), nn.Identity()
        block.mlp.forward = torch.zeros_like
        nn.init.normal_(block.attn.relative_position_bias_table)
        with torch.no_grad():  # equal products of queries and keys, values as they are
            block.attn.qkv.weight.copy_(torch.cat((torch.zeros(16, 8), torch.eye(8))))
            block.attn.proj.weight.copy_(torch.eye(8))
            for layer in (block.attn.qkv, block.attn.proj):
                layer.bias.zero_()
        self.analysis, self.x = nn.Sequential(block), torch.randn(1, side, side, 8)

    def encode(self, image: Tensor, step: Tensor) -> None:
        self.analysis(self.x)


@pytest.mark.parametrize(("side", "shift"), [(14, 0), (14, 3), (17, 3)])
def test_windows_of_timm_are_those_that_the_output_depends_on(side: int, shift: int) -> None:
    model: Any = OneBlock(side, shift)
    assert not model.analysis[0].attn.fused_attn
    for row, column in ((0, 0), (2, 9), (6, 3), (7, 12), (side - 1, side - 1), (9, 5)):
        (m,) = attended(model, torch.zeros(1, 4 * side, 4 * side, 3), STEP, 4 * row + 1, 4 * column + 2)
        assert (m.layer, m.stride, m.weights.shape[0]) == ("0.attn", 4, 2)
        x = model.x.clone().requires_grad_()
        out = model.analysis(x)[0, row, column]
        for head in range(2):
            (slopes,) = torch.autograd.grad(out[4 * head], x, retain_graph=True)
            slopes = slopes[0, :, :, 4 * head]
            slopes[row, column] -= 1  # the residual connection
            rows, columns = m.weights.shape[1:]
            place = slopes[m.top : m.top + rows, m.left : m.left + columns]
            assert torch.allclose(m.weights[head], place, atol=1e-5)
            assert m.outside[head].item() == pytest.approx(1 - place.sum().item(), abs=1e-5)
            if side == 14:  # nothing is padded: all is there
                assert m.outside[head] < 1e-6 and slopes.sum() == pytest.approx(1, abs=1e-5)
    assert not model.analysis[0].attn.fused_attn and not model.analysis[0]._forward_hooks


def test_class_tokens_of_timm() -> None:
    """In vit_tiny a class token comes before those of an area. Hooks are taken off again."""
    settings = {"width": 192, "decoder_width": 32, "head": 16, "backbone": "vit_tiny_patch16_224"}
    autoencoder = build_autoencoder("vit", settings).eval().requires_grad_(False)
    image = torch.from_numpy(make_rgb(64, 288)).float()[None]
    calls = watched(autoencoder.analysis.body.net.blocks[5].attn, "qkv")
    found = attended(autoencoder, image, STEP, 270, 40)
    assert len(found) == 12 and found[0].layer == "body.net.blocks.0.attn"
    query, key, _ = calls["qkv"][1][1][0].unflatten(-1, (3, 3, 64)).permute(1, 2, 0, 3)  # of the area of 2x4
    shares = (query @ key.mT / 8).softmax(-1)[:, 1 + 2]  # of the third token
    assert (found[5].top, found[5].left, found[5].weights.shape) == (16, 0, (3, 2, 4))
    assert torch.allclose(found[5].weights.flatten(1), shares[:, 1:], atol=1e-6)
    assert torch.allclose(found[5].outside, shares[:, 0], atol=1e-6)
    attentions = [block.attn for block in autoencoder.analysis.body.net.blocks]
    assert [len(attention._forward_pre_hooks) for attention in attentions] == [0] * 5 + [1] + [0] * 6


def test_no_attention() -> None:
    image = torch.zeros(1, 64, 64, 3)
    assert attended(stirred("cnn"), image, STEP, 0, 0) == attended(Autoencoder(), image, STEP, 0, 0) == []


def test_maps_of_the_shipped_model(codec: Codec) -> None:
    rgb = make_rgb(300, 200, seed=2)
    maps = codec.attention_maps(rgb, (200, 150), quality=40)
    assert [m.layer for m in maps] == ["analysis.encoder.2.0.attention", "analysis.encoder.2.1.attention"]
    assert [m.kind for m in maps] == ["window attention 8x8", "window attention 8x8, shifted"]
    for m, left, top in zip(maps, (128, 192), (128, 64), strict=True):
        assert m.token == Region(192, 144, 16, 16) and (m.region.x, m.region.y) == (left, top)
        assert m.weights.dtype == np.float32 and m.weights.shape == (8, m.region.height // 16, m.region.width // 16)
        assert np.allclose(m.weights.sum((1, 2)) + m.outside, 1, atol=1e-5) and m.heads == 8
        assert np.allclose(m.mean(), m.weights.mean(0)) and (m.mean(3) == m.weights[3]).all()
        assert 0 < m.distance() < 128 and 0 < m.difference() < 1
    again = codec.attention_maps(Image.fromarray(rgb), (207, 159), quality=40)  # of the same token
    assert all((a.weights == b.weights).all() for a, b in zip(maps, again, strict=True))


def test_pictures_are_analysed_in_parts_that_do_not_show(codec: Codec) -> None:
    """The token's surroundings alone are transformed, and it attends as in the whole."""
    rgb = make_rgb(640, 128)
    latents = codec._latents()
    whole = attended(latents.autoencoder, torch.from_numpy(rgb).float()[None], latents.step(50), 70, 300)
    for part, one in zip(codec.attention_maps(rgb, (300, 70), 50), whole, strict=True):
        assert np.allclose(part.weights, one.weights.numpy(), atol=1e-3)


def test_figures_of_a_map() -> None:
    weights = np.zeros((2, 2, 3), np.float32)
    weights[0, 0, 0], weights[1, 0, 2] = 1, 0.5
    typical = np.full((2, 2, 3), 1 / 6, np.float32)
    token, region = Region(16, 32, 16, 16), Region(16, 32, 48, 32)
    m = AttentionMap("a", "attention", token, region, weights, np.array([0, 0.5], np.float32), typical)
    assert m.distance(0) == 0 and m.distance(1) == pytest.approx(32)
    assert m.distance() == pytest.approx(32 * 0.25 / 0.75)
    assert m.difference(0) == pytest.approx((5 / 6 + 5 / 6) / 2)
    assert "50 % outside the picture" in figures(m, 1) and "outside" not in figures(m, 0)
    assert "25 % outside" in figures(m) and "largest share 50 %" in figures(m)
    colours = heat(m.mean(0))
    assert colours.shape == (2, 3, 4) and colours[0, 0].sum() == colours.sum(-1).max() and colours[1, 1, 3] < 128


def test_the_token_of_most_detail() -> None:
    rgb = np.full((50, 70, 3), 90, np.uint8)
    rgb[20:30, 36:40] = 255
    rgb[48:, 66:] = 0  # not of a whole token
    assert most_varied(rgb) == (40, 24)


def test_bad_tokens(codec: Codec, tmp_path: Path) -> None:
    rgb = make_rgb(40, 30)
    for token in ((40, 3), (3, 30), (-1, 0)):
        with pytest.raises(UsageError, match=r"outside the picture of 40x30 pixels; give X up to 39 and Y up to 29"):
            codec.attention_maps(rgb, token)
    with pytest.raises(InputError, match="40x15 pixels is smaller than a token of 16x16"):
        codec.attention_maps(rgb[:15])
    with pytest.raises(UsageError, match="quality 0"):
        codec.attention_maps(rgb, quality=0)
    write_small_model(tmp_path / "small")
    with pytest.raises(WeightsError, match=r"transform-float\.safetensors, is not there"):
        Codec.from_pretrained(f"local-dir:{tmp_path}/small", "cpu").attention_maps(rgb)


# the command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small models in folders of their families' names, an integer one without floats, and a picture."""
    folder = tmp_path_factory.mktemp("models")
    for family in ("swin", "vit", "cnn"):
        write_small_family(folder / family, family, SMALL[family])
    write_small_model(folder / "small")
    Image.fromarray(make_rgb(80, 64)).save(folder / "photo.png")
    return folder


def compare(folder: Path, models: str, *options: str) -> tuple[int, list[dict[str, Any]], str, str]:
    """exit code, JSON objects, stderr, page"""
    named = ",".join(f"{folder}/{name}" for name in models.split(",")) if models else "swin"
    page = folder / "page.html"
    page.unlink(missing_ok=True)
    command = [
        "compare",
        str(folder / "photo.png"),
        "-m",
        named,
        "-o",
        str(page),
        "--json",
        "--effort",
        "1",
        "-q",
        "40",
    ]
    result = CliRunner().invoke(app, [*command, *options])
    found = [json.loads(line) for line in result.stdout.splitlines()]
    return result.exit_code, found, result.stderr, page.read_text("utf-8") if page.exists() else ""


def test_models_are_compared_at_equal_size_with_what_they_attend_to(folder: Path) -> None:
    code, found, error, page = compare(folder, "vit,swin,cnn,small")
    assert code == 0, error
    *rows, total = found
    assert [r["codec"] for r in rows] == ["vitcodec vit", "vitcodec swin", "vitcodec cnn", "vitcodec small"]
    assert rows[0]["quality"] == 40 and all(abs(r["bytes"] / rows[0]["bytes"] - 1) < 0.1 for r in rows[:3])
    view = total["attention"]
    assert view["chosen"] and view["note"] == "" and len(view["token"]) == 2
    assert [len(m["blocks"]) for m in view["models"]] == [2, 2, 0, 0]
    assert [m["quality"] for m in view["models"]] == [r["quality"] for r in rows]
    assert "has no attention" in view["models"][2]["note"] and "transform-float" in view["models"][3]["note"]
    assert error.count("transform-float") == 1
    names = [config.split(",")[0] for config in total["provenance"]["other models"].split("; ")]
    assert names == ["swin", "cnn", "small"] and " 4 models on cpu" in page
    assert page.count("<figure>") == 4 and page.count('<use href="#attention-photo"/>') == 4
    assert page.count('class="off"') == 4 * 2  # heads beside their mean
    assert not re.search(r'(src|href)="(?!data:|#)', page), "asks for nothing else"


def test_a_token_of_ones_own(folder: Path) -> None:
    code, found, error, page = compare(folder, "vit", "--token", "79,3", "--baselines", "jpeg")
    assert code == 0, error
    assert found[-1]["attention"]["token"] == [79, 3] and not found[-1]["attention"]["chosen"]
    assert "the token at 79, 3" in page and [r["codec"] for r in found[:-1]] == ["vitcodec vit", "JPEG"]
    code, found, _, page = compare(folder, "vit", "--baselines", "")  # one model, and no token was asked for
    assert code == 0 and "attention" not in found[-1] and 'id="attention"' not in page


def test_models_of_one_name_are_called_as_they_were_asked_for() -> None:
    entrants: Any = [SimpleNamespace(name=name) for name in ("vit", "swin", "vit")]
    assert list(_entrants(["vit", None, "./mine"], entrants)) == ["vitcodec vit", "vitcodec swin", "vitcodec ./mine"]


@pytest.mark.parametrize(
    ("models", "options", "code", "says"),
    [
        (
            "vit,swin",
            ["--token", "80,3"],
            2,
            "the token at 80,3 is outside the picture of 80x64 pixels; give X up to 79",
        ),
        ("vit,swin", ["--token", "middle"], 2, "--token 'middle' is not understood; write it as X,Y"),
        ("vit,swin", ["-m", "vit,swni"], 1, "unknown model 'swni'; did you mean swin?"),
        ("vit,swin", ["-m", "vit,,swin"], 2, "has an empty name"),
        ("vit,swin", ["-m", "vit,swin,vit"], 2, "names 'vit' twice"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_line(
    folder: Path, models: str, options: list[str], code: int, says: str
) -> None:
    found, _, error, page = compare(folder, models, *options)
    assert (found, error.count("\n")) == (code, 1) and says in error and page == ""


def test_a_picture_smaller_than_a_token(folder: Path, tmp_path: Path) -> None:
    Image.fromarray(make_rgb(40, 12)).save(tmp_path / "thin.png")
    command = ["compare", str(tmp_path / "thin.png"), "-m", f"{folder}/vit,{folder}/swin", "--effort", "1"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.stderr
    page = (tmp_path / "thin-compare.html").read_text("utf-8")
    assert "the picture of 40x12 pixels is smaller than a token of 16x16" in page and "<figure>" not in page
    result = CliRunner().invoke(app, [*command, "--token", "3,3", "--overwrite"])
    assert result.exit_code == 1 and result.stderr.count("\n") == 1 and "smaller than a token" in result.stderr


def test_lists_of_models_are_completed() -> None:
    words = [word[0] for word in values.lists_of_models("swin,")]
    assert "swin,vit" in words and "swin,swin" not in words
