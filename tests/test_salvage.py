"""Damaged files: what is intact is found, what is not is named, and nothing wrong is taken for right."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_container import (
    DONE,
    HEADERS,
    LOSSLESS,
    LOSSLESS_TILED,
    METADATA,
    MORE,
    ONE_TILE,
    PIXEL_CHUNK,
    REFUSALS,
    START,
    TILED,
    TOKEN_CHUNKS,
    chunk,
    fuzz,
    head,
    lossless_head,
    payloads_of,
    sample,
)

from vitcodec.bitstream import container, salvage
from vitcodec.bitstream.chunks import Chunk
from vitcodec.bitstream.container import PAYLOADS, PIXELS, TOKENS_ONLY, Contents, describe, pack
from vitcodec.bitstream.header import Header
from vitcodec.codec import Codec
from vitcodec.errors import FormatError, UnsupportedError
from vitcodec.picture import Picture
from vitcodec.subbands import CODING_ORDER

ALL = HEADERS


def chunks(data: bytes) -> dict[tuple[int, int], Chunk]:
    found = iter(c for c in describe(data).chunks if c.type in PAYLOADS.values())
    header = container.read_header(data)
    return {key: next(found) for key in container.payload_order(header)}


def spoil(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :]


@pytest.mark.parametrize("header", ALL)
def test_a_whole_file_loses_nothing(header: Header) -> None:
    for metadata in (None, {}, {key: key.encode() * 9 for key in METADATA if key not in TOKENS_ONLY}):
        contents = sample(header, metadata)
        for finest in (1, 3, 5):
            found = salvage.unpack(pack(contents), finest)
            assert found.contents == container.unpack(pack(contents), finest) and found.damage == []


@pytest.mark.parametrize("start, picture", [(head, TOKEN_CHUNKS), (lossless_head, PIXEL_CHUNK)])
def test_metadata_on_either_side(start: Callable[..., bytes], picture: bytes) -> None:
    exif, note = chunk(b"eXIF", zlib.compress(b"e")), chunk(b"note", b"n")
    for data in (
        start() + note + exif + picture,
        start(flags=MORE) + picture + exif + note + DONE,
        start(flags=MORE) + exif + picture + note + DONE,
        start(flags=MORE) + picture + DONE,
    ):
        for finest in (1, 3):
            found = salvage.unpack(data, finest)
            assert found.contents == container.unpack(data, finest) and found.damage == []


@pytest.mark.parametrize("header", ALL)
def test_every_truncation_keeps_all_chunks_before_it(header: Header) -> None:
    contents = sample(header, {"ALPH": b"alpha", "ICCP": b"profile", "EXIF": b"II*\0"})
    data = pack(contents)
    where, ends = chunks(data), {c.type: c.offset + c.size for c in describe(data).chunks}
    first = next(iter(where.values()))
    for end in range(len(data)):
        kept = {key for key, c in where.items() if c.offset + c.size <= end}
        if end < first.offset + first.size:
            with pytest.raises(FormatError):
                salvage.unpack(data[:end])
            continue
        found = salvage.unpack(data[:end])
        assert found.contents.payloads == {key: contents.payloads[key] for key in kept}
        assert found.contents.erased == where.keys() - kept
        assert found.contents.metadata == {
            key: value for key, value in contents.metadata.items() if ends[METADATA[key]] <= end
        }
        assert found.damage


@pytest.mark.parametrize("header", ALL)
def test_any_one_flipped_bit_behind_the_header_loses_at_most_one_chunk(header: Header) -> None:
    metadata = {"NAME": b"\1", "CICP": bytes(4), "ALPH": b"alpha", "EXIF": b"II*\0", "ICCP": b"profile" * 9}
    contents = sample(header, metadata)
    data = pack(contents)
    where, layout = chunks(data), describe(data).chunks
    for i in range(layout[1].offset, len(data)):
        for bit in range(8):
            flipped = data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :]
            hit = next((key for key, c in where.items() if c.offset <= i < c.offset + c.size), None)
            if header.grid.count == 1 and hit in ((0, 0), (PIXELS, 0)):
                with pytest.raises(FormatError, match="nothing can be salvaged"):
                    salvage.unpack(flipped)
                continue
            found = salvage.unpack(flipped)
            assert found.contents.erased == ({hit} if hit else set())
            assert found.contents.payloads == {key: value for key, value in contents.payloads.items() if key != hit}
            type = next(c.type for c in layout if c.offset <= i < c.offset + c.size)
            assert found.contents.metadata == {k: v for k, v in contents.metadata.items() if METADATA[k] != type}
            assert found.damage


def test_without_an_index_a_level_with_a_gap_keeps_what_comes_before_it() -> None:
    data = pack(sample())
    where = chunks(data)
    index = next(c for c in describe(data).chunks if c.type == "INDX")
    gap = where[3, 2]
    found = salvage.unpack(spoil(spoil(data, index.offset + 6), gap.offset + gap.size - 1))
    assert found.contents.erased == {(3, tile) for tile in range(2, 6)}
    assert found.contents.payloads == {
        key: value for key, value in sample().payloads.items() if key not in found.contents.erased
    }
    assert "the details of level 3 in 4 of 6 tiles" in found.damage[-1] and "chunk INDX is damaged" in found.damage


def test_without_an_index_tiles_of_pixels_before_a_gap_are_kept() -> None:
    data = pack(sample(LOSSLESS_TILED))
    where = chunks(data)
    index = next(c for c in describe(data).chunks if c.type == "INDX")
    gap = spoil(data, where[PIXELS, 4].offset + 6)
    found = salvage.unpack(gap)  # each tile has its known place
    assert found.contents.erased == {(PIXELS, 4)} and found.damage == ["erased: pixels in 1 of 6 tiles"]
    found = salvage.unpack(spoil(gap, index.offset + 6))
    assert found.contents.erased == {(PIXELS, 4), (PIXELS, 5)} and found.contents.metadata == sample().metadata
    assert found.damage == ["chunk INDX is damaged", "erased: pixels in 2 of 6 tiles"]
    with pytest.raises(FormatError, match="no tile's pixels are intact"):
        salvage.unpack(spoil(pack(sample(LOSSLESS)), len(pack(sample(LOSSLESS, {}))) - 1))


def test_a_lost_index_is_named() -> None:
    data = pack(sample())
    index = next(c for c in describe(data).chunks if c.type == "INDX")
    without = data[: index.offset] + data[index.offset + index.size :]
    wrong = data[: index.offset] + chunk(b"INDX", bytes(30)[:-1]) + data[index.offset + index.size :]
    for damaged, what in ((without, "chunk INDX is missing"), (wrong, "chunk INDX is damaged")):
        found = salvage.unpack(damaged)
        assert found.contents == sample() and found.damage == [what]


def test_metadata_behind_a_picture_that_lacks_bytes_are_found() -> None:
    """Nothing stands where the index says, or where a chunk's length says."""
    metadata = {"ICCP": b"profile", "DPI ": bytes(8), "EXIF": b"II*\0", "XMP ": b"<xmp/>"}
    for header in (ONE_TILE, TILED, LOSSLESS_TILED):
        data = pack(sample(header, metadata))
        last = list(chunks(data).values())[-1]
        found = salvage.unpack(data[: last.offset + 6] + data[last.offset + 7 :])
        assert found.contents.metadata == metadata and len(found.contents.erased) == 1


@pytest.mark.parametrize("header", ALL)
def test_bytes_behind_the_end_are_named(header: Header) -> None:
    for metadata in ({}, {"EXIF": b"e"}):
        data = pack(sample(header, metadata))
        found = salvage.unpack(data + b"more")
        assert found.contents == container.unpack(data) and found.damage == ["4 bytes too many at its end"]


def test_chunks_at_the_wrong_place_are_named() -> None:
    exif = chunk(b"eXIF", zlib.compress(b"e"))
    more = head(flags=MORE)
    for data, what in (
        (more + exif + TOKEN_CHUNKS + exif + DONE, "chunk eXIF at the wrong place: left out"),
        (more + exif + TOKEN_CHUNKS + chunk(b"ALPH", b"a") + DONE, "chunk ALPH at the wrong place: left out"),
        (more + exif + DONE + TOKEN_CHUNKS + DONE, "chunk DONE at the wrong place: left out"),
        (more + exif + TOKEN_CHUNKS + chunk(b"DONE", b"!"), "chunk DONE is not empty"),
        (more + exif + TOKEN_CHUNKS, "damaged or cut off after the picture: metadata may be missing"),
    ):
        found = salvage.unpack(data)
        assert found.contents.metadata == {"EXIF": b"e"} and found.damage == [what]
        assert found.contents.payloads == {(level, 0): b"abc" for level in CODING_ORDER}


def test_unknown_critical_chunks_need_a_newer_reader() -> None:
    more = head(flags=MORE)
    for data in (head() + chunk(b"NEWS") + TOKEN_CHUNKS, more + TOKEN_CHUNKS + chunk(b"NEWS") + DONE):
        with pytest.raises(UnsupportedError, match="NEWS"):
            salvage.unpack(data)
        # a damaged one may have been any chunk
        assert salvage.unpack(data.replace(b"NEWS", b"NEWT")).damage == ["chunk NEWT is damaged"]


def test_metadata_beyond_the_limit_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(salvage, "MAX_METADATA", 1000)
    large, small = chunk(b"iCCP", zlib.compress(bytes(900))), chunk(b"eXIF", zlib.compress(bytes(101)))
    for before, behind, key in ((large, small, "ICCP"), (small, large, "EXIF"), (b"", large + small, "ICCP")):
        found = salvage.unpack(head(flags=MORE) + before + TOKEN_CHUNKS + behind + DONE)
        assert set(found.contents.metadata) == {key}
        other = "eXIF" if key == "ICCP" else "iCCP"
        assert found.damage == [f"chunk {other} is beyond the limit of metadata: left out"]


def test_lost_metadata_is_named_and_the_rest_kept() -> None:
    data = pack(sample(ONE_TILE, dict.fromkeys(METADATA.keys() - TOKENS_ONLY, b"x" * 40)))
    exif = next(c for c in describe(data).chunks if c.type == "eXIF")
    found = salvage.unpack(spoil(data, exif.offset + 8))
    kept = METADATA.keys() - TOKENS_ONLY - {"EXIF"}
    assert set(found.contents.metadata) == kept and found.damage == ["chunk eXIF is damaged"]
    length_lost = salvage.unpack(data[: exif.offset + 4] + b"\x7f" + data[exif.offset + 5 :])
    assert length_lost.contents.payloads == sample(ONE_TILE).payloads and length_lost.damage
    assert set(length_lost.contents.metadata) == kept


def test_a_damaged_length_hides_nothing() -> None:
    """It may lead to a chunk farther on, past others that are intact."""
    metadata = {"NAME": b"\1", "ALPH": b"alpha", "ICCP": b"profile", "DPI ": bytes(8), "EXIF": b"II*\0"}
    for header in ALL:
        data = pack(sample(header, metadata))
        layout = describe(data).chunks
        for i, c in enumerate(layout[1:-1], 1):
            for later in layout[i + 2 :]:
                if c.type not in METADATA.values() or later.offset - c.offset - 9 > 127:
                    continue
                passing = data[: c.offset + 4] + bytes([later.offset - c.offset - 9]) + data[c.offset + 5 :]
                found = salvage.unpack(passing)
                assert found.contents.metadata == {k: v for k, v in metadata.items() if METADATA[k] != c.type}
                assert found.contents.payloads == sample(header).payloads
                assert f"chunk {c.type} is damaged" in found.damage


def test_the_header_has_to_be_intact() -> None:
    data = pack(sample())
    for bad in (b"", data[:20], spoil(data, 15), data[1:]):
        with pytest.raises(FormatError):
            salvage.unpack(bad)


@pytest.mark.parametrize("flags", [0, MORE])
@pytest.mark.parametrize("hostile", [b"TOKL", b"TOKL\xff\xff\x7f", b"TOKA\x7f", b"eXIF\xff\xff\x7f", b"xMPD\x7f"])
def test_searching_ends(hostile: bytes, flags: int) -> None:
    """Thousands of beginnings of chunks that are none: no more is checked than a few times the file."""
    searched = []
    data = head(flags=flags) + chunk(b"TOKL", b"abc") + hostile * (60_000 // len(hostile)) + b"\0" * 300_000
    original = salvage.ChunkSearch.payload

    def counting(self: salvage.ChunkSearch, c: Chunk) -> bytes | None:
        searched.append(c.size if self.budget > c.size else 0)
        return original(self, c)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(salvage.ChunkSearch, "payload", counting)
        assert salvage.unpack(data).contents.payloads[0, 0] == b"abc"
    assert sum(searched) <= 17 * len(data)


@given(st.data())
@fuzz(200)
def test_mutated_files_are_salvaged_or_refused(data: st.DataObject) -> None:
    header = data.draw(st.sampled_from(ALL))
    whole = sample(header)
    mutated = bytearray(pack(whole))
    for _ in range(data.draw(st.integers(1, 4))):
        a = data.draw(st.integers(0, len(mutated)))
        mutated[a : a + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=20))
    try:
        found = salvage.unpack(bytes(mutated))
    except REFUSALS:
        return
    if found.contents.header == header:
        payloads = set(whole.payloads.values())
        assert all(payload in payloads for payload in found.contents.payloads.values())


READERS: list[Callable[[bytes], object]] = [salvage.unpack, lambda data: salvage.unpack(data, 4)]


@given(st.binary(max_size=300), st.sampled_from(READERS))
@fuzz(150)
def test_random_bytes(data: bytes, read: Callable[[bytes], object]) -> None:
    more = head(flags=MORE)
    for prefix in (
        b"",
        START,
        head(),
        head(300, 300, tile=1),
        head() + chunk(b"TOKL", b"abc"),
        more + chunk(b"TOKL", b"abc"),
        more + TOKEN_CHUNKS,
        lossless_head(flags=MORE) + PIXEL_CHUNK,
    ):
        try:
            read(prefix + data)
        except REFUSALS:
            continue


def test_level_order_is_the_containers() -> None:
    contents = Contents(ONE_TILE, {}, payloads_of(ONE_TILE))
    assert list(salvage.unpack(pack(contents)).contents.payloads) == [(level, 0) for level in CODING_ORDER]


@pytest.mark.parametrize("tile", [None, 128])
def test_half_a_file_is_the_whole_picture_in_less_detail(codec: Codec, picture: Picture, tile: int | None) -> None:
    """However large the EXIF block is: it comes after the picture."""
    plain = codec.encode(picture, quality=30, effort=1, tile=tile)
    exif = b"II*\0" + np.random.default_rng(1).bytes(len(plain))
    data = pack(replace(container.unpack(plain), metadata={"EXIF": exif}))
    found = salvage.unpack(data[: len(data) // 2])
    assert "EXIF" not in found.contents.metadata
    assert {level for level, _ in found.contents.erased} <= {1}, "no more than the finest details"
    assert "metadata may be missing" in found.damage[-1]
    whole, half = codec.decode(plain), codec.decode(found.contents)
    assert half.rgb.shape == picture.rgb.shape
    error, less = (np.mean((p.rgb.astype(float) - picture.rgb) ** 2) for p in (whole, half))
    assert error <= less < 1.5 * error
    # and without --salvage at half the size
    reduced = container.unpack(data[: len(data) // 2], 2)
    assert reduced.cut and np.array_equal(codec.decode(reduced, reduce=1).rgb, codec.decode(plain, reduce=1).rgb)
