"""What training has bought: files of the weights that shipped over time, against the pixels that they were trained on.

    python dev/scaling.py measure --val shared/data/train/val.tar    # writes dev/scaling.json, minutes a version
    python dev/scaling.py draw                                       # writes dev/scaling.svg; needs matplotlib

Every version codes the same crops with its own program, from the history of the repository, at effort 1: no search.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PLOT = ROOT / "dev" / "scaling.json", ROOT / "dev" / "scaling.svg"
# revision, gigapixels of all runs up to it (LOG.md), where the last of them ran, what they were
VERSIONS = [
    ("f1ec08c", 0.55, "CPU", "run 3"),
    ("3c4c728", 1.09, "CPU", "run 4"),
    ("c98494c", 3.10, "CPU", "run 10, larger"),
    ("97222c9", 4.47, "CPU", "run 11, larger again"),
    ("52351ac", 5.05, "CPU", "runs 13 and 14"),
    ("04e20f0", 6.29, "CPU", "run 16"),
    ("dffcf28", 15.84, "GPU", "runs 18 and 19"),
    ("59cd2d8", 31.8, "GPU", "runs 21 to 27, format 1"),
]
QUALITIES = 8, 20, 35, 50, 70
SIDE, COUNT = 384, 12


def measure(arguments: argparse.Namespace) -> None:
    from vitcodec.distortion import TUNINGS
    from vitcodec.training.data import read_images, validation_crops
    from vitcodec.training.validation import bd_rate_to_reference, reference_curve

    psnr = TUNINGS["psnr"]
    crops = validation_crops(read_images([arguments.val], print), SIDE, COUNT).numpy().astype(np.uint8)
    references = [reference_curve(crop, psnr) for crop in crops]
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for revision, *_ in VERSIONS:
        if revision in [entry["revision"] for entry in found]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            subprocess.run(["git", "worktree", "add", "-q", "--detach", place / "code", revision], cwd=ROOT, check=True)
            try:
                coded = _coded(place, crops)
            finally:
                subprocess.run(["git", "worktree", "remove", "--force", place / "code"], cwd=ROOT, check=True)
        curves = [[(bpp, psnr.decibels(crop, image)) for bpp, image in c] for crop, c in zip(crops, coded, strict=True)]
        found.append({"revision": revision, "bd_rate": round(bd_rate_to_reference(references, curves, psnr), 3)})
        print(found[-1], flush=True)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def _coded(place: Path, crops: np.ndarray) -> list[list[tuple[float, np.ndarray]]]:
    """Of each crop, at each quality: bits per pixel and what is decoded."""
    environment = os.environ | {"PYTHONPATH": str(place / "code")}

    def call(*words: str | Path) -> None:
        command = [sys.executable, "-m", "vitcodec", *map(str, words)]
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{words}: {done.stderr[-2000:]}")

    (place / "crops").mkdir(exist_ok=True)
    for k, crop in enumerate(crops):
        Image.fromarray(crop).save(place / "crops" / f"{k:02}.png")
    # before there were efforts, rounding was all there was
    options = ["--effort", "1"] if "--effort" in (place / "code/vitcodec/cli/encode.py").read_text() else []
    curves: list[list[tuple[float, np.ndarray]]] = [[] for _ in crops]
    for quality in QUALITIES:
        files, decoded = place / f"files-{quality}", place / f"decoded-{quality}"
        call("encode", "crops", "-o", files, "-q", str(quality), "--threads", "1", *options)
        call("decode", files, "-o", decoded, "--threads", "1")
        for k, curve in enumerate(curves):
            size = (files / f"{k:02}.vitc").stat().st_size
            curve.append((8 * size / SIDE**2, np.asarray(Image.open(decoded / f"{k:02}.png").convert("RGB"))))
    return curves


def draw(_: argparse.Namespace) -> None:
    import matplotlib.pyplot as plt

    measured = {entry["revision"]: entry["bd_rate"] for entry in json.loads(RESULTS.read_text())}
    shown = [(*version[1:], measured[version[0]]) for version in VERSIONS if version[0] in measured]
    pixels, rates = np.array([s[0] for s in shown]), np.array([s[-1] for s in shown])
    plt.rcParams["svg.fonttype"] = "none"  # text stays text
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    axes.plot(pixels, rates, marker="o")
    for k, (gigapixels, device, text, rate) in enumerate(shown):  # texts alternate, so that neighbours keep apart
        offset, side = ((-7, -10), "right") if k % 2 else ((7, 3), "left")
        point = gigapixels, rate
        axes.annotate(f"{text} ({device})", point, offset, textcoords="offset points", ha=side, fontsize=8)
    axes.set(xscale="log", xlabel="gigapixels trained on in all runs so far")
    axes.set_ylabel("bits against JPEG 2000 at equal PSNR (%)")
    axes.set_title(f"swin by rounding: files of {COUNT} validation crops of {SIDE} pixels")
    axes.grid(alpha=0.3)
    figure.savefig(PLOT)
    for (a, *_, before), (b, _, text, after) in itertools.pairwise(shown):
        change = math.log((1 + after / 100) / (1 + before / 100)) / math.log2(b / a)
        print(f"{text}: {100 * math.expm1(change):+.2f} % of the bits for each doubling of the pixels")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    measuring = commands.add_parser("measure", help="code the crops with every version that is not measured yet")
    measuring.add_argument("--val", type=Path, required=True, help="a tar or folder of held-out images")
    measuring.set_defaults(run=measure)
    commands.add_parser("draw", help="draw the plot").set_defaults(run=draw)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
