"""Time to encode and decode one image in this process, beside Pillow's codecs at the same size.

From array to bytes and back, without loading a model or reading image files; medians after a warm-up. Pillow's codecs
run on one thread, each at the setting whose file is nearest in size to vitcodec's of the default effort.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from vitcodec.codec import Codec
from vitcodec.evaluation.baselines import BASELINES, OPTIONAL
from vitcodec.evaluation.engine import Entrant, colours_of
from vitcodec.evaluation.matching import match_size
from vitcodec.evaluation.results import Row
from vitcodec.images import read_image
from vitcodec.options import EncodeOptions

from ..harness import one
from ..images import image_files
from ..measure import rows_of
from ..store import Results


def run(arguments: argparse.Namespace) -> Results:
    quality = one(arguments.qualities, EncodeOptions.quality, "quality")
    model, reps = one(arguments.models, None, "model"), arguments.reps or 5
    efforts = arguments.effort or ([1] if arguments.quick else [1, EncodeOptions.effort])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    rows: list[dict[str, Any]] = []
    with image_files(arguments) as (file, *_):
        for threads in [arguments.threads] if arguments.threads else sorted({1, cores}):
            codec = Codec.from_pretrained(model, arguments.device, threads)
            for effort in efforts:
                entrant = Entrant(codec, EncodeOptions(effort=effort))
                (row,) = rows_of(entrant, [file], [quality], reps).rows
                rows.append(_record(f"vitcodec {codec.name}", row, effort=effort, threads=threads))
        size, picture = rows[-1]["bytes"], colours_of(read_image(file))
        for baseline in (b for b in (*BASELINES, *OPTIONAL) if b.available()):
            setting = match_size(baseline, picture, size)
            (row,) = rows_of(baseline, [file], [setting], reps).rows
            rows.append(_record(baseline.name, row, threads=1))
    height, width = picture.rgb.shape[:2]
    return {"image": file.name, "width": width, "height": height, "reps": reps, "rows": rows}


def _record(codec: str, row: Row, **more: int) -> dict[str, Any]:
    record = {
        "codec": codec,
        "setting": row.quality,
        **more,
        "bytes": row.bytes,
        "bpp": round(row.bpp, 4),
        "psnr": round(row.psnr, 2),
        "encode_seconds": float(f"{row.encode_seconds:.3g}"),
        "decode_seconds": float(f"{row.decode_seconds:.3g}"),
    }
    print(record, flush=True)
    return record
