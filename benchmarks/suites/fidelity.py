"""The worst PSNR of generated pictures at each quality, and whether size and PSNR rise with quality.

The pictures are those of benchmarks/generated.py: patterns, dithers, noise, text, mixtures with photographs, single
odd pixels; gray and colour, from 1x1 to 200x200 pixels. They go through one codec in this process, as tokens unless
--coding says otherwise, at effort 1 unless another is given. Exit code 1: a picture has less than 36 dB at quality 90
or above, or its size or PSNR falls from one quality to the next.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any, get_args

from vitcodec.codec import Codec
from vitcodec.metrics import psnr
from vitcodec.options import Coding, EncodeOptions
from vitcodec.picture import Picture

from ..generated import KINDS, SIDES, Generated, pictures
from ..harness import one
from ..ladder import EXACT, failures
from ..measure import Point
from ..store import Results

QUALITIES = (50, 75, 90, 100)
COUNT = 10 * len(KINDS)  # a quarter of an hour on two slow cores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--coding", choices=get_args(Coding), default="tokens", help="of vitcodec [default: %(default)s]"
    )
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="of the first picture [default: 0]")


def run(arguments: argparse.Namespace) -> Results:
    effort = one(arguments.effort, 1, "effort")
    count = len(KINDS) if arguments.quick else arguments.count or COUNT
    sides = (1, 48) if arguments.quick else SIDES
    codec = Codec.from_pretrained(one(arguments.models, None, "model"), arguments.device, arguments.threads)
    options = EncodeOptions(effort=effort, coding=arguments.coding)
    qualities = sorted(arguments.qualities or QUALITIES)
    points: list[Point] = []
    for number, made in enumerate(pictures(count, sides, arguments.first), 1):
        points += measured(codec, made, qualities, options)
        print(f"{number}/{count} {made.name}: {_line(points[-len(qualities) :])}", flush=True)
    return {
        "images": count,
        "effort": effort,
        "coding": arguments.coding,
        "failures": failures(points),
        "points": points,
    }


def measured(codec: Any, made: Generated, qualities: list[int], options: EncodeOptions) -> list[Point]:
    """A picture at every quality: bytes of the file and PSNR, EXACT where nothing is lost."""
    picture, points = Picture(made.rgb, gray=made.gray), []
    for quality in qualities:
        data = codec.encode(picture, replace(options, quality=quality))
        found = min(EXACT, psnr(made.rgb, codec.decode(data).rgb))
        point = {"image": made.name, "kind": made.kind, "setting": quality, "bytes": len(data)}
        points.append({**point, "psnr": round(found, 3)})
    return points


def _line(points: list[Point]) -> str:
    return ", ".join(f"q{p['setting']} {p['psnr']:.2f} dB {p['bytes']:,} B" for p in points)
