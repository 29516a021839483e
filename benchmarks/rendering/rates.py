"""Blocks and plots of rate and distortion."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from vitcodec.evaluation.baselines import BASELINES
from vitcodec.evaluation.plot import rate_distortion_svg

from ..measure import NARROW, SCORES, WIDE, Point, curve_of
from .library import Block, Library, Lines, Results, block, source, table

# the anchors that the README names, and how
NAMED = {
    "JPEG": "JPEG (Pillow, 4:2:0, optimised)",
    "WebP": "WebP (`method=6`)",
    "JPEG 2000": "JPEG 2000",
    "AVIF (tune=psnr)": "AVIF (speed 4, 4:4:4, `tune=psnr`)",
    "AVIF (default tuning)": "AVIF (speed 4, 4:4:4, default tuning)",
    "VVC VTM 9.1 intra 4:4:4": "VVC intra (VTM 9.1, published curve)",
}
PLOTTED = ("vitcodec", *(b.name for b in BASELINES), "VVC VTM 9.1 intra 4:4:4", "BPG 0.9.8 4:4:4 x265")
SLOW = 6  # the highest effort that needs no PyTorch
RANGES = f"{WIDE[0]:g} to {WIDE[1]:g} bits per pixel", f"{NARROW[0]:g} to {NARROW[1]:g} dB"
KINDS = "bd_rate", "narrow"  # the figures of RANGES in a row of results


def percent(value: float) -> str:
    return f"{value:+.0f} %" if abs(value) >= 10 else f"{value:+.1f} %"


@block("kodak")
def kodak_rates(results: Library, document: Results) -> Lines:
    """BD-rates against the anchors that the README names, over both ranges."""
    rows = {row["anchor"]: row for row in document["results"]["bd_rate"]}
    found = [(text, rows[name]) for name, text in NAMED.items() if name in rows]
    headings = ("BD-rate against", *RANGES)
    return table(headings, [(text, percent(r["bd_rate"]), percent(r["narrow"])) for text, r in found])


@block("kodak")
def kodak_curve_table(results: Library, document: Results) -> Lines:
    """The mean at every quality, one column each."""
    mean = document["results"]["curves"]["vitcodec"]
    rows = [
        ["bits per pixel", *(f"{p['bpp']:.{3 if p['bpp'] < 1 else 2}f}" for p in mean)],
        ["PSNR (dB)", *(f"{p['psnr']:.1f}" for p in mean)],
    ]
    return table(["quality", *(str(p["quality"]) for p in mean)], rows)


@block("kodak")
def kodak_points(results: Library, document: Results) -> Lines:
    """The mean at every quality, one row each."""
    rows = [_point(p) for p in document["results"]["curves"]["vitcodec"]]
    return [*table(("quality", "bits per pixel", "PSNR (dB)"), rows, 0), *source(document["provenance"])]


def _point(p: Point) -> tuple[str, str, str]:
    return str(p["quality"]), f"{p['bpp']:.4f}", f"{p['psnr']:.2f}"


@block("kodak")
def kodak_anchors(results: Library, document: Results) -> Lines:
    """BD-rates against every anchor, with the PSNR over which each is taken where the heading does not say it."""
    rows = [
        (
            row["anchor"],
            f"{row['bd_rate']:+.1f}",
            f"{row['psnr_from']:.1f} to {row['psnr_to']:.1f}",
            f"{row['narrow']:+.1f}{_part(row)}",
        )
        for row in document["results"]["bd_rate"]
    ]
    headings = ("anchor", f"BD-rate (%), {RANGES[0]}", "over PSNR (dB)", f"BD-rate (%), {RANGES[1]}")
    return [*table(headings, rows), *source(document["provenance"])]


@block(f"kodak-effort-{SLOW}")
def kodak_slow(results: Library, document: Results) -> Lines:
    """BD-rates against the anchors that the README names at a higher effort, beside those of the default."""
    plain = results.document("kodak")
    default = {row["anchor"]: row for row in plain["results"]["bd_rate"]} if plain else {}
    rows = []
    for row in document["results"]["bd_rate"]:
        if (anchor := row["anchor"]) in NAMED:
            pairs = (f"{own[kind]:+.1f}" if own else "" for kind in KINDS for own in (default.get(anchor), row))
            rows.append((NAMED[anchor], *pairs))
    efforts = "default effort", f"effort {SLOW}"
    headings = ("BD-rate (%) against", *(f"{name}, {effort}" for name in RANGES for effort in efforts))
    return [*table(headings, rows), *source(document["provenance"])]


def _part(row: Results) -> str:
    """Where a curve does not cover all of NARROW, what it covers."""
    low, high = row["narrow_from"], row["narrow_to"]
    return "" if (low, high) == NARROW else f" ({low:.1f} to {high:.1f} dB)"


@block("kodak-every-quality")
def kodak_every_quality(results: Library, document: Results) -> Lines:
    """The smallest rise of rate and of PSNR from one quality to the next on any image."""
    found = document["results"]
    curves: dict[str, list[Point]] = {}
    for p in sorted(found["points"], key=lambda p: p["setting"]):
        curves.setdefault(p["image"], []).append(p)
    steps = [(a, b) for curve in curves.values() for a, b in pairwise(curve)]
    rate, a, b = min(((b["bpp"] / a["bpp"] - 1, a, b) for a, b in steps), key=lambda s: s[0])
    psnr, c, d = min(((d["psnr"] - c["psnr"], c, d) for c, d in steps), key=lambda s: s[0])
    falling = sum(b["bpp"] <= a["bpp"] or b["psnr"] <= a["psnr"] for a, b in steps)
    rows = [
        ("images", str(found["images"])),
        ("steps from one quality to the next, on each image", str(len(steps))),
        ("of these with a rate or a PSNR that does not rise", str(falling)),
        (f"least rise of the rate ({_step(a, b)})", f"{100 * rate:.2f} %"),
        (f"least rise of PSNR ({_step(c, d)})", f"{psnr:.3f} dB"),
    ]
    return [*table((f"effort {found['effort']}", ""), rows), *source(document["provenance"])]


def _step(a: Point, b: Point) -> str:
    return f"{a['image']}, {a['setting']} to {b['setting']}"


def kodak_svg(results: Library) -> str | None:
    """docs/kodak.svg"""
    if not (document := results.document("kodak")):
        return None
    found = document["results"]
    curves = {name: curve_of(found["curves"][name]) for name in PLOTTED if name in found["curves"]}
    return rate_distortion_svg(curves, f"Kodak: mean of {found['images']} images")


@block("families", any_weights=True)
def families(results: Library, document: Results) -> Lines | None:
    models = results.current(document["results"]["models"])
    if not models:
        return None
    anchors = ("JPEG", "WebP", "AVIF (tune=psnr)")
    headings = ("model", *(f"BD-rate against {a} (%)" for a in anchors), "parameters (million)", "kMAC/pixel")
    headings += ("encode (MP/s)", "decode (MP/s)", "encode (MiB)", "decode (MiB)", "weights (MB)")
    rows = [
        (
            f"`{name}`",
            *(f"{m['bd_rate'][a]:+.1f}" for a in anchors),
            f"{m['parameters'] / 1e6:.2f}",
            f"{m['kmac_per_pixel']:.1f}",
            f"{m['encode_mps']:.2f}",
            f"{m['decode_mps']:.2f}",
            str(m["encode_mib"]),
            str(m["decode_mib"]),
            f"{m['bytes'] / 1e6:.1f}",
        )
        for name, m in models.items()
    ]
    left = [f"`{name}`" for name in document["results"]["models"] if name not in models]
    note = ["", f"Not measured yet with the weights that ship: {', '.join(left)}."] if left else []
    return [*table(headings, rows), *note, *source(*(m["provenance"] for m in models.values()))]


def families_svg(results: Library) -> str | None:
    """docs/families.svg"""
    document = results.document("families", any_weights=True)
    models = results.current(document["results"]["models"]) if document else {}
    if not document or not models:
        return None
    found = document["results"]
    curves = {name: curve_of(m["curve"]) for name, m in models.items()}
    curves |= {name: curve_of(points) for name, points in found["baselines"].items()}
    return rate_distortion_svg(curves, f"Kodak: mean of {found['images']} images, effort {found['effort']}")


@block("picture")
def families_picture(results: Library, document: Results) -> Lines:
    """The caption of docs/families.jpg."""
    found = document["results"]
    rows = [f"`{r['model']}` ({r['bpp']:.3f} bits per pixel, {r['psnr']:.2f} dB)" for r in found["rows"]]
    return [f"From the left: a part of `{found['image']}`, the original; then {', '.join(rows)}."]


@block("attention")
def attention(results: Library, document: Results) -> Lines:
    found = document["results"]
    rows = [
        (
            f"`{name}`",
            f"{number}, {b['kind']}",
            f"{b['distance']:.0f}",
            f"{b['even_distance']:.0f}",
            f"{100 * b['near']:.0f}",
            f"{100 * b['largest']:.1f}",
            f"{100 * b['difference']:.1f}",
        )
        for name, model in found["models"].items()
        for number, b in enumerate(model["blocks"], 1)
    ]
    headings = ("model", "block", "mean distance (pixels)", "if it were even (pixels)", "on the nearest 3x3 tokens (%)")
    headings += ("largest share (%)", "differs by (%)")
    saved = ", ".join(f"{m['without_attention']:+.1f} % (`{name}`)" for name, m in found["models"].items())
    return [
        f"Means over {found['tokens']} tokens of {len(found['images'])} photographs at quality {found['quality']}:",
        "",
        *table(headings, rows, 2),
        "",
        f"Bits at equal PSNR without attention in the analysis, at effort {found['effort']}: {saved}.",
        *source(document["provenance"]),
    ]


@block("erasure")
def erasure(results: Library, document: Results) -> Lines:
    found = document["results"]
    methods = [name for name in found["rows"][0] if name != "erased"]
    headings = ("erased tokens", *(f"`{m}`" if m == found["model"] else m for m in methods))
    rows = [(f"{100 * row['erased']:.0f} %", *(f"{row[m]:.2f}" for m in methods)) for row in found["rows"]]
    head = f"PSNR (dB), mean of {found['images']} images, quality {found['quality']}:"
    return [head, "", *table(headings, rows, 0), *source(document["provenance"])]


@block("start")
def start(results: Library, document: Results) -> Lines:
    rows = [_point(p) for p in document["results"]["rows"]]
    return [*table(("quality", "bits per pixel", "PSNR (dB)"), rows, 0), *source(document["provenance"])]


@block("tune")
def tune(results: Library, document: Results) -> Lines:
    found = document["results"]
    models = list(dict.fromkeys(row["model"] for row in found["rows"]))
    rows = [
        (f"`{r['model']}`", str(r["quality"]), f"{r['bpp']:.4f}", f"{r['psnr']:.2f}", f"{r['ms_ssim']:.4f}")
        for r in found["rows"]
    ]
    names = {"psnr": "PSNR", "ms_ssim": "MS-SSIM"}
    rates = [(names[measure], f"{value:+.1f}") for measure, value in found["bd_rate"].items()]
    return [
        *table(("at equal", f"BD-rate of `{models[1]}` against `{models[0]}` (%)"), rates),
        "",
        *table(("model", "quality", "bits per pixel", "PSNR (dB)", "MS-SSIM"), rows),
        *source(document["provenance"]),
    ]


@block("perceptual", any_weights=True)
def perceptual(results: Library, document: Results) -> Lines | None:
    """Each model against each of the other codecs, in both measures."""
    found = {n: m for n, m in results.current(document["results"]["models"]).items() if m.get("bd_rate")}
    rows = [_perceptual_row(name, m, anchor) for name, m in found.items() for anchor in document["results"]["anchors"]]
    if not rows:
        return None
    low, high = SCORES
    headings = ("model", "tuned for", "against", f"SSIMULACRA2, {RANGES[0]} (%)", "over scores")
    headings += (f"SSIMULACRA2, scores of {low} to {high} (%)", f"PSNR, {RANGES[0]} (%)", "over PSNR (dB)")
    left = [f"`{name}`" for name in document["results"]["models"] if name not in found]
    note = ["", f"Not measured yet with the weights that ship: {', '.join(left)}."] if left else []
    return [*table(headings, rows, 3), *note, *source(*(m["provenance"] for m in found.values()))]


def _perceptual_row(name: str, model: Results, anchor: str) -> tuple[str, ...]:
    rates = {(r["measure"], r["range"]): r for r in model["bd_rate"] if r["anchor"] == anchor}

    def cells(key: tuple[str, str], digits: int) -> tuple[str, str]:
        if not (rate := rates.get(key)):
            return "-", "-"
        return f"{rate['percent']:+.1f}", f"{rate['from']:.{digits}f} to {rate['to']:.{digits}f}"

    scores, psnr = cells(("ssimulacra2", "wide"), 0), cells(("psnr", "wide"), 1)
    within = cells(("ssimulacra2", "scores"), 0)
    whole = f"{SCORES[0]} to {SCORES[1]}"
    part = within[0] if within[1] in ("-", whole) else f"{within[0]} ({within[1]})"
    return f"`{name}`", model["tune"].upper(), anchor, *scores, part, *psnr


@block("export")
def export(results: Library, document: Results) -> Lines:
    found = document["results"]["rows"]
    sums = {key: sum(row[key] for row in found) for key in ("estimated", "coded")}
    rows = [
        (str(r["quality"]), f"{r['estimated']:,}", f"{r['coded']:,}", f"{100 * (r['coded'] / r['estimated'] - 1):+.2f}")
        for r in (*found, {"quality": "all", **sums})
    ]
    headings = ("quality", "bits, float model's estimate", "bits, coded", "difference (%)")
    return [*table(headings, rows, 0), *source(document["provenance"])]


BLOCKS: dict[str, Block] = {
    "kodak-rates": kodak_rates,
    "kodak-curve-table": kodak_curve_table,
    "kodak-points": kodak_points,
    "kodak-anchors": kodak_anchors,
    "kodak-effort": kodak_slow,
    "kodak-every-quality": kodak_every_quality,
    "families": families,
    "families-picture": families_picture,
    "attention": attention,
    "erasure": erasure,
    "start": start,
    "tune": tune,
    "perceptual": perceptual,
    "export": export,
}
PLOTS: dict[str, Callable[[Library], str | None]] = {"kodak": kodak_svg, "families": families_svg}
