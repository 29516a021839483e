"""Colours: kept with their profile where that can be, converted where it cannot, said where neither can."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from making import chunk, iccp, png_file, srgb_encoded
from PIL import Image, ImageCms
from test_images import SRGB, make, matrix_profile, stored, written

from vitcodec.bitstream.container import Contents, pack, unpack
from vitcodec.bitstream.header import Header
from vitcodec.bitstream.metadata import pack_metadata, unpack_picture
from vitcodec.imageio import boxes, cicp, profiles
from vitcodec.imageio.profiles import make_profile, number_of, primaries_matrix, well_known
from vitcodec.images import Picture, read_image, stripped
from vitcodec.subbands import CODING_ORDER
from vitcodec.tiles import Region

P3 = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
RAMP = np.linspace(0, 65535, 64).round().astype(np.uint16)[None]
RAMP_IN_SRGB = srgb_encoded(RAMP / 65535)


def read(data: bytes) -> Picture:
    return read_image(io.BytesIO(data))


def shown(data: io.BytesIO) -> np.ndarray:
    """What a viewer that knows profiles shows of an image file, in sRGB."""
    with Image.open(data) as image:
        icc = image.info.get("icc_profile")
        if icc is None:
            return np.asarray(image.convert("RGB")).astype(int)
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        converted = ImageCms.profileToProfile(
            image.convert("RGB"), profile, ImageCms.createProfile("sRGB"), renderingIntent=1
        )
        return np.asarray(converted).astype(int)


def through_a_file(picture: Picture) -> tuple[Picture, int]:
    """The picture that comes out of a .vitc file's metadata, and their bytes."""
    height, width = picture.rgb.shape[:2]
    metadata = pack_metadata(picture, None)
    header = Header(width, height, 50, picture.gray, "x", bytes(8), 128)
    contents = Contents(header, metadata, {})
    return unpack_picture(contents, picture.rgb, Region(0, 0, width, height), 0), sum(map(len, metadata.values()))


# ---- ICC profiles


@pytest.mark.parametrize("format", ["png", "jpg", "webp", "avif", "tif"])
def test_colours_outside_srgb_stay_apart(format: str) -> None:
    rgb = np.zeros((16, 16, 3), np.uint8)
    rgb[:, :8], rgb[:, 8:] = (255, 0, 0), (234, 51, 35)  # one colour, where sRGB's edge cuts them off
    picture = read_image(stored(Image.fromarray(rgb), icc_profile=well_known(2)))
    assert np.array_equal(picture.rgb, rgb) and picture.icc == well_known(2) and not picture.notes
    back = read_image(written(picture, format)[0])
    assert np.abs(back.rgb.astype(int) - rgb).max() <= (4 if format in ("jpg", "avif") else 0)
    assert back.icc == picture.icc


@pytest.mark.parametrize("format", ["bmp", "ppm", "jp2"])
def test_formats_without_profiles_get_srgb(format: str) -> None:
    rgb = make() // 2 + 64
    picture = Picture(rgb, icc=matrix_profile())
    buffer, notes = written(picture, format)
    assert any("converted to sRGB" in note for note in notes)
    right = shown(written(picture, "png")[0])
    assert np.abs(shown(buffer) - right).max() <= 1 and np.abs(right - rgb).max() > 8


def test_stripping_keeps_the_look() -> None:
    picture = Picture(make() // 2 + 64, icc=matrix_profile(), exif=b"II*\0", dpi=(72.0, 72.0))
    right = shown(written(picture, "png")[0])
    bare = stripped(picture)
    assert bare.icc is None and bare.exif is None and np.abs(bare.rgb - right).max() <= 1
    assert np.abs(shown(written(picture, "png", strip=True)[0]) - right).max() <= 1


@pytest.mark.parametrize("number", profiles.WELL_KNOWN)
def test_well_known_profiles_cost_a_byte(number: int) -> None:
    icc = well_known(number)
    assert icc is not None
    gray = profiles.WELL_KNOWN[number][1] is None
    rgb = np.repeat(make(channels=1)[..., None], 3, -1)
    back, size = through_a_file(Picture(rgb, gray=gray, icc=icc))
    assert size == 1 and back.icc == icc
    ImageCms.ImageCmsProfile(io.BytesIO(icc))  # Little CMS reads it


def test_srgb_by_others_counts_as_srgb() -> None:
    table = np.round(profiles.SRGB.curves[0](np.linspace(0, 1, 1024)) * 65535) / 65535  # as HP's of 1998
    for icc in (SRGB, make_profile("sRGB by table", profiles.SRGB.matrix, table)):
        assert number_of(icc) == 1
    assert number_of(matrix_profile()) is None and number_of(b"not a profile") is None
    assert number_of(make_profile("2.2", profiles.SRGB.matrix, (2.2,))) is None  # dark tones differ


def test_other_profiles_are_stored_whole() -> None:
    icc = matrix_profile()
    assert through_a_file(Picture(make(), icc=icc))[0].icc == icc


def test_an_unknown_profile_number_is_said() -> None:
    header = Header(8, 8, 50, False, "x", bytes(8), 128)
    picture = unpack_picture(Contents(header, {"NAME": b"\xfe"}), np.zeros((8, 8, 3), np.uint8), Region(0, 0, 8, 8), 0)
    assert picture.icc is None and "upgrade" in picture.notes[0]


def test_gray_png_gets_a_gray_profile() -> None:
    gray = np.repeat(make(channels=1)[..., None], 3, -1)
    with Image.open(written(Picture(gray, gray=True, icc=matrix_profile()), "png")[0]) as image:
        assert image.mode == "L" and image.info["icc_profile"][16:20] == b"GRAY"


# ---- linear light


@pytest.mark.parametrize("primaries", [profiles.SRGB.matrix, primaries_matrix(P3, profiles.D65)])
def test_linear_light_is_converted_before_16_bits_are_reduced(primaries: np.ndarray) -> None:
    icc = make_profile("linear", primaries, (1.0,))
    picture = read(png_file(np.repeat(RAMP[..., None], 3, -1), 2, iccp(icc)))
    assert np.abs(picture.rgb[..., 0] - RAMP_IN_SRGB).max() <= 1
    assert picture.icc is None and any("linear" in note for note in picture.notes)


def test_linear_light_outside_srgb_keeps_its_primaries() -> None:
    red = np.zeros((1, 64, 3), np.uint16)
    red[..., 0] = RAMP
    picture = read(png_file(red, 2, iccp(make_profile("linear P3", primaries_matrix(P3, profiles.D65), (1.0,)))))
    assert picture.icc is not None and number_of(picture.icc) == 2
    assert np.abs(picture.rgb[..., 0] - RAMP_IN_SRGB).max() <= 1 and not picture.rgb[..., 1:].any()


def test_linear_gray() -> None:
    picture = read(png_file(RAMP, 0, iccp(make_profile("linear gray", None, (1.0,)))))
    assert picture.gray and np.abs(picture.rgb[..., 0] - RAMP_IN_SRGB).max() <= 1 and picture.icc is None


def test_16_bits_with_another_profile_keep_it() -> None:
    picture = read(png_file(np.repeat(RAMP[..., None], 3, -1), 2, iccp(matrix_profile())))
    assert picture.icc == matrix_profile() and np.array_equal(picture.rgb[..., 0], np.round(RAMP / 257))


# ---- gAMA, cHRM


def gamma(value: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(value * 1e5)))


def chromaticities(*xy: float) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(v * 1e5) for v in xy)))


GRAY_128 = np.full((4, 4, 3), 128, np.uint8)
BT709 = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)


@pytest.mark.parametrize(("value", "expected"), [(1.0, 188), (1 / 1.8, 146), (0.45455, 128), (1 / 2.2, 128)])
def test_gamma_is_honoured(value: float, expected: int) -> None:
    for extra in ([], [chromaticities(*BT709)]):
        picture = read(png_file(GRAY_128, 2, gamma(value), *extra))
        assert np.abs(picture.rgb.astype(int) - expected).max() <= 1 and picture.icc is None
        assert bool(picture.notes) == (expected != 128)


def test_gamma_of_16_bits_keeps_dark_tones() -> None:
    assert np.abs(read(png_file(RAMP, 0, gamma(1.0))).rgb[..., 0] - RAMP_IN_SRGB).max() <= 1


def test_gamma_counts_only_without_profile_and_srgb_chunk() -> None:
    for other in (iccp(SRGB), chunk(b"sRGB", b"\0"), chunk(b"cICP", bytes([1, 13, 0, 1]))):
        assert (read(png_file(GRAY_128, 2, gamma(1.0), other)).rgb == 128).all()


def test_chromaticities_of_their_own_become_a_profile() -> None:
    adobe = chromaticities(0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
    rgb = make()
    picture = read(png_file(rgb, 2, gamma(256 / 563), adobe))
    assert np.array_equal(picture.rgb, rgb) and picture.icc is not None and picture.notes
    right = shown(written(Picture(rgb, icc=well_known(3)), "png")[0])
    assert np.abs(shown(written(picture, "png")[0]) - right).max() <= 1


def test_numbers_that_make_no_sense_are_no_reason_to_refuse() -> None:
    for chunks in ([gamma(0)], [chunk(b"gAMA", b"x")], [gamma(0.5), chunk(b"cHRM", bytes(32))], [gamma(40_000)]):
        read(png_file(GRAY_128, 2, *chunks))


# ---- CICP


@pytest.mark.parametrize("points", [(1, 13, 0, 1), (12, 13, 0, 1), (9, 1, 0, 1), (9, 16, 0, 1), (9, 18, 0, 1)])
def test_code_points_are_kept(points: tuple[int, ...]) -> None:
    rgb, code = make(), bytes(points)
    picture = read(png_file(rgb, 2, chunk(b"cICP", code)))
    assert np.array_equal(picture.rgb, rgb) and picture.cicp == code
    assert any("HDR" in note for note in picture.notes) == (points[1] in (16, 18))
    kept = through_a_file(picture)[0]
    assert kept.cicp == code
    assert read_image(written(kept, "png")[0]).cicp == code


def test_code_points_become_a_profile_elsewhere() -> None:
    picture = Picture(make() // 2 + 64, cicp=bytes([12, 13, 0, 1]))
    for format in ("webp", "tif"):
        back = read_image(written(picture, format)[0])
        assert np.array_equal(back.rgb, picture.rgb) and number_of(back.icc or b"") == 2
    right = shown(written(Picture(picture.rgb, icc=well_known(2)), "png")[0])
    for format in ("bmp", "ppm"):
        assert np.abs(shown(written(picture, format)[0]) - right).max() <= 1
    assert np.abs(shown(written(picture, "png", strip=True)[0]) - right).max() <= 1


def test_hdr_for_formats_that_cannot_say_so() -> None:
    white = 0.5806889  # PQ's value at 203 cd/m2
    rgb = np.full((4, 4, 3), round(white * 255), np.uint8)
    buffer, notes = written(Picture(rgb, cicp=bytes([9, 16, 0, 1])), "jpg")
    assert read_image(buffer).rgb.min() >= 250 and any("highlights" in note for note in notes)
    dark = written(Picture(rgb // 2, cicp=bytes([9, 16, 0, 1])), "jpg")[0]
    assert read_image(dark).rgb.max() < 100


def test_limited_range_and_linear_code_points() -> None:
    rgb = np.array([[[16, 16, 16], [235, 235, 235]]], np.uint8)
    picture = read(png_file(rgb, 2, chunk(b"cICP", bytes([1, 13, 0, 0]))))
    assert picture.rgb.tolist() == [[[0] * 3, [255] * 3]] and picture.cicp == bytes([1, 13, 0, 1])
    assert (read(png_file(GRAY_128, 2, chunk(b"cICP", bytes([1, 8, 0, 1])))).rgb == 188).all()


def test_damaged_code_points_in_a_file_are_said() -> None:
    header = Header(8, 8, 50, False, "x", bytes(8), 128)
    for metadata in ({"CICP": b"x"}, {"DPI ": b"x"}, {"DPI ": struct.pack("<2f", float("nan"), -1)}):
        picture = unpack_picture(Contents(header, metadata), np.zeros((8, 8, 3), np.uint8), Region(0, 0, 8, 8), 0)
        assert picture.cicp is None and picture.dpi is None and "damaged" in picture.notes[0]


# ---- AVIF


def avif(rgb: np.ndarray, **options: object) -> bytes:
    return stored(Image.fromarray(rgb), "AVIF", quality=100, subsampling="4:4:4", **options).getvalue()


def with_nclx(data: bytes, primaries: int, transfer: int) -> bytes:
    place = data.index(b"nclx") + 4
    return data[:place] + struct.pack(">HH", primaries, transfer) + data[place + 4 :]


def test_avif_code_points() -> None:
    data = avif(make(32, 32))
    assert read(data).cicp is None and not read(data).notes
    assert read(with_nclx(data, 12, 13)).cicp == bytes([12, 13, 0, 1])
    for transfer, name in ((16, "PQ"), (18, "HLG")):
        picture = read(with_nclx(data, 9, transfer))
        assert picture.cicp == bytes([9, transfer, 0, 1]) and any(name in note for note in picture.notes)
    assert read(avif(make(32, 32), icc_profile=well_known(2))).icc == well_known(2)


def test_avif_depth_clap_and_gray() -> None:
    data = avif(make(32, 32))
    deep = bytearray(data)
    deep[data.index(b"av1C") + 6] |= 0x40
    assert "10-bit reduced to 8" in boxes.read(bytes(deep), 32, 32).notes
    assert read(stored(Image.fromarray(make(channels=1)), "AVIF").getvalue()).gray


def test_avif_is_cropped_as_its_clap_box_says() -> None:
    rgb = make(32, 32)
    data = with_property(avif(rgb), b"clap", struct.pack(">8i", 16, 1, 8, 1, -4, 1, 6, 1))
    picture = read(data)  # the middle of 16x8 lies 4 to the left of the picture's and 6 below
    assert picture.rgb.shape == (8, 16, 3)
    assert np.abs(picture.rgb.astype(int) - read(avif(rgb)).rgb[18:26, 4:20]).max() == 0


def with_property(data: bytes, kind: bytes, payload: bytes) -> bytes:
    """An AVIF file, one item, with a further property of that item: in ipco, and in ipma."""
    box = struct.pack(">I", 8 + len(payload)) + kind + payload
    meta, iprp, ipco, ipma = (data.index(name) - 4 for name in (b"meta", b"iprp", b"ipco", b"ipma"))
    count = sum(1 for _ in boxes.boxes(data[ipco + 8 : ipma]))
    out = bytearray(data)
    entry = ipma + 8 + 4 + 4 + 2
    out[entry] += 1
    last = entry + out[entry]  # of those that were there, of one byte each
    out[last:last] = bytes([0x80 | (count + 1)])
    out[ipma:ipma] = box
    for place, grown in ((meta, len(box) + 1), (iprp, len(box) + 1), (ipco, len(box)), (ipma + len(box), 1)):
        out[place : place + 4] = struct.pack(">I", struct.unpack_from(">I", out, place)[0] + grown)
    iloc = data.index(b"iloc") + 4  # the pixels have moved
    old = struct.pack(">I", data.index(b"mdat") + 4)
    moved = struct.pack(">I", data.index(b"mdat") + 4 + len(box) + 1)
    place = bytes(out).index(old, iloc)
    out[place : place + 4] = moved
    return bytes(out)


def test_a_whole_file_with_names() -> None:
    """NAME, CICP and DPI stand in the container, and come back."""
    picture = Picture(make(8, 8), icc=SRGB, cicp=bytes([1, 13, 0, 1]), dpi=(300.0, 150.0))
    header = Header(8, 8, 50, False, "x", bytes(8), 128)
    tokens = {(level, 0): b"x" for level in CODING_ORDER}
    contents = unpack(pack(Contents(header, pack_metadata(picture, None), tokens)))
    back = unpack_picture(contents, picture.rgb, Region(0, 0, 8, 8), 0)
    assert back.icc == well_known(1) and back.cicp == picture.cicp and back.dpi == picture.dpi


def test_every_curve_of_code_points_can_be_a_profile() -> None:
    for transfer in (1, 4, 5, 6, 8, 13, 14, 15):
        icc = cicp.profile_of(bytes([9, transfer, 0, 1]), False)
        space = cicp.space_of(bytes([9, transfer, 0, 1]))
        read_back = profiles.space_of(icc or b"")
        assert space is not None and read_back is not None
        x = np.linspace(0, 1, 100)
        assert np.abs(space.curves[0](x) - read_back.curves[0](x)).max() < 1e-3
