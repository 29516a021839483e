"""The families side by side at effort 1: rate and distortion on Kodak, speed, memory and size.

Models are given by name or as LABEL=MODEL. Those that are not named keep their results. Speed is on one thread, of
the first image at quality 50 with the model loaded; memory is the peak of whole commands.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from vitcodec.codec import Codec
from vitcodec.evaluation.baselines import BASELINES
from vitcodec.evaluation.engine import Entrant
from vitcodec.options import EncodeOptions

from ..harness import one
from ..images import image_files
from ..measure import compare, curve_of, mean_points, rows_of, through_command_line
from ..process import measured
from ..store import Results
from .kodak import baseline_curve

MODELS = ("swin", "vit", "beit", "cnn")
QUALITIES = (5, 20, 35, 50, 65, 80, 92)
ANCHOR = "JPEG"  # the curve that is drawn beside the models'


def run(arguments: argparse.Namespace) -> Results:
    effort = one(arguments.effort, 1, "effort")  # what is compared are transforms, not searches
    named = [name.rpartition("=")[::2] for name in arguments.models]
    store, kept = arguments.store, arguments.store.previous()
    models = kept["models"] if kept.get("effort") == effort else {}
    with image_files(arguments) as files:
        baselines = {b.name: baseline_curve(b, files, arguments) for b in BASELINES if b.available()}
        results = {"images": len(files), "effort": effort, "models": models}
        results["baselines"] = {ANCHOR: baselines[ANCHOR]}
        for label, model in named[: 1 if arguments.quick else None]:
            entry = _measure(arguments, model, files, effort)
            rates = compare(curve_of(entry["curve"]), {name: curve_of(points) for name, points in baselines.items()})
            entry["bd_rate"] = {row["anchor"]: row["bd_rate"] for row in rates}
            models[label or model] = {**entry, "provenance": store.provenance(model)}
            store.save(results)
            print(label or model, entry["bd_rate"], flush=True)
    return results


def _measure(arguments: argparse.Namespace, model: str, files: list[Path], effort: int) -> dict[str, Any]:
    codec = Codec.from_pretrained(model, "cpu", 1)
    entrant = Entrant(codec, EncodeOptions(effort=effort))
    (row,) = rows_of(entrant, files[:1], [EncodeOptions.quality], arguments.reps or 5).rows
    common = ["--threads=1", f"--model={model}", "--device=cpu"]
    with tempfile.TemporaryDirectory(prefix="vitcodec-") as folder:
        file = str(Path(folder) / "a.vitc")
        encode = ("encode", str(files[0]), "-o", file, f"--effort={effort}")
        encode_memory = measured("-m", "vitcodec", *encode, *common, "--quiet")["mib"]
        decode_memory = measured("-m", "vitcodec", "decode", file, *common, "--quiet")["mib"]
    qualities = arguments.qualities or ((20, 50, 80) if arguments.quick else QUALITIES)
    points = [p for q in qualities for p in through_command_line(files, q, effort, common)]
    config = codec.config
    return {
        "family": config.family,
        "parameters": config.parameters,
        "kmac_per_pixel": config.kmac_per_pixel,
        "bytes": sum(file.stat().st_size for files, _ in config.hashes for file in files),
        "training": config.training,
        "encode_mps": round(row.encode_mps, 3),
        "decode_mps": round(row.decode_mps, 3),
        "encode_mib": encode_memory,
        "decode_mib": decode_memory,
        "curve": mean_points(points),
    }
