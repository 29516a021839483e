"""The families side by side: rate and distortion on Kodak, speed, memory, size, and a picture decoded by each.

    python benchmarks/families.py KODAK_FOLDER swin vit beit cnn swin-30m=local-dir:runs/swin-30m
    python benchmarks/families.py --page

The first measures models, each by its name or as LABEL=MODEL, and adds what it finds to docs/families.json, where the results of models not named
stay; run it on cores that do nothing else. --page makes the table in docs/families.md (between its marks), docs/families.svg and, where the models
are at hand, docs/families.jpg from that.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from kodak import RATES, dumps, load_cache, mean_curve, measure_baseline, measure_vitcodec, rounded
from PIL import Image

from vitcodec import Codec, target
from vitcodec.errors import VitcodecError
from vitcodec.evaluation.baselines import BASELINES
from vitcodec.evaluation.bdrate import bd_rate
from vitcodec.evaluation.plot import rate_distortion_svg
from vitcodec.evaluation.report import markdown_table
from vitcodec.images import Picture, read_image
from vitcodec.metrics import psnr

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- made by benchmarks/families.py -->", "<!-- end -->"
QUALITIES = (5, 20, 35, 50, 65, 80, 92)
EFFORT = 1  # what is compared are transforms, not searches
ANCHOR = "JPEG"
SHOWN, CROP, RATE = (
    "astronaut.png",
    (130, 20, 220, 220),
    0.3,
)  # the picture, x, y, width and height of what is shown, and its bits per pixel


def median(work: Callable[[], object], repeat: int) -> float:
    seconds = []
    for _ in range(repeat):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def peak(*command: str) -> int:
    """Peak memory of Python with these arguments in MiB. By way of a small process: a child counts what its parent held when it was made."""
    code = "import sys, memory; print(memory.run(*sys.argv[1:])[0])"
    result = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    return round(float(result.stdout))


def measure(
    model: str, images: list[Path], baselines: dict[str, list[tuple[float, float]]], repeat: int
) -> dict[str, Any]:
    codec = Codec.load(model, "cpu", 1)
    picture, config = read_image(images[0]), codec.card.config
    data = codec.encode(picture, 50, EFFORT)
    megapixels = picture.rgb[..., 0].size / 1e6
    speed = {
        "encode_mps": round(megapixels / median(lambda: codec.encode(picture, 50, EFFORT), repeat), 3),
        "decode_mps": round(megapixels / median(lambda: codec.decode(data), repeat), 3),
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.vitc"
        common = ["--quiet", "--threads=1", f"--model={model}", "--device=cpu"]
        encode_memory = peak(
            "-m", "vitcodec", "encode", str(images[0].resolve()), "-o", str(file), f"--effort={EFFORT}", *common
        )
        decode_memory = peak("-m", "vitcodec", "decode", str(file), *common)
    curve = mean_curve(measure_vitcodec(images, [f"--model={model}", "--device=cpu"], EFFORT, QUALITIES))
    return {
        "family": codec.card.family,
        "parameters": config["parameters"],
        "kmac_per_pixel": config["kmac_per_pixel"],
        "bytes": sum(file.stat().st_size for file in codec.card.files),
        "training": config["training"],
        **speed,
        "encode_mib": encode_memory,
        "decode_mib": decode_memory,
        "bd_rate": {name: round(bd_rate(anchor, curve, RATES), 2) for name, anchor in baselines.items()},
        "curve": [{"quality": q, **point} for q, point in zip(QUALITIES, rounded(curve), strict=True)],
    }


def table(results: dict[str, Any]) -> str:
    head = ("model", "BD-rate against JPEG (%)", "WebP", "AVIF (tune=psnr)")
    head += (
        "parameters (million)",
        "kMAC/pixel",
        "encode (MP/s)",
        "decode (MP/s)",
        "encode (MiB)",
        "decode (MiB)",
        "weights (MB)",
    )
    rows = []
    for name, r in results["models"].items():
        rates = [f"{r['bd_rate'][anchor]:+.1f}" for anchor in ("JPEG", "WebP", "AVIF (tune=psnr)")]
        cost = [
            f"{r['parameters'] / 1e6:.2f}",
            f"{r['kmac_per_pixel']:.1f}",
            f"{r['encode_mps']:.2f}",
            f"{r['decode_mps']:.2f}",
        ]
        rows.append((name, *rates, *cost, str(r["encode_mib"]), str(r["decode_mib"]), f"{r['bytes'] / 1e6:.1f}"))
    return "\n".join(markdown_table(head, rows))


def plot(results: dict[str, Any]) -> str:
    curves = {name: [(p["bpp"], p["psnr"]) for p in r["curve"]] for name, r in results["models"].items()}
    curves |= {name: [(p["bpp"], p["psnr"]) for p in points] for name, points in results["baselines"].items()}
    return rate_distortion_svg(curves, f"Kodak: mean of {results['images']} images, effort {EFFORT}")


def montage(models: list[str]) -> tuple[Image.Image, list[str]]:
    """The same part of a picture, original and as each model decodes it at the same size; and a line on each."""
    original = read_image(ROOT / "examples" / SHOWN).rgb
    x, y, width, height = CROP
    parts, lines = [original], ["original"]
    for model in models:
        codec = Codec.load(model, "cpu")
        hit = target.encode(
            codec, Picture(original), target.Target(size=RATE * original[..., 0].size / 8), effort=EFFORT
        )
        parts.append(codec.decode(hit.data).rgb)
        lines.append(
            f"{model}, {8 * len(hit.data) / original[..., 0].size:.3f} bits per pixel, {psnr(original, parts[-1]):.2f} dB"
        )
    shown = np.concatenate(
        [np.pad(p[y : y + height, x : x + width], ((0, 0), (0, 4), (0, 0)), constant_values=255) for p in parts], 1
    )
    return Image.fromarray(shown), lines


def write_page(results: dict[str, Any]) -> None:
    page = ROOT / "docs" / "families.md"
    text = page.read_text("utf-8")
    marked = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?=\n{re.escape(END)})", re.DOTALL)
    page.write_text(marked.sub(lambda _: table(results), text), "utf-8")
    (ROOT / "docs" / "families.svg").write_text(plot(results), "utf-8")
    try:
        image, lines = montage([name for name in results["models"] if "-" not in name])
    except VitcodecError as error:
        print(f"docs/families.jpg is left as it is: {error}")
        return
    image.save(ROOT / "docs" / "families.jpg", quality=93, subsampling=0)
    print("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="the folder of the Kodak images (PNG)")
    parser.add_argument("models", nargs="*", help="NAME or LABEL=MODEL")
    parser.add_argument("--page", action="store_true", help="only make page, plot and picture from the results")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "families.json")
    parser.add_argument("--baseline-cache", type=Path, default=ROOT / "docs" / "baselines-kodak.json")
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()

    results = (
        json.loads(arguments.results.read_text()) if arguments.results.exists() else {"schema_version": 1, "models": {}}
    )
    if not arguments.page:
        if arguments.folder is None or not (images := sorted(arguments.folder.glob("*.png"))):
            sys.exit("give a folder of PNG images")
        cache = load_cache(arguments.baseline_cache)
        baselines = {
            b.name: mean_curve(measure_baseline(b, images, cache, arguments.baseline_cache)) for b in BASELINES
        }
        results |= {"images": len(images), "effort": EFFORT, "baselines": {ANCHOR: rounded(baselines[ANCHOR])}}
        for name in arguments.models:
            label, _, model = name.rpartition("=")
            results["models"][label or model] = measure(model, images, baselines, arguments.repeat)
            arguments.results.write_text(dumps(results))
            print(label or model, results["models"][label or model]["bd_rate"], flush=True)
    write_page(results)


if __name__ == "__main__":
    main()
