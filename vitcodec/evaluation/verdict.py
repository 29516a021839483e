"""What `compare` opens with: how the first codec stands against the others on one image, in a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .comparison import Comparison
from .results import Row

SAME_SIZE = math.log(1.05)  # of the ratio of two sizes, up to which they count as equal: codecs' settings have steps
SAME_QUALITY = 0.05  # dB; less than that is rounded away


@dataclass(frozen=True)
class Standing:
    """Another codec's file of the image, and what it is to the first codec's."""

    codec: str
    bytes: int
    bpp: float
    psnr: float  # dB; inf: lossless
    gain: float  # dB of the first codec over this one; inf or -inf where one of them is lossless, 0 where both are
    size_ratio: float  # its size by the first codec's
    ssimulacra2: float = math.nan  # NaN where it was not measured

    @property
    def same_size(self) -> bool:
        return abs(math.log(self.size_ratio)) <= SAME_SIZE

    @property
    def family(self) -> str:
        """The name without its tuning: "AVIF" of "AVIF (tune=psnr)"."""
        return self.codec.split(" (")[0]


@dataclass(frozen=True)
class Verdict:
    """The first codec's file, and how it stands against the others: those of equal size first, then the best first."""

    codec: str
    bpp: float
    psnr: float
    against: Sequence[Standing]
    ssimulacra2: float = math.nan

    @property
    def sentence(self) -> str:
        """Such as "+0.9 dB over AVIF at equal size, 0.2 dB under VVC (PSNR of vitcodec swin at 0.5 bits per pixel). To
        the eye, by SSIMULACRA2: 71, AVIF 70."

        Of a codec with several tunings the best one counts. The eye's part is about files of equal size alone.
        """
        best: dict[str, Standing] = {}
        for standing in self.against:
            best.setdefault(standing.family, standing)
        equal = [self._phrase(s) for s in best.values() if s.same_size]
        other = [
            f"{self._phrase(s)}, whose file is {_size_text(s.size_ratio)}" for s in best.values() if not s.same_size
        ]
        if equal:
            equal[0] += " at equal size"
        if not best:
            equal = ["lossless" if math.isinf(self.psnr) else f"{self.psnr:.1f} dB", "no other codec was measured"]
        text = "; ".join([*([", ".join(equal)] if equal else []), *other])
        return f"{text} (PSNR of {self.codec} at {self.bpp:.2g} bits per pixel).{self._to_the_eye()}"

    def _to_the_eye(self) -> str:
        """ " To the eye, by SSIMULACRA2: 71, AVIF 70."; empty where there is nothing to compare."""
        best: dict[str, float] = {}
        for standing in self.against:
            if standing.same_size and math.isfinite(standing.ssimulacra2):
                best[standing.family] = max(standing.ssimulacra2, best.get(standing.family, -math.inf))
        if not best or math.isnan(self.ssimulacra2):
            return ""
        others = ", ".join(f"{name} {score:.0f}" for name, score in best.items())
        return f" To the eye, by SSIMULACRA2: {self.ssimulacra2:.0f}, {others}."

    def _phrase(self, standing: Standing) -> str:
        name, gain = standing.family, standing.gain
        if math.isinf(standing.psnr):
            return f"lossless as {name}" if math.isinf(self.psnr) else f"{self.psnr:.1f} dB against lossless {name}"
        if math.isinf(self.psnr):
            return f"lossless against {standing.psnr:.1f} dB of {name}"
        if abs(gain) < SAME_QUALITY:
            return f"as good as {name}"
        return f"+{gain:.1f} dB over {name}" if gain > 0 else f"{-gain:.1f} dB under {name}"

    def record(self) -> dict[str, Any]:
        """For JSON; lossless is an infinite PSNR."""
        against = [{**vars(s), "same_size": s.same_size} for s in self.against]
        own = {"codec": self.codec, "bpp": self.bpp, "psnr": self.psnr, "ssimulacra2": self.ssimulacra2}
        return {"sentence": self.sentence, **own, "against": against}


def _size_text(ratio: float) -> str:
    if ratio >= 2:
        return f"{ratio:.1f} times as large"
    percent = abs(ratio - 1) * 100
    return f"{percent:.{0 if percent >= 10 else 1}f} % {'larger' if ratio > 1 else 'smaller'}"


def verdict(comparison: Comparison) -> Verdict | None:
    """None where codecs were not to match sizes on one image, or the first one has no file."""
    if not comparison.at_equal_size or not comparison.reports[0].rows:
        return None
    first, codec = comparison.reports[0].rows[0], comparison.reports[0].codec
    found = []
    for report in comparison.reports[1:]:
        for row in report.rows:
            if row.bytes and first.bytes:
                gain = 0.0 if row.identical and first.identical else first.psnr - row.psnr
                ratio = row.bytes / first.bytes
                found.append(Standing(report.codec, row.bytes, row.bpp, row.psnr, gain, ratio, _score(row)))
    found.sort(key=lambda s: (not s.same_size, -s.psnr))
    return Verdict(codec, first.bpp, first.psnr, found, _score(first))


def _score(row: Row) -> float:
    return row.values.get("ssimulacra2", math.nan)
