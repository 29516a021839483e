"""Rate and distortion on the 24 Kodak images, through the real command line, against the codecs of today.

    python benchmarks/kodak.py PATH_TO_KODAK --curves curves.json --out docs/kodak.json

Every image is encoded and decoded by `vitcodec encode` and `vitcodec decode` in processes of their own, without metadata; the rate is the size
of the file, PSNR that of the decoded PNG (RGB, 8 bits, per image, then the mean). JPEG, WebP, JPEG 2000 and AVIF run through Pillow on the same
images; they never change, so their results are kept in the file that --baseline-cache names. BD-rate is by PCHIP over what both mean curves
share of 0.1 to 2.5 bits per pixel. Beside the results (--out, JSON) come a table (.md) and a plot (.svg). Exit code 1: rate or PSNR falls
somewhere.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image, features

from vitcodec.evaluation.baselines import BASELINES, Baseline
from vitcodec.evaluation.bdrate import Curve, bd_rate, overlap
from vitcodec.evaluation.plot import rate_distortion_svg
from vitcodec.images import read_image
from vitcodec.metrics import psnr

QUALITIES = (1, *range(10, 101, 10))
RATES = (0.1, 2.5)  # bits per pixel within which curves are compared
# the published curves to compare with, by their id in the file of --curves
ANCHORS = ("ca-vtm", "vtm18", "ca-bpg_444_x265_ycbcr", "meas-avif-aom-s4-444-tune-psnr", "meas-jpegxl-0.11.2-e7", "ca-bmshj2018-hyperprior-mse")
PLOTTED = ("ca-vtm", "ca-bpg_444_x265_ycbcr")

Points = list[dict[str, Any]]  # rows of image, setting, bytes, bpp, psnr


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def row(image: Path, setting: int, size: int, decoded: np.ndarray) -> dict[str, Any]:
    original = read_image(image).rgb
    bpp = 8 * size / (original.shape[0] * original.shape[1])
    return {"image": image.name, "setting": setting, "bytes": size, "bpp": round(bpp, 6), "psnr": round(psnr(original, decoded), 5)}


def measure_vitcodec(images: list[Path], options: list[str]) -> Points:
    points = []
    for quality in QUALITIES:
        with tempfile.TemporaryDirectory() as folder:
            files, decoded = Path(folder) / "files", Path(folder) / "decoded"
            run("encode", *map(str, images), "-o", f"{files}/", "-q", str(quality), "--strip", *options)
            run("decode", *(str(files / f"{i.stem}.vitc") for i in images), "-o", f"{decoded}/", *options)
            points += [row(i, quality, (files / f"{i.stem}.vitc").stat().st_size, pixels(decoded / f"{i.stem}.png")) for i in images]
        bpp, db = mean_curve(points)[-1]
        print(f"vitcodec quality {quality:3}: {bpp:.4f} bpp, {db:.3f} dB", flush=True)
    return points


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
            print(f"{codec.name} {setting}: {np.mean([p['bpp'] for p in kept if p['setting'] == setting]):.4f} bpp", flush=True)
    names = {i.name for i in images}
    return [p for p in kept if p["image"] in names and p["setting"] in codec.settings]


def load_cache(path: Path) -> dict[str, Any]:
    if path.exists():
        return json.loads(path.read_text())
    versions = {"pillow": PIL.__version__} | {name: features.version(name) for name in ("libjpeg_turbo", "webp", "jpg_2000", "avif")}
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
    curves = {"mean": mean_curve(points)} | {n: mean_curve([p for p in points if p["image"] == n]) for n in dict.fromkeys(p["image"] for p in points)}
    return [
        f"{name}: {what} does not rise from quality {QUALITIES[i]} to {QUALITIES[i + 1]} ({curve[i][axis]:.4f} to {curve[i + 1][axis]:.4f})"
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
            rows.append({"anchor": name, "bd_rate": round(bd_rate(anchor, curve, RATES), 2), "psnr_from": round(low, 2), "psnr_to": round(high, 2)})
        except ValueError as error:
            print(f"no BD-rate against {name}: {error}")
    return rows


def table(points: Points, rows: list[dict[str, Any]], images: int) -> str:
    lines = [f"Mean of {images} images: rate from the size of the files, PSNR of 8-bit RGB per image.", ""]
    lines += ["| quality | bits per pixel | PSNR (dB) |", "|---:|---:|---:|"]
    lines += [f"| {q} | {bpp:.4f} | {db:.2f} |" for q, (bpp, db) in zip(QUALITIES, mean_curve(points), strict=True)]
    lines += ["", "BD-rate of vitcodec (RGB PSNR, PCHIP, 0.1 to 2.5 bits per pixel); negative: fewer bits than the anchor.", ""]
    lines += ["| anchor | BD-rate (%) | over PSNR (dB) |", "|---|---:|---:|"]
    lines += [f"| {r['anchor']} | {r['bd_rate']:+.1f} | {r['psnr_from']:.1f} to {r['psnr_to']:.1f} |" for r in rows]
    return "\n".join([*lines, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder of the Kodak images (PNG)")
    parser.add_argument("--curves", type=Path, help="published curves, JSON")
    parser.add_argument("--out", type=Path, help="where the results go, JSON; a .md and a .svg are written beside it")
    parser.add_argument("--baseline-cache", type=Path, default=Path("docs/baselines-kodak.json"), help="results of the baselines, read and filled")
    parser.add_argument("--baselines-only", action="store_true", help="only fill the cache")
    parser.add_argument("--model", help="passed on to vitcodec")
    parser.add_argument("--device", help="passed on to vitcodec")
    parser.add_argument("--threads", help="passed on to vitcodec")
    arguments = parser.parse_args()

    images = sorted(arguments.folder.glob("*.png"))
    if not images:
        parser.error(f"{arguments.folder}: no PNG files there")
    cache = load_cache(arguments.baseline_cache)
    baselines = {f"{b.name} (Pillow)": mean_curve(measure_baseline(b, images, cache, arguments.baseline_cache)) for b in BASELINES}
    if arguments.baselines_only:
        return 0

    options = [f"--{name}={value}" for name in ("model", "device", "threads") if (value := getattr(arguments, name)) is not None]
    points = measure_vitcodec(images, options)
    curve = mean_curve(points)
    published: dict[str, Curve] = {}
    plotted: dict[str, Curve] = {"vitcodec": curve, **baselines}
    if arguments.curves:
        for entry in json.loads(arguments.curves.read_text())["curves"]:
            if entry["id"] in ANCHORS:
                published[entry["name"]] = [(p["bpp"], p["psnr_rgb"]) for p in entry["points"]]
            if entry["id"] in PLOTTED:
                plotted[entry["name"]] = published[entry["name"]]
    rows = compare(curve, {**baselines, **published})
    text, falling = table(points, rows, len(images)), falls(points)
    print(text)
    for line in falling:
        print(line)
    if arguments.out:
        results = {
            "schema_version": 1,
            "images": len(images),
            "options": options,
            "mean": [{"quality": q, "bpp": round(b, 6), "psnr": round(d, 5)} for q, (b, d) in zip(QUALITIES, curve, strict=True)],
            "bd_rate": rows,
            "falls": falling,
            "points": points,
        }
        arguments.out.write_text(dumps(results))
        arguments.out.with_suffix(".md").write_text(text)
        arguments.out.with_suffix(".svg").write_text(rate_distortion_svg(plotted, f"Kodak: mean of {len(images)} images"))
    return 1 if falling else 0


if __name__ == "__main__":
    sys.exit(main())
