"""What decoding a part costs: bytes read and time of every reduction and of a region, the model loaded."""

from __future__ import annotations

import argparse
import io
import statistics
import time
from typing import Any

from vitcodec.codec import Codec
from vitcodec.images import read_image
from vitcodec.options import DecodeOptions, EncodeOptions
from vitcodec.subbands import LEVELS
from vitcodec.tiles import Region

from ..harness import one
from ..images import EXAMPLES, SMALL, one_image
from ..store import Results

IMAGE = "hubble_deep_field.jpg"


class Counting(io.BytesIO):
    """A file that counts what is read of it."""

    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.total += len(data)
        return data


def run(arguments: argparse.Namespace) -> Results:
    quality = one(arguments.qualities, EncodeOptions.quality, "quality")
    reps = arguments.reps or 5
    codec = Codec.from_pretrained(one(arguments.models, None, "model"), arguments.device, arguments.threads)
    file = one_image(arguments, EXAMPLES / (SMALL if arguments.quick else IMAGE))
    picture = read_image(file)
    height, width = picture.rgb.shape[:2]
    data = codec.encode(picture, quality=quality, effort=1)
    side = min(256, height // 2, width // 2)
    parts = {"whole": DecodeOptions()}
    parts |= {f"--reduce {n}": DecodeOptions(reduce=n) for n in range(1, LEVELS + 1)}
    parts[f"--region of {side}x{side}"] = DecodeOptions(region=Region(width // 4, height // 4, side, side))
    rows: list[dict[str, Any]] = []
    for what, options in parts.items():
        seconds = []
        codec.decode(data, options)  # a warm-up
        for _ in range(reps):
            stream, start = Counting(data), time.perf_counter()
            codec.decode(stream, options)
            seconds.append(time.perf_counter() - start)
        rows.append({"part": what, "bytes": stream.total, "seconds": round(statistics.median(seconds), 4)})
        print(rows[-1], flush=True)
    return {"image": file.name, "width": width, "height": height, "quality": quality, "reps": reps, "rows": rows}
