"""Pillow opens and saves .vitc files: modes, metadata, drafts, damage, threads."""

from __future__ import annotations

import copy
import io
import pickle
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import make_rgb
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError

import vitcodec.pillow_plugin as plugin
from vitcodec.bitstream import container
from vitcodec.bitstream.chunks import pack_chunk
from vitcodec.bitstream.header import Header, pack_header
from vitcodec.codec import Codec
from vitcodec.imageio import profiles
from vitcodec.lossless import LosslessCodec
from vitcodec.picture import Picture
from vitcodec.pretrained import registry

RGB = make_rgb(90, 70)
DATA = Path(__file__).parent / "data"


def saved(image: Image.Image, **options: object) -> io.BytesIO:
    """A lossless file of an image, unless the options say otherwise."""
    stream = io.BytesIO()
    image.save(stream, "VITC", **({"lossless": True} | options))
    return stream


def again(image: Image.Image, **options: object) -> Image.Image:
    out = Image.open(saved(image, **options))
    out.load()
    return out


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    with tarfile.open(DATA / "small-1.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "small"


@pytest.fixture
def model(small: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small model, which files that name it find, and no codecs loaded before."""
    monkeypatch.setenv("VITCODEC_MODELS", str(small))
    monkeypatch.setenv("VITCODEC_DEVICE", "cpu")
    monkeypatch.setattr(plugin, "_codecs", {})
    return small


# ---- opening and saving


def test_tokens_there_and_back(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.vitc"
    Image.fromarray(RGB).save(path, quality=55, effort=1, model=str(model), coding="tokens")
    layout = Codec.info(path.read_bytes())
    assert (layout.header.quality, layout.header.model) == (55, "small")
    codec = Codec.from_pretrained(str(model), "cpu")
    with Image.open(path) as image:
        assert (image.format, image.mode, image.size) == ("VITC", "RGB", (90, 70))
        assert image.get_format_mimetype() == "image/x-vitcodec" and image.tile
        assert np.array_equal(np.asarray(image), codec.decode(path.read_bytes()).rgb)
        assert not image.tile and image.fp is None
    assert set(plugin._codecs) == {(str(model), "cpu"), (registry.resolve("small", codec.config.identity), "cpu")}


def test_opening_decodes_nothing_and_loads_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "load_codec", lambda *_: pytest.fail("a model was loaded"))
    image = Image.open(DATA / "small-1.vitc")
    assert image.size == (150, 90) and image.mode == "RGB"
    image.verify()
    image = Image.open(DATA / "small-1.vitc")
    image.draft(None, (20, 20))
    image.close()


def test_registering_again_changes_nothing() -> None:
    before = list(Image.ID)
    plugin.register_opener()
    assert before == Image.ID and Image.EXTENSION[".vitc"] == "VITC"


@pytest.mark.parametrize(
    ("mode", "back"),
    [
        ("L", "L"),
        ("LA", "LA"),
        ("RGB", "RGB"),
        ("RGBA", "RGBA"),
        ("1", "L"),
        ("P", "RGB"),
        ("PA", "RGBA"),
        ("La", "LA"),
        ("RGBa", "RGBA"),
        ("RGBX", "RGB"),
        ("YCbCr", "RGB"),
        ("HSV", "RGB"),
    ],
)
def test_modes(mode: str, back: str) -> None:
    base = Image.fromarray(RGB)
    if mode in ("LA", "PA", "RGBA", "La", "RGBa"):
        alpha = Image.fromarray(np.arange(90 * 70, dtype=np.uint32).reshape(70, 90).astype(np.uint8) | 1)
        base.putalpha(alpha)
        base = base.convert({"La": "LA", "RGBa": "RGBA", "PA": "P"}.get(mode, mode))
    image = base.convert(mode)
    out = again(image)
    assert out.mode == back
    expected = np.asarray(image.convert("L", dither=None) if mode == "1" else image.convert(back))
    assert np.array_equal(np.asarray(out), expected)


def test_16_bits_are_scaled_and_what_has_no_range_is_refused(tmp_path: Path) -> None:
    values = np.array([[0, 128, 257, 65535]], np.uint16)
    with pytest.warns(UserWarning, match="16-bit reduced to 8") as said:
        out = again(Image.fromarray(values))
    assert out.mode == "L" and np.asarray(out).tolist() == [[0, 0, 1, 255]]
    assert said[0].filename == __file__
    for mode in ("I", "F"):
        with pytest.raises(OSError, match=f"cannot write mode {mode} as VITC"):
            Image.new(mode, (4, 4)).save(tmp_path / "a.vitc", lossless=True)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="empty image"):
        saved(Image.new("RGB", (0, 5)))


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1", "I;16"])
@pytest.mark.filterwarnings("ignore:VITC")
def test_a_transparent_colour_becomes_alpha(mode: str) -> None:
    seen = np.array([[True, False, True]])
    values = np.where(seen, 255, 0).astype(np.uint16 if mode == "I;16" else np.uint8)
    image = Image.fromarray(values) if mode == "I;16" else Image.fromarray(values).convert(mode)
    index = image.getpixel((1, 0))
    image.info["transparency"] = index
    out = again(image)
    assert out.mode.endswith("A") and np.asarray(out)[..., -1].tolist() == [[255, 0, 255]]


def test_cmyk_is_converted() -> None:
    image = Image.fromarray(RGB).convert("CMYK")
    with pytest.warns(UserWarning, match="CMYK converted to sRGB"):
        out = again(image)
    assert out.mode == "RGB" and np.array_equal(np.asarray(out), np.asarray(image.convert("RGB")))


def test_options(tmp_path: Path, model: Path) -> None:
    image, path = Image.fromarray(RGB), tmp_path / "a.vitc"
    for options, message in (
        ({"quality": 0}, "quality 0 is out of range"),
        ({"quality": "keep"}, "quality takes a whole number"),
        ({"effort": 2.5}, "effort takes a whole number"),
        ({"coding": "x"}, "unknown coding"),
        ({"coding": "tokens", "lossless": True}, "contradict"),
        ({"cicp": b"\1"}, "4 bytes"),
    ):
        with pytest.raises(ValueError, match=message):
            image.save(path, **options)
    with pytest.raises(OSError, match="unknown model 'absent'"):
        image.save(path, model="absent")
    assert not path.exists()
    image.save(path, lossless=True, tile=128, unknown=3)
    assert Codec.info(path.read_bytes()).header.tile == 128


# ---- metadata


def test_metadata_as_pillow_has_it() -> None:
    icc = profiles.well_known(2)
    tags = Image.Exif()
    tags[271], tags[36867] = "Maker", "2024:05:01 12:00:00"
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    stream = saved(Image.fromarray(RGB), icc_profile=icc, exif=tags, xmp=xmp, dpi=(300, 200))
    image = Image.open(stream)  # before pixels are asked for
    assert image.info["icc_profile"] == icc and image.info["xmp"] == xmp and image.info["dpi"] == (300, 200)
    assert image.info["exif"].startswith(b"Exif\0\0") and image.getexif()[271] == "Maker"
    for format in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF"):
        other = io.BytesIO()
        image.save(other, format, exif=image.info["exif"])
        assert Image.open(other).getexif()[271] == "Maker", format
    # as in Pillow's own formats, the profile is kept, and EXIF must be asked for
    kept = again(image).info
    assert kept["icc_profile"] == icc and not kept.keys() & {"exif", "xmp", "dpi"}
    assert "icc_profile" not in again(image, icc_profile=None).info
    assert again(image, exif=image.info["exif"]).getexif()[271] == "Maker"


def test_orientation_is_applied() -> None:
    tags = Image.Exif()
    tags[274] = 6
    out = again(Image.fromarray(RGB), exif=tags, dpi=(1, 2))
    assert out.size == (70, 90) and out.getexif()[274] == 1 and out.info["dpi"] == (2, 1)
    assert np.array_equal(np.asarray(out), np.rot90(RGB, -1))


def test_a_profile_of_another_kind_is_said_to_be_ignored() -> None:
    cmyk_like = profiles.well_known(4)  # of gray
    with pytest.warns(UserWarning, match="ignored"):
        assert "icc_profile" not in again(Image.fromarray(RGB), icc_profile=cmyk_like).info


def test_code_points_are_kept_until_a_profile_comes() -> None:
    p3 = bytes([12, 13, 0, 1])
    image = again(Image.fromarray(RGB), cicp=p3)
    assert image.info["cicp"] == p3 and profiles.number_of(image.info["icc_profile"]) == 2
    kept = again(image)
    assert kept.info == image.info
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.info["icc_profile"] = srgb  # as after a conversion in place
    changed = again(image)
    assert "cicp" not in changed.info and profiles.number_of(changed.info["icc_profile"]) == 1


# ---- drafts


def test_draft_and_thumbnail_decode_what_they_need(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = saved(Image.fromarray(make_rgb(161, 99)), lossless=False, effort=1, model=str(model), coding="tokens")
    codec, asked = Codec.from_pretrained(str(model), "cpu"), []
    for n in range(5):
        image = Image.open(stream)
        mode, box = image.draft("L", (161 >> n, 99 >> n))
        assert mode == "RGB" and box == (0, 0, 161 / 2**n, 99 / 2**n)
        assert np.array_equal(np.asarray(image), codec.decode(stream.getvalue(), reduce=n).rgb), n
        assert image.draft("RGB", (1, 1)) is None  # pixels are there
    whole = Image.open(stream)
    assert whole.draft(None, (500, 2)) == ("RGB", (0, 0, 161, 99)) and whole.size == (161, 99)
    assert whole.draft(None, None) is None
    decoded = plugin.VitcImageFile._decoded
    monkeypatch.setattr(
        plugin.VitcImageFile, "_decoded", lambda self, stream: asked.append(self._reduce) or decoded(self, stream)
    )
    image, plain = Image.open(stream), Image.open(stream).convert("RGB")
    image.thumbnail((20, 20))
    plain.thumbnail((20, 20))
    assert asked == [0, 1] and image.size == plain.size == (20, 12)
    assert np.abs(np.asarray(image).astype(int) - np.asarray(plain)).mean() < 6


def test_thumbnail_of_a_lossless_file_with_alpha() -> None:
    image = Image.fromarray(np.dstack([RGB, np.full(RGB.shape[:2], 128, np.uint8)]))
    stream = saved(image)
    small = Image.open(stream)
    small.thumbnail((16, 16))
    image.thumbnail((16, 16))
    assert small.mode == "RGBA" and small.size == image.size
    assert np.abs(np.asarray(small).astype(int) - np.asarray(image)).mean() < 4


# ---- streams, copies, threads


class Pipe(io.RawIOBase):
    """A stream that can be read once, and has no file behind it."""

    def __init__(self, data: bytes):
        self.inner = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:
        return self.inner.readinto(buffer)


def test_streams() -> None:
    data = saved(Image.fromarray(RGB)).getvalue()
    assert np.array_equal(np.asarray(Image.open(Pipe(data))), RGB)
    stream = io.BytesIO(data)
    image = Image.open(stream)
    image.load()
    assert not stream.closed  # it is the caller's


def test_copies_and_pickles(tmp_path: Path) -> None:
    path = tmp_path / "a.vitc"
    Image.fromarray(RGB).save(path, lossless=True, dpi=(72, 72))
    for out in (
        Image.open(path).copy(),
        copy.copy(Image.open(path)),
        copy.deepcopy(Image.open(path)),
        pickle.loads(pickle.dumps(Image.open(path))),
        Image.open(path).crop((0, 0, 90, 70)),
    ):
        assert np.array_equal(np.asarray(out), RGB) and out.info["dpi"] == (72, 72)
    changed = Image.open(path)
    changed.putpixel((0, 0), (1, 2, 3))
    assert changed.getpixel((0, 0)) == (1, 2, 3)
    changed.save(path, lossless=True)  # onto the file that it was opened from
    assert Image.open(path).getpixel((0, 0)) == (1, 2, 3)
    closed = Image.open(path)
    closed.close()
    with pytest.raises(ValueError, match="closed image"):
        closed.load()


def test_threads_share_one_codec(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads, from_pretrained = [], Codec.from_pretrained
    barrier = threading.Barrier(4)

    def load(*key: str) -> Codec:
        loads.append(key)
        return from_pretrained(*key)

    monkeypatch.setattr(Codec, "from_pretrained", load)
    expected = from_pretrained(str(model), "cpu").decode((DATA / "small-1.vitc").read_bytes()).rgb

    def decode(_: int) -> np.ndarray:
        barrier.wait(30)
        return np.asarray(Image.open(DATA / "small-1.vitc"))

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(decode, range(4)))
    assert len(loads) == 1 and all(np.array_equal(one, expected) for one in found)


# ---- damage


def test_a_model_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VITCODEC_MODELS", raising=False)
    monkeypatch.setattr(plugin, "_codecs", {})
    monkeypatch.setattr("vitcodec.pretrained.hub.download", lambda *_: pytest.fail("something was downloaded"))
    image = Image.open(DATA / "small-1.vitc")
    with pytest.raises(OSError, match=r"needs the model 'small' \(weights [0-9a-f]{16}\)"):
        image.load()


def test_damaged_files(tmp_path: Path) -> None:
    data = saved(Image.fromarray(RGB), tile=128, icc_profile=profiles.well_known(2)).getvalue()
    path = tmp_path / "a.vitc"
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    for broken, message in ((data[: len(data) // 2], "truncated"), (bytes(flipped), "checksum")):
        path.write_bytes(broken)
        image = Image.open(path)
        assert image.size == (90, 70)
        with pytest.raises(OSError, match=message) as caught:
            image.load()
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
        with pytest.raises(OSError, match=message):
            Image.open(path).verify()
    for head in (data[:20], data[:12] + b"\0" + data[13:], data[:4], b"", container.MAGIC):
        path.write_bytes(head)
        with pytest.raises(UnidentifiedImageError):
            Image.open(path)
    path.write_bytes(data[:8] + b"\x09" + data[9:])
    with pytest.raises(OSError, match="needs vitcodec >= 9"):
        Image.open(path)


def test_truncated_files_are_salvaged_where_pillow_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    alpha = np.full((140, 300), 9, np.uint8)
    data = LosslessCodec().encode(Picture(make_rgb(300, 140), alpha), tile=128)
    pixels = [c for c in container.describe(data).chunks if c.type == "PIXL"]
    cut = data[: pixels[1].offset + 3]
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(cut)).load()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    image = Image.open(io.BytesIO(cut))
    assert np.array_equal(np.asarray(image)[:128, :128], np.asarray(Image.open(io.BytesIO(data)))[:128, :128])
    lost = bytearray(data)
    lost[next(c for c in container.describe(data).chunks if c.type == "ALPH").offset + 8] ^= 1
    assert Image.open(io.BytesIO(bytes(lost))).convert("RGBA").getpixel((0, 0))[3] == 255


def test_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    head = pack_chunk("HEAD", pack_header(Header(16000, 16000, 0, False, "", b"", 2048)))
    with pytest.raises(Image.DecompressionBombError):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        Image.open(io.BytesIO(container.MAGIC + bytes([container.VERSION]) + head))
