"""The codec as its users call it: docs/api.md, row by row."""

from __future__ import annotations

import io
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_rgb
from PIL import Image
from small_model import write_small_model

import vitcodec
from vitcodec.codec import Codec
from vitcodec.errors import InputError, OutputError, UsageError, WeightsError
from vitcodec.picture import Picture
from vitcodec.pretrained import hub, registry

RGB = make_rgb(72, 44, seed=3)
QUICK = {"quality": 60, "effort": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small"
    write_small_model(path)
    return path


@pytest.fixture(scope="module")
def small(folder) -> Codec:
    return Codec.from_pretrained(folder, "cpu", threads=1)


@pytest.fixture(scope="module")
def known(small) -> bytes:
    return small.encode(Picture(RGB), coding="tokens", **QUICK)


# loading


def test_models_are_found_by_name_folder_and_repository(folder, monkeypatch):
    assert Codec.from_pretrained("swin", device=torch.device("cpu")).name == "swin"
    for model in (folder, str(folder), f"local-dir:{folder}"):
        assert registry.find(model).folder == folder
    monkeypatch.chdir(folder.parent)
    assert registry.find("./small").name == registry.find(folder).name
    with pytest.raises(WeightsError, match=r"or \./small for the folder"):
        registry.find("small")  # a bare name is never a folder: files name models too
    asked = []
    monkeypatch.setattr(hub, "cached", lambda repository: asked.append(repository) or folder)
    assert registry.find("org/name").folder == folder and registry.find("org/name", "v2").folder == folder
    assert asked == [hub.Repository("org/name", None), hub.Repository("org/name", "v2")]
    with pytest.raises(UsageError, match="no revisions"):
        registry.find("swin", "v2")
    with pytest.raises(WeightsError, match="no usable model"):
        registry.find("/nowhere/at all")


def test_models_of_ones_own_are_found_in_the_search_path(folder, known, monkeypatch, tmp_path):
    name = registry.find(folder).name
    with pytest.raises(WeightsError, match="unknown model"):
        registry.find(name)
    for listed in (folder, folder.parent):
        monkeypatch.setenv("VITCODEC_MODELS", f"{tmp_path}:{listed}")
        assert registry.find(name).folder == folder
    (tmp_path / "a.vitc").write_bytes(known)
    vitcodec.decode(tmp_path / "a.vitc", tmp_path / "a.png", device="cpu")
    assert Image.open(tmp_path / "a.png").size == (72, 44)


def test_a_codec_says_what_it_is_moves_and_is_pickled(small, folder, known):
    assert repr(small) == f"Codec({small.name!r}, device='cpu', engine='onnxruntime')"
    assert small.to("cpu") is small and small.to(torch.device("cpu")).engine == "onnxruntime"
    again = pickle.loads(pickle.dumps(small))
    assert again.config == small.config and again.decode(known) == small.decode(known)
    assert len(pickle.dumps(small)) < 1000  # by name
    shipped = Codec.from_pretrained("cnn", "cpu")
    assert b"cnn" in pickle.dumps(shipped) and str(registry.find("cnn").folder).encode() not in pickle.dumps(shipped)
    with pytest.raises(UsageError, match="xpu"):
        small.to("xpu")


def test_a_model_is_saved_as_a_folder(small, known, tmp_path):
    small.save_pretrained(tmp_path / "copy")
    assert Codec.from_pretrained(tmp_path / "copy", "cpu").decode(known) == small.decode(known)
    with pytest.raises(OutputError, match="exists already"):
        small.save_pretrained(tmp_path / "copy")
    small.save_pretrained(tmp_path / "copy", overwrite=True)


def test_a_model_is_pushed(small, monkeypatch):
    calls = []
    monkeypatch.setattr(hub, "push", lambda *arguments: calls.append(arguments) or "address")
    assert small.push_to_hub("org/name", revision="v1", private=True) == "address"
    assert calls[0][:3] == (small.config.folder, hub.Repository("org/name", "v1"), True)
    with pytest.raises(UsageError, match="no model on the hub"):
        small.push_to_hub("name")


# encoding


def test_every_kind_of_picture_gives_the_same_file(small, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path)
    channels_first = torch.from_numpy(RGB).permute(2, 0, 1)
    kinds = [path, str(path), io.BytesIO(path.read_bytes()), Image.open(path), Image.fromarray(RGB), Picture(RGB)]
    kinds += [vitcodec.read_image(path), RGB, RGB / 255, (RGB / 255).astype(np.float32), np.asarray(Picture(RGB))]
    kinds += [channels_first, channels_first / 255, (channels_first / 255).double().requires_grad_()]
    (data,) = {small.encode(kind, **QUICK) for kind in kinds}
    with open(path, "rb") as stream:
        assert small.encode(stream, vitcodec.EncodeOptions(**QUICK)) == data
    assert np.array_equal(small.decode(data).rgb, small.decode(io.BytesIO(data)).rgb)


def test_gray_and_alpha(small):
    gray, alpha = RGB[..., 0], np.dstack((RGB, RGB[..., 1]))
    for one in (gray, gray[..., None], torch.from_numpy(gray)[None], Image.fromarray(gray)):
        picture = small.decode(small.encode(one, **QUICK))
        assert picture.gray and picture.alpha is None and picture.to_pil().mode == "L"
    for one in (alpha, alpha / 255, torch.from_numpy(alpha).permute(2, 0, 1), Image.fromarray(alpha)):
        picture = small.decode(small.encode(one, **QUICK))
        assert np.array_equal(picture.alpha, RGB[..., 1]) and picture.to_pil().mode == "RGBA"
        assert np.asarray(picture).shape == (44, 72, 4)


def test_batches_are_lists_of_files(small, known):
    batch = np.stack([RGB, RGB[::-1]])
    for some in (batch, list(batch), tuple(batch), torch.from_numpy(batch).permute(0, 3, 1, 2)):
        files = small.encode(some, coding="tokens", **QUICK)
        assert files[0] == known and len(files) == 2
    assert [p.size for p in small.decode(files)] == [(72, 44)] * 2
    assert small.encode([], **QUICK) == []


@pytest.mark.parametrize(
    "what, message",
    [
        (RGB.astype(float), "goes from 0 to 1, and this one from"),
        (RGB / 255 - 0.5, "goes from 0 to 1"),
        (np.full((4, 4, 3), np.nan), "goes from 0 to 1"),
        (RGB.astype(np.int32), "int32"),
        (RGB > 3, "bool"),
        (RGB.transpose(2, 0, 1), "transpose"),
        (RGB[:0], "no pixels"),
        (RGB[..., :2], "shape"),
        (np.zeros(5), "shape"),
        (torch.from_numpy(RGB), "permute"),
        (torch.zeros(3, 3), "shape"),
        (torch.from_numpy(RGB).permute(2, 0, 1).float(), "goes from 0 to 1"),
        (b"abc", "bytes is no picture"),
        (None, "NoneType is no picture"),
        ({"image": RGB}, "dict is no picture"),
        ("nowhere.png", "nowhere.png"),
        (Image.new("F", (4, 4)), "mode F"),
        (Image.new("I", (4, 4)), "mode I"),
        ([RGB, 3], "picture 1: int is no picture"),
    ],
)
def test_anything_else_is_one_clear_error(small, what, message):
    with pytest.raises(InputError, match=message) as caught:
        small.encode(what)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La", "CMYK", "YCbCr", "HSV", "LAB"]
)
def test_pillow_images_of_every_mode(small, mode):
    step = {"PA": "P", "RGBa": "RGBA", "La": "LA", "LAB": None}.get(mode, "RGB")
    image = (
        Image.new(mode, (40, 24), 90) if step is None else Image.fromarray(RGB[:24, :40]).convert(step).convert(mode)
    )
    shown = image.convert(step) if step in ("LA", "RGBA") else image
    wanted = shown.convert("L" if mode in ("1", "L", "LA", "La") else "RGB")
    data = small.encode(image, coding="lossless")
    back = small.decode(data)
    assert back.size == (40, 24) and back.gray == (wanted.mode == "L")
    if mode not in ("CMYK", "LAB"):  # these go through a profile
        assert np.abs(back.rgb.astype(int) - np.asarray(wanted.convert("RGB"))).max() <= 2


def test_pillow_images_of_16_bits_are_scaled(small):
    deep = Image.fromarray(np.linspace(0, 65535, 40 * 24).reshape(24, 40).astype(np.uint16))
    back = small.decode(small.encode(deep, coding="lossless"))
    assert back.gray and back.rgb.min() == 0 and back.rgb.max() == 255


def test_what_a_pillow_image_says_is_kept(small):
    from vitcodec.imageio.profiles import well_known

    image, exif = Image.fromarray(RGB), Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6  # a quarter turn
    image.info.update(icc_profile=well_known(1), dpi=(300, 300))
    image.getexif().update(exif)
    picture = small.decode(small.encode(image, **QUICK))
    assert picture.size == (44, 72) and picture.icc == well_known(1) and round(picture.dpi[0]) == 300
    shown = picture.to_pil()
    assert shown.getexif()[0x010F] == "Maker" and shown.getexif().get(0x0112, 1) == 1
    assert shown.info["icc_profile"] == well_known(1)
    assert small.encode(shown, **QUICK)[:40] and vitcodec.PictureLike is not None


# pictures


def test_a_picture_is_what_arrays_pillow_and_notebooks_take(tmp_path):
    picture = Picture(RGB, exif=b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    assert picture.size == (72, 44) and repr(picture) == "Picture(72x44, RGB, EXIF)"
    assert np.array_equal(np.asarray(picture), RGB) and np.array(picture, dtype=float).dtype == float
    assert np.array_equal(np.asarray(picture.to_pil()), RGB)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture._repr_png_()))), RGB)
    assert picture.save(tmp_path / "a.png") == [] and vitcodec.read_image(tmp_path / "a.png").size == (72, 44)
    picture.save(buffer := io.BytesIO(), "webp")
    assert np.array_equal(np.asarray(Image.open(buffer)), RGB)
    with pytest.raises(OutputError, match="exists already"):
        picture.save(tmp_path / "a.png", overwrite=False)
    with pytest.raises(UsageError, match="suffix"):
        picture.save(tmp_path / "a.xyz")


def test_pictures_compare():
    one = Picture(RGB, RGB[..., 0], notes=["a"])
    assert one == Picture(RGB.copy(), RGB[..., 0].copy(), notes=["b"])
    others = [
        Picture(RGB),
        Picture(RGB, RGB[..., 1]),
        Picture(RGB[:-1], RGB[:-1, :, 0]),
        Picture(RGB, RGB[..., 0], icc=b"x"),
    ]
    assert all(one != other for other in others) and one != RGB.tobytes()
    with pytest.raises(TypeError):
        hash(one)


# tokens


def test_tokens_make_files_and_pictures(small, known):
    tokens = small.decompress(known)
    assert tokens == small.encode_tokens(RGB, **QUICK) and tokens.size == (72, 44) and tokens.quality == 60
    assert small.decompress(small.compress(tokens)) == tokens and small.decode(tokens) == small.decode(known)
    for options in ({"reduce": 2}, {"region": vitcodec.Region(10, 5, 30, 20)}):
        assert small.decode(tokens, **options) == small.decode(known, **options)
    grid = tokens.to_grid()
    assert grid.shape == (1, 768, 4, 6) and tokens.with_grid(grid) == tokens
    other = tokens.with_grid(np.zeros_like(grid))
    assert small.decode(other) == small.decode(small.compress(other)) != small.decode(known)
    assert repr(tokens) == f"Tokens(72x44, quality=60, model={small.name!r})"
    coarse = small.decompress(known, reduce=2)
    assert coarse.to_grid().shape == (1, 48, 4, 6) and small.decode(coarse, reduce=2) == small.decode(known, reduce=2)
    assert small.decode(coarse, reduce=4) == small.decode(known, reduce=4)


def test_a_file_of_tokens_is_the_file_that_was(codec):
    """With alpha, EXIF, the picture's own filter and several tiles."""
    picture = Picture(make_rgb(300, 200, seed=5), alpha=make_rgb(300, 200)[..., 0], exif=b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    data = codec.encode(picture, quality=40, effort=2, tile=128, coding="tokens")
    tokens = codec.decompress(data)
    assert codec.compress(tokens) == data and codec.decode(tokens) == codec.decode(data)


def test_erased_tokens_stay_erased():
    codec = Codec.from_pretrained("beit", "cpu")
    data = codec.encode(RGB, keep_tokens=0.6, coding="tokens", **QUICK)
    tokens = codec.decompress(data)
    assert codec.decompress(codec.compress(tokens)) == tokens and codec.decode(tokens) == codec.decode(data)


def test_tokens_that_are_no_tokens(small, codec, known):
    tokens = small.decompress(known)
    grid = tokens.to_grid()
    for wrong, message in ((grid[:, :700], "768"), (grid + 0.5, "whole numbers"), (grid[..., :-2], "not")):
        with pytest.raises(InputError, match=message):
            tokens.with_grid(wrong)
    with pytest.raises(WeightsError, match="other weights"):
        codec.compress(tokens)
    with pytest.raises(WeightsError, match="other weights"):
        codec.decode(tokens)
    with pytest.raises(UsageError, match="reduce=2 at least"):
        small.decode(small.decompress(known, reduce=2), reduce=1)
    with pytest.raises(InputError, match="shapes"):
        small.compress(small.decompress(known, reduce=2))
    with pytest.raises(UsageError, match="coding='tokens'"):
        small.decompress(small.encode(RGB, coding="lossless"))


# latents


@pytest.mark.parametrize("name", ["swin", "vit"])
def test_latents_are_tokens_before_rounding_and_have_gradients(name):
    codec = Codec.from_pretrained(name, "cpu")
    images = torch.from_numpy(np.stack([RGB, RGB[::-1]])).permute(0, 3, 1, 2) / 255
    images.requires_grad_()
    latents = codec.encode_latents(images, quality=60)
    assert latents.shape == (2, 768, 4, 6)
    tokens = torch.from_numpy(codec.encode_tokens(RGB, quality=60, effort=1).to_grid())
    assert (latents[:1].round() - tokens).abs().gt(1).float().mean() < 0.001
    back = codec.decode_latents(tokens.float(), quality=60)
    assert back.shape == (1, 3, 64, 96)
    known = codec.decode(codec.encode(RGB, quality=60, effort=1, coding="tokens")).rgb
    shown = (255 * back[0, :, :44, :72]).clamp(0, 255).permute(1, 2, 0).numpy()
    assert np.abs(shown - known).mean() < 1
    codec.decode_latents(latents, quality=60).square().mean().backward()
    assert images.grad is not None and images.grad[:, :, :44, :72].abs().sum() > 0


def test_what_is_no_batch_of_images_or_latents(small, folder, tmp_path):
    codec = Codec.from_pretrained("vit", "cpu")
    for images, message in (
        (torch.zeros(3, 8, 8), "batch, 3"),
        (RGB, "ndarray"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "divide by 255"),
    ):
        with pytest.raises(InputError, match=message):
            codec.encode_latents(images)
    for latents, message in ((torch.zeros(1, 12, 2, 2), "768"), (torch.zeros(1, 768, 3, 2), "even number")):
        with pytest.raises(InputError, match=message):
            codec.decode_latents(latents)
    with pytest.raises(UsageError, match="quality 0"):
        codec.decode_latents(torch.zeros(1, 768, 2, 2), 0)
    with pytest.raises(WeightsError, match="transform-float"):
        small.encode_latents(torch.zeros(1, 3, 32, 32))


def test_threads_share_a_codec(small, known):
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: small.encode(RGB, coding="tokens", **QUICK), range(8))) == {known}


def test_one_call_takes_any_picture(tmp_path):
    vitcodec.encode(Image.fromarray(RGB), tmp_path / "a.vitc", device="cpu", **QUICK)
    result = vitcodec.encode_to_target(
        Codec.from_pretrained("swin", "cpu"), RGB, vitcodec.Target(psnr=30), vitcodec.EncodeOptions(effort=1)
    )
    assert vitcodec.Codec.info(tmp_path / "a.vitc").header.width == vitcodec.Codec.info(result.data).header.width == 72
