"""Feed the readers with damaged and hostile input, layer by layer, and count what comes of it.

    python tests/fuzz.py [--container 1000000] [--groups 200000] [--tiles 60000] [--integers 20000]
        [--entropy 2000] [--codec 500] [--images 2000] [--progress FILE]

container: whole files, mutated, half of them with checksums put right again, through unpack, describe,
read_header and salvage.unpack.
groups, tiles, integers: a small random model (hostile.py), from single groups of values to pixels.
entropy: mutated payloads through the entropy decoder of a shipped model (`cnn`), for a tile of 64x64 pixels.
codec: whole files of it with right checksums and mutated payloads, alpha and metadata, to pixels.
images: strange image files with strange metadata (strange/), each once as it is and once with bytes changed, to
pictures and back to files.

The exit code is 1 if anything but a VitcodecError is raised, or if a strange image comes back as another picture or
loses something that no note tells. An input that takes longer than --seconds, or an
allocation beyond --memory, counts as a failure too. One thread, one process; Linux. With --progress a run that was
interrupted goes on where it was. docs/security.md has the results of a long run; test_fuzz.py makes a short one.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from vitcodec.bitstream import container, salvage
from vitcodec.bitstream.container import Contents
from vitcodec.bitstream.header import LOSSLESS, Header
from vitcodec.errors import VitcodecError
from vitcodec.subbands import CODING_ORDER

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


def joined(chunks: list[tuple[bytes, bytes]], version: int = 1) -> bytes:
    """A file of these chunks, with right checksums."""
    out = container.MAGIC + bytes([version])
    for kind, payload in chunks:
        length, size = b"", len(payload)
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        body = kind + length + bytes([size]) + payload
        out += body + zlib.crc32(body).to_bytes(4, "little")
    return out


def rechunked(chunks: list[tuple[bytes, bytes]], version: int, rng: Random) -> bytes:
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
    return joined(chunks, version if rng.randrange(50) else rng.randrange(256))


def seeds() -> Iterator[bytes]:
    """Files of one tile and of several, of tokens and of pixels, without metadata and with all."""
    for header in (
        Header(33, 17, 60, False, "swin", bytes(range(8)), 512),
        Header(130, 300, 5, True, "swin", bytes(8), 128),
        Header(600, 500, 90, False, "a-b.c", bytes(8), 128),
        Header(33, 17, LOSSLESS, True, "", b"", 512),
        Header(130, 300, LOSSLESS, False, "", b"", 128),
    ):
        payloads = {
            (level, tile): bytes((31 * level + 7 * tile + j) % 251 for j in range(3 + tile % 4))
            for level, tile in container.payload_order(header)
        }
        everything = {key: key.encode() * 9 for key in sorted(container.allowed_metadata(header, behind=False))}
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
        bad = rechunked(chunks, data[8], rng) if rng.randrange(2) else mutate(data, rng)
        reader = rng.choice(readers)
        finest = {"finest": rng.randrange(1, 6)} if reader in (container.unpack, salvage.unpack) else {}
        made = reader(bad, **finest)
        if reader is container.unpack and not finest["finest"] > 1:
            assert container.unpack(container.pack(made)) == made
        return f"read by {reader.__module__.rsplit('.', 1)[1]}.{reader.__name__}"

    return feed


def small_file(side: int = 64) -> tuple[bytes, Any]:
    from vitcodec.codec import Codec
    from vitcodec.picture import Picture

    codec = Codec.from_pretrained("cnn", "cpu", threads=1)
    y, x = np.mgrid[:side, :side]
    rgb = np.stack((3 * x, 3 * y, 128 + 100 * np.sin(x / 5) * np.cos(y / 3)), -1).astype(np.uint8)
    alpha = ((x + y) % 256).astype(np.uint8)
    return codec.encode(Picture(rgb, alpha, False, None, b"II*\0exif", b"<xmp/>"), quality=60), codec


def entropy_feed() -> Feed:
    data, codec = small_file()
    entropy = codec._coder.decoder.entropy
    contents = container.unpack(data)

    def feed(rng: Random) -> str:
        payloads = {level: contents.payloads[level, 0] for level in CODING_ORDER}
        level = rng.choice(CODING_ORDER)
        payloads[level] = mutate(payloads[level], rng) if rng.randrange(2) else rng.randbytes(rng.randrange(200))
        quality = 60 if rng.randrange(4) else rng.randrange(1, 101)
        tokens = entropy.decode(payloads, entropy.point(quality), 4, 4)
        assert all(np.abs(t).max() <= 1 << 15 for t in tokens)
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


def hostile_feed(name: str) -> Callable[[], Feed]:
    def make() -> Feed:
        import hostile

        return getattr(hostile, name)(mutate)

    return make


def images_feed() -> Feed:
    from strange import WRITTEN, damaged, faults, make, misread

    def feed(rng: Random) -> str:
        strange, bad = make(rng), damaged(rng)
        for made, found in ((strange, faults(strange, rng.choice(WRITTEN))), (bad, misread(bad))):
            assert not found, f"{made.name}: {'; '.join(found)}"
        return strange.name.split()[0].rstrip(",")

    return feed


# by layer, what makes the feed, and how many inputs there are unless another number is asked for
FEEDS: dict[str, tuple[Callable[[], Feed], int]] = {
    "container": (container_feed, 1_000_000),
    "groups": (hostile_feed("groups_feed"), 300_000),
    "tiles": (hostile_feed("tiles_feed"), 10_000),
    "integers": (hostile_feed("integers_feed"), 5_000),
    "entropy": (entropy_feed, 2_000),
    "codec": (codec_feed, 500),
    "images": (images_feed, 2_000),
}


@dataclass
class Layer:
    """What came of a layer so far."""

    done: int = 0
    failures: int = 0
    seconds: float = 0.0  # of CPU
    slowest: float = 0.0
    peak: int = 0  # MiB of memory
    outcomes: dict[str, int] = field(default_factory=dict)

    def line(self, name: str) -> str:
        text = ", ".join(f"{n:,} {what}" for what, n in sorted(self.outcomes.items(), key=lambda item: -item[1]))
        cost = f"{self.seconds:.0f} s of CPU, slowest {1000 * self.slowest:.0f} ms, peak {self.peak} MiB"
        return f"{name}: {self.done:,} inputs in {cost}: {text}"


class Progress:
    """All layers, kept in a file where one is given."""

    def __init__(self, path: Path | None, seed: int):
        self.path, self.seed, self.saved = path, seed, time.monotonic()
        known = json.loads(path.read_text()) if path and path.exists() else {}
        if known and known["seed"] != seed:
            raise SystemExit(f"{path} is of seed {known['seed']}; give another file")
        self.layers = {name: Layer(**layer) for name, layer in known.get("layers", {}).items()}

    def of(self, name: str) -> Layer:
        return self.layers.setdefault(name, Layer())

    def save(self, every: float = 0) -> None:
        """Write the file, but not more often than every so many seconds."""
        if self.path and time.monotonic() - self.saved >= every:
            layers = {name: asdict(layer) for name, layer in self.layers.items()}
            part = self.path.with_suffix(".part")
            part.write_text(json.dumps({"seed": self.seed, "layers": layers}, indent=1))
            os.replace(part, self.path)
            self.saved = time.monotonic()


def run(name: str, feed: Feed, count: int, progress: Progress, seconds: float) -> None:
    """Feed a layer up to its count."""
    layer, outcomes = progress.of(name), Counter[str]()
    outcomes.update(layer.outcomes)
    while layer.done < count:
        start, problem = time.process_time(), ""
        try:
            outcomes[feed(Random(progress.seed << 32 | layer.done))] += 1
        except VitcodecError as error:
            outcomes[type(error).__name__] += 1
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        took = time.process_time() - start
        layer.seconds += took
        layer.slowest = max(layer.slowest, took)
        if took > seconds:
            problem = problem or f"{took:.1f} s"
        if problem:
            layer.failures += 1
            print(f"FAILED: {name}, seed {progress.seed}, input {layer.done}: {problem}", flush=True)
        layer.done += 1
        layer.outcomes, layer.peak = dict(outcomes), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        progress.save(every=20)
    progress.save()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, (_, default) in FEEDS.items():
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10, help="of CPU for one input")
    parser.add_argument("--memory", type=float, default=8, help="GiB of address space for all")
    parser.add_argument("--progress", type=Path, metavar="FILE", help="where a run goes on that was interrupted")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (int(arguments.memory * 2**30), resource.RLIM_INFINITY))

    progress = Progress(arguments.progress, arguments.seed)
    for name, (make, _) in FEEDS.items():
        if progress.of(name).done < (count := getattr(arguments, name)):
            run(name, make(), count, progress, arguments.seconds)
        if count:
            print(progress.of(name).line(name), flush=True)
    failures = sum(layer.failures for layer in progress.layers.values())
    print(f"{failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
