"""The file format: what is packed comes back, damage is refused, and nothing is believed before it is checked."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vitcodec.bitstream import chunks, container
from vitcodec.bitstream import header as header_module
from vitcodec.bitstream.container import (
    FRONT,
    MAGIC,
    METADATA,
    PAYLOADS,
    PIXELS,
    TOKENS,
    TOKENS_ONLY,
    VERSION,
    Contents,
    describe,
    pack,
    read_header,
    unpack,
)
from vitcodec.bitstream.header import Header
from vitcodec.errors import FormatError, LimitError, UnsupportedError
from vitcodec.subbands import CODING_ORDER

REFUSALS = (FormatError, UnsupportedError, LimitError)
ONE_TILE = Header(width=33, height=17, quality=60, gray=False, model="swin", weights=bytes(range(8)), tile=512)
TILED = replace(ONE_TILE, width=130, height=300, tile=128)  # 2 x 3 tiles
LOSSLESS = Header(width=33, height=17, quality=0, gray=False, model="", weights=b"", tile=512)
LOSSLESS_TILED = replace(LOSSLESS, width=130, height=300, tile=128)
HEADERS = (ONE_TILE, TILED, LOSSLESS, LOSSLESS_TILED)
GRAY, MORE = 1, 4  # flags
START = MAGIC + bytes([VERSION])
FORMAT = Path(__file__).parents[1] / "docs" / "format.md"


def fuzz(examples: int) -> settings:
    """As many examples however slow and busy the machine is."""
    return settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def varint(value: int) -> bytes:
    encoded = b""
    while value > 127:
        encoded, value = encoded + bytes([value % 128 + 128]), value // 128
    return encoded + bytes([value])


def chunk(type: bytes, payload: bytes = b"") -> bytes:
    body = type + varint(len(payload)) + payload
    return body + zlib.crc32(body).to_bytes(4, "little")


def head(
    width: int = 33,
    height: int = 17,
    quality: int = 60,
    flags: int = 0,
    tile: int = 4,
    model: bytes = b"swin",
    weights: bytes = bytes(range(8)),
    more: bytes = b"",
) -> bytes:
    fixed = bytes([quality, flags, tile, len(model)])
    return START + chunk(b"HEAD", varint(width) + varint(height) + fixed + model + weights + more)


def lossless_head(**fields: Any) -> bytes:
    defaults: dict[str, Any] = {"quality": 0, "model": b"", "weights": b""}
    return head(**defaults | fields)


def payloads_of(header: Header, size: int = 3) -> dict[tuple[int, int], bytes]:
    """Payloads that all differ in content and, from one to the next, in length."""
    levels = CODING_ORDER if header.quality else (PIXELS,)
    keys = [(level, tile) for level in levels for tile in range(header.grid.count)]
    return {key: bytes((31 * i + j) % 251 for j in range(size + i % 4)) for i, key in enumerate(keys)}


def sample(header: Header = TILED, metadata: dict[str, bytes] | None = None) -> Contents:
    """By default with metadata before the picture and behind it."""
    return Contents(
        header, {"EXIF": b"II*\0", "ALPH": b"\xff\n"} if metadata is None else metadata, payloads_of(header)
    )


def refused(data: bytes, **options: Any) -> bool:
    """Whether unpack refuses a file."""
    try:
        unpack(data, **options)
    except REFUSALS:
        return True
    return False


TOKEN_CHUNKS = b"".join(chunk(TOKENS[level].encode(), b"abc") for level in CODING_ORDER)  # of one tile
PIXEL_CHUNK = chunk(b"PIXL", b"abc")
DONE = chunk(b"DONE")


class CountingStream(io.BytesIO):
    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.total += len(data)
        return data


class DribblingStream(io.BytesIO):
    """An unbuffered stream such as a pipe or socket file: fewer bytes than asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 3))


# ---- what is packed comes back


@pytest.mark.parametrize(
    "header",
    [
        *HEADERS,
        replace(TILED, gray=True, quality=1),
        replace(ONE_TILE, width=1, height=1, quality=100),
        replace(LOSSLESS_TILED, gray=True),
    ],
)
@pytest.mark.parametrize(
    "metadata",
    [{}, {key: key.encode() * 50 for key in METADATA}, {"XMP ": b""}, dict.fromkeys(FRONT, b"f"), {"DPI ": bytes(8)}],
)
def test_round_trip(header: Header, metadata: dict[str, bytes]) -> None:
    contents = sample(header, {k: v for k, v in metadata.items() if k in allowed(header)})
    assert unpack(pack(contents)) == contents


@given(
    width=st.integers(1, 700),
    height=st.integers(1, 700),
    quality=st.integers(0, 100),
    gray=st.booleans(),
    model=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True),
    weights=st.binary(min_size=8, max_size=8),
    units=st.sampled_from([1, 2, 4, 255]),
    metadata=st.dictionaries(st.sampled_from(list(METADATA)), st.binary(max_size=200)),
    payloads=st.lists(st.binary(max_size=200), min_size=1, max_size=9),
)
@fuzz(40)
def test_round_trip_of_anything(
    width: int,
    height: int,
    quality: int,
    gray: bool,
    model: str,
    weights: bytes,
    units: int,
    metadata: dict[str, bytes],
    payloads: list[bytes],
) -> None:
    header = Header(width, height, quality or 1, gray, model, weights, 128 * units)
    if not quality:
        header = replace(header, quality=0, model="", weights=b"")
    metadata = {k: v for k, v in metadata.items() if k in allowed(header)}
    keys = list(payloads_of(header))
    contents = Contents(header, metadata, {key: payloads[i % len(payloads)] for i, key in enumerate(keys)})
    data = pack(contents)
    assert unpack(data) == contents and read_header(data) == header


def allowed(header: Header) -> set[str]:
    return container.allowed_metadata(header, behind=False)


def types(data: bytes) -> list[str]:
    return [c.type for c in describe(data).chunks]


def test_the_order_of_chunks() -> None:
    everything = dict.fromkeys(METADATA, b"x")
    front, back = (
        ["HEAD", "TILQ", "FILT", "iNAM", "cICP", "ALPH", "MASK", "INDX"],
        ["iCCP", "dPIX", "eXIF", "xMPD", "DONE"],
    )
    tokens = [t for t in ("TOKL", "TOKD", "TOKC", "TOKB", "TOKA") for _ in range(6)]
    assert types(pack(sample(TILED, everything))) == [*front, *tokens, *back]
    everything = {key: data for key, data in everything.items() if key not in TOKENS_ONLY}
    front = [type for type in front if type not in ("MASK", "TILQ", "FILT")]
    assert types(pack(sample(LOSSLESS_TILED, everything))) == [*front, *["PIXL"] * 6, *back]


@pytest.mark.parametrize("header", HEADERS)
def test_what_follows_the_picture_costs_nothing_where_there_is_none(header: Header) -> None:
    for metadata in ({}, {"ALPH": b"a"}):
        data = pack(sample(header, metadata))
        assert types(data)[-1] == ("TOKA" if header.quality else "PIXL")
    assert types(pack(sample(header, {"DPI ": bytes(8)})))[-2:] == ["dPIX", "DONE"]


def test_pack_refuses_what_no_file_can_hold() -> None:
    complete = sample()
    for key in [(0, 0), (1, 5)]:
        with pytest.raises(ValueError, match="payloads"):
            pack(Contents(TILED, {}, {k: v for k, v in complete.payloads.items() if k != key}))
    for header, level in ((TILED, PIXELS), (LOSSLESS_TILED, 0), (LOSSLESS_TILED, 1)):
        with pytest.raises(ValueError, match="payloads"):
            pack(Contents(header, {}, payloads_of(header) | {(level, 0): b""}))
    with pytest.raises(ValueError, match="lossless"):
        pack(sample(LOSSLESS, {"MASK": b"\x80"}))
    with pytest.raises(ValueError, match="XMP"):
        pack(Contents(TILED, {"XMP": b""}, complete.payloads))
    wrong: list[dict[str, Any]] = [
        {"width": 0},
        {"height": -1},
        {"quality": 0},  # lossless, and names a model
        {"quality": 0, "model": ""},
        {"quality": 0, "weights": b""},
        {"quality": -1},
        {"quality": 101},
        {"weights": bytes(7)},
    ]
    wrong += [{"model": model} for model in ("", "a/b", "..", "é", "a" * 65)] + [
        {"tile": tile} for tile in (0, 100, 256 * 128)
    ]
    for fields in wrong:
        with pytest.raises(ValueError):
            replace(TILED, **fields)


# ---- damage


@pytest.mark.parametrize("header", [ONE_TILE, replace(TILED, height=60), LOSSLESS, replace(LOSSLESS_TILED, height=60)])
def test_every_bit_flip_and_every_truncation_is_refused(header: Header) -> None:
    data = pack(sample(header))
    for i in range(len(data)):
        with pytest.raises(FormatError):
            unpack(data[:i])
        for bit in range(8):
            with pytest.raises(REFUSALS):
                unpack(data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :])


def test_every_bit_flip_and_truncation_of_the_header_is_refused_by_read_header() -> None:
    data = pack(sample())
    end = describe(data).chunks[0].offset + describe(data).chunks[0].size
    assert read_header(data[:end]) == TILED
    for i in range(end):
        with pytest.raises(FormatError):
            read_header(data[:i])
        for bit in range(8):
            with pytest.raises(REFUSALS):
                read_header(data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :])


def test_a_damaged_file_never_gives_wrong_coarse_levels() -> None:
    """What is skipped may be damaged; the metadata behind it are checked, and are said to be cut off if they are."""
    data = pack(sample())
    expected, chunks_ = unpack(data, finest=4), describe(data).chunks
    skipped = next(c.offset for c in chunks_ if c.type == "TOKC")
    behind = next(c.offset for c in chunks_ if c.type == "eXIF")
    for i in range(len(data)):
        for bit in range(8):
            flipped = data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :]
            if skipped <= i < behind:
                assert unpack(flipped, finest=4) == expected
            elif not refused(flipped, finest=4):
                found = unpack(flipped, finest=4)
                assert i > behind and found.cut and found.payloads == expected.payloads
                assert found.metadata.items() <= expected.metadata.items()


@pytest.mark.parametrize("header", [ONE_TILE, TILED])
@pytest.mark.parametrize("finest", [2, 3, 4, 5])
def test_a_cut_file_gives_its_coarse_levels(header: Header, finest: int) -> None:
    """Half a file is a whole picture in less detail; `cut` says that metadata may be missing."""
    whole = Contents(header, {"ALPH": b"a", "ICCP": b"p" * 99, "EXIF": bytes(range(200))}, payloads_of(header, 50))
    data, expected = pack(whole), unpack(pack(whole), finest)
    assert not expected.cut and expected.metadata == whole.metadata
    coarse = [TOKENS[level] for level in CODING_ORDER if level == 0 or level >= finest]
    needed = max(c.offset + c.size for c in describe(data).chunks if c.type in coarse)
    profile = next(c for c in describe(data).chunks if c.type == "iCCP")
    for end in range(needed):
        assert refused(data[:end], finest=finest)
    for end in range(needed, len(data)):
        found = unpack(data[:end], finest)
        assert found.cut and found.payloads == expected.payloads and found.metadata["ALPH"] == b"a"
        assert ("ICCP" in found.metadata) == (end >= profile.offset + profile.size)
        assert refused(data[:end]), "all levels are wanted: the file has to be whole"


def test_bytes_behind_the_end_are_refused() -> None:
    for header in HEADERS:
        for metadata in ({}, {"EXIF": b"e"}):
            data = pack(sample(header, metadata))
            for more in (b"\0", b"\n", chunk(b"note"), chunk(b"eXIF"), DONE, data):
                with pytest.raises(FormatError, match="too many"):
                    unpack(data + more)


def test_text_mode_transfers_are_named() -> None:
    data = pack(sample())
    for damaged in (data.replace(b"\r\n", b"\n"), data.replace(b"\n", b"\r\n")):
        with pytest.raises(FormatError, match="text mode"):
            unpack(damaged)
    with pytest.raises(FormatError, match="not a"):
        unpack(bytes(b & 127 for b in data))
    with pytest.raises(FormatError, match="truncated"):
        unpack(data[: data.index(0x1A) + 1])


def test_messages_are_one_line_and_name_the_file() -> None:
    data = pack(sample())
    cases = [
        b"",
        b"GIF89a",
        data[:-1],
        data[:30],
        data + b"\0",
        data[:60] + b"\xff" + data[61:],
        START[:-1] + b"\0",
        head(60000, 60000),
        head(flags=8),
        head(flags=MORE) + TOKEN_CHUNKS,
        head(flags=MORE) + TOKEN_CHUNKS + chunk(b"DONE", b"!"),
        lossless_head(flags=2) + PIXEL_CHUNK,
    ]
    for damaged in [*cases, head(quality=101), head(model=b"a\nb"), head(more=b"!"), head() + chunk(b"NEWS")]:
        with pytest.raises(REFUSALS) as caught:
            unpack(damaged, name="photo.vitc")
        assert str(caught.value).startswith("photo.vitc: ") and "\n" not in str(caught.value)


@given(st.binary(max_size=300))
@fuzz(100)
def test_random_bytes_are_refused(data: bytes) -> None:
    for read in (unpack, read_header, describe):
        for prefix in (b"", START, head(), head(300, 300, tile=1), lossless_head(), head(flags=MORE)):
            if read is read_header and len(prefix) > len(START):
                continue
            with pytest.raises(REFUSALS):
                read(prefix + data)


@given(st.integers(0, 400), st.integers(0, 40), st.binary(max_size=40), st.sampled_from(HEADERS))
@fuzz(150)
def test_mutated_files_are_refused_or_whole(position: int, removed: int, inserted: bytes, header: Header) -> None:
    data = pack(sample(header))
    mutated = data[:position] + inserted + data[position + removed :]
    try:
        contents = unpack(mutated)
    except REFUSALS:
        return
    assert contents.payloads == payloads_of(header)  # nothing was changed, or a chunk of metadata is gone


TYPES = [b"HEAD", b"INDX", b"DONE", b"NEWS", b"news", *(t.encode() for t in (*METADATA.values(), *PAYLOADS.values()))]
SIZES = st.lists(st.integers(0, 3), min_size=10, max_size=10).map(bytes)  # an index of two tiles


@given(
    st.sampled_from([head(), head(flags=MORE), head(130, tile=1), head(16384, 16384, tile=1), lossless_head()]),
    st.lists(st.tuples(st.sampled_from(TYPES), st.binary(max_size=3) | SIZES), max_size=20),
    st.sampled_from([b"", TOKEN_CHUNKS, PIXEL_CHUNK]),
    st.lists(st.tuples(st.sampled_from(TYPES), st.binary(max_size=3)), max_size=4),
    st.sampled_from([b"", DONE]),
)
@fuzz(300)
def test_any_chunks_with_right_checksums(
    start: bytes, front: list[tuple[bytes, bytes]], picture: bytes, back: list[tuple[bytes, bytes]], end: bytes
) -> None:
    front_chunks, back_chunks = (b"".join(chunk(*c) for c in some) for some in (front, back))
    data = start + front_chunks + picture + back_chunks + end
    try:
        contents = unpack(data)
    except REFUSALS:
        return
    assert unpack(pack(contents)) == contents


@given(st.binary(max_size=60))
@fuzz(150)
def test_any_header_with_a_right_checksum(payload: bytes) -> None:
    for data in (payload, b"\x21\x11" + payload, b"\x21\x11\x3c\2\4\4swin" + payload, b"\x21\x11\0" + payload):
        try:
            header = read_header(START + chunk(b"HEAD", data))
        except REFUSALS:
            continue
        assert (
            0 <= header.quality <= 100
            and 1 <= header.width <= header_module.MAX_SIDE
            and header.grid.count <= header_module.MAX_TILES
        )


# ---- reading only what is needed


@pytest.mark.parametrize("finest", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("header", HEADERS)
def test_finer_levels_are_neither_read_nor_checked(header: Header, finest: int) -> None:
    whole = Contents(header, {"ALPH": b"a" * 100, "EXIF": b"e" * 100}, payloads_of(header, size=300))
    data = pack(whole)
    finer = [c for c in describe(data).chunks if c.type in [TOKENS[level] for level in range(1, finest)]]
    frames = 0 if header.grid.count > 1 else 6 * len(finer)  # type and length, where no index says how far to go
    stream = CountingStream(data)
    contents = unpack(stream, finest)
    assert stream.total == len(data) - sum(c.size for c in finer) + frames
    assert contents == replace(whole, payloads={k: v for k, v in whole.payloads.items() if k[0] == 0 or k[0] >= finest})
    spoiled = bytearray(data)
    for c in finer:
        spoiled[c.offset + 6 : c.offset + c.size] = bytes(c.size - 6)
    assert unpack(bytes(spoiled), finest) == contents
    for end in (len(data) - 1, len(data) + 1):
        with_end = (data + b"\0")[:end]
        assert refused(with_end, finest=finest) or (end < len(data) and unpack(with_end, finest).cut)


@pytest.mark.parametrize("finest", [2, 3, 4, 5])
@pytest.mark.parametrize("header", [ONE_TILE, TILED])
def test_without_metadata_behind_it_reading_ends_with_what_is_needed(header: Header, finest: int) -> None:
    data = pack(Contents(header, {"ALPH": b"a" * 100}, payloads_of(header, size=50)))
    finer = [c for c in describe(data).chunks if c.type in [TOKENS[level] for level in range(1, finest)]]
    needed, contents, stream = len(data) - sum(c.size for c in finer), unpack(data, finest), CountingStream(data)
    unpack(stream, finest)
    assert stream.total == needed and not contents.cut
    assert unpack(data[:needed], finest) == unpack(data[:needed] + b"\0" * 99, finest) == contents
    with pytest.raises(FormatError):
        unpack(data[: needed - 1], finest)


@pytest.mark.parametrize("finest", [0, 6, -1])
def test_finest_out_of_range(finest: int) -> None:
    with pytest.raises(ValueError):
        unpack(pack(sample()), finest)


@pytest.mark.parametrize("header", [TILED, LOSSLESS_TILED])
def test_tiles_that_are_not_asked_for_are_neither_read_nor_checked(header: Header) -> None:
    whole = Contents(header, {"EXIF": b"e", "ALPH": b"a"}, payloads_of(header, size=200))
    data = pack(whole)
    where = dict(zip(whole.payloads, (c for c in describe(data).chunks if c.type in PAYLOADS.values()), strict=True))
    for tiles, finest in (({4}, 1), ({0, 5}, 3), (set[int](), 1)):
        broken, skipped = bytearray(data), 0
        for (level, tile), c in where.items():
            if tile not in tiles or 0 < level < finest:
                broken[c.offset : c.offset + c.size] = bytes(c.size)
                skipped += c.size
        stream = CountingStream(bytes(broken))
        wanted = {k: v for k, v in whole.payloads.items() if k[1] in tiles and (k[0] == 0 or k[0] >= finest)}
        assert unpack(stream, finest, tiles=tiles) == replace(whole, payloads=wanted)
        assert stream.total == len(data) - skipped
        with pytest.raises(FormatError):
            unpack(data[:-1], 1, tiles=tiles)


def test_read_header_reads_the_header_only() -> None:
    data = pack(replace(sample(), metadata={"ICCP": bytes(10_000)}))
    stream = CountingStream(data)
    assert read_header(stream) == TILED
    assert stream.total == len(head(130, 300, tile=1)) == 9 + describe(data).chunks[0].size


@pytest.mark.parametrize("header", [TILED, LOSSLESS_TILED])
def test_the_index_leads_to_any_tile_and_level(header: Header) -> None:
    contents = Contents(header, {"EXIF": b"e"}, payloads_of(header, size=126))  # lengths of one and of two bytes
    data = pack(contents)
    position = data.index(b"INDX") + 4
    length, position = data[position], position + 1
    sizes, fields = [], io.BytesIO(data[position : position + length])
    while byte := fields.read(1):
        sizes.append(byte[0] if byte[0] < 128 else byte[0] - 128 + 128 * fields.read(1)[0])
    start = position + length + 4
    for k, ((level, _), payload) in enumerate(contents.payloads.items()):
        offset = start + sum(8 + len(varint(size)) + size for size in sizes[:k])
        expected = chunk(PAYLOADS[level].encode(), payload)
        assert data[offset : offset + len(expected)] == expected


def test_describe_accounts_for_every_byte() -> None:
    data = pack(sample())
    layout = describe(data)
    assert layout.header == TILED and layout.size == len(data)
    assert layout.chunks[0].offset == 9
    for c, following in zip(layout.chunks, layout.chunks[1:], strict=False):
        assert data[c.offset : c.offset + 4].decode() == c.type and c.offset + c.size == following.offset
    assert layout.level_bytes == {
        level: sum(len(v) for k, v in sample().payloads.items() if k[0] == level) for level in CODING_ORDER
    }
    lossless = sample(LOSSLESS_TILED)
    assert describe(pack(lossless)).level_bytes == {PIXELS: sum(map(len, lossless.payloads.values()))}
    unknown = describe(head() + chunk(b"note", b"hello") + TOKEN_CHUNKS).chunks[1]
    assert (unknown.type, unknown.length, unknown.size) == ("note", 5, 14)
    with pytest.raises(FormatError):
        describe(data[:-1])


# ---- rules about chunks, versions and fields


def test_unknown_ancillary_chunks_are_skipped() -> None:
    metadata = chunk(b"note", b"hello") + chunk(b"eXIF", zlib.compress(b"e")) + chunk(b"note")
    expected = Contents(ONE_TILE, {"EXIF": b"e"}, {(level, 0): b"abc" for level in CODING_ORDER})
    assert unpack(head() + metadata + TOKEN_CHUNKS) == expected
    assert unpack(head(flags=MORE) + TOKEN_CHUNKS + metadata + DONE) == expected


def test_unknown_critical_chunks_need_a_newer_reader() -> None:
    for data in (
        head() + chunk(b"NEWS", b"hello") + TOKEN_CHUNKS,
        head() + TOKEN_CHUNKS[:12] + chunk(b"NEWS") + TOKEN_CHUNKS[12:],
        head(flags=MORE) + TOKEN_CHUNKS + chunk(b"NEWS") + DONE,
        lossless_head() + chunk(b"NEWS") + PIXEL_CHUNK,
    ):
        with pytest.raises(UnsupportedError, match=r"needs vitcodec >.*NEWS"):
            unpack(data)
    damaged = bytearray(chunk(b"NEWS", b"hello"))
    damaged[6] ^= 1
    with pytest.raises(FormatError, match="checksum"):
        unpack(head() + damaged + TOKEN_CHUNKS)


def test_newer_versions_need_a_newer_reader() -> None:
    for version in (VERSION + 1, 255):
        for read in (unpack, read_header, describe):
            with pytest.raises(UnsupportedError, match=f"needs vitcodec >= {version}.0 for format version {version}"):
                read(MAGIC + bytes([version]) + pack(sample())[9:])


@pytest.mark.parametrize("bit", [1, 6, 7])
def test_reserved_flags_need_a_newer_reader(bit: int) -> None:
    for flags in (1 << bit, GRAY | 1 << bit, GRAY | MORE | 1 << bit):
        for data in (head(flags=flags) + TOKEN_CHUNKS, lossless_head(flags=flags) + PIXEL_CHUNK):
            for read in (unpack, read_header, describe):
                with pytest.raises(UnsupportedError, match="needs vitcodec >"):
                    read(data)


@pytest.mark.parametrize("number", [1, 5, 7])
def test_flags_hold_the_number_of_the_enhancement(number: int) -> None:
    enhanced = number << 3
    for flags, gray in ((enhanced, False), (GRAY | enhanced, True)):
        assert unpack(head(flags=flags) + TOKEN_CHUNKS).header == replace(ONE_TILE, gray=gray, enhancement=number)
    with pytest.raises(FormatError, match="lossless"):
        unpack(lossless_head(flags=enhanced) + PIXEL_CHUNK)


def test_flags() -> None:
    assert unpack(head(flags=GRAY) + TOKEN_CHUNKS).header == replace(ONE_TILE, gray=True)
    assert unpack(head(flags=MORE) + TOKEN_CHUNKS + DONE) == unpack(head() + TOKEN_CHUNKS)
    for header, flags in ((ONE_TILE, 0), (LOSSLESS, 0), (replace(TILED, gray=True), GRAY)):
        for metadata, more in (({}, 0), ({"ALPH": b"a"}, 0), ({"DPI ": b"d"}, MORE)):
            data = pack(sample(header, metadata))
            position = 14 + len(varint(header.width)) + len(varint(header.height)) + 1
            assert data[position] == flags | more


def test_of_version_0_lossless_files_alone_are_read() -> None:
    """Bit 1 of their flags is set."""
    before = MAGIC + b"\0"
    for flags in (2, 2 | GRAY):
        data = before + (lossless_head(flags=flags) + PIXEL_CHUNK)[len(before) :]
        assert unpack(data).header == replace(LOSSLESS, gray=bool(flags & GRAY))
        assert unpack(pack(unpack(data))) == unpack(data)
    for read in (unpack, read_header, describe):
        with pytest.raises(UnsupportedError, match="a draft of the format from before version 1"):
            read(before + (head(flags=2) + TOKEN_CHUNKS)[len(before) :])


# ---- lossless files


def test_lossless_files() -> None:
    assert read_header(lossless_head()) == LOSSLESS
    assert len(lossless_head()) == 9 + 4 + 1 + 2 + 4 + 4  # neither model nor weights
    assert unpack(lossless_head() + PIXEL_CHUNK) == Contents(LOSSLESS, {}, {(PIXELS, 0): b"abc"})
    tiles = chunk(b"INDX", b"\3\2") + chunk(b"PIXL", b"abc") + chunk(b"PIXL", b"de")
    found = unpack(lossless_head(width=40, height=130, tile=1) + tiles)
    assert found.payloads == {(PIXELS, 0): b"abc", (PIXELS, 1): b"de"}
    for finest in range(1, 6):  # there is nothing coarser to read
        assert unpack(pack(sample(LOSSLESS_TILED)), finest) == sample(LOSSLESS_TILED)


@pytest.mark.parametrize(
    "data",
    [
        lossless_head(model=b"swin") + PIXEL_CHUNK,
        lossless_head(weights=bytes(8)) + PIXEL_CHUNK,
        lossless_head(model=b"swin", weights=bytes(8)) + PIXEL_CHUNK,
        lossless_head() + TOKEN_CHUNKS,
        lossless_head() + PIXEL_CHUNK + TOKEN_CHUNKS,
        lossless_head() + PIXEL_CHUNK * 2,
        lossless_head(),
        lossless_head() + chunk(b"INDX", b"\3") + PIXEL_CHUNK,
        lossless_head() + chunk(b"MASK", zlib.compress(b"\x80")) + PIXEL_CHUNK,
        lossless_head(width=40, height=130, tile=1) + PIXEL_CHUNK * 2,  # no index
        lossless_head(width=40, height=130, tile=1) + chunk(b"INDX", b"\3" * 10) + PIXEL_CHUNK * 2,
        head() + PIXEL_CHUNK,
        head() + TOKEN_CHUNKS + PIXEL_CHUNK,
    ],
)
def test_wrong_lossless_files_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        unpack(data)


# ---- metadata before the picture and behind it


BEHIND = chunk(b"iCCP", zlib.compress(b"p")) + chunk(b"dPIX", bytes(8)) + chunk(b"eXIF", zlib.compress(b"e"))


@pytest.mark.parametrize("start, picture", [(head, TOKEN_CHUNKS), (lossless_head, PIXEL_CHUNK)])
def test_metadata_on_either_side(start: Callable[..., bytes], picture: bytes) -> None:
    before, behind = start(), start(flags=MORE)
    expected = unpack(before + BEHIND + picture)
    assert expected.metadata == {"ICCP": b"p", "DPI ": bytes(8), "EXIF": b"e"} and not expected.cut
    assert unpack(behind + picture + BEHIND + DONE) == expected
    profile, rest = BEHIND[: BEHIND.index(b"dPIX")], BEHIND[BEHIND.index(b"dPIX") :]
    assert unpack(behind + profile + picture + rest + DONE) == expected
    assert unpack(behind + BEHIND + picture + DONE) == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",  # no DONE
        BEHIND,
        DONE[:-1],
        DONE + b"\0",
        DONE * 2,
        BEHIND + DONE + BEHIND,
        chunk(b"DONE", b"\0"),
        chunk(b"DONE", bytes(1000)),
        chunk(b"done"),
        chunk(b"eXIF", zlib.compress(b"e")) * 2 + DONE,  # twice
        chunk(b"iNAM", b"\1") + DONE,  # what belongs to the picture stands before it
        chunk(b"cICP", b"\1\x0d\0\1") + DONE,
        chunk(b"ALPH", b"a") + DONE,
        chunk(b"MASK", zlib.compress(b"\x80")) + DONE,
        chunk(b"HEAD") + DONE,
        chunk(b"INDX", b"\3" * 5) + DONE,
        chunk(b"TOKA", b"abc") + DONE,
        chunk(b"PIXL", b"abc") + DONE,
    ],
)
def test_wrong_ends_are_refused(data: bytes) -> None:
    for start, picture in ((head, TOKEN_CHUNKS), (lossless_head, PIXEL_CHUNK)):
        with pytest.raises(FormatError):
            unpack(start(flags=MORE) + picture + data)
        # the flag is not set: nothing may follow
        assert not data or refused(start() + picture + data)


def test_metadata_cannot_stand_on_both_sides() -> None:
    exif = chunk(b"eXIF", zlib.compress(b"e"))
    with pytest.raises(FormatError, match=r"eXIF at byte .* is out of place"):
        unpack(head(flags=MORE) + exif + TOKEN_CHUNKS + exif + DONE)
    with pytest.raises(FormatError, match=r"DONE at byte .* is out of place"):
        unpack(head(flags=MORE) + DONE + TOKEN_CHUNKS + exif + DONE)


TOKL, TOKD, REST = TOKEN_CHUNKS[:12], TOKEN_CHUNKS[12:24], TOKEN_CHUNKS[24:]


@pytest.mark.parametrize(
    "chunks",
    [
        chunk(b"eXIF") * 2 + TOKEN_CHUNKS,  # twice
        head()[9:] + TOKEN_CHUNKS,
        chunk(b"INDX", b"\3" * 5) + TOKEN_CHUNKS,  # an index for one tile
        TOKD + TOKL + REST,  # levels out of order
        TOKL + TOKL + TOKD + REST,
        TOKL + REST,
        TOKL + chunk(b"eXIF") + TOKD + REST,  # metadata or unknown between tokens
        TOKL + chunk(b"note") + TOKD + REST,
        b"TOKL\x83\0abc"
        + zlib.crc32(b"TOKL\x83\0abc").to_bytes(4, "little")
        + TOKD
        + REST,  # a length that is not canonical
        chunk(b"no e") + TOKEN_CHUNKS,  # not letters
        chunk(b"XMP ") + TOKEN_CHUNKS,
        DONE + TOKEN_CHUNKS,
    ],
)
def test_misplaced_chunks_are_refused(chunks: bytes) -> None:
    assert unpack(head() + TOKEN_CHUNKS).payloads[0, 0] == b"abc"
    with pytest.raises(FormatError):
        unpack(head() + chunks)
    with pytest.raises(FormatError):
        unpack(head(flags=MORE) + chunks + DONE)


@pytest.mark.parametrize("finest", [2, 5])
def test_misplaced_chunks_are_refused_where_payloads_are_skipped(finest: int) -> None:
    """Without an index: their types say where the metadata begin."""
    for picture in (
        TOKL + REST,
        TOKL + TOKD + REST + TOKL,
        TOKL + TOKD + chunk(b"eXIF") + REST,
        TOKL + TOKD + REST[12:],
    ):
        with pytest.raises(FormatError):
            unpack(head(flags=MORE) + picture + DONE, finest)
    assert not unpack(head(flags=MORE) + TOKEN_CHUNKS + DONE, finest).cut


TWO_TILES = b"".join(chunk(TOKENS[level].encode(), payload) for level in CODING_ORDER for payload in (b"abc", b"de"))


@pytest.mark.parametrize(
    "index",
    [
        b"",  # missing
        chunk(b"INDX", b"\3\2" * 4),  # too short
        chunk(b"INDX", b"\3\2" * 6),  # too long
        chunk(b"INDX", b"\2\3" * 5),  # other sizes
        chunk(b"INDX", b"\3\2" * 4 + b"\3\x82\0"),  # not canonical
        chunk(b"INDX", b"\3\2" * 4 + b"\3\x82"),  # ends within a number
        chunk(b"INDX", b"\3\2" * 4 + b"\3" + b"\xff" * 9),
        chunk(b"INDX", b"\3\2" * 5) + chunk(b"note"),  # something between index and tokens
        chunk(b"INDX", b"\3\2" * 5) * 2,
        chunk(b"INDX", bytes(100_000)),
    ],
)
def test_wrong_indices_are_refused(index: bytes) -> None:
    start = head(40, 130, tile=1)
    assert unpack(start + chunk(b"INDX", b"\3\2" * 5) + TWO_TILES).payloads[1, 1] == b"de"
    with pytest.raises(FormatError):
        unpack(start + index + TWO_TILES)


@pytest.mark.parametrize(
    "fields",
    [
        {"width": 0},
        {"height": 0},
        {"quality": 0},  # lossless, and names a model
        {"quality": 101},
        {"tile": 0},
        {"model": b""},
        {"model": b"m" * 65},
        {"model": b"../x"},
        {"model": b"a b"},
        {"model": b"\xe9"},
        {"more": b"\0"},
    ],
)
def test_wrong_fields_are_refused(fields: dict[str, Any]) -> None:
    for read in (read_header, unpack):
        with pytest.raises(FormatError):
            read(head(**fields) + TOKEN_CHUNKS)


# ---- limits


@pytest.mark.parametrize(
    "width, height, tile",
    [
        (60000, 60000, 4),
        (65536, 1, 4),
        (1, 65536, 4),
        (2**35 - 1, 1, 4),
        (16384, 16385, 4),
        (16257, 16385, 1),
        (2048, 2049, 255),
        (4000, 4000, 24),
    ],
)
def test_limits_of_size(width: int, height: int, tile: int) -> None:
    for read in (unpack, read_header, describe):
        with pytest.raises(LimitError, match=str(width)):
            read(head(width, height, tile=tile))
    with pytest.raises(LimitError):
        pack(Contents(Header(width, height, 60, False, "swin", bytes(8), tile * 128)))


def test_sizes_at_the_limits_are_read() -> None:
    for width, height, tile in [
        (65535, 4096, 1),
        (4096, 65535, 4),
        (16384, 16384, 1),
        (65535, 1, 255),
        (16384, 16384, 16),
    ]:
        header = read_header(head(width, height, tile=tile))
        assert (header.width, header.height) == (width, height) and header.grid.count <= header_module.MAX_TILES


def test_a_claim_costs_nothing() -> None:
    huge = 2**35 - 1
    for data in (
        head(60000, 60000, tile=1),
        head(16384, 16384, tile=1) + chunk(b"INDX", bytes(10)) + TOKEN_CHUNKS,
        lossless_head(width=16384, height=16384, tile=1) + chunk(b"INDX", bytes(10)) + PIXEL_CHUNK,
        lossless_head() + b"PIXL" + varint(huge) + bytes(100),
        head(flags=MORE) + TOKEN_CHUNKS + b"eXIF" + varint(huge) + bytes(100),
        head(flags=MORE) + TOKEN_CHUNKS + b"DONE" + varint(huge) + bytes(100),
        head(16384, 16384, tile=1) + b"INDX" + varint(5 * 16384) + bytes(100),
        head() + b"iCCP" + varint(huge) + bytes(100),
        head() + b"news" + varint(huge) + bytes(100),
        head() + b"TOKL" + varint(huge) + bytes(100),
        START + b"HEAD" + varint(huge) + bytes(100),
    ):
        tracemalloc.start()
        try:
            with pytest.raises((FormatError, LimitError)):
                unpack(io.BytesIO(data))
            assert tracemalloc.get_traced_memory()[1] < 50_000
        finally:
            tracemalloc.stop()


def test_chunks_that_are_too_long_are_not_read() -> None:
    more = head(flags=MORE) + TOKEN_CHUNKS
    for start, long in [(START, b"HEAD"), (head(130, tile=1), b"INDX"), (more, b"DONE")]:
        stream = CountingStream(start + chunk(long, bytes(100_000)))
        with pytest.raises(FormatError):
            unpack(stream)
        assert stream.total < len(start) + 100


def test_a_damaged_length_is_not_taken_for_large_metadata() -> None:
    with pytest.raises(FormatError, match="truncated"):
        unpack(head() + b"iCCP" + varint(2**35 - 1) + bytes(100))


def test_metadata_has_a_limit_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert container.MAX_METADATA == 64 << 20
    monkeypatch.setattr(container, "MAX_METADATA", 1000)
    fits = Contents(ONE_TILE, {"ALPH": bytes(400), "EXIF": bytes(600)}, payloads_of(ONE_TILE))
    assert unpack(pack(fits)) == fits
    with pytest.raises(LimitError, match="metadata"):
        pack(replace(fits, metadata=fits.metadata | {"XMP ": b"x"}))
    for too_much in (
        chunk(b"iCCP", bytes(1001)),
        chunk(b"news", bytes(600)) * 2,
        chunk(b"ALPH", bytes(600)) + chunk(b"xMPD", bytes(600)),
    ):
        with pytest.raises(LimitError, match="metadata"):
            unpack(head() + too_much + TOKEN_CHUNKS)
    large, small = chunk(b"iCCP", zlib.compress(bytes(600))), chunk(b"xMPD", zlib.compress(bytes(401)))
    more = head(flags=MORE)
    for before, behind in (
        (large, small),  # as inflated
        (small, large),
        (b"", large + small),
        (large + chunk(b"ALPH", bytes(401)), b""),
        (chunk(b"ALPH", bytes(401)), large),
        (chunk(b"news", bytes(600)), chunk(b"news", bytes(401))),
        (b"", chunk(b"iCCP", bytes(1001))),
    ):
        for finest in (1, 5):
            with pytest.raises(LimitError, match="metadata"):
                unpack(more + before + TOKEN_CHUNKS + behind + DONE, finest)


def test_stored_metadata_count_as_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    """They once took more than what was left, and the next chunk was inflated without a limit."""
    monkeypatch.setattr(container, "MAX_METADATA", 1000)
    full, bomb = chunk(b"iCCP", zlib.compress(bytes(1000))), chunk(b"xMPD", zlib.compress(bytes(10 << 20))[:600])
    for extra in (b"x", b"xx", b"xxx"):
        with pytest.raises(LimitError, match="metadata"):
            unpack(head() + full + chunk(b"ALPH", extra) + bomb + TOKEN_CHUNKS)


def test_profiles_are_deflated() -> None:
    contents = sample(ONE_TILE, {"ICCP": b"profile" * 500, "ALPH": b"alpha" * 100})
    data = pack(contents)
    assert unpack(data) == contents
    assert len(data) < 1000


@pytest.mark.parametrize("payload", [b"", b"not zlib", zlib.compress(b"x" * 99)[:-1], zlib.compress(b"x") + b"y"])
def test_only_one_whole_zlib_stream_will_do(payload: bytes) -> None:
    with pytest.raises(FormatError, match="zlib"):
        unpack(head() + chunk(b"xMPD", payload) + TOKEN_CHUNKS)


def test_a_deflated_bomb_stops_at_the_limit() -> None:
    """200 MB of zeros in 200 kB: refused, and no more than the limit is ever inflated."""
    bomb = zlib.compress(bytes(200 << 20))
    tracemalloc.start()
    with pytest.raises(LimitError, match="metadata"):
        unpack(head() + chunk(b"xMPD", bomb) + TOKEN_CHUNKS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.2 * container.MAX_METADATA


# ---- the module and its specification


def test_importing_it_imports_nothing_heavy() -> None:
    heavy = "('torch', 'numpy', 'PIL', 'timm', 'constriction')"
    code = f"import sys, vitcodec.bitstream.container; print([m for m in {heavy} if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_the_example_in_the_specification() -> None:
    def example_after(words: str) -> bytes:
        block = FORMAT.read_text("utf-8").split(f"{words}\n\n")[1].split("\n\n")[0]
        return bytes.fromhex("".join(re.split(r" {3,}", line.strip())[0] for line in block.splitlines()))

    example = example_after("begins with")
    header = Header(768, 512, 60, False, "cnn", bytes.fromhex("0011223344556677"), 512)
    assert read_header(example) == header
    assert pack(Contents(header, {}, payloads_of(header))).startswith(example)
    lossless = Header(768, 512, 0, False, "", b"", 512)
    assert pack(sample(lossless, {})).startswith(START + example_after("has the HEAD"))


def test_the_specification_names_every_chunk_and_limit() -> None:
    text = FORMAT.read_text("utf-8")
    for type in ("HEAD", "INDX", "DONE", *METADATA.values(), *PAYLOADS.values()):
        assert f"`{type}`" in text
    assert (header_module.MAX_SIDE, header_module.MAX_PIXELS, header_module.MAX_TILES, chunks.MAX_VARINT) == (
        65535,
        2**28,
        2**14,
        5,
    )
    assert header_module.MAX_TILE_PIXELS == 2**22
    for limit in ("65535 pixels", "2^28 pixels", "2^14", "2^22", "64 MiB", "5 bytes"):
        assert limit in text
