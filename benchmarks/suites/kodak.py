"""Rate and distortion on Kodak through the command line, beside today's codecs and published curves.

Every image is encoded and decoded by `vitcodec encode` and `vitcodec decode` in processes of their own, without
metadata. The rate is the size of the file, PSNR that of the decoded PNG (RGB, 8 bits, per image, then the mean).
JPEG, WebP, JPEG 2000 and AVIF run through Pillow on the same images; their results are kept in kodak-baselines.json
and used again. Exit code 1: rate or PSNR falls somewhere. Results of another effort than the default go to a file of
their own, kodak-effort-N.json.

--every-quality measures all of 1 to 100 and looks only for falls. Its results go to kodak-every-quality.json, from
which it goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vitcodec.evaluation.baselines import BASELINES, Baseline
from vitcodec.evaluation.bdrate import Curve
from vitcodec.evaluation.published import read_published
from vitcodec.options import QUALITIES as ALL
from vitcodec.options import EncodeOptions
from vitcodec.pretrained import registry

from ..harness import one
from ..images import image_files
from ..measure import Point, compare, curve_of, falls, mean_points, point, rows_of, through_command_line
from ..store import Results, Store

QUALITIES = (1, *range(10, 101, 10))
# the published curves to compare with, by their id in the file of --curves
ANCHORS = (
    "ca-vtm",
    "vtm18",
    "ca-bpg_444_x265_ycbcr",
    "meas-avif-aom-s4-444-tune-psnr",
    "meas-jpegxl-0.11.2-e7",
    "ca-bmshj2018-hyperprior-mse",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--curves", type=Path, metavar="JSON", help="published curves, as `vitcodec eval --against`")
    parser.add_argument("--every-quality", action="store_true", help="only look for falls from 1 to 100")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="qualities measured at the same time")


def run(arguments: argparse.Namespace) -> Results:
    effort = one(arguments.effort, EncodeOptions.effort, "effort")
    model = one(arguments.models, None, "model")
    options = [f"--device={arguments.device}"]
    options += [f"--model={model}"] if model else []
    options += [f"--threads={arguments.threads}"] if arguments.threads else []
    with image_files(arguments) as files:
        if arguments.every_quality:
            return _every_quality(arguments, files, effort, options)
        baselines = {b.name: baseline_curve(b, files, arguments) for b in BASELINES if b.available()}
        qualities = arguments.qualities or ((20, 50, 80) if arguments.quick else QUALITIES)
        points = _measured(files, qualities, effort, options, arguments.workers)
        if effort != EncodeOptions.effort:
            arguments.store = arguments.store.named(f"kodak-effort-{effort}")
    found = {p.id: p for p in read_published([arguments.curves])} if arguments.curves else {}
    published: dict[str, Curve] = {found[i].name: found[i].psnr for i in ANCHORS if i in found}
    means = mean_points(points)
    anchors = {name: curve_of(curve) for name, curve in baselines.items()} | published
    rounded = {n: [{"bpp": round(b, 6), "psnr": round(p, 5)} for b, p in sorted(c)] for n, c in published.items()}
    return {
        "images": len(files),
        "effort": effort,
        "failures": falls(points),
        "bd_rate": compare(curve_of(means), anchors),
        "curves": {"vitcodec": means, **baselines, **rounded},
        "points": points,
    }


def _measured(
    files: list[Path], qualities: Sequence[int], effort: int, options: list[str], workers: int
) -> list[Point]:
    def measure(quality: int) -> list[Point]:
        points = through_command_line(files, quality, effort, options)
        (mean,) = mean_points(points)
        print(f"quality {quality:3}: {mean['bpp']:.4f} bpp, {mean['psnr']:.3f} dB", flush=True)
        return points

    with ThreadPoolExecutor(workers) as pool:
        return [found for points in pool.map(measure, qualities) for found in points]


def baseline_curve(codec: Baseline, files: list[Path], arguments: argparse.Namespace) -> list[Point]:
    """The mean curve of a baseline. What kodak-baselines.json lacks is measured and stored."""
    store: Store = arguments.store.named("kodak-baselines")
    kept = store.previous() or {"points": {}}
    names = {f.name for f in files}
    settings = codec.settings[::3] if arguments.quick else codec.settings
    points = {(p["setting"], p["image"]): p for p in kept["points"].get(codec.name, [])}
    for setting in settings:
        if unknown := [f for f in files if (setting, f.name) not in points]:
            for row in rows_of(codec, unknown, [setting]).rows:
                found = point(row, setting, row.bytes or 0)
                points[setting, found["image"]] = found
            kept["points"][codec.name] = list(points.values())
            store.save(kept)
    curve = mean_points([p for (setting, name), p in points.items() if setting in settings and name in names])
    return [{k: v for k, v in mean.items() if k != "quality"} for mean in curve]


def _every_quality(arguments: argparse.Namespace, files: list[Path], effort: int, options: list[str]) -> Results:
    arguments.store = arguments.store.named("kodak-every-quality")
    store: Store = arguments.store
    model = registry.find(arguments.models[0] or registry.DEFAULT_MODEL)
    kept = store.previous_of(model.sha256)
    points = {(p["setting"], p["image"]): p for p in kept.get("points", []) if kept["effort"] == effort}
    wanted = arguments.qualities or ((49, 50) if arguments.quick else ALL)
    left = [q for q in wanted if any((q, f.name) not in points for f in files)]

    def results() -> Results:
        ordered = [found for _, found in sorted(points.items())]
        return {"images": len(files), "effort": effort, "failures": falls(ordered), "points": ordered}

    for start in range(0, len(left), arguments.workers):
        some = left[start : start + arguments.workers]
        measured = _measured(files, some, effort, options, arguments.workers)
        points |= {(p["setting"], p["image"]): p for p in measured}
        store.save(results())
    return results()
