"""Damaged files: what is intact is found, what is not is named, and nothing wrong is taken for right."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_container import METADATA, ONE_TILE, REFUSALS, START, TILED, chunk, fuzz, head, sample, tokens_of

from vitcodec.bitstream import container, salvage
from vitcodec.bitstream.chunks import Chunk
from vitcodec.bitstream.container import TOKENS, Contents, describe, pack
from vitcodec.bitstream.header import Header
from vitcodec.errors import FormatError
from vitcodec.subbands import CODING_ORDER

TINY = (ONE_TILE, TILED)


def chunks(data: bytes) -> dict[tuple[int, int], Chunk]:
    found = iter(c for c in describe(data).chunks if c.type in TOKENS.values())
    header = container.read_header(data)
    return {key: next(found) for key in container.payload_order(header)}


def spoil(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :]


@pytest.mark.parametrize("header", TINY)
def test_a_whole_file_loses_nothing(header: Header) -> None:
    contents = sample(header)
    for finest in (1, 3, 5):
        found = salvage.unpack(pack(contents), finest)
        assert found.contents == container.unpack(pack(contents), finest) and found.damage == []


@pytest.mark.parametrize("header", TINY)
def test_every_truncation_keeps_all_chunks_before_it(header: Header) -> None:
    data = pack(sample(header))
    where = chunks(data)
    first = where[0, 0]
    for end in range(len(data)):
        kept = {key for key, c in where.items() if c.offset + c.size <= end}
        if end < first.offset + first.size:
            with pytest.raises(FormatError):
                salvage.unpack(data[:end])
            continue
        found = salvage.unpack(data[:end])
        assert found.contents.payloads == {key: sample(header).payloads[key] for key in kept}
        assert found.contents.erased == where.keys() - kept
        assert found.damage


@pytest.mark.parametrize("header", TINY)
def test_any_one_flipped_bit_behind_the_header_loses_at_most_one_chunk(header: Header) -> None:
    contents = sample(header, {"EXIF": b"II*\0", "ICCP": b"profile" * 9})
    data = pack(contents)
    where = chunks(data)
    start = describe(data).chunks[1].offset
    for i in range(start, len(data)):
        for bit in (0, 3, 7):
            flipped = data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :]
            hit = next((key for key, c in where.items() if c.offset <= i < c.offset + c.size), None)
            if header.grid.count == 1 and hit == (0, 0):
                with pytest.raises(FormatError, match="nothing can be salvaged"):
                    salvage.unpack(flipped)
                continue
            found = salvage.unpack(flipped)
            assert found.contents.erased == ({hit} if hit else set())
            assert found.contents.payloads == {key: value for key, value in contents.payloads.items() if key != hit}
            assert all(contents.metadata[key] == value for key, value in found.contents.metadata.items())
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


def test_lost_metadata_is_named_and_the_rest_kept() -> None:
    data = pack(sample(ONE_TILE, dict.fromkeys(METADATA.keys() - {"MASK"}, b"x" * 40)))
    exif = next(c for c in describe(data).chunks if c.type == "eXIF")
    found = salvage.unpack(spoil(data, exif.offset + 8))
    assert set(found.contents.metadata) == {"ICCP", "XMP ", "ALPH"} and found.damage == ["chunk eXIF is damaged"]
    length_lost = salvage.unpack(data[: exif.offset + 4] + b"\x7f" + data[exif.offset + 5 :])
    assert length_lost.contents.payloads == sample(ONE_TILE).payloads and length_lost.damage


def test_the_header_has_to_be_intact() -> None:
    data = pack(sample())
    for bad in (b"", data[:20], spoil(data, 15), data[1:]):
        with pytest.raises(FormatError):
            salvage.unpack(bad)


@pytest.mark.parametrize("hostile", [b"TOKL", b"TOKL\xff\xff\x7f", b"TOKA\x7f"])
def test_searching_ends(hostile: bytes) -> None:
    """Thousands of beginnings of chunks that are none: no more is checked than a few times the file."""
    searched = []
    data = head() + chunk(b"TOKL", b"abc") + hostile * (60_000 // len(hostile)) + b"\0" * 300_000
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
    header = data.draw(st.sampled_from(TINY))
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
    for prefix in (b"", START, head(), head(300, 300, tile=1), head() + chunk(b"TOKL", b"abc")):
        try:
            read(prefix + data)
        except REFUSALS:
            continue


def test_level_order_is_the_containers() -> None:
    contents = Contents(ONE_TILE, {}, tokens_of(ONE_TILE))
    assert list(salvage.unpack(pack(contents)).contents.payloads) == [(level, 0) for level in CODING_ORDER]
