"""What `info` says of files, and a glance at them: colours, EXIF, alpha, levels, offsets, the model."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from conftest import make_rgb
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import IFDRational
from storing import call, lines

from vitcodec.bitstream import container, salvage
from vitcodec.bitstream.container import Contents
from vitcodec.bitstream.glance import glance
from vitcodec.bitstream.header import Header
from vitcodec.codec import Codec
from vitcodec.imageio import cicp, names, profiles
from vitcodec.lossless import LosslessCodec
from vitcodec.picture import Picture
from vitcodec.subbands import CHANNELS, CODING_ORDER

DATA = Path(__file__).parent / "data"
SMALL = DATA / "small-1.vitc"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VITCODEC_MODELS", raising=False)
    return tmp_path


def block() -> bytes:
    """EXIF of a camera."""
    tags = Image.Exif()
    tags[271], tags[272], tags[274] = "Canon", "Canon EOS R5", 1
    inner = tags.get_ifd(34665)
    inner |= {33434: IFDRational(1, 250), 33437: IFDRational(4), 34855: 100, 37386: IFDRational(50)}
    inner |= {36867: "2024:05:01 12:00:00", 42036: "RF 24-105mm"}
    tags.get_ifd(34853)[1] = "N"
    return tags.tobytes().removeprefix(b"Exif\0\0")


def test_all_that_is_known_of_one_file(folder: Path) -> None:
    alpha = np.full((40, 150), 200, np.uint8)
    picture = Picture(make_rgb(150, 40), alpha, False, profiles.well_known(2), block(), b"<x/>", dpi=(300, 240))
    (folder / "a.vitc").write_bytes(data := LosslessCodec().encode(picture, tile=128))
    said = call("info", "a.vitc")
    assert said.exit_code == 0 and said.stdout.startswith("a.vitc: 150x40, alpha, lossless, ")
    for part in (
        "Display P3 (ICC profile)",
        "300 x 240 dots per inch",
        "Canon EOS R5, RF 24-105mm, 2024-05-01 12:00:00, 1/250 s, f/4, ISO 100, 50 mm, with position\n",
        "4 bytes",
        "2 tiles of up to 128x128 pixels",
        "pixels",
    ):
        assert part in said.stdout, part
    (record, _) = lines(call("info", "a.vitc", "--json"))
    assert record["alpha"] and record["profile"] == "Display P3" and record["dpi"] == [300, 240]
    assert record["exif"]["exposure"] == 0.004 and record["exif"]["orientation"] == 1 and record["exif"]["position"]
    assert record["level_bytes"] == {"5": sum(c.length for c in container.describe(data).chunks if c.type == "PIXL")}
    assert record["model_available"] is None and record["scale_offsets"] is None
    assert call("info", ".").stdout.count("\n") == 1  # a line for each file of several


def test_tokens_and_their_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = call("info", str(SMALL)).stdout
    assert "model small" in said and "which is not here" in said and "sRGB, as the file states no others" in said
    layout = container.describe(SMALL.read_bytes())
    (record, _) = lines(call("info", str(SMALL), "--json"))
    assert record["level_bytes"] == {str(level): count for level, count in layout.level_bytes.items()}
    assert record["model_available"] is False and record["model_source"] is None
    with tarfile.open(DATA / "small-1.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    monkeypatch.setenv("VITCODEC_MODELS", str(folder / "small"))
    (record, _) = lines(call("info", str(SMALL), "--json"))
    assert record["model_available"] and record["model_source"] == f"local-dir:{folder / 'small'}"
    assert ", here: local-dir:" in call("info", str(SMALL)).stdout


def test_scale_offsets_are_told_as_the_decoder_reads_them(folder: Path) -> None:
    with tarfile.open(DATA / "small-1.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    codec = Codec.from_pretrained(str(folder / "small"), "cpu")
    rng = np.random.default_rng(5)
    noise = Picture(rng.integers(0, 256, (200, 300, 3), dtype=np.uint8))  # which the networks do not expect
    seen = set()
    for data in (codec.encode(noise, quality=90, effort=1, tile=128, coding="tokens"), SMALL.read_bytes()):
        expected = offsets_of(data)
        assert glance(data).scale_offsets == expected
        seen.add(bool(expected))
    assert True in seen


def offsets_of(data: bytes) -> dict[int, int]:
    """Level -> tiles with scale offsets, by the range decoder."""
    from vitcodec.bitstream.range_coder import Decoder
    from vitcodec.coding.payloads import _BITS

    counts = dict.fromkeys(CODING_ORDER, 0)
    for (level, _), payload in container.unpack(data).payloads.items():
        counts[level] += int(Decoder(payload).read_grouped(np.ones(1, int), _BITS)[0])
    assert counts.keys() == CHANNELS.keys()
    return {level: count for level, count in counts.items() if count}


def test_what_an_encoder_may_add_is_shown(folder: Path) -> None:
    header = Header(300, 140, 60, True, "some-model", bytes(8), 128)
    payloads = {(level, tile): b"\x80" * (1 + level) for level in CODING_ORDER for tile in range(6)}
    mask = np.packbits(np.arange(10 * 20) % 4 == 0).tobytes()
    metadata = {
        "QUAL": bytes([50, 60, 70, 60, 60, 60]),
        "FILTER": b"1234567",
        "MASK": mask,
        "CICP": bytes([9, 16, 9, 1]),
    }
    (folder / "a.vitc").write_bytes(container.pack(Contents(header, metadata, payloads)))
    said = call("info", "a.vitc", "-v").stdout
    for part in (
        "gray, quality 50 to 70, model some-model",
        "quality 70: 1 tile within",
        "50 to 70, by tile",
        "adapted to the picture, 7 bytes",
        "25.0 % of the tokens",
        "BT.2020 primaries, PQ transfer (CICP 9/16/9/1)",
        "low band in 6, details of level 4 in 6",
        "TILQ",
    ):
        assert part in said, part
    (record, _) = lines(call("info", "a.vitc", "--json"))
    assert record["tile_qualities"] == [50, 70] and record["erased_share"] == 0.25 and record["filter_bytes"] == 7


def test_a_damaged_file_is_told_as_far_as_it_goes() -> None:
    data = LosslessCodec().encode(Picture(make_rgb(150, 40), None, False, profiles.well_known(3), block()), tile=128)
    exif = next(c for c in container.describe(data).chunks if c.type == "eXIF")
    for end in (*range(30, len(data), 61), len(data)):
        found = glance(data[:end])
        assert found.whole == salvage.is_whole(data[:end]) == (end == len(data))
        assert ("EXIF" in found.metadata) == (end >= exif.offset + exif.size)
    flipped = bytearray(data)
    flipped[exif.offset + 10] ^= 1
    found = glance(bytes(flipped))
    assert found.has("EXIF") and "EXIF" not in found.metadata and found.metadata["NAME"] == b"\3" and found.whole


def test_names_of_profiles() -> None:
    for number in profiles.WELL_KNOWN:
        assert names.profile_name(profiles.well_known(number) or b"") == names.PROFILES[number]
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    assert names.profile_name(made.tobytes()) == ImageCms.getProfileDescription(made).strip()
    version_2 = b"desc\0\0\0\0\0\0\0\x05Name\0"
    icc = bytes(128) + b"\0\0\0\1desc\0\0\0\x90" + len(version_2).to_bytes(4, "big") + version_2
    assert names.profile_name(icc) == "Name"
    for end in range(0, len(icc), 7):
        assert names.profile_name(icc[:end]) in (None, "Name", "Na", "N", "Nam")
    assert names.cicp_name(bytes([12, 13, 0, 1])) == "Display P3 primaries, sRGB transfer"
    assert names.cicp_name(bytes([200, 201, 0, 1])) == "200 primaries, 201 transfer"
    assert all(n in names._PRIMARIES for n in cicp._PRIMARIES)


@pytest.mark.parametrize("seed", range(3))
def test_any_exif_gives_facts(seed: int) -> None:
    rng, whole = np.random.default_rng(seed), bytearray(block())
    for _ in range(200):
        data = bytearray(whole)
        for place in rng.integers(4, len(data), 4):
            data[place] = rng.integers(256)
        facts = names.exif_facts(bytes(data))
        assert "\n" not in names.exif_text(facts)
    assert names.exif_facts(b"") == {} and names.exif_text({}) == ""
    assert "not applied" in names.exif_text({"orientation": 6})
    assert names.exif_text({"exposure": 2.0}) == "2 s"
    assert io.BytesIO(whole).read(2) in (b"II", b"MM")
