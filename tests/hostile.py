"""Hostile input for the readers: payloads that no encoder writes, on a small random model; for fuzz.py."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
from small_model import write_small_model

from vitcodec.bitstream import container
from vitcodec.codec import Codec
from vitcodec.coding.entropy import CodingPoint, EntropyModel
from vitcodec.coding.groups import FlagGroup, Group
from vitcodec.coding.offsets import OFFSET_UNIT, OFFSETS
from vitcodec.coding.payloads import LARGEST_RESIDUAL, PayloadReader, write_payloads
from vitcodec.coding.prediction import FlagRecord, ValueRecord, flag_logits, predict
from vitcodec.coding.tables import BYPASS, LARGEST, flag_class
from vitcodec.picture import Picture
from vitcodec.subbands import CODING_ORDER, LEVELS, Subbands

Mutate = Callable[[bytes, Random], bytes]
SITES = 2  # rows and columns of sites of a tile: the fewest there are
LONGEST = 1 << 20  # what an escape's magnitude is below


def small_codec() -> Codec:
    with tempfile.TemporaryDirectory() as folder:
        write_small_model(Path(folder))
        return Codec.from_pretrained(f"local-dir:{folder}", "cpu", threads=1)


class Chooser:
    """The coder that takes what it likes in place of a picture's values: any flags, residuals up to the longest escape.

    share: of the flags that are set, and of the values that are not zero.
    """

    def __init__(self, entropy: EntropyModel, point: CodingPoint, rng: Random):
        self.entropy, self.point = entropy, point
        self.numpy = np.random.default_rng(rng.getrandbits(64))
        self.share, self.largest = rng.choice((0, 0.1, 0.9, 1)), rng.choice((1, 3, 40, 1000, LONGEST))
        self.offsets = OFFSET_UNIT * self.numpy.choice(OFFSETS, (LEVELS + 1, 9)) * rng.randrange(2)
        self.records: list[ValueRecord | FlagRecord] = []

    def values(self, group: Group, parameters: np.ndarray) -> np.ndarray:
        """Coder.values."""
        prediction = predict(parameters, group.per_channel(self.point.base_scales))
        keys = prediction.tables(group.per_channel(self.offsets))
        high = self.numpy.integers(
            -self.largest, self.largest, keys.shape
        )  # the largest escape of each sign among them
        high = np.where(high < 0, high - LARGEST[keys] + 1, high + LARGEST[keys]) if self.largest == LONGEST else high
        residuals = (high * (self.numpy.random(keys.shape) < self.share) << BYPASS[keys]).astype(np.int32)
        self.records.append(ValueRecord(group, prediction, residuals, None))
        return group.values(prediction.restore(np.clip(residuals, -LARGEST_RESIDUAL, LARGEST_RESIDUAL)))

    def flags(self, group: FlagGroup, logits: np.ndarray) -> np.ndarray:
        """Coder.flags."""
        flags = self.numpy.random((len(logits), 2)) < self.share
        self.records += [
            FlagRecord(group.level, flag_class(logit), flags[:, part])
            for part, logit in enumerate(flag_logits(logits, flags[:, 0]))
        ]
        return flags

    def payloads(self, rows: int = SITES, columns: int = SITES) -> tuple[dict[int, bytes], Subbands]:
        """Those of a tile, and the tokens that they hold."""
        tokens = self.entropy.run(self.point, rows, columns, self)
        return write_payloads(self.records, self.offsets, self.entropy.tables), tokens


def damaged(data: bytes, rng: Random, mutate: Mutate) -> bytes:
    """A payload that is changed, random, or claims the most or the least that it can."""
    match rng.randrange(4):
        case 0:
            return rng.randbytes(rng.randrange(300))
        case 1:
            return rng.choice((b"\xff", b"\x00")) * rng.randrange(300)
        case _:
            return mutate(data, rng)


def groups_feed(mutate: Mutate) -> Callable[[Random], str]:
    """Payloads read with predictions that no network makes, one group of values and one of flags."""
    entropy = small_codec()._coder.decoder.entropy

    def feed(rng: Random) -> str:
        numpy = np.random.default_rng(rng.getrandbits(64))
        level, sites, channels = rng.choice((1, 2)), rng.randrange(1, 60), rng.choice((1, 3))
        wild = numpy.integers(-(2**23), 2**23, (3 * channels, sites)) >> numpy.integers(0, 23, (3 * channels, sites))
        parameters, logits = wild.astype(np.int32), wild[:3].T[:, :3].astype(np.int32)
        empty = numpy.random(sites) < 0.5 if rng.randrange(2) else None
        group = Group(level, slice(3 - channels, 3), np.arange(sites)[:, None], empty)
        payload = damaged(bytes(rng.randrange(40)), rng, mutate)
        reader = PayloadReader({level: payload}, entropy.tables, entropy.base_scales[rng.randrange(100)])
        flags = reader.flags(FlagGroup(level, np.arange(sites)), logits)
        values = reader.values(group, parameters)
        assert flags.shape == (sites, 2) and values.shape == (channels, sites) and np.abs(values).max() <= 1 << 15
        reader.finish()
        return "read"

    return feed


def tiles_feed(mutate: Mutate) -> Callable[[Random], str]:
    """Payloads of the smallest tile through the whole entropy decoder; what is not damaged comes back exactly."""
    entropy = small_codec()._coder.decoder.entropy
    pool = []
    for seed in range(40):
        quality, rng = 1 + 5 * seed % 100, Random(seed)
        pool.append((quality, Chooser(entropy, entropy.point(quality), rng).payloads()[0]))

    def feed(rng: Random) -> str:
        if not rng.randrange(4):
            point = entropy.point(rng.randrange(1, 101))
            payloads, tokens = Chooser(entropy, point, rng).payloads()
            decoded = entropy.decode(payloads, point, SITES, SITES)
            assert all(np.array_equal(a, b) for a, b in tokens.zip(decoded)), "other tokens"
            return "tokens of any values"
        quality, whole = rng.choice(pool)
        level, point = rng.choice(CODING_ORDER), entropy.point(quality if rng.randrange(4) else rng.randrange(1, 101))
        payloads = {**whole, level: damaged(whole[level], rng, mutate)}
        finest = rng.randrange(1, LEVELS + 2) if rng.randrange(2) else 1
        payloads = {k: data for k, data in payloads.items() if k == 0 or k >= finest}
        decoded = entropy.decode(payloads, point, SITES, SITES, finest)
        assert all(np.abs(band).max() <= 1 << 15 for band in decoded)
        return "tokens"

    return feed


def integers_feed(mutate: Mutate) -> Callable[[Random], str]:
    """Files of one and of two tiles, with payloads of any values or damaged, and qualities of tiles, to pixels."""
    codec = small_codec()
    entropy = codec._coder.decoder.entropy
    wholes = []
    for height, width in ((16, 16), (16, 160)):
        y, x = np.mgrid[:height, :width]
        rgb = np.stack((x, 3 * y, 128 + 100 * np.sin(x / 5) * np.cos(y / 3)), -1).astype(np.uint8)
        wholes.append(codec.read(codec.encode(Picture(rgb), quality=60, tile=128, coding="tokens", effort=1)))

    def feed(rng: Random) -> str:
        whole = rng.choice(wholes)
        grid, shape = whole.header.grid, (whole.header.height, whole.header.width, 3)
        if rng.randrange(3) == 0:
            qualities, payloads = bytes(rng.choices(range(1, 101), k=grid.count)), {}
            for tile, quality in enumerate(qualities):
                area, chooser = grid.area(tile), Chooser(entropy, entropy.point(quality), rng)
                payloads |= {(level, tile): data for level, data in chooser.payloads(area.h, area.w)[0].items()}
            made = container.pack(replace(whole, payloads=payloads, metadata={"QUAL": qualities}))
            assert codec.decode(made).rgb.shape == shape
            return "picture of any values"
        bad = rng.sample(list(whole.payloads), rng.randrange(1, 4))
        payloads = {k: damaged(data, rng, mutate) if k in bad else data for k, data in whole.payloads.items()}
        count = rng.choice((grid.count, grid.count, 1, 9))
        qualities = {"QUAL": bytes(rng.choices(range(102), k=count))} if rng.randrange(2) else {}
        made = container.pack(replace(whole, payloads=payloads, metadata=qualities))
        if rng.randrange(2):
            made = made[:9] + mutate(made[9:], rng)
        reduce = rng.randrange(5) if rng.randrange(2) else 0
        assert codec.decode(made, reduce=reduce).rgb.ndim == 3
        return "picture"

    return feed
