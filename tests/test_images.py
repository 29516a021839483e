"""Reading and writing image files: modes, depth, orientation, colour, metadata, damage."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from making import png_file
from PIL import Image, ImageCms

from vitcodec.errors import InputError, LimitError, OutputError, UsageError
from vitcodec.imageio.exif import reset_orientation
from vitcodec.images import Picture, format_of, read_image, resized, write_image

ORIENTATION = 0x0112
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def make(width=24, height=16, channels=3, seed=0):
    """A smooth random picture, uint8."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    array = np.asarray(small)
    return array[..., 0].copy() if channels == 1 else array.copy()


def stored(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    buffer.seek(0)
    return buffer


def written(picture, format, **options):
    buffer = io.BytesIO()
    notes = write_image(picture, buffer, format, **options)
    buffer.seek(0)
    return buffer, notes


def matrix_profile(gamma=1.8, red=(0.46, 0.23)):
    """An RGB profile with its own primaries and a plain gamma curve, byte by byte as in ICC.1:2010 (version 2.4)."""
    x, y = red

    def fixed(value):
        return struct.pack(">i", round(value * 65536))

    def xyz(*values):
        return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))

    tags = {
        b"wtpt": xyz(0.9642, 1, 0.8249),
        b"rXYZ": xyz(x, y, 0.02),
        b"gXYZ": xyz(0.9642 - x - 0.15, 1 - y - 0.06, 0.1),
        b"bXYZ": xyz(0.15, 0.06, 0.8249 - 0.12),
        b"rTRC": b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256)),
    }
    tags[b"gTRC"] = tags[b"bTRC"] = tags[b"rTRC"]
    tags[b"desc"] = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78 + 1)
    tags[b"cprt"] = b"text\0\0\0\0none\0\0\0\0"
    offset, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for name, value in tags.items():
        table += name + struct.pack(">II", offset + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    head = (
        struct.pack(">I4sI4s4s4s", 0, b"test", 0x02400000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp" + bytes(28)
    )
    head += fixed(0.9642) + fixed(1) + fixed(0.8249)
    body = head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data
    return struct.pack(">I", len(body)) + body[4:]


def exif_block(orientation=6, byte_order="<"):
    exif = Image.Exif()
    exif.endian = byte_order
    exif[ORIENTATION] = orientation
    exif[0x010F] = "Maker"
    return exif.tobytes()


# reading: modes


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "WEBP", "JPEG2000", "PPM"])
def test_rgb_is_read_exactly(format):
    rgb = make()
    options = {"WEBP": {"lossless": True}, "JPEG2000": {"irreversible": False}}.get(format, {})
    picture = read_image(stored(Image.fromarray(rgb), format, **options))
    assert np.array_equal(picture.rgb, rgb) and picture.alpha is None and not picture.gray and not picture.notes


def test_gray_comes_back_gray():
    gray = make(channels=1)
    picture = read_image(stored(Image.fromarray(gray)))
    assert picture.gray and picture.rgb.shape == (16, 24, 3) and (picture.rgb == gray[..., None]).all()
    back, _ = written(picture, "png")
    with Image.open(back) as image:
        assert image.mode == "L" and np.array_equal(np.asarray(image), gray)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("format", ["png", "webp", "tif", "jp2"])
def test_alpha_is_lossless(mode, format):
    alpha = make(channels=1, seed=1)
    image = Image.fromarray(make(channels=1 if mode == "LA" else 3))
    image.putalpha(Image.fromarray(alpha))
    picture = read_image(stored(image))
    assert np.array_equal(picture.alpha, alpha) and picture.gray == (mode == "LA")
    again = read_image(written(picture, format)[0])
    assert np.array_equal(again.alpha, alpha) and np.array_equal(again.rgb, picture.rgb)


def test_palette_with_transparency():
    image = Image.fromarray(make()).quantize(8)
    index = int(np.asarray(image)[0, 0])
    picture = read_image(stored(image, transparency=index))
    assert np.array_equal(picture.rgb, np.asarray(image.convert("RGB")))
    assert np.array_equal(picture.alpha == 0, np.asarray(image) == index)


def test_transparent_colour_becomes_alpha():
    rgb = make()
    picture = read_image(stored(Image.fromarray(rgb), transparency=tuple(int(v) for v in rgb[3, 4])))
    assert np.array_equal(picture.rgb, rgb) and picture.alpha[3, 4] == 0 and picture.alpha.max() == 255


def test_bilevel_becomes_gray():
    bits = make(channels=1) > 127
    picture = read_image(stored(Image.fromarray(bits)))
    assert picture.gray and np.array_equal(picture.rgb[..., 0], bits * np.uint8(255))


def test_cmyk_is_converted():
    cmyk = Image.fromarray(make()).convert("CMYK")
    picture = read_image(stored(cmyk, "TIFF"))
    assert np.array_equal(picture.rgb, np.asarray(cmyk.convert("RGB"))) and picture.icc is None
    assert any("CMYK" in note for note in picture.notes)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_gray_is_scaled_not_clipped(format):
    ramp = np.linspace(0, 65535, 24 * 16).round().astype(np.uint16).reshape(16, 24)
    picture = read_image(stored(Image.fromarray(ramp), format))
    assert picture.gray and picture.notes == ["16-bit reduced to 8"]
    assert np.array_equal(picture.rgb[..., 0], np.round(ramp / 257).astype(np.uint8))


def png_16_bit(samples):
    """(H, W, 3) uint16 -> a PNG, which Pillow cannot write."""
    return png_file(samples, 2)


def test_16_bit_rgb_is_scaled_and_said():
    rgb = make()
    picture = read_image(io.BytesIO(png_16_bit(rgb.astype(np.uint16) * 257)))
    assert np.array_equal(picture.rgb, rgb) and picture.notes == ["16-bit reduced to 8"]


def test_float_and_32_bit_are_refused():
    for array in (make(channels=1).astype(np.float32), make(channels=1).astype(np.int32) * 70000):
        with pytest.raises(InputError, match=r"big\.tif: .*not supported"):
            read_image(stored(Image.fromarray(array), "TIFF"), name="big.tif")


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animation_gives_its_first_frame(format):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    picture = read_image(stored(frames[0], format, save_all=True, append_images=frames[1:]))
    assert len(picture.notes) == 1 and "first" in picture.notes[0]
    assert picture.rgb[..., 0].min() > 200 and picture.rgb[..., 2].max() < 60


# orientation and metadata


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_is_applied_and_reset(orientation, format):
    rgb = make()
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(format, {})
    picture = read_image(stored(Image.fromarray(rgb), format, exif=exif_block(orientation), **options))
    turned = {
        1: rgb,
        2: rgb[:, ::-1],
        3: rgb[::-1, ::-1],
        4: rgb[::-1],
        5: rgb.swapaxes(0, 1),
        6: rgb[::-1].swapaxes(0, 1),
        7: rgb[::-1, ::-1].swapaxes(0, 1),
        8: rgb[:, ::-1].swapaxes(0, 1),
    }[orientation]
    assert picture.rgb.shape == turned.shape and np.abs(picture.rgb.astype(int) - turned).max() <= (
        8 if format == "JPEG" else 0
    )
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + picture.exif)
    assert exif.get(ORIENTATION, 1) == 1 and exif[0x010F].rstrip("\0") == "Maker"


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_resetting_the_orientation_changes_nothing_else(byte_order):
    block = exif_block(6, byte_order).removeprefix(b"Exif\0\0")
    reset = reset_orientation(block)
    assert len(reset) == len(block) and sum(a != b for a, b in zip(reset, block, strict=True)) == 1
    for end in range(len(block)):  # truncated anywhere: no exception
        assert len(reset_orientation(block[:end])) == end


def test_orientation_in_xmp_is_reset_too():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    picture = read_image(stored(Image.fromarray(make()), "WEBP", xmp=xmp, lossless=True))
    assert picture.rgb.shape == (24, 16, 3)
    assert picture.xmp == xmp.replace(b'"6"', b'"1"')


@pytest.mark.parametrize("format", ["png", "jpg", "webp", "tif", "avif"])
@pytest.mark.parametrize("gray", [False, True])
def test_metadata_is_kept_or_stripped(format, gray):
    exif, xmp = exif_block(1).removeprefix(b"Exif\0\0"), b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    rgb = np.repeat(make(channels=1)[..., None], 3, -1) if gray else make()
    picture = Picture(rgb, gray=gray, icc=SRGB, exif=exif, xmp=xmp)
    kept = read_image(written(picture, format)[0])
    assert kept.icc == SRGB and kept.xmp.rstrip(b"\0") == xmp
    parsed = Image.Exif()
    parsed.load(b"Exif\0\0" + kept.exif)
    assert parsed[0x010F].rstrip("\0") == "Maker"
    stripped = read_image(written(picture, format, strip=True)[0])
    assert stripped.icc is None and stripped.exif is None and stripped.xmp is None


def test_exif_that_describes_other_pixels_does_not_harm_a_tiff():
    exif = Image.Exif()
    exif[256], exif[257], exif[259], exif[0x010F] = (
        4000,
        3000,
        6,
        "Maker",
    )  # width, height, compression of a telephone's original
    rgb = make()
    picture = read_image(written(Picture(rgb, exif=exif.tobytes().removeprefix(b"Exif\0\0")), "tif")[0])
    assert np.array_equal(picture.rgb, rgb) and b"Maker" in picture.exif


def test_metadata_too_long_for_jpeg_is_left_out_and_said():
    buffer, notes = written(Picture(make(), xmp=bytes(70_000)), "jpg")
    assert read_image(buffer).xmp is None and len(notes) == 1 and "XMP" in notes[0]


def test_what_a_format_cannot_hold_is_said():
    assert any("alpha" in note for note in written(Picture(make(), alpha=make(channels=1)), "jpg")[1])
    assert any("ICC" in note for note in written(Picture(make(), icc=SRGB), "bmp")[1])


# colour


def test_srgb_profiles_leave_pixels_alone():
    rgb = make()
    picture = read_image(stored(Image.fromarray(rgb), icc_profile=SRGB))
    assert np.array_equal(picture.rgb, rgb) and picture.icc == SRGB


def test_values_and_profile_are_kept():
    rgb = make() // 2 + 64
    icc = matrix_profile()
    picture = read_image(stored(Image.fromarray(rgb), icc_profile=icc))
    assert picture.icc == icc and np.array_equal(picture.rgb, rgb) and not picture.notes
    with Image.open(written(picture, "png")[0]) as image:
        assert image.info["icc_profile"] == icc and np.array_equal(np.asarray(image), rgb)
    with Image.open(written(picture, "png", strip=True)[0]) as image:
        assert "icc_profile" not in image.info and np.abs(np.asarray(image).astype(int) - rgb).max() > 8


def test_gray_with_an_rgb_profile_stays_gray():
    gray = make(channels=1)
    picture = read_image(stored(Image.fromarray(gray), "TIFF", icc_profile=matrix_profile()))
    assert picture.gray and picture.icc and np.array_equal(picture.rgb[..., 0], gray)
    with Image.open(written(picture, "tif")[0]) as image:
        assert image.mode == "L" and np.array_equal(np.asarray(image), gray)
    assert np.abs(read_image(written(picture, "bmp")[0]).rgb[..., 0].astype(int) - gray).max() > 4


def test_damaged_or_unfitting_profiles_are_ignored_and_said():
    rgb = make()
    cmyk_like = bytearray(matrix_profile())
    cmyk_like[16:20] = b"GRAY"
    for icc in (b"not a profile", bytes(cmyk_like)):
        picture = read_image(stored(Image.fromarray(rgb), icc_profile=icc))
        assert np.array_equal(picture.rgb, rgb) and picture.icc is None and "ignored" in picture.notes[0]


# limits and damage


def test_too_many_pixels():
    buffer = stored(Image.fromarray(make(20, 20)))
    assert read_image(buffer, max_pixels=400).rgb.shape == (20, 20, 3)
    before = Image.MAX_IMAGE_PIXELS
    for limit in (399, 100):
        buffer.seek(0)
        with pytest.raises(LimitError, match=r"a\.png: .*--max-pixels"):
            read_image(buffer, max_pixels=limit, name="a.png")
    assert before == Image.MAX_IMAGE_PIXELS


def test_formats_outside_the_list_are_refused():
    for format in ("EPS", "ICO", "TGA", "PDF"):
        with pytest.raises(InputError, match="not an image of a known kind"):
            read_image(stored(Image.fromarray(make(32, 32)), format))


@pytest.mark.parametrize("data", [b"", b"x", b"GIF89a", bytes(1000)])
def test_not_an_image(data, tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"x\.png: not an image of a known kind|x\.png: damaged|is empty"):
        read_image(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_image(tmp_path / "absent.png")
    with pytest.raises(InputError, match="cannot be read"):
        read_image(tmp_path)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "JPEG2000", "AVIF"])
def test_damage_gives_a_picture_or_an_input_error(format):
    data = stored(Image.fromarray(make(64, 48)), format).getvalue()
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(40):
        broken = bytearray(data[: rng.integers(1, len(data))] if trial % 2 else data)
        for position in rng.integers(0, len(broken), 3):
            broken[position] ^= int(rng.integers(1, 256))
        try:
            read_image(io.BytesIO(bytes(broken)), max_pixels=1_000_000)
        except (InputError, LimitError):
            refused += 1
    assert refused


def test_writing_to_a_path_is_atomic_and_needs_a_known_suffix(tmp_path):
    rgb = make()
    write_image(Picture(rgb), tmp_path / "a.PNG")
    assert np.array_equal(read_image(tmp_path / "a.PNG").rgb, rgb)
    with pytest.raises(OutputError, match="exists already"):
        write_image(Picture(rgb), tmp_path / "a.PNG", overwrite=False)
    with pytest.raises(UsageError, match="suffix"):
        write_image(Picture(rgb), tmp_path / "a.xyz")
    assert [p.name for p in tmp_path.iterdir()] == ["a.PNG"]
    assert format_of("x", "jpeg") == format_of("x.JPG") == "JPEG"


@pytest.mark.parametrize("size", [(12, 8), (5, 8), (24, 16), (1, 1)])
def test_resized(size):
    alpha = np.zeros((16, 24), np.uint8)
    alpha[:, :12] = 255
    rgb = make()
    rgb[:, 12:] = 0  # what hides behind transparent pixels does not darken the others
    rgb[:, :12] = 200
    small = resized(Picture(rgb, alpha), *size)
    assert small.rgb.shape[1::-1] == small.alpha.shape[::-1] == size
    assert (np.abs(small.rgb[small.alpha > 100].astype(int) - 200) <= 20).all()  # but for ringing


def test_a_size_that_the_format_cannot_hold(tmp_path):
    with pytest.raises(OutputError, match="choose another format"):
        write_image(Picture(np.zeros((1, 17000, 3), np.uint8)), tmp_path / "wide.webp")
    assert not list(tmp_path.iterdir())
