"""The tables and the plot of the README and of docs/kodak.md, from the results of benchmarks/kodak.py.

    python benchmarks/readme.py [--results docs/kodak.json] [--check]

Writes README.md (between its two marks), docs/kodak.md and docs/kodak.svg. --check writes nothing, and ends with 1 if one of them would change.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from vitcodec.evaluation.plot import rate_distortion_svg
from vitcodec.evaluation.report import markdown_table

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- made by benchmarks/readme.py -->", "<!-- end -->"
# the anchors that the README names, and how
ANCHORS = {
    "JPEG": "JPEG (Pillow, 4:2:0, optimised)",
    "WebP": "WebP (`method=6`)",
    "JPEG 2000": "JPEG 2000",
    "AVIF (tune=psnr)": "AVIF (speed 4, 4:4:4, `tune=psnr`)",
    "AVIF (default tuning)": "AVIF (speed 4, 4:4:4, default tuning)",
    "VVC VTM 9.1 intra 4:4:4": "VVC intra (VTM 9.1, published curve)",
}

Results = dict[str, Any]  # what kodak.py writes


def percent(value: float) -> str:
    return f"{value:+.0f} %" if abs(value) >= 10 else f"{value:+.1f} %"


def readme_tables(results: Results) -> str:
    """BD-rates against the anchors that the README names, and the mean at every quality."""
    rates = {row["anchor"]: row["bd_rate"] for row in results["bd_rate"]}
    against = markdown_table(
        ("against", "BD-rate"), [(text, percent(rates[name])) for name, text in ANCHORS.items() if name in rates]
    )
    mean = results["mean"]
    columns = ["quality", *(str(p["quality"]) for p in mean)]
    rows = [
        ["bits per pixel", *(f"{p['bpp']:.{3 if p['bpp'] < 1 else 2}f}" for p in mean)],
        ["PSNR (dB)", *(f"{p['psnr']:.1f}" for p in mean)],
    ]
    return "\n".join([*against, "", *markdown_table(columns, rows)])


def page(results: Results) -> str:
    """docs/kodak.md"""
    lines = [f"Mean of {results['images']} images: rate from the size of the files, PSNR of 8-bit RGB per image.", ""]
    mean = [(str(p["quality"]), f"{p['bpp']:.4f}", f"{p['psnr']:.2f}") for p in results["mean"]]
    lines += [*markdown_table(("quality", "bits per pixel", "PSNR (dB)"), mean, 0), ""]
    lines += [
        "BD-rate of vitcodec (RGB PSNR, PCHIP, 0.1 to 2.5 bits per pixel); negative: fewer bits than the anchor.",
        "",
    ]
    rates = [
        (r["anchor"], f"{r['bd_rate']:+.1f}", f"{r['psnr_from']:.1f} to {r['psnr_to']:.1f}") for r in results["bd_rate"]
    ]
    return "\n".join([*lines, *markdown_table(("anchor", "BD-rate (%)", "over PSNR (dB)"), rates), ""])


def plot(results: Results) -> str:
    """docs/kodak.svg"""
    curves = {name: [(p["bpp"], p["psnr"]) for p in points] for name, points in results["curves"].items()}
    return rate_distortion_svg(curves, f"Kodak: mean of {results['images']} images")


def files(results: Results) -> dict[Path, str]:
    """What every file should hold."""
    readme = (ROOT / "README.md").read_text("utf-8")
    marked = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?=\n{re.escape(END)})", re.DOTALL)
    if len(marked.findall(readme)) != 1:
        sys.exit(f"README.md: has not one pair of {BEGIN} and {END}")
    tables = readme_tables(results)
    return {
        ROOT / "README.md": marked.sub(lambda _: tables, readme),
        ROOT / "docs" / "kodak.md": page(results),
        ROOT / "docs" / "kodak.svg": plot(results),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "kodak.json")
    parser.add_argument("--check", action="store_true", help="only say what would change")
    arguments = parser.parse_args()

    wanted = files(json.loads(arguments.results.read_text("utf-8")))
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)}: {'is not what the results say' if arguments.check else 'written'}")
        if not arguments.check:
            path.write_text(wanted[path], "utf-8")
    return 1 if arguments.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
