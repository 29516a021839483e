"""Encode and decode time of one image with the model loaded, in this process.

    python benchmarks/speed.py IMAGE [-q 60] [--threads 1 2] [--repeat 9]

Times are medians after a warm-up, from array to bytes and back, without reading or writing files.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from vitcodec.codec import DEFAULT_QUALITY, Codec
from vitcodec.evaluation.engine import measure
from vitcodec.images import read_image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("-q", "--quality", type=int, default=DEFAULT_QUALITY)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--model")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()

    picture = read_image(arguments.image)
    height, width = picture.rgb.shape[:2]
    print(f"{arguments.image.name}: {width}x{height}, quality {arguments.quality}, median of {arguments.repeat} runs")
    for threads in arguments.threads:
        codec = Codec.load(arguments.model, arguments.device, threads)
        codec.decode(codec.encode(picture, arguments.quality))
        with tempfile.TemporaryDirectory() as folder:
            row = measure(codec, arguments.image, picture, arguments.quality, Path(folder), arguments.repeat)
        times = (f"{what} {s:.3f} s ({row.megapixels / s:.2f} MP/s)" for what, s in (("encode", row.encode_seconds), ("decode", row.decode_seconds)))
        print(f"{codec.name} on {codec.device}, threads {threads}: {', '.join(times)}; {row.bpp:.4f} bpp, {row.psnr:.2f} dB", flush=True)


if __name__ == "__main__":
    main()
