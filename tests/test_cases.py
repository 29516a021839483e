"""What went wrong with real files once, each made small here, through the command line.

Other tests look at the same things more closely; these are what a user sees. --lossless stands for any coding, as it
needs no model.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import storing
from conftest import make_rgb
from making import chunk, png_file, tiff_file
from PIL import Image, PngImagePlugin
from storing import call, one_line
from test_images import exif_block, stored

from vitcodec.codec import Codec
from vitcodec.errors import InputError
from vitcodec.imageio.profiles import well_known
from vitcodec.lossless import LosslessCodec
from vitcodec.options import EncodeOptions
from vitcodec.picture import Picture
from vitcodec.target import Target
from vitcodec.target import encode as to_target

RGB = make_rgb(40, 32, seed=9)


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    storing.install(monkeypatch)


def there_and_back(name: str, data: bytes | io.BytesIO, format: str = "png", *how: str) -> tuple[Image.Image, str, str]:
    """A file through `encode --lossless` and `decode` -> the image, and what the two said."""
    Path(name).write_bytes(data if isinstance(data, bytes) else data.getvalue())
    encoded = call("encode", name, "-o", "x.vitc", "--lossless", "--overwrite")
    assert encoded.exit_code == 0, encoded.stderr
    decoded = call("decode", "x.vitc", "-o", f"x.{format}", "--overwrite", *how)
    assert decoded.exit_code == 0, decoded.stderr
    with Image.open(f"x.{format}") as image:
        image.load()
    return image, encoded.stderr, decoded.stderr


def rgba(under: np.ndarray) -> bytes:
    """A white disc, and `under` where nothing is seen."""
    disc = ((np.mgrid[:64, :64] - 32.0) ** 2).sum(0) < 25**2
    pixels = np.dstack([under, np.zeros((64, 64), np.uint8)])
    pixels[disc] = 255
    return stored(Image.fromarray(pixels)).getvalue()


def test_a_photograph_becomes_a_tiff_with_its_exif() -> None:
    exif = Image.Exif()
    exif[271] = "Maker"
    exif.get_ifd(0x8769)[0x829A] = (1, 125)
    image, _, said = there_and_back("a.jpg", stored(Image.fromarray(RGB), "JPEG", exif=exif), "tif")
    assert image.getexif()[271] == "Maker" and image.getexif().get_ifd(0x8769)[0x829A] == (1, 125)
    assert "note" not in said


@pytest.mark.parametrize("format", ["png", "jpg", "webp", "avif", "tif"])
def test_colours_of_display_p3_stay_apart(format: str) -> None:
    p3, pixels = well_known(2), np.full((32, 32, 3), (255, 0, 0), np.uint8)
    pixels[:, 16:] = 234, 51, 35  # the same red in sRGB, where that is cut off
    image, said, _ = there_and_back("a.png", stored(Image.fromarray(pixels), icc_profile=p3), format)
    assert image.info["icc_profile"] == p3 and "note" not in said
    assert np.abs(np.asarray(image.convert("RGB")).astype(int)[16, ::31] - pixels[16, ::31]).max() < 8


@pytest.mark.parametrize(
    ("colours", "value", "words"),
    [
        (chunk(b"gAMA", struct.pack(">I", 100000)), 188, "gamma 1: converted to sRGB"),
        (chunk(b"gAMA", struct.pack(">I", 50000)), 137, "gamma 0.5: converted to sRGB"),
        (chunk(b"cICP", bytes([9, 16, 0, 1])), 128, "HDR (PQ)"),
        (chunk(b"cICP", bytes([9, 18, 0, 1])), 128, "HDR (HLG)"),
        (chunk(b"cICP", bytes([12, 13, 0, 1])), 128, ""),
    ],
)
def test_colours_said_by_chunks(colours: bytes, value: int, words: str) -> None:
    image, said, _ = there_and_back("a.png", png_file(np.full((8, 8, 3), 128, np.uint8), 2, colours))
    assert image.getpixel((3, 3)) == (value,) * 3 and words in said and ("note" in said) == bool(words)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_every_form_of_transparent_gray(bits: int) -> None:
    top = (1 << bits) - 1
    values = np.tile(np.array([0, top], np.uint16), (4, 8))
    packed = np.packbits((values[..., None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8).reshape(4, -1), axis=1)
    deep = packed.view(">u2").astype(np.uint16) if bits == 16 else packed
    made = png_file(deep, 0, chunk(b"tRNS", struct.pack(">H", top)), depth=None if bits > 4 else bits)
    image, _, _ = there_and_back("a.png", made)
    assert image.mode == "LA" and np.asarray(image)[0, :2].tolist() == [[0, 255], [np.asarray(image)[0, 1, 0], 0]]


@pytest.mark.parametrize("how", [["--reduce", "2"], ["--fit", "20x20"], ["--region", "3,3,50,50", "--reduce", "1"]])
def test_shrinking_shows_no_fringes(how: list[str]) -> None:
    image, _, _ = there_and_back("a.png", rgba(np.full((64, 64, 3), (255, 0, 255), np.uint8)), "png", *how)
    pixels = np.asarray(image)
    assert (pixels[pixels[..., 3] > 0][:, :3] == 255).all()


def test_what_is_not_seen_costs_nothing_and_no_target(codec: Codec) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    disc = ((np.mgrid[:64, :64] - 32.0) ** 2).sum(0) < 25**2
    noise[disc] = 30, 90, 200
    picture = Picture(noise, np.where(disc, 255, 0).astype(np.uint8))
    hit = to_target(codec, picture, Target(psnr=45), EncodeOptions(effort=1, coding="tokens"))
    error = codec.decode(hit.data).rgb[disc].astype(float) - noise[disc]
    assert len(hit.data) < 500 and 10 * np.log10(255**2 / (error**2).mean()) >= 45
    assert to_target(codec, picture, Target(psnr=45), EncodeOptions(effort=1)).note == (
        "stored exactly, which is more than 45 dB"
    )
    assert "the picture is stored exactly" in str(to_target(codec, picture, Target(size=5000)).note)


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("Raw profile type exif", "\nexif\n      10\n45786966zz\n", "EXIF is damaged: left out"),
        ("workflow", "x" * 1_200_000, "left out: text"),
    ],
)
def test_odd_metadata_refuse_no_picture(key: str, text: str, words: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text(key, text, zip=len(text) > 1000)
    image, said, _ = there_and_back("a.png", stored(Image.fromarray(RGB), pnginfo=info))
    assert (np.asarray(image) == RGB).all() and said.count("note: ") == 1 and words in said


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_tiff_of_odd_depth_reaches_white(bits: int) -> None:
    values = np.linspace(0, (1 << bits) - 1, 64).astype(np.uint16)
    row = np.packbits((values[:, None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8)).tobytes()
    image, said, _ = there_and_back("a.tif", tiff_file(64, 16, bits, 1, 1, row * 16))
    assert np.abs(np.asarray(image)[5] - np.linspace(0, 255, 64)).max() <= 1 and f"{bits}-bit reduced to 8" in said


@pytest.mark.parametrize("format", ["tif", "png", "jpg"])
def test_the_bytes_of_text_stay(format: str) -> None:
    made = stored(Image.fromarray(RGB), "TIFF", tiffinfo={315: "M##ller"}).getvalue()
    there_and_back("a.tif", made.replace(b"M##ller", "Müller".encode()), format)
    assert "Müller".encode() in Path(f"x.{format}").read_bytes()


def test_half_a_file_with_much_metadata_is_half_a_picture(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitcodec.cli.codecs.load_codec", lambda *_: codec)
    exif = Image.Exif()
    exif[0x927C] = np.random.default_rng(1).bytes(24000)
    Path("a.jpg").write_bytes(stored(Image.fromarray(RGB), "JPEG", exif=exif).getvalue())
    assert call("encode", "a.jpg", "-q", 30, "--effort", 1).exit_code == 0
    data = Path("a.vitc").read_bytes()
    Path("half.vitc").write_bytes(data[: len(data) // 2])
    assert call("decode", "half.vitc").exit_code == 1
    said = call("decode", "half.vitc", "--salvage")
    assert said.exit_code == 0 and "metadata may be missing" in said.stderr
    assert call("decode", "a.vitc").exit_code == 0
    with Image.open("a.png") as whole, Image.open("half.png") as half:
        assert (np.asarray(whole) == np.asarray(half)).all()


@pytest.mark.parametrize(("orientation", "how"), [(6, []), (1, ["--region", "0,0,16,16"])])
def test_a_thumbnail_that_is_not_true_is_taken_out(orientation: int, how: list[str]) -> None:
    small = stored(Image.new("RGB", (8, 5), "red"), "JPEG").getvalue()
    place = 8 + 2 + 12 + 4
    block = b"II*\0" + struct.pack("<IHHHIIIH", 8, 1, 0x0112, 3, 1, orientation, place, 2)
    for tag, value in ((0x0201, place + 2 + 24 + 4), (0x0202, len(small))):
        block += struct.pack("<HHII", tag, 4, 1, value)
    block += bytes(4) + small
    made = stored(Image.fromarray(RGB), "JPEG", exif=b"Exif\0\0" + block)
    image, _, _ = there_and_back("a.jpg", made, "png", *how)
    assert small not in Path("x.png").read_bytes() and image.size == ((16, 16) if how else (32, 40))
    assert (small in Path("x.vitc").read_bytes()) is False


def test_further_channels_are_not_lost_in_silence() -> None:
    four = np.dstack([RGB, RGB[..., 0]])
    image, said, _ = there_and_back("a.tif", tiff_file(40, 32, 8, 2, 4, four.tobytes(), extra=[0]))
    assert (np.asarray(image) == RGB).all() and "left out: a further channel" in said
    _, said, _ = there_and_back("b.tif", tiff_file(40, 32, 8, 2, 4, four.tobytes(), extra=[2]))
    assert "left out" not in said


def test_what_a_format_cannot_hold_is_said_once_for_each() -> None:
    p3 = stored(Image.fromarray(RGB), icc_profile=well_known(2))
    _, _, said = there_and_back("a.png", p3, "ppm")
    assert said.count("note: ") == 1 and "converted to sRGB" in said
    _, _, said = there_and_back("a.jpg", stored(Image.fromarray(RGB), "JPEG", exif=exif_block(1)), "ppm")
    assert said.count("note: ") == 1 and "PPM holds no EXIF: left out" in said


def test_pixels_that_are_not_square_are_said() -> None:
    made = stored(Image.fromarray(RGB), "TIFF", resolution_unit=1, x_resolution=3.0, y_resolution=2.0)
    assert "left out: shape of its pixels" in there_and_back("a.tif", made)[1]
    jpeg = stored(Image.fromarray(RGB), "JPEG", dpi=(3, 2)).getvalue()
    place = jpeg.index(b"JFIF\0") + 7
    assert "left out: shape of its pixels" in there_and_back("a.jpg", jpeg[:place] + b"\0" + jpeg[place + 1 :])[1]
    assert "left out" not in there_and_back("a.jpg", stored(Image.fromarray(RGB), "JPEG"))[1]


# names


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode", ""],
        ["encode", "a.png", "-o", ""],
        ["encode", "a.png", ""],
        ["decode", ""],
        ["info", ""],
        ["eval", ""],
    ],
)
def test_an_empty_name_is_not_the_working_folder(arguments: list[str]) -> None:
    Image.fromarray(RGB).save("a.png")
    one_line(call(*arguments), 2, "empty name")
    assert [p.name for p in Path().iterdir()] == ["a.png"]


def test_compare_of_a_folder() -> None:
    one_line(call("compare", "."), 2, "is a folder")


def test_a_name_with_a_line_break_takes_one_line() -> None:
    Image.fromarray(RGB).save("a\nb.png")
    said = call("encode", ".", "-o", "out", "--lossless")
    assert said.exit_code == 0 and said.stderr.count("\n") == 1 and "a\\nb.png -> out/a\\nb.vitc" in said.stderr
    assert call("info", "out").stdout.count("\n") == 1


# arrays


@pytest.mark.parametrize(
    "picture",
    [
        Picture(RGB / 255),
        Picture(RGB.astype(np.uint16)),
        Picture(RGB[..., 0]),
        Picture(RGB[:0]),
        Picture(RGB, alpha=RGB[:3, :3, 0]),
        Picture(RGB, alpha=RGB[..., 0] / 255),
    ],
)
def test_what_is_no_picture_of_8_bits_is_refused(codec: Codec, picture: Picture) -> None:
    for encode in (codec.encode, codec.encode_tokens, LosslessCodec().encode):
        with pytest.raises(InputError, match="uint8"):
            encode(picture)
