"""What --effort buys: BD-rate against effort 1, and time to encode a megapixel, on crops of held-out images.

The crops are 256x256 pixels, the rates those of real files. Efforts that are not asked for keep their results if they
are of the same model, images and qualities.
"""

from __future__ import annotations

import argparse
from typing import Any

from vitcodec.codec import Codec
from vitcodec.evaluation.bdrate import bd_rate
from vitcodec.evaluation.engine import Entrant
from vitcodec.options import EFFORTS, EncodeOptions

from ..harness import one
from ..images import image_files
from ..measure import curve_of, mean_points, point, rows_of
from ..store import Results

SIDE, COUNT = 256, 8  # of crops
QUALITIES = (10, 30, 50, 70)


def run(arguments: argparse.Namespace) -> Results:
    codec = Codec.from_pretrained(one(arguments.models, None, "model"), arguments.device, arguments.threads)
    arguments.count = arguments.count or COUNT
    qualities = arguments.qualities or QUALITIES
    with image_files(arguments, SIDE) as files:
        setup = {"images": [f.name for f in files], "qualities": list(qualities)}
        kept = arguments.store.previous_of(codec.config.sha256)
        efforts = {} if any(kept.get(k) != v for k, v in setup.items()) else kept["efforts"]
        for effort in sorted(arguments.effort or ([1, 2] if arguments.quick else EFFORTS)):
            report = rows_of(Entrant(codec, EncodeOptions(effort=effort)), files, qualities, arguments.reps or 1)
            points = [point(r, r.quality or 0, r.bytes or 0) for r in report.rows]
            pixels = sum(r.megapixels for r in report.rows)
            efforts[str(effort)] = {
                "encode_seconds": round(sum(r.encode_seconds for r in report.rows) / pixels, 2),
                "decode_seconds": round(sum(r.decode_seconds for r in report.rows) / pixels, 2),
                "curve": sorted(mean_points(points), key=lambda p: p["quality"]),
                "provenance": arguments.store.provenance(),
            }
            arguments.store.save(joined(setup, efforts))
            print(effort, efforts[str(effort)].get("bd_rate"), efforts[str(effort)]["encode_seconds"], flush=True)
    return joined(setup, efforts)


def joined(setup: dict[str, Any], efforts: dict[str, Any]) -> Results:
    """With BD-rates against effort 1, where that is known."""
    if anchor := efforts.get("1"):
        for entry in efforts.values():
            entry["bd_rate"] = round(bd_rate(curve_of(anchor["curve"]), curve_of(entry["curve"])), 2)
    return {**setup, "efforts": dict(sorted(efforts.items()))}
