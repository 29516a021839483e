"""Metadata: kept byte by byte, never a reason to refuse a picture, and said where it is left out."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from making import chunk, png_file, segment, tiff_file
from PIL import Image, PngImagePlugin
from test_images import exif_block, make, stored, written

from vitcodec.bitstream.container import Contents
from vitcodec.bitstream.header import Header
from vitcodec.bitstream.metadata import pack_metadata, unpack_picture
from vitcodec.errors import InputError, LimitError, VitcodecError
from vitcodec.filesystem.suffixes import WRITE_FORMATS
from vitcodec.imageio import exif, opening, profiles, tiff
from vitcodec.images import Picture, read_image, write_image
from vitcodec.tiles import Region

RGB = make(16, 16)
pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")
P3, LEVELS = profiles.well_known(2) or b"", np.linspace(0, 1, 256)
MAKER, EXPOSURE = 0x010F, 0x829A


def read(data: bytes) -> Picture:
    return read_image(io.BytesIO(data))


def camera_exif(order: str = "<", orientation: int = 1, thumbnail: bytes = b"") -> bytes:
    """A block as cameras write it: with a directory of EXIF, one of GPS, and a thumbnail."""
    inner = {EXPOSURE: tiff.Entry(5, struct.pack(order + "II", 1, 125)), 0x9286: tiff.Entry(7, b"ASCII\0\0\0hi")}
    place = {1: tiff.Entry(2, b"N\0")}
    entries = {
        MAKER: tiff.Entry(2, "Müller\0".encode()),
        exif.ORIENTATION: tiff.Entry(3, struct.pack(order + "H", orientation)),
        tiff.EXIF_IFD: tiff.Entry(4, bytes(4), inner),
        tiff.GPS_IFD: tiff.Entry(4, bytes(4), place),
    }
    block = tiff.block(tiff.Tiff(order, entries))
    if not thumbnail:
        return block
    second = len(block)
    tags = [(0x0103, 3, 6), (0x0201, 4, second + 42), (0x0202, 4, len(thumbnail))]
    packed = b"".join(
        struct.pack(order + "HHI", t, k, 1)
        + struct.pack(order + ("HH" if k == 3 else "I"), *([v, 0] if k == 3 else [v]))
        for t, k, v in tags
    )
    first = struct.unpack_from(order + "I", block, 4)[0]
    link = first + 2 + 12 * len(entries)
    linked = block[:link] + struct.pack(order + "I", second) + block[link + 4 :]
    return linked + struct.pack(order + "H", 3) + packed + bytes(4) + thumbnail


def jpeg(*segments: bytes, rgb: np.ndarray = RGB, **options: object) -> bytes:
    data = stored(Image.fromarray(rgb), "JPEG", quality=95, **options).getvalue()
    return data[:2] + b"".join(segments) + data[2:]


# ---- EXIF in TIFF files, bytes of text


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_camera_photograph_becomes_a_tiff_with_its_exif(order: str) -> None:
    block = camera_exif(order)
    buffer, notes = written(read(jpeg(segment(0xE1, b"Exif\0\0" + block))), "tif")
    assert not notes
    with Image.open(buffer) as image:
        found = image.getexif()
        assert found.get_ifd(tiff.EXIF_IFD)[EXPOSURE] == 1 / 125 and found.get_ifd(tiff.GPS_IFD)[1] == "N"
        image.load()
    again = read(buffer.getvalue())
    parsed = tiff.parse(again.exif or b"")
    assert parsed is not None and parsed.intact
    assert parsed.entries[MAKER].data == "Müller\0".encode()
    inner = parsed.entries[tiff.EXIF_IFD].directory
    assert inner is not None and inner[0x9286].data == b"ASCII\0\0\0hi"


@pytest.mark.parametrize("format", ["png", "jpg", "webp", "avif", "tif"])
def test_text_that_is_not_ascii_stays_the_bytes_that_it_is(format: str) -> None:
    data = stored(Image.fromarray(RGB), "TIFF", tiffinfo={315: "M##ller"}).getvalue()
    picture = read(data.replace(b"M##ller", "Müller".encode()))
    assert "Müller".encode() in (picture.exif or b"")
    buffer, _ = written(picture, format)
    assert "Müller".encode() in (read(buffer.getvalue()).exif or b"")


def test_big_tiff() -> None:
    data = stored(Image.fromarray(RGB), "TIFF", big_tiff=True, tiffinfo={315: "Somebody"}).getvalue()
    picture = read(data)
    assert np.array_equal(picture.rgb, RGB) and b"Somebody" in (picture.exif or b"")


# ---- thumbnails


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_turned_picture_loses_its_thumbnail(order: str) -> None:
    thumbnail = stored(Image.fromarray(RGB), "JPEG").getvalue()
    for orientation in (1, 6):
        block = camera_exif(order, orientation, thumbnail)
        picture = read(jpeg(segment(0xE1, b"Exif\0\0" + block)))
        assert picture.exif is not None and (thumbnail[20:60] in picture.exif) == (orientation == 1)
        parsed = tiff.parse(picture.exif)
        assert parsed is not None and parsed.numbers(exif.ORIENTATION) == (1,)
        assert bool(parsed.following) == (orientation == 1) and tiff.EXIF_IFD in parsed.entries
        header = Header(16, 16, 50, False, "x", bytes(8), 128)
        contents = Contents(header, pack_metadata(picture, None))
        part = unpack_picture(contents, RGB[:4, :4], Region(2, 2, 4, 4), 0)
        assert part.exif is not None and thumbnail[20:60] not in part.exif
        whole = unpack_picture(contents, RGB, Region(0, 0, 16, 16), 0)
        assert whole.exif == picture.exif


def test_thumbnails_in_xmp_go_too() -> None:
    xmp = b"<x><xmp:Thumbnails><rdf:Alt>AAAA</rdf:Alt></xmp:Thumbnails><a/></x>"
    block = camera_exif(orientation=6)
    parts = segment(0xE1, b"Exif\0\0" + block), segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)
    assert read(jpeg(*parts)).xmp == b"<x><a/></x>" and read(jpeg(parts[1])).xmp == xmp


def test_taking_out_the_orientation_leaves_the_rest() -> None:
    for order in "<>":
        block = camera_exif(order)
        parsed, before = tiff.parse(exif.without_orientation(block)), tiff.parse(block)
        assert parsed is not None and before is not None
        assert before.entries.keys() - parsed.entries.keys() == {exif.ORIENTATION}
    for end in range(len(block)):
        exif.without_orientation(block[:end])
        exif.without_thumbnail(camera_exif(thumbnail=b"xx")[:end])


# ---- odd metadata


def test_long_and_broken_text_chunks() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "x" * 1_200_000, zip=True)
    picture = read(stored(Image.fromarray(RGB), pnginfo=info).getvalue())
    assert np.array_equal(picture.rgb, RGB) and picture.notes == ["left out: text"]
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", "\nexif\n      10\n45786966zz\n")
    picture = read(stored(Image.fromarray(RGB), pnginfo=info).getvalue())
    assert picture.exif is None and picture.notes == ["its EXIF is damaged: left out"]


@pytest.mark.parametrize("name", ["exif", "APP1"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_good_raw_profile_is_kept(name: str, zipped: bool) -> None:
    block = b"Exif\0\0" + camera_exif()
    lines = "\n".join(block.hex()[i : i + 72] for i in range(0, 2 * len(block), 72))
    info = PngImagePlugin.PngInfo()
    info.add_text(f"Raw profile type {name}", f"\n{name}\n{len(block):8}\n{lines}\n", zip=zipped)
    picture = read(stored(Image.fromarray(RGB), pnginfo=info).getvalue())
    assert picture.exif == camera_exif() and not picture.notes


def test_what_is_left_out_is_said_in_one_note() -> None:
    iptc = segment(0xED, b"Photoshop 3.0\08BIM\x04\x04\0\0\0\0\0\0")
    assert read(jpeg(iptc, segment(0xFE, b"hello"))).notes == ["left out: IPTC, comment"]
    gain_map = segment(0xE2, b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0")
    assert read(jpeg(gain_map, segment(0xE2, b"MPF\0"))).notes == ["left out: gain map (HDR)"]
    text = chunk(b"tEXt", b"Title\0x"), chunk(b"tIME", bytes(7)), chunk(b"iTXt", b"a\0\0\0\0\0b")
    assert read(png_file(RGB, 2, *text)).notes == ["left out: time, text"]
    assert read(stored(Image.fromarray(RGB), "GIF", comment=b"hello").getvalue()).notes == ["left out: comment"]


def test_what_is_too_long_is_left_out() -> None:
    picture = read(png_file(RGB, 2, chunk(b"eXIf", camera_exif() + bytes(17 << 20))))
    assert picture.exif is None and picture.notes == ["left out: EXIF of more than 16 MiB"]


def test_xmp_that_png_cannot_hold_is_said() -> None:
    buffer, notes = written(Picture(RGB, xmp=b"\xff\xfe<\0x\0"), "png")
    assert read(buffer.getvalue()).xmp is None and notes == ["PNG holds XMP only as UTF-8: left out"]
    xmp = "<x>Müller</x>".encode()
    for compressed in (b"\0\0", b"\1\0"):
        text = zlib.compress(xmp) if compressed[0] else xmp
        assert read(png_file(RGB, 2, chunk(b"iTXt", b"XML:com.adobe.xmp\0" + compressed + b"\0\0" + text))).xmp == xmp


def test_damaged_exif_of_every_format() -> None:
    for junk in (b"junk", b"II*\0\xff\xff\xff\xff" + bytes(20), camera_exif()[:30]):
        for data in (jpeg(segment(0xE1, b"Exif\0\0" + junk)), png_file(RGB, 2, chunk(b"eXIf", junk))):
            picture = read(data)
            assert picture.rgb.shape == RGB.shape
            for format in ("png", "jpg", "webp", "avif", "tif"):
                written(picture, format)
    data = stored(Image.fromarray(RGB), "AVIF", exif=camera_exif()).getvalue()
    broken = data.replace(b"II*\0", b"xx*\0")
    assert broken != data and read(broken).rgb.shape == RGB.shape and "damaged" in read(broken).notes[0]


def test_random_metadata_never_refuse_a_picture() -> None:
    """Blocks that are mutated at random, in every place where a format has them."""
    rng = np.random.default_rng(30)

    def mutated(data: bytes) -> bytes:
        out = bytearray(data)
        for _ in range(rng.integers(0, 8)):
            out[rng.integers(len(out))] = rng.integers(256)
        return bytes(out[: rng.integers(1, len(out) + 1)] if rng.random() < 0.3 else out)

    xmp, icc = b"<x tiff:Orientation='6'/>", profile()
    for _ in range(150):
        block, packet, colours = mutated(camera_exif(orientation=6, thumbnail=b"x" * 9)), mutated(xmp), mutated(icc)
        files = [
            jpeg(segment(0xE1, b"Exif\0\0" + block), segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)),
            jpeg(segment(0xE2, mutated(b"MPF\0" + camera_exif())), icc_profile=colours),
            png_file(RGB, 2, chunk(b"eXIf", block), chunk(b"iCCP", mutated(b"x\0\0" + zlib.compress(colours)))),
            png_file(RGB, 2, *(chunk(k, rng.bytes(n)) for k, n in ((b"gAMA", 4), (b"cHRM", 32), (b"cICP", 4)))),
            stored(Image.fromarray(RGB), "WEBP", exif=block, xmp=packet, icc_profile=colours).getvalue(),
            exif.into_tiff(stored(Image.fromarray(RGB), "TIFF", icc_profile=colours).getvalue(), block, packet),
        ]
        for data in files:
            picture = read(data)
            assert picture.rgb.shape == (16, 16, 3)
            for format in ("png", "jpg", "webp", "tif", "bmp"):
                write_image(picture, io.BytesIO(), format, strip=bool(rng.random() < 0.5))


def profile() -> bytes:
    from vitcodec.imageio.profiles import well_known

    icc = well_known(2)
    assert icc is not None
    return icc


# ---- resolution


@pytest.mark.parametrize("format", ["png", "jpg", "tif", "bmp"])
def test_resolution_is_kept(format: str) -> None:
    source = read(
        stored(
            Image.fromarray(RGB), format.upper().replace("JPG", "JPEG").replace("TIF", "TIFF"), dpi=(300, 150)
        ).getvalue()
    )
    assert source.dpi is not None and np.allclose(source.dpi, (300, 150), atol=0.1)
    header = Header(16, 16, 50, False, "x", bytes(8), 128)
    decoded = unpack_picture(Contents(header, pack_metadata(source, None)), RGB, Region(0, 0, 16, 16), 0)
    for target in ("png", "jpg", "tif", "bmp"):
        back = read(written(decoded, target)[0].getvalue())
        assert back.dpi is not None and np.allclose(back.dpi, (300, 150), atol=0.1)
    assert any("DPI" in note for note in written(decoded, "webp")[1])


def test_no_resolution_is_invented() -> None:
    for format in ("PNG", "JPEG", "TIFF", "WEBP", "AVIF", "GIF"):
        assert read(stored(Image.fromarray(RGB), format).getvalue()).dpi is None


def test_resolution_turns_with_the_picture() -> None:
    for format in ("JPEG", "TIFF"):
        data = stored(Image.fromarray(RGB), format, dpi=(300, 150), exif=exif_block(6)).getvalue()
        assert read(data).dpi == (150, 300)


# ---- kinds of TIFF, and messages


GRAY = np.array([[0, 1000, 65535, 300]], np.uint16)
TWELVE = bytes([0xFF, 0xF0, 0x00, 0x80, 0x00, 0x10])


@pytest.mark.parametrize("order", ["<", ">"])
def test_gray_tiff_of_many_depths(order: str) -> None:
    packed = GRAY.astype(order + "u2").tobytes()
    for photometric, white in ((1, 0), (0, 255)):
        picture = read(tiff_file(4, 1, 16, photometric, 1, packed, order))
        assert picture.rgb[0, :, 0].tolist() == [abs(white - v) for v in (0, 4, 255, 1)]
        for compression in (1, 8):
            data = zlib.compress(TWELVE) if compression == 8 else TWELVE
            picture = read(tiff_file(4, 1, 12, photometric, 1, data, order, compression=[compression]))
            assert np.abs(picture.rgb[0, :, 0] - np.abs(white - np.array([255, 0, 128, 0]))).max() <= 1
            assert picture.gray and picture.notes == ["12-bit reduced to 8"]


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("samples", [1, 3])
def test_any_depth_reaches_black_and_white(bits: int, samples: int) -> None:
    for value in (0, 255):
        data = bytes([value]) * (8 * bits * samples)
        picture = read(tiff_file(8, 8, bits, 1 if samples == 1 else 2, samples, data))
        assert (picture.rgb == value).all() and picture.gray == (samples == 1)


def test_deep_pnm_is_said() -> None:
    picture = read(b"P6 # a comment\n2 1 65535\n" + np.array([0, 65535, 1000, 257, 514, 300], ">u2").tobytes())
    assert picture.rgb.tolist() == [[[0, 255, 4], [1, 2, 1]]] and picture.notes == ["16-bit reduced to 8"]
    assert read(b"P5 2 1 1023\n" + np.array([0, 1023], ">u2").tobytes()).rgb[0, :, 0].tolist() == [0, 255]
    assert not read(b"P6 1 1 255\n\1\2\3").notes


def test_interlaced_16_bit_png() -> None:
    """Adam7, seven pictures one after the other."""
    values = (np.arange(8 * 8 * 3).reshape(8, 8, 3) * 300).astype(np.uint16)
    starts = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = [row for y, x, dy, dx in starts for row in values[y::dy, x::dx]]
    packed = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 1))
    end = chunk(b"IDAT", zlib.compress(packed)) + chunk(b"IEND", b"")
    assert np.array_equal(read(b"\x89PNG\r\n\x1a\n" + head + end).rgb, np.round(values / 257))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("compression", [1, 8])
def test_16_bit_rgb_tiff(order: str, planar: int, compression: int) -> None:
    values = (np.arange(12).reshape(1, 4, 3) * 5000).astype(np.uint16)
    stored_as = values.transpose(2, 0, 1) if planar == 2 else values
    data = stored_as.astype(order + "u2").tobytes()
    if compression == 8:
        parts = [data[i : i + 8] for i in range(0, 24, 8)] if planar == 2 else [data]
        packed = [zlib.compress(part, 0) for part in parts]
        assert len({len(part) for part in packed}) == 1
        data = b"".join(packed)
    picture = read(tiff_file(4, 1, 16, 2, 3, data, order, planar=[planar], compression=[compression]))
    assert np.array_equal(picture.rgb, np.round(values / 257)) and picture.notes == ["16-bit reduced to 8"]


def test_an_odd_tiff_is_turned() -> None:
    picture = read(tiff_file(4, 1, 12, 1, 1, TWELVE, ">", orientation=[6]))
    assert picture.rgb.shape == (4, 1, 3) and picture.rgb[0, 0, 0] == 255


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tiff_file(1, 1, 32, 2, 3, bytes(12), format=[3, 3, 3]), "floating-point RGB"),
        (tiff_file(1, 1, 16, 1, 1, bytes(2), format=[3]), "floating-point gray"),
        (tiff_file(1, 1, 32, 1, 1, bytes(4), format=[3]), "floating-point"),
        (tiff_file(1, 1, 16, 8, 3, bytes(6)), "16-bit Lab"),
        (tiff_file(1, 1, 8, 9, 3, bytes(3)), "8-bit Lab"),
        (tiff_file(1, 1, 16, 1, 1, bytes(2), format=[2]), "signed"),
        (tiff_file(1, 1, 32, 2, 3, bytes(12)), "32-bit RGB"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "pillow-heif"),
        (b"\xff\x0a" + bytes(100), "pillow-jxl-plugin"),
        (b"\xff\xd8\xff\xc0\0\x11\x0c\0\x10\0\x10\3\1\x11\0\2\x11\0\3\x11\0" + bytes(20), "12 bits"),
        (b"8BPS" + bytes(100), "Photoshop"),
    ],
)
def test_messages_say_what_it_is(data: bytes, words: str) -> None:
    with pytest.raises(InputError) as raised:
        read_image(io.BytesIO(data), name="a.tif")
    assert str(raised.value).startswith("a.tif: ") and words in str(raised.value)
    if data[:2] == b"II":
        assert "known kind" not in str(raised.value)


def test_the_limit_is_said() -> None:
    for side, limit in ((20_000, 178_956_970), (15_000, 200_000_000)):
        head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")
        with pytest.raises(LimitError, match=f"more than {limit:,} pixels; raise --max-pixels"):
            read_image(io.BytesIO(data), limit)


def test_libtiff_is_quiet() -> None:
    """Its messages would reach stderr from below Python."""
    data = bytearray(stored(Image.fromarray(make(64, 64)), "TIFF", compression="tiff_lzw").getvalue())
    found = tiff.parse(bytes(data))
    assert found is not None
    place = found.numbers(273)[0]
    data[place : place + 40] = b"\xff" * 40
    code = (
        "import sys, io; from vitcodec.images import read_image\n"
        "try: read_image(io.BytesIO(sys.stdin.buffer.read()))\n"
        "except Exception as e: print(e)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=bytes(data), capture_output=True, check=True)
    assert done.stderr == b"" and b"damaged" in done.stdout


def test_formats_with_plugins_are_read_where_these_are() -> None:
    assert set(opening.read_formats()) >= {"JPEG", "PNG", "TIFF", "AVIF"}
    with pytest.raises(VitcodecError):
        read(b"\0\0\0\x18ftypheic" + bytes(30))


def test_every_format_writes_every_picture() -> None:
    alpha = np.full((16, 16), 7, np.uint8)
    gray = np.repeat(RGB[..., :1], 3, -1)
    for picture in (
        Picture(RGB, alpha, dpi=(300.0, 300.0), exif=camera_exif(), xmp=b"<x/>"),
        Picture(gray, alpha, True),
    ):
        for suffix in WRITE_FORMATS:
            assert read(written(picture, suffix[1:])[0].getvalue()).rgb.shape == RGB.shape


# ---- what other formats say


def test_an_icc_profile_in_parts_of_jpeg() -> None:
    def part(number: int, count: int, data: bytes) -> bytes:
        return segment(0xE2, b"ICC_PROFILE\0" + bytes([number, count]) + data)

    half = len(P3) // 2
    whole = part(2, 2, P3[half:]), part(1, 2, P3[:half])
    assert read(jpeg(*whole)).icc == read(jpeg(*whole, part(7, 9, b"stray"))).icc == P3
    for parts in (whole[:1], [part(0, 0, P3)], [part(1, 1, b"")], [part(2, 1, P3)], [part(1, 1, P3)] * 2):
        picture = read(jpeg(*parts))
        assert picture.icc is None and "its ICC profile is damaged: left out" in picture.notes


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_second_directory_that_is_the_first_is_no_thumbnail(order: str) -> None:
    block = camera_exif(order, 6)
    (first,) = struct.unpack_from(order + "I", block, 4)
    link = first + 2 + 12 * 4
    looped = block[:link] + struct.pack(order + "I", first) + block[link + 4 :]
    picture = read(jpeg(segment(0xE1, b"Exif\0\0" + looped)))
    found = tiff.parse(picture.exif or b"")
    assert found and found.entries[MAKER].data == "Müller\0".encode() and not found.following


def test_an_empty_exif_block_is_no_fault() -> None:
    """As Pillow writes it for a picture that has none."""
    picture = read(jpeg(segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0")))
    assert picture.exif is None and not picture.notes


def test_xmp_and_exif_of_jpeg_2000() -> None:
    data = stored(Image.fromarray(RGB), "JPEG2000", irreversible=False).getvalue()
    names = bytes.fromhex("be7acfcb97a942e89c71999491e3afac"), b"JpgTiffExif->JP2", bytes(16)
    added = zip(names, (b"<x:xmpmeta/>", camera_exif(), b"?"), strict=True)
    boxes = b"".join(struct.pack(">I4s", 24 + len(payload), b"uuid") + name + payload for name, payload in added)
    at = data.index(b"jp2c") - 4
    picture = read(data[:at] + boxes + data[at:])
    assert (picture.rgb == RGB).all()
    assert (picture.xmp, picture.exif) == (b"<x:xmpmeta/>", camera_exif())
    assert picture.notes == ["left out: private data"]


def test_xmp_and_profile_of_gif() -> None:
    data = stored(Image.fromarray(RGB[..., 0]), "GIF").getvalue()
    at = 13 + (3 << (data[10] & 7) + 1)
    icc = b"".join(bytes([len(P3[i : i + 255])]) + P3[i : i + 255] for i in range(0, len(P3), 255)) + b"\0"
    xmp = b"<x:xmpmeta>" + bytes(range(32, 127)) * 3 + b"</x:xmpmeta>"
    trailer = b"\1" + bytes(range(255, -1, -1)) + b"\0"
    extensions = b"!\xff\x0bXMP DataXMP" + xmp + trailer + b"!\xff\x0bICCRGBG1012" + icc
    picture = read(data[:at] + extensions + data[at:])
    assert (picture.icc, picture.xmp, picture.notes) == (P3, xmp, [])


def test_the_profile_of_bmp() -> None:
    plain = stored(Image.fromarray(RGB), "BMP").getvalue()
    pixels = plain[54:]
    head = struct.pack("<I", 124) + plain[18:54] + bytes(16) + b"DEBM" + bytes(48)
    head += struct.pack("<IIII", 4, 124 + len(pixels), len(P3), 0)
    data = b"BM" + struct.pack("<IHHI", 138 + len(pixels) + len(P3), 0, 0, 138) + head + pixels + P3
    picture = read(data)
    assert (picture.rgb == RGB).all() and picture.icc == P3 and not picture.notes
    assert read(data[:-9]).notes == ["its ICC profile is damaged: left out"]


@pytest.mark.parametrize("format", ["webp", "avif"])
def test_a_gray_profile_where_gray_is_written_as_rgb(format: str) -> None:
    gray = profiles.make_profile("gray", None, (1.8,))
    buffer, notes = written(Picture(np.repeat(RGB[..., :1], 3, -1), gray=True, icc=gray), format)
    again = read_image(buffer)
    assert not notes and again.icc and again.icc[16:20] == b"RGB " and not again.notes
    space, wanted = profiles.space_of(again.icc), profiles.space_of(gray)
    assert space and wanted and np.abs(space.curves[1](LEVELS) - wanted.curves[0](LEVELS)).max() < 1e-3


@pytest.mark.parametrize("order", ["<", ">"])
def test_gray_and_alpha_in_planes(order: str) -> None:
    data = RGB[..., 0].tobytes() + RGB[..., 1].tobytes()
    picture = read(tiff_file(16, 16, 8, 1, 2, data, order, planar=[2], extra=[2]))
    assert picture.gray and (picture.rgb[..., 0] == RGB[..., 0]).all()
    assert picture.alpha is not None and (picture.alpha == RGB[..., 1]).all()
