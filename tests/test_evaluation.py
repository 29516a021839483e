"""Measuring: what is counted, what is averaged, what failures do."""

import math
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import Rounding, picture_of, smooth
from PIL import Image

from vitcodec import metrics
from vitcodec.errors import UsageError
from vitcodec.evaluation import memory
from vitcodec.evaluation.engine import Entrant, evaluate, evaluate_decoded
from vitcodec.evaluation.measures import MEASURES, choose
from vitcodec.evaluation.results import Failure
from vitcodec.options import EncodeOptions


def test_rows_hold_size_and_measures(photos):
    report = evaluate(Rounding(), photos, [60, 95])
    assert [(Path(r.file).name, r.quality) for r in report.rows] == [
        ("ramp.png", 60),
        ("ramp.png", 95),
        ("noise.png", 60),
        ("noise.png", 95),
    ]
    for row in report.rows:
        codec, original = Rounding(), np.asarray(Image.open(row.file))
        data = codec.encode(picture_of(original), row.quality)
        assert row.bytes == len(data)
        assert row.bpp == 8 * len(data) / (row.width * row.height)
        assert (row.height, row.width) == original.shape[:2]
        decoded = codec.decode(data).rgb
        assert (row.psnr, row.values["ssim"]) == (metrics.psnr(original, decoded), metrics.ssim(original, decoded))


def test_ms_ssim_of_the_images_that_have_one(photos, tmp_path):
    large = tmp_path / "large.png"
    Image.fromarray(smooth(176, 180)).save(large)
    report = evaluate(Rounding(), [photos[0], large], [60])
    assert [math.isnan(r.values["ms_ssim"]) for r in report.rows] == [True, False]
    (mean,) = report.means()
    assert (mean.without["ms_ssim"], mean.values["ms_ssim"]) == (1, report.rows[1].values["ms_ssim"])


def test_decoding_is_from_the_file_on_disk(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    stored = []

    class Watching(Rounding):
        def decode(self, data):
            stored.append([p.read_bytes() == data for p in (tmp_path / "tmp").rglob("*.vitc")])
            return super().decode(data)

    evaluate(Watching(), photos, [50])
    assert stored == [[], [True], [True]]  # the warm-up leaves no file
    assert not list((tmp_path / "tmp").iterdir())


def test_means_count_every_image_once(photos):
    report = evaluate(Rounding(), photos, [60])
    a, b = report.rows
    (mean,) = report.means()
    assert (mean.quality, mean.images, mean.identical, mean.without["ms_ssim"]) == (60, 2, 0, 2)
    assert mean.bpp == pytest.approx((a.bpp + b.bpp) / 2)
    assert mean.psnr == pytest.approx((a.psnr + b.psnr) / 2)  # not the PSNR of the mean error
    assert mean.bytes == a.bytes + b.bytes
    assert math.isnan(mean.values["ms_ssim"])


def test_the_mean_is_without_identical_images(photos, tmp_path):
    flat = tmp_path / "flat.png"
    Image.new("RGB", (30, 30), (0, 102, 51)).save(flat)  # multiples of the step of quality 50
    partly, wholly = evaluate(Rounding(), [flat, photos[1]], [50, 100]).means()
    assert (partly.identical, wholly.identical) == (1, 2)
    assert math.isfinite(partly.psnr)
    assert wholly.psnr == math.inf


def test_a_failure_is_listed_and_stops_nothing(photos, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not an image")
    report = evaluate(Rounding(refuse=[70]), [broken, photos[0], tmp_path / "missing.png"], [50, 70, 90])
    assert [r.quality for r in report.rows] == [50, 90]
    assert [(Path(f.file).name, f.quality) for f in report.failures] == [
        ("broken.png", None),
        ("ramp.png", 70),
        ("missing.png", None),
    ]
    assert report.failures[1] == Failure(str(photos[0]), 70, f"{photos[0]}: quality 70 is broken", "rounding")
    assert [m.quality for m in report.means()] == [50, 90]


def test_an_unforeseen_error_is_a_failure_too(photos):
    class Faulty(Rounding):
        def decode(self, data):
            raise IndexError("out of\nrange")

    (failure,) = evaluate(Faulty(), photos[:1], [50]).failures
    assert failure.message == f"{photos[0]}: IndexError: out of range"
    (failure,) = evaluate(
        Faulty(), photos[:1], [50], describe=lambda error, file: f"{type(error).__name__} in {Path(file).name}"
    ).failures
    assert failure.message == "IndexError in ramp.png"


def test_a_decoder_that_returns_another_size_fails(photos):
    class Cropping(Rounding):
        def decode(self, data):
            return picture_of(super().decode(data).rgb[1:])

    report = evaluate(Cropping(), photos[:1], [50])
    assert not report.rows
    assert "one shape" in report.failures[0].message


def test_times_are_medians_after_one_warm_up(photos, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)

    class Timed(Rounding):
        encodings = iter([99, 4, 1, 2])  # the warm-up, then three runs

        def encode(self, picture, quality):
            clock.now += next(self.encodings)
            return super().encode(picture, quality)

        def decode(self, data):
            clock.now += 0.5
            return super().decode(data)

    codec = Timed()
    report = evaluate(codec, photos[:1], [50], reps=3)
    assert [name for name, _ in codec.calls] == ["encode", "decode", *["encode"] * 3, *["decode"] * 3]
    assert (report.rows[0].encode_seconds, report.rows[0].decode_seconds) == (2, 0.5)
    (mean,) = report.means()
    assert (mean.encode_mps, mean.decode_mps) == (pytest.approx(0.002 / 2), pytest.approx(0.002 / 0.5))


def test_progress_hears_of_every_result(photos, tmp_path):
    heard = []
    report = evaluate(Rounding(refuse=[70]), [*photos, tmp_path / "missing.png"], [50, 70], advance=heard.append)
    assert len(heard) == len(report.rows) + len(report.failures) == 5


def test_colours_alone_are_encoded(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.new("RGBA", (20, 20), (9, 9, 9, 128)).save(tmp_path / "tagged.png", exif=exif)
    pictures = []

    class Watching(Rounding):
        def encode(self, picture, quality):
            pictures.append(picture)
            return super().encode(picture, quality)

    evaluate(Watching(), [tmp_path / "tagged.png"], [50])
    assert all(p.alpha is p.icc is p.exif is p.xmp is None for p in pictures) and len(pictures) == 2


def test_memory_is_what_the_work_holds(photos):
    def hold():
        return np.ones(64 << 20, np.uint8).sum()

    result, peak = memory.peak_memory(hold)
    assert result == 64 << 20
    if peak is not None:  # Linux tells
        assert 60 << 20 < peak < 90 << 20
        assert 60 << 20 < memory.peak_memory(hold)[1] < 90 << 20  # again, though the memory has been used before
        assert memory.peak_memory(lambda: None)[1] < 8 << 20


def test_memory_unknown_elsewhere(monkeypatch, photos):
    monkeypatch.setattr(memory, "RESET", "/nonexistent/clear_refs")
    assert memory.peak_memory(lambda: 5) == (5, None)
    (row,) = evaluate(Rounding(), photos[:1], [50]).rows
    assert row.encode_memory is row.decode_memory is None


def test_decoded_pictures_are_measured_as_they_are(tmp_path, photos):
    original = np.asarray(Image.open(photos[1]))
    Image.fromarray(original ^ 4).save(tmp_path / "noise.png")
    Image.fromarray(original[:-1]).save(tmp_path / "cut.png")
    pairs = [(photos[1], tmp_path / "noise.png"), (photos[1], tmp_path / "cut.png"), (photos[1], photos[1])]
    report = evaluate_decoded("other", pairs)
    assert [r.psnr for r in report.rows] == [metrics.psnr(original, original ^ 4), math.inf]
    assert all(
        r.bytes is None and r.quality is None and math.isnan(r.bpp) and math.isnan(r.encode_mps) for r in report.rows
    )
    (failure,) = report.failures
    assert (
        failure.message
        == f"{tmp_path / 'cut.png'}: is 30x19 and its original 30x20 pixels; give pictures of the original's size"
    )
    (mean,) = report.means()
    assert (mean.images, mean.identical, mean.bytes) == (2, 1, None)


def test_vitcodecs_own_codec_is_measured_under_fixed_options(photos):
    asked = []

    class Recording:
        name, device, config = "recording", "cpu", "its config"

        def encode(self, picture, options=None, **changes):
            asked.append(options)
            return Rounding().encode(picture, options.quality)

        def decode(self, data, options=None, **changes):
            return Rounding().decode(data)

    entrant = Entrant(Recording(), EncodeOptions(effort=7, tile=256))
    assert (entrant.name, entrant.device, entrant.config) == ("recording", "cpu", "its config")
    report = evaluate(entrant, photos[:1], [20, 90])
    assert asked == [EncodeOptions(quality=q, effort=7, tile=256) for q in (20, 20, 90)]  # the first is the warm-up
    assert [r.psnr for r in report.rows] == [r.psnr for r in evaluate(Rounding(), photos[:1], [20, 90]).rows]
    assert report.description == "effort 7, tile 256"
    assert Entrant(Recording()).description == f"effort {EncodeOptions.effort}"


def test_measures_are_chosen_by_name_and_psnr_is_always_there(photos):
    for names, keys in (
        (["psnr"], ["psnr"]),
        (["ssimulacra2", "ms-ssim"], ["psnr", "ms_ssim", "ssimulacra2"]),
        (["ms_ssim"], ["psnr", "ms_ssim"]),
        (["all"], list(MEASURES)),
        (["ssim", "all"], list(MEASURES)),
    ):
        assert choose(names) == keys
        report = evaluate(Rounding(), photos, [60], metrics=names)
        assert [list(row.values) for row in report.rows] == [keys, keys]
        assert [list(mean.values) for mean in report.means()] == [keys]
        report = evaluate_decoded("other", [(photos[0], photos[0])], metrics=names)
        assert list(report.rows[0].values) == keys
    with pytest.raises(UsageError, match="unknown metric 'vmaf'"):
        evaluate(Rounding(), photos, [60], metrics=["vmaf"])


def test_every_measure_is_in_rows_and_means(photos):
    report = evaluate(Rounding(), photos, [60])
    assert all(row.values.keys() == MEASURES.keys() for row in report.rows)
    (mean,) = report.means()
    assert mean.values.keys() == MEASURES.keys()
    for row in report.rows:
        side = min(row.width, row.height)
        assert all(math.isnan(row.values[key]) == (side < m.smallest_side) for key, m in MEASURES.items())
