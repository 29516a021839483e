"""Measuring: what is counted, what is averaged, what failures do, and how it is reported."""

import csv
import io
import json
import math
import tempfile
import zlib
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from vitcodec import metrics
from vitcodec.cli import app
from vitcodec.errors import FormatError
from vitcodec.evaluation import engine
from vitcodec.evaluation.baselines import BASELINES
from vitcodec.evaluation.engine import Failure, evaluate
from vitcodec.evaluation.plot import rate_distortion_svg
from vitcodec.evaluation.report import row_record, summary, to_csv, to_table
from vitcodec.images import Picture


def picture_of(rgb):
    return Picture(rgb=rgb, alpha=None, gray=False, icc=None, exif=None, xmp=None, notes=[])


class Rounding:
    """A small codec: pixels rounded to multiples of a step, then zlib. Quality 100 is lossless."""

    name = "rounding"

    def __init__(self, refuse=()):
        self.refuse, self.calls = refuse, []

    def encode(self, picture, quality):
        self.calls.append(("encode", quality))
        if quality in self.refuse:
            raise FormatError(f"quality {quality} is broken")
        step = 101 - quality
        rounded = np.minimum(np.round(picture.rgb / step) * step, 255).astype(np.uint8)
        return bytes([len(rounded.shape)]) + np.array(rounded.shape, ">u4").tobytes() + zlib.compress(rounded.tobytes())

    def decode(self, data):
        self.calls.append(("decode", len(data)))
        shape = np.frombuffer(data[1:13], ">u4")
        return picture_of(np.frombuffer(zlib.decompress(data[13:]), np.uint8).reshape(shape))


def smooth(height, width):
    return (np.add.outer(np.arange(height), np.arange(width))[..., None] // 2 + np.array([0, 10, 20])).astype(np.uint8)


@pytest.fixture
def photos(tmp_path):
    """Two images of different size and difficulty, too small for MS-SSIM."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    files = [tmp_path / "photos" / "ramp.png", tmp_path / "photos" / "noise.png"]
    files[0].parent.mkdir()
    for file, pixels in zip(files, (smooth(40, 50), noise), strict=True):
        Image.fromarray(pixels).save(file)
    return files


def test_rows_hold_size_and_measures(photos):
    report = evaluate(Rounding(), photos, [60, 95])
    assert [(Path(r.file).name, r.quality) for r in report.rows] == [("ramp.png", 60), ("ramp.png", 95), ("noise.png", 60), ("noise.png", 95)]
    for row in report.rows:
        codec, original = Rounding(), np.asarray(Image.open(row.file))
        data = codec.encode(picture_of(original), row.quality)
        assert row.bytes == len(data)
        assert row.bpp == 8 * len(data) / (row.width * row.height)
        assert (row.height, row.width) == original.shape[:2]
        decoded = codec.decode(data).rgb
        assert (row.psnr, row.ssim) == (metrics.psnr(original, decoded), metrics.ssim(original, decoded))


def test_ms_ssim_of_the_images_that_have_one(photos, tmp_path):
    large = tmp_path / "large.png"
    Image.fromarray(smooth(176, 180)).save(large)
    report = evaluate(Rounding(), [photos[0], large], [60])
    assert [math.isnan(r.ms_ssim) for r in report.rows] == [True, False]
    (mean,) = report.means()
    assert (mean.without_ms_ssim, mean.ms_ssim) == (1, report.rows[1].ms_ssim)
    assert "none for 1 images" in to_table(report)


def test_decoding_is_from_the_file_on_disk(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    seen = []

    class Watching(Rounding):
        def decode(self, data):
            seen.append([p.read_bytes() == data for p in (tmp_path / "tmp").rglob("*.vitc")])
            return super().decode(data)

    evaluate(Watching(), photos, [50])
    assert seen == [[], [True], [True]]  # the warm-up leaves no file
    assert not list((tmp_path / "tmp").iterdir())


def test_means_count_every_image_once(photos):
    report = evaluate(Rounding(), photos, [60])
    a, b = report.rows
    (mean,) = report.means()
    assert (mean.quality, mean.images, mean.identical, mean.without_ms_ssim) == (60, 2, 0, 2)
    assert mean.bpp == pytest.approx((a.bpp + b.bpp) / 2)
    assert mean.psnr == pytest.approx((a.psnr + b.psnr) / 2)  # not the PSNR of the mean error
    assert mean.bytes == a.bytes + b.bytes
    assert math.isnan(mean.ms_ssim)


def test_identical_images_are_left_out_of_the_mean(photos, tmp_path):
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
    assert [(Path(f.file).name, f.quality) for f in report.failures] == [("broken.png", None), ("ramp.png", 70), ("missing.png", None)]
    assert report.failures[1] == Failure(str(photos[0]), 70, f"{photos[0]}: quality 70 is broken")
    assert [m.quality for m in report.means()] == [50, 90]


def test_an_unforeseen_error_is_a_failure_too(photos):
    class Faulty(Rounding):
        def decode(self, data):
            raise IndexError("out of\nrange")

    (failure,) = evaluate(Faulty(), photos[:1], [50]).failures
    assert failure.message == f"{photos[0]}: IndexError: out of range"
    (failure,) = evaluate(Faulty(), photos[:1], [50], describe=lambda error, file: f"{type(error).__name__} in {Path(file).name}").failures
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
    monkeypatch.setattr(engine.time, "perf_counter", lambda: clock.now)

    class Timed(Rounding):
        encodings = iter([99, 4, 1, 2])  # the warm-up, then three runs

        def encode(self, picture, quality):
            clock.now += next(self.encodings)
            return super().encode(picture, quality)

        def decode(self, data):
            clock.now += 0.5
            return super().decode(data)

    codec = Timed()
    report = evaluate(codec, photos[:1], [50], repeat=3)
    assert [name for name, _ in codec.calls] == ["encode", "decode", *["encode"] * 3, *["decode"] * 3]
    assert (report.rows[0].encode_seconds, report.rows[0].decode_seconds) == (2, 0.5)
    (mean,) = report.means()
    assert (mean.encode_mps, mean.decode_mps) == (pytest.approx(0.002 / 2), pytest.approx(0.002 / 0.5))


def test_progress_hears_of_every_result(photos, tmp_path):
    heard = []
    report = evaluate(Rounding(refuse=[70]), [*photos, tmp_path / "missing.png"], [50, 70], advance=heard.append)
    assert len(heard) == len(report.rows) + len(report.failures) == 5


def test_records_and_summary(photos):
    report = evaluate(Rounding(refuse=[70]), photos, [50, 70, 100])
    records = [row_record(r) for r in report.rows]
    assert [(r["quality"], r["identical"], r["bpp"]) for r in records] == [(r.quality, r.quality == 100, r.bpp) for r in report.rows]
    total = json.loads(json.dumps(summary(report)))
    assert [(m["quality"], m["images"]) for m in total["means"]] == [(50, 2), (100, 2)]


def test_csv_has_a_row_per_image_and_quality(photos):
    report = evaluate(Rounding(), photos, [50, 100])
    rows = list(csv.DictReader(io.StringIO(to_csv(report))))
    assert [(Path(r["file"]).name, r["quality"], r["bytes"]) for r in rows] == [
        (Path(r.file).name, str(r.quality), str(r.bytes)) for r in report.rows
    ]
    assert float(rows[0]["psnr"]) == report.rows[0].psnr
    assert rows[1]["psnr"] == "inf"
    assert rows[2]["ms_ssim"] == ""
    empty = evaluate(Rounding(), [], [50])
    assert to_csv(empty).rstrip("\n").split(",") == list(rows[0])


def test_table_shows_images_means_and_what_is_missing(photos):
    lines = to_table(evaluate(Rounding(), photos, [50, 100])).splitlines()
    assert lines[0].split()[:4] == ["image", "quality", "bytes", "bpp"]
    assert [line.split()[0] for line in lines[2:6]] == ["ramp.png", "ramp.png", "noise.png", "noise.png"]
    assert [line.split()[:4] for line in lines[7:9]] == [["mean", "of", "2", "50"], ["mean", "of", "2", "100"]]
    assert "inf" in lines[3].split()
    assert any("2 images came back identical" in line for line in lines)


def test_table_without_results(tmp_path):
    assert to_table(evaluate(Rounding(), [], [50])) == "no image was measured"


@pytest.mark.parametrize("codec", BASELINES, ids=lambda c: c.name)
def test_baselines_rise_in_rate_and_psnr(codec):
    texture = np.random.default_rng(0).normal(0, 12, (72, 80, 1))
    ramp = np.add.outer(np.arange(72), np.arange(80))[..., None] + np.array([0, 30, 60])
    picture = picture_of(np.clip(ramp + texture, 0, 255).astype(np.uint8))
    sizes, psnrs = [], []
    for setting in (codec.settings[0], codec.settings[4], codec.settings[-1]):
        data = codec.encode(picture, setting)
        sizes.append(len(data))
        psnrs.append(metrics.psnr(picture.rgb, codec.decode(data).rgb))
    assert sizes == sorted(set(sizes))
    assert psnrs == sorted(set(psnrs))


def test_plot_is_xml_with_a_line_per_curve():
    svg = rate_distortion_svg({"a <b>": [(0.2, 30), (1, 35), (9, 50)], "c": [(0.1, 28), (2, 38)]}, "R & D")
    root = ElementTree.fromstring(svg)
    lines = [e for e in root.iter() if e.tag.endswith("polyline")]
    assert [len(line.attrib["points"].split()) for line in lines] == [2, 2]  # the point at 9 bits per pixel is outside
    assert {"a <b>", "c", "R & D"} <= {e.text for e in root.iter() if e.tag.endswith("text")}
    with pytest.raises(ValueError, match="no curve"):
        rate_distortion_svg({"a": [(5, 50)]}, "empty")


@pytest.fixture
def run(monkeypatch):
    """`vitcodec eval ARGUMENTS...` with the small codec in place of the model -> result."""
    from vitcodec.codec import Codec

    monkeypatch.setattr(Codec, "load", lambda *arguments: Rounding(refuse=[70]))
    return lambda *arguments: CliRunner().invoke(app, ["eval", *map(str, arguments)])


def test_command_prints_a_table(run, photos):
    result = run(photos[0].parent, "-q", "50,90", "-q", "95")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[2:8]] == ["noise.png"] * 3 + ["ramp.png"] * 3
    assert [line.split()[3] for line in lines[9:12]] == ["50", "90", "95"]


def test_command_prints_json_lines(run, photos, tmp_path):
    result = run(*photos, tmp_path / "missing.png", "-q", "70,100", "--json")
    assert result.exit_code == 1
    *records, total = [json.loads(line, parse_constant=pytest.fail) for line in result.stdout.splitlines()]
    assert [(Path(r["file"]).name, r["quality"], r["status"]) for r in records] == [
        ("ramp.png", 100, "done"),
        ("noise.png", 100, "done"),
        ("missing.png", None, "failed"),
        ("ramp.png", 70, "failed"),
        ("noise.png", 70, "failed"),
    ]
    assert (records[0]["identical"], records[0]["psnr"]) == (True, None)
    assert (total["schema_version"], total["done"], total["failed"], total["means"][0]["images"]) == (1, 2, 3, 2)
    assert "missing.png: no such file" in result.stderr
    assert "quality 70 is broken (at quality 70)" in result.stderr


def test_command_writes_csv_and_replaces_only_when_told(run, photos, tmp_path):
    target = tmp_path / "new" / "report.csv"
    assert run(*photos, "-q", "50", "--csv", target).exit_code == 0
    written = target.read_text()
    assert len(written.splitlines()) == 3
    result = run(*photos, "-q", "50,60", "--csv", target)
    assert result.exit_code == 1
    assert "exists already; use --overwrite" in result.stderr
    assert target.read_text() == written
    assert run(*photos, "-q", "50,60", "--csv", target, "--overwrite").exit_code == 0
    assert len(target.read_text().splitlines()) == 5


def test_command_refuses_what_makes_no_sense(run, photos, tmp_path):
    for quality in ("0", "101", "good", "50,", "5.5", "-3"):
        result = run(photos[0], "-q", quality)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), quality
    assert run("-").exit_code == 2
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty").exit_code == 3
    assert run(tmp_path / "missing").exit_code == 1
