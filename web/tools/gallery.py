"""Make docs/gallery: the photographs of examples/ as .vitc, beside AVIF at equal size, on a page.

    python web/tools/gallery.py [--quality 25]

The page decodes the .vitc files itself. AVIF is libavif's, as `compare` runs it: speed 4, 4:4:4, tuned as it is by
default, at the quality whose file comes nearest in size.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from vitcodec import Codec, Picture
from vitcodec.evaluation.baselines import AVIF_DEFAULT
from vitcodec.evaluation.matching import match_size
from vitcodec.images import read_image
from vitcodec.metrics import psnr

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "gallery"
PHOTOS = {
    "astronaut": "The astronaut Eileen Collins in an orange suit, in front of a flag and a model of a shuttle",
    "chelsea": "Chelsea, a cat, looks into the camera",
    "coffee": "A cup of coffee and a spoon on a wooden table",
    "rocket": "A rocket on its launch pad, at night",
    "hubble_deep_field": "Hundreds of galaxies on a black sky",
}
SOURCES = {"hubble_deep_field": ".jpg", "rocket": ".jpg"}
CREDITS = "Their sources and licences are in examples/README.md of the source tree."


@dataclass(frozen=True)
class File:
    """One of a photograph's two files."""

    name: str
    codec: str
    size: int
    psnr: float


@dataclass(frozen=True)
class Row:
    """A photograph."""

    name: str
    width: int
    height: int
    vitc: File
    avif: File


def made(codec: Codec, name: str, quality: int) -> Row:
    original = read_image(ROOT / "examples" / f"{name}{SOURCES.get(name, '.png')}")
    picture = Picture(original.rgb)
    data = codec.encode(picture, quality=quality, coding="tokens")
    scale = match_size(AVIF_DEFAULT, picture, len(data))
    other = AVIF_DEFAULT.encode(picture, scale)
    files = []
    for suffix, content, title, decoded in (
        ("vitc", data, f"vitcodec, quality {quality}", codec.decode(data).rgb),
        ("avif", other, f"AVIF, quality {scale:g}", AVIF_DEFAULT.decode(other).rgb),
    ):
        (FOLDER / f"{name}.{suffix}").write_bytes(content)
        files.append(File(f"{name}.{suffix}", title, len(content), psnr(picture.rgb, np.asarray(decoded))))
    height, width = picture.rgb.shape[:2]
    return Row(name, width, height, *files)


def figure(row: Row, file: File, alt: str) -> str:
    size = f'width="{row.width}" height="{row.height}"'
    shape = f'style="aspect-ratio: {row.width} / {row.height}"'
    image = (
        f'<vitc-img src="{file.name}" alt="{escape(alt)}" loading="lazy" {shape}></vitc-img>'
        if file.name.endswith(".vitc")
        else f'<img src="{file.name}" alt="{escape(alt)}" loading="lazy" {size}>'
    )
    bits = 8 * file.size / (row.width * row.height)
    said = f"{file.codec}: {file.size:,} bytes, {bits:.3f} bits per pixel, {file.psnr:.1f} dB PSNR"
    return f"    <figure>\n      {image}\n      <figcaption>{said}</figcaption>\n    </figure>"


def page(rows: list[Row], quality: int) -> str:
    sections = "\n".join(
        f'  <section aria-label="{escape(PHOTOS[row.name])}">\n'
        f"{figure(row, row.vitc, PHOTOS[row.name])}\n{figure(row, row.avif, PHOTOS[row.name])}\n  </section>"
        for row in rows
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>vitcodec beside AVIF</title>
<link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
body {{ margin: 0 auto; max-width: 84rem; padding: 1rem }}
h1 {{ font-size: 1.3rem }}
section {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem }}
section {{ margin: 2rem 0 }}
figure {{ margin: 0 }}
vitc-img, img {{ display: block; width: 100%; height: auto; background: #8882 }}
figcaption {{ opacity: 0.8; font-variant-numeric: tabular-nums }}
</style>
<script type="module" src="../../web/dist/vitc-img.js"></script>
</head>
<body>
<h1>vitcodec beside AVIF at equal size</h1>
<p>Left, .vitc files, which this page decodes in your browser: quality {quality}, default effort. Right, AVIF files:
libavif at speed 4, 4:4:4, with its default tuning, at the quality whose file comes nearest in size. {CREDITS}</p>
<main>
{sections}
</main>
</body>
</html>
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quality", type=int, default=25, help="of vitcodec")
    quality = parser.parse_args().quality
    FOLDER.mkdir(exist_ok=True)
    codec = Codec.from_pretrained("swin", "cpu", 1)
    rows = [made(codec, name, quality) for name in PHOTOS]
    (FOLDER / "index.html").write_text(page(rows, quality), "utf-8")
    for row in rows:
        print(row.name, *(f"{file.name} {file.size} {file.psnr:.2f}" for file in (row.vitc, row.avif)))


if __name__ == "__main__":
    main()
