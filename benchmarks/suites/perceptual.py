"""What each tuning is worth to the eye: BD-rates in SSIMULACRA2 and in PSNR against AVIF, JPEG XL and WebP.

Rates are of real files without metadata, vitcodec's at its default effort; means over the images. AVIF runs with
tune=iq, its tuning for still pictures, and with 4:4:4, which needs 0.8 % fewer bits than 4:2:0 at equal SSIMULACRA2 on
the photographs of examples/. Results of the other codecs are kept in perceptual-anchors.json and used again. Models
that are not named keep their results, and a run that was interrupted goes on with the quality at which it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vitcodec.codec import Codec
from vitcodec.evaluation.baselines import AVIF, JPEG_XL, WEBP, Baseline
from vitcodec.evaluation.bdrate import ALL_QUALITIES, Curve, bd_rate, overlap
from vitcodec.evaluation.engine import Entrant
from vitcodec.options import EncodeOptions
from vitcodec.pretrained import registry

from ..harness import one
from ..images import image_files
from ..measure import SCORES, WIDE, Point, curve_of, mean_points, point, rows_of
from ..store import Results, Store

TUNE = " --tune "  # between a model and what its search is after, where that is not what it was trained for
MODELS = (*registry.TUNED.values(), f"{registry.DEFAULT_MODEL}{TUNE}ssimulacra2")
QUALITIES = tuple(range(10, 81, 10))
METRICS = ("psnr", "ssimulacra2")
AVIF_IQ = replace(
    AVIF, name="AVIF (tune=iq)", options=lambda quality: AVIF.options(quality) | {"advanced": {"tune": "iq"}}
)
ANCHORS = (AVIF_IQ, JPEG_XL, WEBP)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--anchors", action="store_true", help="measure the other codecs alone")


def run(arguments: argparse.Namespace) -> Results:
    effort = one(arguments.effort, EncodeOptions.effort, "effort")
    qualities = arguments.qualities or (QUALITIES[1::3] if arguments.quick else QUALITIES)
    store, kept = arguments.store, arguments.store.previous()
    models = kept["models"] if kept.get("effort") == effort else {}
    with image_files(arguments) as files:
        anchors = {a.name: found for a in ANCHORS if (found := _anchor(a, files, arguments))}
        results = {"images": len(files), "effort": effort, "anchors": anchors, "models": models}
        for name in () if arguments.anchors else arguments.models:
            model, _, tune = name.partition(TUNE)
            points = _known(models.get(name), registry.find(model).sha256)
            codec = Codec.from_pretrained(model, arguments.device, arguments.threads, tune=tune or None)
            for quality in qualities:
                if any((quality, f.name) not in points for f in files):
                    points |= _points(Entrant(codec, EncodeOptions(effort=effort)), files, quality, name)
                    models[name] = {"points": list(points.values()), "provenance": store.provenance(model)}
                    store.save(results)
            curve = _curve(points, files, qualities)
            print(name, *curve, sep="\n", flush=True)
            rates = [rate for anchor, found in anchors.items() for rate in _rates(anchor, found, curve)]
            models[name] |= {"tune": codec.tune, "curve": curve, "bd_rate": rates}
    return results


Points = dict[tuple[float, str], Point]  # by setting and image


def _known(entry: Results | None, sha256: str) -> Points:
    """What was measured of a model, if it was of the same weights."""
    same = entry is not None and sha256 in entry["provenance"]["model"]
    return {(p["setting"], p["image"]): p for p in entry["points"]} if entry and same else {}


def _points(codec: Baseline | Entrant, files: Sequence[Path], setting: float, name: str) -> Points:
    rows = rows_of(codec, files, [setting], name=name, metrics=METRICS).rows
    points = [point(row, setting, row.bytes or 0) for row in rows]
    (mean,) = mean_points(points)
    print(f"{name}, {setting:3}: {mean['bpp']:.4f} bpp, {mean['psnr']:.2f} dB, {mean['ssimulacra2']:.2f}", flush=True)
    return {(setting, p["image"]): p for p in points}


def _curve(points: Points, files: Sequence[Path], settings: Sequence[float]) -> list[Point]:
    return mean_points([points[setting, file.name] for setting in settings for file in files])


def _anchor(codec: Baseline, files: Sequence[Path], arguments: argparse.Namespace) -> list[Point]:
    """The mean curve of another codec, of what is kept and what is missing; [] where this installation lacks it."""
    store: Store = arguments.store.named("perceptual-anchors")
    kept = store.previous() or {"points": {}}
    settings = codec.settings[::3] if arguments.quick else codec.settings
    points = {(p["setting"], p["image"]): p for p in kept["points"].get(codec.name, [])}
    for setting in settings:
        if missing := [f for f in files if (setting, f.name) not in points]:
            if not codec.available():
                print(f"{codec.name}: not in this installation; left out")
                return []
            points |= _points(codec, missing, setting, codec.name)
            kept["points"][codec.name] = list(points.values())
            store.save(kept)
    return _curve(points, files, settings)


def _rates(anchor: str, found: Sequence[Point], test: Sequence[Point]) -> list[dict[str, Any]]:
    """BD-rates over the rates of WIDE, and for SSIMULACRA2 over SCORES too."""
    rates = []
    for measure, qualities in (("ssimulacra2", ALL_QUALITIES), ("ssimulacra2", SCORES), ("psnr", ALL_QUALITIES)):
        curves: list[Curve] = [curve_of(points, measure) for points in (found, test)]
        try:
            percent = bd_rate(*curves, rates=WIDE, qualities=qualities)
            low, high = overlap(*curves, rates=WIDE)
        except ValueError as error:
            print(f"no BD-rate in {measure} against {anchor}: {error}")
            continue
        low, high = max(low, qualities[0]), min(high, qualities[1])
        rates.append(
            {
                "anchor": anchor,
                "measure": measure,
                "range": "wide" if qualities is ALL_QUALITIES else "scores",
                "percent": round(percent, 2),
                "from": round(float(low), 2),
                "to": round(float(high), 2),
            }
        )
    return rates
