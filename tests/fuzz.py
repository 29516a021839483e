"""Feed the readers with damaged and hostile input, layer by layer, and count what comes of it.

    python tests/fuzz.py [--container 1000000] [--tables 100000] [--entropy 2000] [--codec 500] [--integers 2000]
        [--images 2000]

container: whole files, mutated, half of them with checksums put right again, through unpack, describe, read_header and
salvage.unpack.
tables: random bytes as a payload whose values have random tables of the shipped model, escapes included.
entropy: mutated payloads through the whole entropy decoder with its integer networks, for a tile of 64x64 pixels.
codec: whole files with right checksums and mutated payloads, alpha and metadata, to pixels.
integers: files of format 1 with mutated, random and extreme payloads and qualities of tiles, to pixels, on a small
random model.
images: strange image files with strange metadata (strange/), each once as it is and once with bytes changed, to
pictures and back to files.

The exit code is 1 if anything but a VitcodecError is raised, or if a strange image comes back as another picture or
loses something that no note tells. An input that takes longer than --seconds, or an
allocation beyond --memory, counts as a failure too. One thread, one process; Linux. docs/security.md has the results
of a long run; test_fuzz.py makes a short one.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from types import SimpleNamespace

import numpy as np

from vitcodec.bitstream import container, salvage
from vitcodec.bitstream.container import METADATA, TOKENS_ONLY, Contents
from vitcodec.bitstream.header import LOSSLESS, Header
from vitcodec.errors import VitcodecError
from vitcodec.subbands import CODING_ORDER, LEVELS, Subbands

Feed = Callable[[Random], str]  # makes an input, feeds it, says what came of it


def mutate(data: bytes, rng: Random) -> bytes:
    """One to four changes: flipped bits, other bytes, parts cut out, doubled or inserted, or the end cut off."""
    out = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        a = rng.randrange(len(out) + 1)
        b = min(len(out), a + rng.randrange(1, 33))
        match rng.randrange(7):
            case 0 if a < b:
                out[a] ^= 1 << rng.randrange(8)
            case 1:
                out[a:b] = rng.randbytes(b - a)
            case 2:
                del out[a:b]
            case 3:
                out[a:a] = out[a:b]
            case 4:
                out[a:a] = rng.randbytes(rng.randrange(1, 17))
            case 5 if a < b:
                out[a] = rng.choice((0, 1, 127, 128, 255))
            case 6:
                del out[a:]
    return bytes(out)


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (c.type.encode(), data[c.offset + c.size - 4 - c.length : c.offset + c.size - 4])
        for c in container.describe(data).chunks
    ]


def joined(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A file of these chunks, with right checksums."""
    out = container.MAGIC + bytes([0])
    for kind, payload in chunks:
        length, size = b"", len(payload)
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        body = kind + length + bytes([size]) + payload
        out += body + zlib.crc32(body).to_bytes(4, "little")
    return out


def rechunked(chunks: list[tuple[bytes, bytes]], rng: Random) -> bytes:
    """Mutated payloads, or chunks dropped, doubled or exchanged; right checksums."""
    chunks = list(chunks)
    for _ in range(rng.randrange(1, 4)):
        i, j = rng.randrange(len(chunks)), rng.randrange(len(chunks))
        match rng.randrange(6):
            case 0 if len(chunks) > 1:
                del chunks[i]
            case 1:
                chunks.insert(j, chunks[i])
            case 2:
                chunks[i], chunks[j] = chunks[j], chunks[i]
            case _:
                chunks[i] = chunks[i][0], mutate(chunks[i][1], rng)
    return joined(chunks)


def seeds() -> Iterator[bytes]:
    """Files of one tile and of several, of tokens and of pixels, of an early draft, without metadata and with all."""
    for header in (
        Header(33, 17, 60, False, "swin", bytes(range(8)), 512),
        Header(130, 300, 5, True, "swin", bytes(8), 128),
        Header(600, 500, 90, False, "a-b.c", bytes(8), 128),
        Header(130, 300, 60, False, "swin", bytes(8), 128, native=False),
        Header(33, 17, LOSSLESS, True, "", b"", 512),
        Header(130, 300, LOSSLESS, False, "", b"", 128),
    ):
        payloads = {
            (level, tile): bytes((31 * level + 7 * tile + j) % 251 for j in range(3 + tile % 4))
            for level, tile in container.payload_order(header)
        }
        everything = {key: key.encode() * 9 for key in METADATA if key not in TOKENS_ONLY or not header.lossless}
        for metadata in ({}, everything):
            yield container.pack(Contents(header, metadata, payloads))


def container_feed() -> Feed:
    files = [(data, chunks_of(data)) for data in seeds()]
    readers = [
        container.unpack,
        container.unpack,
        salvage.unpack,
        salvage.unpack,
        container.describe,
        container.read_header,
    ]

    def feed(rng: Random) -> str:
        data, chunks = rng.choice(files)
        bad = rechunked(chunks, rng) if rng.randrange(2) else mutate(data, rng)
        reader = rng.choice(readers)
        finest = {"finest": rng.randrange(1, 6)} if reader in (container.unpack, salvage.unpack) else {}
        made = reader(bad, **finest)
        if reader is container.unpack and not finest["finest"] > 1:
            assert container.unpack(container.pack(made)) == made
        return f"read by {reader.__module__.rsplit('.', 1)[1]}.{reader.__name__}"

    return feed


def tables_feed() -> Feed:
    import torch

    from vitcodec.bitstream.tables import table_index
    from vitcodec.codec import Codec
    from vitcodec.context.payloads import PayloadReader

    entropy, level = Codec.load("cnn", "cpu").entropy, 1

    def feed(rng: Random) -> str:
        numpy = np.random.default_rng(rng.getrandbits(64))
        n = rng.randrange(1, 200)
        index = table_index(
            numpy.integers(-(2**22), 2**22, n) >> numpy.integers(0, 22, n),
            numpy.integers(-50, 300, n),
            numpy.integers(-3, 4, n),
        )
        payload = rng.randbytes(rng.randrange(64)) if rng.randrange(4) else b"\xff" * rng.randrange(64)
        # networks that predict the random tables, for a group of n values of one channel
        predictor = SimpleNamespace(tables=entropy.tables, index=lambda *arguments: index)
        reader = PayloadReader(predictor, {level: payload}, None)
        values = reader(SimpleNamespace(level=level), torch.zeros(1, 1, n, 3))
        reader.finish()
        assert values.shape == (1, 1, n, 1)
        return "read"

    return feed


def small_file(side: int = 64) -> tuple[bytes, object]:
    from vitcodec.codec import Codec
    from vitcodec.images import Picture

    codec = Codec.load("cnn", "cpu", threads=1)
    y, x = np.mgrid[:side, :side]
    rgb = np.stack((3 * x, 3 * y, 128 + 100 * np.sin(x / 5) * np.cos(y / 3)), -1).astype(np.uint8)
    alpha = ((x + y) % 256).astype(np.uint8)
    return codec.encode(Picture(rgb, alpha, False, None, b"II*\0exif", b"<xmp/>"), quality=60), codec


def entropy_feed() -> Feed:
    data, codec = small_file()
    contents = container.unpack(data)

    def feed(rng: Random) -> str:
        payloads = {level: contents.payloads[level, 0] for level in CODING_ORDER}
        level = rng.choice(CODING_ORDER)
        payloads[level] = mutate(payloads[level], rng) if rng.randrange(2) else rng.randbytes(rng.randrange(200))
        quality = 60 if rng.randrange(4) else rng.randrange(1, 101)
        tokens = codec.entropy.decode(payloads, codec.entropy.point(quality, codec.autoencoder.steps), 4, 4)
        assert all(int(t.abs().max()) <= 1 << 15 for t in tokens)
        return "tokens"

    return feed


def codec_feed() -> Feed:
    data, codec = small_file(32)
    chunks = chunks_of(data)

    def feed(rng: Random) -> str:
        i = rng.randrange(1, len(chunks))  # all but the header
        bad = [*chunks[:i], (chunks[i][0], mutate(chunks[i][1], rng)), *chunks[i + 1 :]]
        if rng.randrange(2):
            found = salvage.unpack(mutate(data, rng))
            codec.decode(found.contents)
            return "picture, salvaged"
        assert codec.decode(joined(bad)).rgb.shape == (32, 32, 3)
        return "picture"

    return feed


def integers_feed() -> Feed:
    import tempfile
    from dataclasses import replace
    from pathlib import Path

    from small_model import write_small_model

    from vitcodec.codec import Codec
    from vitcodec.images import Picture

    with tempfile.TemporaryDirectory() as folder:
        write_small_model(Path(folder))
        codec = Codec.load(f"local-dir:{folder}", "cpu", threads=1)
    y, x = np.mgrid[:64, :160]
    rgb = np.stack((x, 3 * y, 128 + 100 * np.sin(x / 5) * np.cos(y / 3)), -1).astype(np.uint8)
    whole = codec.read(codec.encode(Picture(rgb), quality=60, tile=128, coding="tokens", effort=1))

    def payload(data: bytes, rng: Random) -> bytes:
        match rng.randrange(4):
            case 0:
                return rng.randbytes(rng.randrange(300))
            case 1:  # the most or the least that a payload can claim
                return rng.choice((b"\xff", b"\x00")) * rng.randrange(300)
            case _:
                return mutate(data, rng)

    def claimed(tile: int, quality: int, rng: Random) -> dict[tuple[int, int], bytes]:
        """Payloads of values that no encoder chooses: of any size, in every block."""
        area, numpy = whole.header.grid.area(tile), np.random.default_rng(rng.getrandbits(64))
        largest = rng.choice((1, 3, 100, 1 << 15))

        def band(scale: int, channels: int) -> np.ndarray:
            shape = (1, area.h * scale, area.w * scale, channels)
            return numpy.integers(-largest, largest + 1, shape).astype(np.int32)

        tokens = Subbands(band(1, 3), tuple(band(1 << LEVELS - level, 9) for level in range(1, LEVELS + 1)))
        entropy = codec._decoder.entropy
        return {(k, tile): data for k, data in entropy.encode(tokens, entropy.point(quality))[0].items()}

    def feed(rng: Random) -> str:
        if rng.randrange(3) == 0:
            qualities = bytes(rng.choices(range(1, 101), k=2))
            payloads = {k: v for tile, q in enumerate(qualities) for k, v in claimed(tile, q, rng).items()}
            made = container.pack(replace(whole, payloads=payloads, metadata={"QUAL": qualities}))
            assert codec.decode(made).rgb.shape == rgb.shape
            return "picture of any values"
        bad = rng.sample(list(whole.payloads), rng.randrange(1, 4))
        payloads = {k: payload(data, rng) if k in bad else data for k, data in whole.payloads.items()}
        qualities = {"QUAL": bytes(rng.choices(range(102), k=rng.choice((2, 2, 2, 1, 9))))} if rng.randrange(2) else {}
        contents = replace(whole, payloads=payloads, metadata=qualities)
        assert codec.decode(container.pack(contents)).rgb.shape == rgb.shape
        return "picture"

    return feed


def images_feed() -> Feed:
    from strange import WRITTEN, damaged, faults, make, misread

    def feed(rng: Random) -> str:
        strange, bad = make(rng), damaged(rng)
        for made, found in ((strange, faults(strange, rng.choice(WRITTEN))), (bad, misread(bad))):
            assert not found, f"{made.name}: {'; '.join(found)}"
        return strange.name.split()[0].rstrip(",")

    return feed


FEEDS: dict[str, Callable[[], Feed]] = {
    "container": container_feed,
    "tables": tables_feed,
    "entropy": entropy_feed,
    "codec": codec_feed,
    "integers": integers_feed,
    "images": images_feed,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    counts = {
        "container": 1_000_000,
        "tables": 100_000,
        "entropy": 2_000,
        "codec": 500,
        "integers": 2_000,
        "images": 2_000,
    }
    for name, default in counts.items():
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10, help="of CPU for one input")
    parser.add_argument("--memory", type=float, default=8, help="GiB of address space for all")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (int(arguments.memory * 2**30), resource.RLIM_INFINITY))

    failures = 0
    for layer, make in FEEDS.items():
        count = getattr(arguments, layer)
        if not count:
            continue
        feed, outcomes, slowest, began = make(), Counter[str](), 0.0, time.process_time()
        for number in range(count):
            start = time.process_time()
            try:
                outcomes[feed(Random(arguments.seed << 32 | number))] += 1
            except VitcodecError as error:
                outcomes[type(error).__name__] += 1
            except Exception as error:
                failures += 1
                what = f"{type(error).__name__}: {error}"
                print(f"FAILED: {layer}, seed {arguments.seed}, input {number}: {what}", flush=True)
            took = time.process_time() - start
            slowest = max(slowest, took)
            if took > arguments.seconds:
                failures += 1
                print(f"FAILED: {layer}, seed {arguments.seed}, input {number}: {took:.1f} s", flush=True)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        text = ", ".join(f"{n:,} {what}" for what, n in outcomes.most_common())
        cost = f"{time.process_time() - began:.0f} s of CPU, slowest {1000 * slowest:.0f} ms, peak {peak} MiB"
        print(f"{layer}: {count:,} inputs in {cost}: {text}", flush=True)
    print(f"{failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
