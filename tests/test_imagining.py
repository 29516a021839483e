"""decode --salvage --imagine: what a damaged file lacks is drawn, what it has stays, and people are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import make_rgb
from small_model import write_small_model
from storing import call, lines, made, one_line

from vitcodec.bitstream import container, salvage
from vitcodec.bitstream.container import Contents
from vitcodec.codec import Codec
from vitcodec.errors import FormatError, UsageError
from vitcodec.lossless import LosslessCodec
from vitcodec.pipeline.filling import interpolated
from vitcodec.tiles import Region

SIZE = 300, 140  # 3x2 tiles of 128 pixels


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    write_small_model(folder)
    return folder


@pytest.fixture(scope="module")
def codec(model: Path) -> Codec:
    return Codec.from_pretrained(model, "cpu", threads=1)


@pytest.fixture(scope="module")
def data(codec: Codec) -> bytes:
    return codec.encode(make_rgb(*SIZE), quality=60, effort=1, tile=128, coding="tokens")


def spoiled(data: bytes, *payloads: tuple[int, int]) -> bytes:
    """A file with some payloads, (level, tile), damaged."""
    order = list(container.payload_order(container.read_header(data)))
    chunks = [c for c in container.describe(data).chunks if c.type in container.PAYLOADS.values()]
    out = bytearray(data)
    for payload in payloads:
        out[chunks[order.index(payload)].offset + 7] ^= 0x55
    return bytes(out)


def contents_of(data: bytes, *payloads: tuple[int, int], finest: int = 1) -> Contents:
    found = salvage.unpack(spoiled(data, *payloads), finest).contents
    assert found.erased == {p for p in payloads if not 0 < p[0] < finest}
    return found


@pytest.mark.parametrize("lost", [(1, 4), (3, 4), (0, 4)])
def test_lost_levels_are_drawn_and_all_else_stays(codec: Codec, data: bytes, lost: tuple[int, int]) -> None:
    contents = contents_of(data, lost)
    plain, drawn = codec.decode(contents), codec.decode(contents, imagine=True, seed=3)
    assert plain.notes == [] and codec.decode(contents, imagine=False, seed=3).rgb.tolist() == plain.rgb.tolist()
    assert drawn.notes == ["fine details in 1 of 6 tiles are invented (seed 3): they are no evidence of what was there"]
    changed = np.abs(drawn.rgb.astype(float) - plain.rgb).mean(-1)  # the network looks at what is around
    assert changed[128:, 128:256].mean() > 2 and changed[:64].mean() < 0.1 and changed[:, :64].mean() < 0.1
    assert np.array_equal(codec.decode(contents, imagine=True, seed=3).rgb, drawn.rgb)
    assert not np.array_equal(codec.decode(contents, imagine=True, seed=4).rgb, drawn.rgb)
    assert not np.array_equal(codec.decode(contents, imagine=True, seed=3, temperature=0.3).rgb, drawn.rgb)


def test_a_part_and_a_smaller_picture_are_those_of_the_whole(codec: Codec, data: bytes) -> None:
    contents = contents_of(data, (0, 1), (2, 3))
    whole = codec.decode(contents, imagine=True, seed=1)
    part = codec.decode(contents, imagine=True, seed=1, region=Region(90, 20, 70, 50))
    assert np.array_equal(part.rgb, whole.rgb[20:70, 90:160])
    reduced = codec.decode(contents_of(data, (0, 1), (2, 3), finest=2), imagine=True, seed=1, reduce=1)
    assert np.array_equal(reduced.rgb, codec.decode(contents, imagine=True, seed=1, reduce=1).rgb)


def test_where_nothing_is_missing_nothing_is_invented(codec: Codec, data: bytes) -> None:
    whole = codec.decode(data, imagine=True)
    assert whole.notes == [] and np.array_equal(whole.rgb, codec.decode(data).rgb)
    assert codec.decode(contents_of(data, (1, 0)), imagine=True, reduce=1).notes == []


def test_it_is_drawn_as_samples_are(codec: Codec, data: bytes) -> None:
    """Where a file of one tile lacks its finest levels: Codec.sample with the same seed makes the same tokens."""
    one = codec.encode(make_rgb(64, 48), quality=60, effort=1, coding="tokens")
    drawn = codec.sample(source=codec.decompress(one), keep_levels=2, seed=5, temperature=0.8)[0]
    imagined = codec.decode(contents_of(one, (1, 0), (2, 0)), imagine=True, seed=5, temperature=0.8)
    assert np.array_equal(imagined.rgb, codec.decode(drawn).rgb)
    assert imagined.notes[0].startswith("fine details everywhere are invented (seed 5)")


def test_a_low_band_is_filled_in_by_the_brightness_around_it(codec: Codec) -> None:
    """Also where the tiles around have another quality, and so another unit."""
    gray = np.full((128, 384, 3), 200, np.uint8)
    data = codec.encode(gray, quality=20, effort=1, roi=[Region(130, 5, 9, 9)], roi_quality=80, tile=128)
    whole, filled = codec.decode(data).rgb, codec.decode(contents_of(data, (0, 1))).rgb
    assert np.abs(filled.astype(int) - whole).max() < 25
    low = np.full((1, 2, 4, 3), 8, np.int32)
    units = np.ones((2, 4, 3))
    erased, units[:, 2:] = np.zeros((2, 4), bool), 4.0
    low[:, :, 2:], erased[:, 2:] = 99, True
    assert interpolated(low, erased, units)[0, 0, :, 0].tolist() == [8, 8, 2, 2]


def test_without_the_qualities_of_tiles_nothing_is_salvaged(codec: Codec) -> None:
    data = codec.encode(make_rgb(*SIZE), quality=20, effort=1, roi=[Region(5, 5, 9, 9)])
    chunk = next(c for c in container.describe(data).chunks if c.type == "TILQ")
    broken = bytearray(data)
    broken[chunk.offset + 9] ^= 0x55
    with pytest.raises(FormatError, match="nothing can be salvaged, as the qualities of its tiles are"):
        salvage.unpack(bytes(broken))


def test_lossless_files_have_nothing_to_imagine_with() -> None:
    data = LosslessCodec().encode(make_rgb(140, 20), tile=128)
    contents = salvage.unpack(data[:-30]).contents
    assert contents.erased and LosslessCodec().decode(contents).rgb.shape == (20, 140, 3)
    with pytest.raises(UsageError, match="no model to imagine lost pixels with"):
        LosslessCodec().decode(contents, imagine=True)


# ---- on the command line


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: Codec, data: bytes) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vitcodec.cli.codecs.load_codec", lambda *_: codec)
    monkeypatch.setattr("vitcodec.cli.codecs.registry.resolve", lambda *_: "small")
    Path("bad.vitc").write_bytes(spoiled(data, (2, 0), (1, 5)))
    Path("exact.vitc").write_bytes(LosslessCodec().encode(make_rgb(140, 20), tile=128)[:-30])
    return tmp_path


def test_decode_salvage_imagine(here: Path) -> None:
    result = call("decode", "bad.vitc", "--salvage", "--imagine", "--seed", 7)
    assert result.exit_code == 0 and "bad.vitc: fine details in 2 of 6 tiles are invented (seed 7)" in result.stderr
    assert "invented" not in call("decode", "bad.vitc", "--salvage", "-o", "plain.png").stderr
    assert Path("bad.png").read_bytes() != Path("plain.png").read_bytes()
    (record, _) = lines(call("decode", "bad.vitc", "--salvage", "--imagine", "-o", "c.png", "--json"))
    assert record["imagine"] == {"seed": 0, "temperature": 1.0} and "invented" in record["notes"][-1]
    (record, _) = lines(call("decode", "bad.vitc", "--salvage", "-o", "d.png", "--json"))
    assert record["imagine"] is None


def test_mistakes_are_one_line_and_nothing_is_written(here: Path) -> None:
    before = made()
    for args, code, part in (
        (["--imagine"], 2, "--imagine is about what --salvage finds missing"),
        (["--salvage", "--seed", 3], 2, "--seed is about --imagine"),
        (["--salvage", "--temperature", 0.5], 2, "--temperature is about --imagine"),
        (["--salvage", "--imagine", "--temperature", 0], 2, "temperature 0 is out of range"),
        (["--salvage", "--imagine", "--temperature", "nan"], 2, "temperature nan is out of range"),
        (["--salvage", "--imagine", "--seed", -1], 2, "seed -1 is out of range"),
    ):
        one_line(call("decode", "bad.vitc", "-o", "new.png", *args), code, part)
    one_line(call("decode", "exact.vitc", "-o", "new.png", "--salvage", "--imagine"), 1, "exact.vitc", "lossless")
    assert made() == before
