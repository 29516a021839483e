"""Codecs compared: curves over the images that all did, BD-rates that others published, and files of a wanted size."""

import importlib.util
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import Rounding, make_rgb, picture_of
from PIL import Image

from vitcodec import metrics
from vitcodec.errors import InputError, UsageError
from vitcodec.evaluation import baselines
from vitcodec.evaluation.baselines import AVIF, AVIF_DEFAULT, BASELINES, JPEG, JPEG_2000, WEBP
from vitcodec.evaluation.comparison import Comparison
from vitcodec.evaluation.engine import evaluate
from vitcodec.evaluation.matching import match_size
from vitcodec.evaluation.measures import MEASURES
from vitcodec.evaluation.published import Published, read_published
from vitcodec.evaluation.results import Report, Row
from vitcodec.evaluation.verdict import verdict

# Mean over the Kodak images (bits per pixel, PSNR in dB, MS-SSIM), as CompressAI publishes them
VTM = [
    (0.048245, 26.14485, 0.860608),
    (0.112495, 28.49302, 0.917691),
    (0.245817, 31.19987, 0.956108),
    (0.490545, 34.26153, 0.978078),
    (0.87481, 37.41979, 0.988777),
    (1.43085, 40.42444, 0.99386),
    (2.324607, 43.50577, 0.996948),
    (3.632609, 46.59176, 0.998656),
]
BPG = [
    (0.067768, 26.19513, 0.86859),
    (0.161023, 28.68155, 0.924205),
    (0.351554, 31.59466, 0.961144),
    (0.684697, 34.85747, 0.980799),
    (1.199665, 38.25989, 0.990467),
    (1.929712, 41.47887, 0.994933),
    (3.057876, 44.70311, 0.997546),
    (4.703143, 47.63252, 0.998802),
]
HYPERPRIOR = [
    (0.131293, 27.58154, 0.917367),
    (0.208893, 29.1967, 0.942062),
    (0.319858, 30.97216, 0.961056),
    (0.478356, 32.83818, 0.974874),
    (0.668688, 34.52626, 0.983561),
    (0.938826, 36.74335, 0.989251),
    (1.259172, 38.58385, 0.992866),
    (1.660224, 40.55687, 0.99549),
]


def row(file, quality, bpp, psnr, ms_ssim=math.nan):
    values = dict.fromkeys(MEASURES, math.nan) | {"psnr": psnr, "ms_ssim": ms_ssim}
    return Row(file, quality, 1000, 800, round(bpp * 100_000), values, 1.0, 1.0)


def report_of(name, curve, file="a.png"):
    return Report(name, "cpu", range(len(curve)), 1, [row(file, i, *point) for i, point in enumerate(curve)])


def published_of(name, curve):
    curves = {"psnr": tuple((b, p) for b, p, _ in curve), "ms_ssim": tuple((b, m) for b, _, m in curve)}
    return Published(name.lower(), name, curves)


@pytest.mark.parametrize(
    ("name", "curve", "psnr", "ms_ssim"),
    [
        ("BPG", BPG, (21.99, 26.20, 46.59), (21.51, 8.81, 28.72)),
        ("hyperprior", HYPERPRIOR, (30.49, 27.58, 40.56), (7.31, 10.83, 23.46)),
    ],
)
def test_bd_rates_and_overlaps_of_published_pairs(name, curve, psnr, ms_ssim):
    comparison = Comparison([report_of(name, curve)], {}, [published_of("VTM", VTM)])
    for measure, expected in (("psnr", psnr), ("ms_ssim", ms_ssim)):
        (rate,) = comparison.bd_rates(measure)
        assert (rate.codec, rate.anchor) == (name, "VTM")
        assert (rate.percent, rate.low, rate.high) == (
            pytest.approx(expected[0], abs=0.01),
            pytest.approx(expected[1], abs=0.01),
            pytest.approx(expected[2], abs=0.01),
        )


def test_every_codec_against_every_chosen_anchor():
    reports = [report_of("a", VTM), report_of("b", BPG)]
    everything = Comparison(reports, {}, [published_of("C", HYPERPRIOR)])
    assert [(r.codec, r.anchor) for r in everything.bd_rates("psnr")] == [("a", "b"), ("a", "C"), ("b", "C")]
    chosen = Comparison(reports, {}, [published_of("C", HYPERPRIOR)], anchors=["a"])
    assert [(r.codec, r.anchor) for r in chosen.bd_rates("psnr")] == [("b", "a")]


def test_what_cannot_be_compared_says_why():
    high = [(b, p + 40, math.nan) for b, p, _ in VTM]
    comparison = Comparison([report_of("a", VTM), report_of("b", high)], {})
    (rate,) = comparison.bd_rates("psnr")
    assert rate.percent is None and "overlap" in rate.reason
    assert comparison.bd_rates("ms_ssim") == []  # no image has it with every codec


def test_curves_are_over_the_images_that_every_codec_did():
    one = Report(
        "one",
        "cpu",
        (1, 2),
        1,
        [row("a", 1, 0.1, 30), row("a", 2, 0.2, 32), row("b", 1, 0.5, 20), row("b", 2, 0.9, 22)],
    )
    other = Report("other", "cpu", (7, 8), 1, [row("a", 7, 0.1, 31), row("a", 8, 0.3, 34), row("b", 7, 0.4, 21)])
    comparison = Comparison([one, other], {})
    assert comparison.complete() == ["a"]
    assert [(p.quality, p.bpp, p.value) for p in comparison.curves("psnr")["one"]] == [
        (1, pytest.approx(0.1), 30),
        (2, pytest.approx(0.2), 32),
    ]
    nothing = Report("broken", "cpu", (1,), 1)
    assert Comparison([one, nothing], {}).complete() == [
        "a",
        "b",
    ]  # a codec that does nothing takes nothing from the others


def test_points_without_a_finite_value_are_no_points():
    lossless = Report(
        "a", "cpu", (1, 2, 3), 1, [row("a", 1, 1, 40, 0.99), row("a", 2, 2, 50, 0.999), row("a", 3, 8, math.inf, 1.0)]
    )
    comparison = Comparison([lossless], {})
    assert (
        [p.quality for p in comparison.curves("psnr")["a"]]
        == [p.quality for p in comparison.curves("ms_ssim")["a"]]
        == [1, 2]
    )
    assert comparison.curves("ms_ssim")["a"][0].value == pytest.approx(20)


def verdict_of(mine, *others):
    """(bits per pixel, PSNR) of vitcodec's file, and (codec, bits per pixel, PSNR) of the others'."""
    files = [("vitcodec", *mine), *others]
    reports = [Report(name, "cpu", (1,), 1, [row("a.png", 1, bpp, psnr)]) for name, bpp, psnr in files]
    return verdict(Comparison(reports, {}, at_equal_size=True))


@pytest.mark.parametrize(
    ("mine", "others", "sentence"),
    [
        (
            (0.5, 33.0),
            [("JPEG", 0.5, 28.0), ("AVIF (tune=psnr)", 0.505, 32.1), ("AVIF (default tuning)", 0.5, 31)],
            "+0.9 dB over AVIF at equal size, +5.0 dB over JPEG (PSNR of vitcodec at 0.5 bits per pixel).",
        ),
        ((0.5, 33.0), [("A", 0.5, 34.2), ("B", 0.5, 33.01)], "1.2 dB under A at equal size, as good as B (PSNR of"),
        (
            (0.05, 20.0),
            [("A", 0.05, 19.0), ("JPEG", 0.12, 24.0), ("WebP", 0.06, 20.5)],
            "+1.0 dB over A at equal size; 4.0 dB under JPEG, whose file is 2.4 times as large; "
            "0.5 dB under WebP, whose file is 20 % larger (PSNR of",
        ),
        ((0.5, 33.0), [("A", 0.4, 32.0)], "+1.0 dB over A, whose file is 20 % smaller (PSNR of"),
        ((2, math.inf), [("A", 2, 44.0)], "lossless against 44.0 dB of A at equal size (PSNR of vitcodec at 2 bits"),
        ((2, 50.0), [("A", 2, math.inf)], "50.0 dB against lossless A at equal size (PSNR of"),
        ((2, math.inf), [("A", 2, math.inf)], "lossless as A at equal size (PSNR of"),
        ((2, math.inf), [], "lossless, no other codec was measured (PSNR of"),
        ((0.5, 33.0), [], "33.0 dB, no other codec was measured (PSNR of"),
    ],
)
def test_verdict_in_a_sentence(mine, others, sentence):
    assert verdict_of(mine, *others).sentence.startswith(sentence)


def test_verdict_names_all_and_only_where_sizes_were_to_match():
    found = verdict_of((0.5, 33.0), ("JPEG", 0.7, 36.0), ("WebP", 0.5, 31.0))
    assert [(s["codec"], s["same_size"], s["gain"]) for s in found.record()["against"]] == [
        ("WebP", True, 2.0),
        ("JPEG", False, -3.0),
    ]
    assert verdict(Comparison([report_of("a", VTM)], {})) is None
    assert verdict(Comparison([Report("a", "cpu", (), 1)], {}, at_equal_size=True)) is None


def test_small_images_count_for_psnr_alone():
    mixed = Report("a", "cpu", (1,), 1, [row("large", 1, 1.0, 40, 0.99), row("small", 1, 3.0, 30)])
    comparison = Comparison([mixed], {})
    assert (comparison.curves("psnr")["a"][0].bpp, comparison.curves("ms_ssim")["a"][0].bpp) == (2, 1)


def test_scores_are_interpolated_as_they_are():
    """SSIMULACRA2 may be negative, and its own scale is that of BD-rates."""

    def scored(name, curve):
        points = [(bpp, row("a.png", i, bpp, 30.0)) for i, (bpp, _) in enumerate(curve)]
        rows = [replace(r, values={**r.values, "ssimulacra2": s}) for (_, r), (_, s) in zip(points, curve, strict=True)]
        return Report(name, "cpu", range(len(rows)), 1, rows)

    curve = [(0.1, -40.0), (0.2, 10.0), (0.5, 50.0), (1.0, 75.0)]
    half = [(bpp / 2, score) for bpp, score in curve]
    (rate,) = Comparison([scored("a", half), scored("b", curve)], {}).bd_rates("ssimulacra2")
    assert (rate.percent, rate.low, rate.high) == (pytest.approx(-50, abs=1e-3), -40, 75)


def test_published_curves_in_two_forms(tmp_path):
    points = [{"bpp": 0.2, "psnr_rgb": 30.0, "ms_ssim": 0.97, "ssimulacra2": -3.5}, {"bpp": 0.4, "psnr_rgb": 33.0}]
    (tmp_path / "curves.json").write_text(json.dumps({"curves": [{"id": "x", "name": "Codec X", "points": points}]}))
    columns = {
        "name": "y",
        "results": {"bpp": [0.1, 0.3], "psnr-rgb": [29, 31], "ms-ssim-rgb": [0.9, 0.95], "encoding_time": [1, 2]},
    }
    (tmp_path / "results.json").write_text(json.dumps(columns))
    x, y = read_published([tmp_path / "curves.json", tmp_path / "results.json"])
    of_x = {"psnr": ((0.2, 30.0), (0.4, 33.0)), "ms_ssim": ((0.2, 0.97),), "ssimulacra2": ((0.2, -3.5),)}
    of_y = {"psnr": ((0.1, 29.0), (0.3, 31.0)), "ms_ssim": ((0.1, 0.9), (0.3, 0.95)), "ssimulacra2": ()}
    assert (x, y) == (Published("x", "Codec X", of_x), Published("y", "y", of_y))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"curves": [{"name": "x"}]}',
        '{"curves": [{"name": "x", "points": [{"bpp": 1}]}]}',
        '{"name": 1, "results": {}}',
    ],
)
def test_files_without_curves(tmp_path, text):
    path = tmp_path / "curves.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"curves\.json.*docs/reports\.md"):
        read_published([path])


def texture():
    noise = np.random.default_rng(0).normal(0, 12, (72, 80, 1))
    ramp = np.add.outer(np.arange(72), np.arange(80))[..., None] + np.array([0, 30, 60])
    return picture_of(np.clip(ramp + noise, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("codec", BASELINES, ids=lambda c: c.name)
def test_baselines_rise_in_rate_and_psnr(codec):
    picture, sizes, psnrs = texture(), [], []
    for setting in (codec.settings[0], codec.settings[4], codec.settings[-1]):
        data = codec.encode(picture, setting)
        sizes.append(len(data))
        psnrs.append(metrics.psnr(picture.rgb, codec.decode(data).rgb))
    assert sizes == sorted(set(sizes))
    assert psnrs == sorted(set(psnrs))


@pytest.mark.parametrize("codec", BASELINES, ids=lambda c: c.name)
def test_baselines_on_gray(codec):
    picture = picture_of(np.repeat(make_rgb(48, 40)[..., :1], 3, -1))
    picture.gray = True
    assert metrics.psnr(picture.rgb, codec.decode(codec.encode(picture, codec.settings[-1])).rgb) > 28


def test_what_another_codec_cannot_store_is_no_internal_error():
    wide = picture_of(np.zeros((2, 16400, 3), np.uint8))
    with pytest.raises(InputError, match=r"WebP cannot store this picture: .*16383"):
        WEBP.encode(wide, 50)


def test_avif_is_measured_with_both_tunings():
    assert baselines.choose(["avif"]) == [AVIF, AVIF_DEFAULT]
    picture = texture()
    assert AVIF.encode(picture, 50) != AVIF_DEFAULT.encode(picture, 50)
    assert "tune=psnr" in AVIF.name and "default" in AVIF_DEFAULT.name


def test_choice_of_baselines(monkeypatch):
    assert baselines.choose(["webp", "jpeg"]) == [JPEG, WEBP]
    assert set(BASELINES) <= set(baselines.choose(["all"]))
    with pytest.raises(UsageError, match="no baseline 'gif'; there are jpeg, webp, jpeg2000, avif, jxl and all"):
        baselines.choose(["gif"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install"):
        baselines.choose(["jxl"])
    assert baselines.choose(["all"]) == list(BASELINES)


@pytest.mark.parametrize("codec", [JPEG, WEBP, JPEG_2000], ids=lambda c: c.name)
def test_files_of_a_wanted_size(codec):
    picture = texture()
    sizes = {s: len(codec.encode(picture, s)) for s in list(codec.scale)[::10]}
    low, high = min(sizes.values()), max(sizes.values())
    for target in (1.2 * low, (low * high) ** 0.5, 0.8 * high):
        found = len(codec.encode(picture, match_size(codec, picture, target)))
        assert abs(math.log(found / target)) <= min(abs(math.log(s / target)) for s in sizes.values()) + 1e-9
    assert match_size(codec, picture, 1) == codec.scale[0]
    assert match_size(codec, picture, 1e9) == codec.scale[-1]


def test_matching_takes_few_encodings_of_vitcodecs_scale():
    codec = Rounding()
    quality = match_size(codec, picture_of(make_rgb(40, 40)), 2500)
    assert 1 <= quality <= 100 and len(codec.calls) <= 9


def test_means_of_a_measured_run(photos):
    reports = [evaluate(Rounding(), photos, [60, 80]), evaluate(JPEG, photos, [50, 90])]
    curves = Comparison(reports, {}).curves("psnr")
    for report in reports:
        assert [(p.quality, p.bpp, p.value) for p in curves[report.codec]] == [
            (m.quality, m.bpp, m.psnr) for m in report.means()
        ]
    assert Image.open(photos[0]).size == (50, 40)
