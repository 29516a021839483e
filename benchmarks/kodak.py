"""Rate and distortion on the 24 Kodak images, through the real command line, against the codecs of today.

    python benchmarks/kodak.py PATH_TO_KODAK --curves curves.json --out docs/kodak.json

Every image is encoded and decoded by `vitcodec encode` and `vitcodec decode` in processes of their own, without metadata; the rate is the size
of the file, PSNR that of the decoded PNG (RGB, 8 bits, per image, then the mean). JPEG, WebP, JPEG 2000 and AVIF run through Pillow on the same
images; they never change, so their results are kept in the file that --baseline-cache names. BD-rate is by PCHIP over what both mean curves
share of 0.1 to 2.5 bits per pixel. `python benchmarks/readme.py` makes tables and the plot from the results. Exit code 1: rate or PSNR falls
somewhere.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image, features

from vitcodec.evaluation.baselines import BASELINES, Baseline
from vitcodec.evaluation.bdrate import Curve, bd_rate, overlap
from vitcodec.evaluation.published import read_published
from vitcodec.images import read_image
from vitcodec.metrics import psnr
from vitcodec.pretrained.registry import find

QUALITIES = (1, *range(10, 101, 10))
RATES = (0.1, 2.5)  # bits per pixel within which curves are compared
# the published curves to compare with, by their id in the file of --curves
ANCHORS = (
    "ca-vtm",
    "vtm18",
    "ca-bpg_444_x265_ycbcr",
    "meas-avif-aom-s4-444-tune-psnr",
    "meas-jpegxl-0.11.2-e7",
    "ca-bmshj2018-hyperprior-mse",
)
PLOTTED = ("ca-vtm", "ca-bpg_444_x265_ycbcr")

Points = list[dict[str, Any]]  # rows of image, setting, bytes, bpp, psnr


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def row(image: Path, setting: int, size: int, decoded: np.ndarray) -> dict[str, Any]:
    original = read_image(image).rgb
    bpp = 8 * size / (original.shape[0] * original.shape[1])
    return {
        "image": image.name,
        "setting": setting,
        "bytes": size,
        "bpp": round(bpp, 6),
        "psnr": round(psnr(original, decoded), 5),
    }


def measure_vitcodec(
    images: list[Path],
    options: list[str],
    effort: int | None = None,
    qualities: Sequence[int] = QUALITIES,
    workers: int = 1,
) -> Points:
    """options: of both commands. workers: qualities that are measured at the same time."""
    encoding = [*options, *([] if effort is None else [f"--effort={effort}"])]

    def measure(quality: int) -> Points:
        with tempfile.TemporaryDirectory() as folder:
            files, decoded = Path(folder) / "files", Path(folder) / "decoded"
            run("encode", *map(str, images), "-o", f"{files}/", "-q", str(quality), "--strip", *encoding)
            run("decode", *(str(files / f"{i.stem}.vitc") for i in images), "-o", f"{decoded}/", *options)
            points = [
                row(i, quality, (files / f"{i.stem}.vitc").stat().st_size, pixels(decoded / f"{i.stem}.png"))
                for i in images
            ]
        ((bpp, db),) = mean_curve(points)
        print(f"vitcodec quality {quality:3}: {bpp:.4f} bpp, {db:.3f} dB", flush=True)
        return points

    with ThreadPoolExecutor(workers) as pool:
        return [point for points in pool.map(measure, qualities) for point in points]


def measure_every_quality(
    images: list[Path], options: list[str], model: str | None, effort: int, workers: int, store: Path | None
) -> Points:
    """All of quality 1 to 100. store: keeps what is measured, and what it holds of the same weights is not measured again."""
    kind = {"weights": find(model).sha256, "effort": effort}
    kept: dict[str, Any] = json.loads(store.read_text()) if store and store.exists() else {}
    if {k: kept.get(k) for k in kind} != kind:
        kept = {"points": []}
    points = {(p["setting"], p["image"]): p for p in kept["points"]}
    missing = [q for q in range(1, 101) if any((q, i.name) not in points for i in images)]
    for at in range(0, len(missing), workers):
        measured = measure_vitcodec(images, options, effort, missing[at : at + workers], workers)
        points |= {(p["setting"], p["image"]): p for p in measured}
        if store:
            store.write_text(dumps({**kind, "points": list(points.values())}))
    names = {i.name for i in images}
    return [point for (_, name), point in sorted(points.items()) if name in names]


def run(*arguments: str) -> None:
    command = [sys.executable, "-m", "vitcodec", *arguments, "--quiet"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"vitcodec {arguments[0]} ended with {result.returncode}: {result.stderr.strip()}")


def measure_baseline(codec: Baseline, images: list[Path], cache: dict[str, Any], store: Path) -> Points:
    """The points of one baseline; what is missing in the cache is measured and stored after every setting."""
    kept: Points = cache["points"].setdefault(codec.name, [])
    for setting in codec.settings:
        done = {p["image"] for p in kept if p["setting"] == setting}
        for image in (i for i in images if i.name not in done):
            data = codec.encode(read_image(image), setting)
            kept.append(row(image, setting, len(data), codec.decode(data).rgb))
        if len(done) < len(images):
            store.write_text(dumps(cache))
            print(
                f"{codec.name} {setting}: {np.mean([p['bpp'] for p in kept if p['setting'] == setting]):.4f} bpp",
                flush=True,
            )
    names = {i.name for i in images}
    return [p for p in kept if p["image"] in names and p["setting"] in codec.settings]


def load_cache(path: Path) -> dict[str, Any]:
    if path.exists():
        return json.loads(path.read_text())
    versions = {"pillow": PIL.__version__} | {
        name: features.version(name) for name in ("libjpeg_turbo", "webp", "jpg_2000", "avif")
    }
    return {"schema_version": 1, "versions": versions, "points": {}}


def dumps(data: Any) -> str:
    """JSON with one measurement a line."""
    text = json.dumps(data, indent=1)
    return re.sub(r"\{[^{}]*\}", lambda m: " ".join(m[0].split()), text) + "\n"


def mean_curve(points: Points) -> list[tuple[float, float]]:
    """Mean (bpp, PSNR) over the images, one point per setting, in the order of the points."""
    settings = dict.fromkeys(p["setting"] for p in points)
    groups = [[p for p in points if p["setting"] == s] for s in settings]
    return [(float(np.mean([p["bpp"] for p in g])), float(np.mean([p["psnr"] for p in g]))) for g in groups]


def falls(points: Points) -> list[str]:
    """Where the rate or the PSNR does not rise from one quality to the next, for the mean and for each image."""
    qualities = list(dict.fromkeys(p["setting"] for p in points))
    curves = {"mean": mean_curve(points)} | {
        n: mean_curve([p for p in points if p["image"] == n]) for n in dict.fromkeys(p["image"] for p in points)
    }
    return [
        f"{name}: {what} does not rise from quality {qualities[i]} to {qualities[i + 1]} ({curve[i][axis]:.4f} to {curve[i + 1][axis]:.4f})"
        for name, curve in curves.items()
        for axis, what in enumerate(("rate", "PSNR"))
        for i in range(len(curve) - 1)
        if curve[i + 1][axis] <= curve[i][axis]
    ]


def compare(curve: Curve, anchors: dict[str, Curve]) -> list[dict[str, Any]]:
    """BD-rate against each anchor; one that cannot be compared with is said and left out, for the measurements took long."""
    rows = []
    for name, anchor in anchors.items():
        try:
            low, high = overlap(anchor, curve, RATES)
            rows.append(
                {
                    "anchor": name,
                    "bd_rate": round(bd_rate(anchor, curve, RATES), 2),
                    "psnr_from": round(low, 2),
                    "psnr_to": round(high, 2),
                }
            )
        except ValueError as error:
            print(f"no BD-rate against {name}: {error}")
    return rows


def rounded(curve: Curve) -> list[dict[str, float]]:
    return [{"bpp": round(bpp, 6), "psnr": round(psnr, 5)} for bpp, psnr in curve]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder of the Kodak images (PNG)")
    parser.add_argument("--curves", type=Path, help="published curves, JSON")
    parser.add_argument("--out", type=Path, help="where the results go, JSON")
    parser.add_argument(
        "--baseline-cache",
        type=Path,
        default=Path("docs/baselines-kodak.json"),
        help="results of the baselines, read and filled",
    )
    parser.add_argument("--baselines-only", action="store_true", help="only fill the cache")
    parser.add_argument("--model", help="passed on to vitcodec")
    parser.add_argument("--device", help="passed on to vitcodec")
    parser.add_argument("--threads", help="passed on to vitcodec")
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="qualities measured at the same time; give --threads as well",
    )
    parser.add_argument(
        "--every-quality",
        type=int,
        metavar="EFFORT",
        help="measure all of 1 to 100 at that effort, and only say where rate or PSNR falls",
    )
    parser.add_argument(
        "--store", type=Path, help="where --every-quality keeps what it measures, JSON: it goes on from there"
    )
    parser.add_argument("--first", type=int, metavar="N", help="measure only so many of the images")
    arguments = parser.parse_args()

    images = sorted(arguments.folder.glob("*.png"))[: arguments.first]
    if not images:
        parser.error(f"{arguments.folder}: no PNG files there")
    options = [
        f"--{name}={value}"
        for name in ("model", "device", "threads")
        if (value := getattr(arguments, name)) is not None
    ]
    if arguments.every_quality:
        falling = falls(
            measure_every_quality(
                images, options, arguments.model, arguments.every_quality, arguments.workers, arguments.store
            )
        )
        print("\n".join(falling) or "rate and PSNR rise at every step on every image")
        return 1 if falling else 0
    cache = load_cache(arguments.baseline_cache)
    baselines = {b.name: mean_curve(measure_baseline(b, images, cache, arguments.baseline_cache)) for b in BASELINES}
    if arguments.baselines_only:
        return 0

    points = measure_vitcodec(images, options, workers=arguments.workers)
    curve = mean_curve(points)
    published = {p.id: p for p in read_published([arguments.curves])} if arguments.curves else {}
    anchors: dict[str, Curve] = {published[i].name: published[i].psnr for i in ANCHORS if i in published}
    rows, falling = compare(curve, {**baselines, **anchors}), falls(points)
    for entry in rows:
        print(f"{entry['bd_rate']:+6.1f} % against {entry['anchor']}")
    for line in falling:
        print(line)
    if arguments.out:
        plotted = {
            "vitcodec": curve,
            **baselines,
            **{published[i].name: published[i].psnr for i in PLOTTED if i in published},
        }
        results = {
            "schema_version": 2,
            "images": len(images),
            "options": options,
            "mean": [{"quality": q, **point} for q, point in zip(QUALITIES, rounded(curve), strict=True)],
            "bd_rate": rows,
            "falls": falling,
            "curves": {name: rounded(c) for name, c in plotted.items()},
            "points": points,
        }
        arguments.out.write_text(dumps(results))
    return 1 if falling else 0


if __name__ == "__main__":
    sys.exit(main())
