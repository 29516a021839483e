"""What tuning for MS-SSIM gives and costs: BD-rates of one model against another, in both measures.

Rates are of real files, at effort 1 unless another is given; means over the images. MS-SSIM enters BD-rates as -10
log10(1 - MS-SSIM).
"""

from __future__ import annotations

import argparse
from typing import Any

from vitcodec.codec import Codec
from vitcodec.errors import UsageError
from vitcodec.evaluation.comparison import Comparison
from vitcodec.evaluation.engine import Entrant
from vitcodec.evaluation.results import Report
from vitcodec.options import EncodeOptions
from vitcodec.pretrained.registry import TUNED

from ..harness import one
from ..images import image_files
from ..measure import rows_of
from ..store import Results

MODELS = (TUNED["psnr"], TUNED["ms-ssim"])
QUALITIES = (5, 20, 40, 60, 80)


def run(arguments: argparse.Namespace) -> Results:
    if len(arguments.models) != 2:
        raise UsageError("this suite compares two models; give --model with two names")
    effort = one(arguments.effort, 1, "effort")
    qualities = arguments.qualities or ((20, 50, 80) if arguments.quick else QUALITIES)
    reports = []
    with image_files(arguments) as files:
        for name in arguments.models:
            codec = Codec.from_pretrained(name, arguments.device, arguments.threads)
            reports.append(rows_of(Entrant(codec, EncodeOptions(effort=effort)), files, qualities, name=name))
            print(*_means(reports[-1]), sep="\n", flush=True)
    comparison = Comparison(reports, {}, anchors=[reports[0].codec])
    rates = {measure: comparison.bd_rates(measure) for measure in comparison.plotted}
    return {
        "images": len(files),
        "effort": effort,
        "rows": [row for report in reports for row in _means(report)],
        "bd_rate": {m: round(r[0].percent, 2) for m, r in rates.items() if r and r[0].percent is not None},
    }


def _means(report: Report) -> list[dict[str, Any]]:
    return [
        {
            "model": report.codec,
            "quality": mean.quality,
            "bpp": round(mean.bpp, 6),
            "psnr": round(mean.psnr, 5),
            "ms_ssim": round(mean.values["ms_ssim"], 6),
        }
        for mean in report.means()
    ]
