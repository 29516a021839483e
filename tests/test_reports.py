"""Reports: tables, JSON, CSV, Markdown and the page, and the commands that make them, with a small codec."""

import csv
import io
import json
import math
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import Rounding, make_rgb, smooth
from PIL import Image
from typer.testing import CliRunner

from vitcodec.cli import app, codecs
from vitcodec.cli.output import _finite
from vitcodec.cli.reporting import renderer
from vitcodec.evaluation.baselines import JPEG
from vitcodec.evaluation.comparison import Comparison
from vitcodec.evaluation.engine import Entrant, evaluate
from vitcodec.evaluation.measures import MEASURES, PLOTTED
from vitcodec.evaluation.page import to_html
from vitcodec.evaluation.pictures import most_different, part_around, scenes, worst_part
from vitcodec.evaluation.plot import rate_distortion_svg
from vitcodec.evaluation.provenance import provenance
from vitcodec.evaluation.report import row_record, summary, to_csv, to_markdown, to_table
from vitcodec.images import read_image
from vitcodec.options import EncodeOptions

ORIGIN = {"command": "vitcodec eval <photos> | less", "machine": "a test", "date": "today"}


def compared(photos, qualities=(50, 100), refuse=()):
    return Comparison([evaluate(Rounding(refuse), photos, qualities), evaluate(JPEG, photos, [30, 60, 90])], ORIGIN)


def alone(photos, qualities, refuse=()):
    return Comparison([evaluate(Rounding(refuse), photos, qualities)], ORIGIN)


def test_records_and_summary(photos):
    comparison = alone(photos, [50, 70, 100], refuse=[70])
    records = [row_record(r, "rounding") for r in comparison.reports[0].rows]
    assert [(r["quality"], r["identical"], r["codec"]) for r in records] == [
        (50, False, "rounding"),
        (100, True, "rounding"),
    ] * 2
    total = json.loads(json.dumps(summary(comparison)))
    assert [(m["quality"], m["images"]) for m in total["codecs"][0]["means"]] == [(50, 2), (100, 2)]
    assert total["provenance"] == ORIGIN


def test_csv_has_a_row_per_codec_image_and_quality(photos):
    comparison = compared(photos)
    rows = list(csv.DictReader(io.StringIO(to_csv(comparison))))
    measured = [(r.codec, x.file, str(x.quality), str(x.bytes)) for r in comparison.reports for x in r.rows]
    assert [(r["codec"], r["file"], r["quality"], r["bytes"]) for r in rows] == measured
    assert float(rows[0]["psnr"]) == comparison.reports[0].rows[0].psnr
    assert (rows[1]["psnr"], rows[2]["ms_ssim"], rows[0]["command"]) == ("inf", "", ORIGIN["command"])
    assert to_csv(alone([], [50])).rstrip("\n").split(",") == list(rows[0])


def test_every_measure_is_everywhere(photos):
    comparison = compared(photos)
    rows = list(csv.DictReader(io.StringIO(to_csv(comparison))))
    assert all(MEASURES.keys() <= row.keys() for row in rows)
    total = summary(comparison)
    assert all(MEASURES.keys() <= mean.keys() for codec in total["codecs"] for mean in codec["means"])
    assert total["curves"].keys() == PLOTTED.keys()
    headings = to_table(comparison).splitlines()[2]
    assert all(f" {measure.title}  " in headings for measure in MEASURES.values())


def test_measures_that_were_not_taken_are_nowhere(photos):
    reports = [evaluate(codec, photos, [30, 60, 90], metrics=["ssimulacra2"]) for codec in (Rounding(), JPEG)]
    comparison = Comparison(reports, ORIGIN)
    assert comparison.measured == comparison.plotted == ["psnr", "ssimulacra2"]
    total = summary(comparison)
    assert total["curves"].keys() == {"psnr", "ssimulacra2"} == {r["measure"] for r in total["bd_rates"]}
    record = row_record(reports[0].rows[0], "rounding")
    assert MEASURES.keys() & record.keys() == {"psnr", "ssimulacra2"}
    (row, *_) = csv.DictReader(io.StringIO(to_csv(comparison)))  # the columns are the same as with all
    assert (row["ssim"], row["ms_ssim"]) == ("", "") and float(row["ssimulacra2"]) < 100
    for text in (to_table(comparison), to_markdown(comparison), to_html(comparison, [])):
        assert "SSIMULACRA2" in text and not re.search(r"\bSSIM\b", text)


def test_table_shows_images_means_and_what_there_is_not(photos):
    text = to_table(alone(photos, [50, 100]))
    lines = text.splitlines()
    assert lines[0] == "Images, rounding" and lines[2].split()[:4] == ["image", "quality", "bytes", "bpp"]
    assert [line.split()[0] for line in lines[4:8]] == ["ramp.png", "ramp.png", "noise.png", "noise.png"]
    assert [line.split()[:3] for line in lines[13:15]] == [["rounding", "2", "50"], ["rounding", "2", "100"]]
    assert lines[5].split()[4] == "lossless"
    assert "2 images came back identical" in text and "none for 2 images" in text and "Machine: a test" in text
    assert to_table(alone([], [50])) == "no image was measured"


def test_table_says_how_codecs_compare(photos):
    text = to_table(compared(photos, [30, 60, 95]))
    assert "BD-rate for PSNR" in text and re.search(
        r"^rounding +JPEG +[+-][\d.]+ % +[\d.]+ to [\d.]+$", text, re.MULTILINE
    )
    assert "JPEG: 4:2:0" in text


def test_markdown_has_a_cell_for_every_heading(photos):
    text = to_markdown(compared(photos))
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    assert text.startswith("# rounding on 2 images\n") and "## Means" in text and "| ramp.png | 50 |" in text


def test_plot_is_xml_with_a_line_per_curve():
    svg = rate_distortion_svg({"a <b>": [(0.2, 30), (1, 35), (9, 50)], "c": [(0.1, 28), (2, 38)]}, "R & D")
    root = ElementTree.fromstring(svg)
    lines = [e for e in root.iter() if e.tag.endswith("polyline")]
    assert [len(line.attrib["points"].split()) for line in lines] == [2, 2]  # the point at 9 bits per pixel is outside
    assert {"a <b>", "c", "R & D"} <= {e.text for e in root.iter() if e.tag.endswith("text")}
    with pytest.raises(ValueError, match="no curve"):
        rate_distortion_svg({"a": [(5, 50)]}, "empty")


def test_plot_over_all_rates_is_logarithmic():
    curves = {"a": [(0.1, 28), (0.4, 32), (1.6, 36)]}
    root = ElementTree.fromstring(rate_distortion_svg(curves, "", None, labels={"a": ["x & y", "2", "3"]}, key=False))
    circles = [e for e in root.iter() if e.tag.endswith("circle")]
    x = [float(c.attrib["cx"]) for c in circles]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)  # equal ratios, equal distances
    assert [c.attrib["data-text"] for c in circles] == ["x & y", "2", "3"]


def test_lossless_pictures_take_no_curve_from_the_others(tmp_path):
    """A screenshot that comes back identical at every quality, beside photographs; and a quality where all do."""
    files = [tmp_path / name for name in ("screen.png", "a.png", "b.png")]
    for i, file in enumerate(files):
        Image.fromarray(make_rgb(60, 50, seed=i) if i else np.zeros((50, 60, 3), np.uint8)).save(file)
    comparison = compared(files, (50, 80, 100))
    coverage = comparison.coverage()
    assert coverage.files == [str(files[1]), str(files[2])] and coverage.lossless_files == [str(files[0])]
    assert coverage.lossless_points == [("rounding", 100)]
    for curve in comparison.curves("psnr").values():
        assert len(curve) >= 2 and all(math.isfinite(p.value) for p in curve)
    (rate,) = comparison.bd_rates("psnr")
    assert rate.percent is not None
    for text in (to_table(comparison), to_markdown(comparison), to_html(comparison, [])):
        assert "Curves and BD-rates are without 1 of 3 images" in text and "PSNR: screen.png" in text
        assert "rounding is lossless at quality 100: curves and BD-rates have no such point." in text
        assert not re.search(r"\binf\b", text.replace("inf dB", "inf")), "infinity is said in words"
    page = Page(to_html(comparison, []))
    assert {a.get("data-value") for a in page.all("td")} >= {"Infinity"}
    json.dumps(_finite(summary(comparison)), allow_nan=False)


def test_a_lossless_picture_alone_has_no_curve(tmp_path):
    Image.fromarray(np.zeros((50, 60, 3), np.uint8)).save(tmp_path / "screen.png")
    comparison = compared([tmp_path / "screen.png"], (50, 80))
    assert "rounding" not in comparison.curves("psnr") and comparison.bd_rates("psnr") == []
    assert "lossless" in to_table(comparison) and "<h1>" in to_html(comparison, [])


def test_plots_leave_infinity_out():
    root = ElementTree.fromstring(rate_distortion_svg({"a": [(0.5, 30), (1, 35), (2, math.inf)]}, "", None))
    assert len([e for e in root.iter() if e.tag.endswith("circle")]) == 2
    with pytest.raises(ValueError, match="no curve"):
        rate_distortion_svg({"a": [(2, math.inf)]}, "", None)


# the page


class Page(HTMLParser):
    """Every element's attributes by tag."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def all(self, tag, **wanted):
        return [
            a for t, a in self.elements if t == tag and all(a.get(k.replace("_", "-")) == v for k, v in wanted.items())
        ]


def page_of(comparison, codecs, count=24):
    shown = scenes(comparison, {c.name: renderer(c) for c in codecs}, read_image, count)
    return to_html(comparison, shown)


def test_page_asks_for_nothing_else(photos):
    text = page_of(compared(photos), [Rounding(), JPEG])
    sources = [
        value
        for _, a in Page(text).elements
        for key, value in a.items()
        if key in ("src", "href", "srcset", "action", "data")
    ]
    assert sources and all(s.startswith(("data:", "#")) for s in sources)
    assert not re.search(r"@import|url\(|https?://(?!www\.w3\.org/2000/svg)", text)
    assert Page(text).all("meta", http_equiv="Content-Security-Policy")[0]["content"].startswith("default-src 'none'")


def test_page_shows_the_worst_first_as_it_was_measured(photos):
    comparison = compared(photos, [40, 60, 80])
    found = scenes(comparison, {"rounding": renderer(Rounding()), "JPEG": renderer(JPEG)}, read_image, 24)
    rows = {r.file: r.psnr for r in comparison.reports[0].rows if r.quality == 60}
    assert [Path(f).name for f in sorted(rows, key=rows.get)] == [s.name for s in found]
    for scene in found:
        original, mine, other = (np.asarray(_image(uri)) for uri in (scene.original, *(s.uri for s in scene.shots)))
        file = next(f for f in rows if f.endswith(scene.name))
        assert np.array_equal(original, np.asarray(Image.open(file)))
        codec = Rounding()
        assert np.array_equal(mine, codec.decode(codec.encode(read_image(Path(file)), 60)).rgb)
        assert np.array_equal(other, JPEG.decode(JPEG.encode(read_image(Path(file)), scene.shots[1].row.quality)).rgb)
        mine_bytes = scene.shots[0].row.bytes
        nearest = min(
            (r for r in comparison.reports[1].rows if r.file == file), key=lambda r: abs(math.log(r.bytes / mine_bytes))
        )
        assert scene.shots[1].row == nearest
    assert len(scenes(comparison, {"rounding": renderer(Rounding()), "JPEG": renderer(JPEG)}, read_image, 1)) == 1


def _image(uri):
    import base64

    head, data = uri.split(",", 1)
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)), formats=["WEBP"])


def test_page_escapes_names(tmp_path):
    name = tmp_path / '<img src=x onerror="alert(1)">&.png'
    Image.fromarray(smooth(20, 20)).save(name)
    text = page_of(alone([name, tmp_path / "<b>missing</b>.png"], [50, 80]), [Rounding()])
    assert not Page(text).all("b", style=None, src="x") and "<img src=x" not in text and "<b>missing" not in text
    assert "&lt;img src=x" in text and "missing" in text


def test_page_without_pictures_or_curves(photos):
    text = page_of(alone(photos, [50]), [Rounding()], count=0)
    assert not Page(text).all("section", id="pictures") and Page(text).all("table", id="rows")


def test_a_large_image_is_shown_where_it_differs_most():
    original = np.zeros((300, 500, 3), np.uint8)
    decoded = original.copy()
    decoded[200:230, 390:420] = 90
    top, left, height, width = worst_part(original, decoded, 128)
    assert (height, width) == (128, 128) and top <= 200 and top + 128 >= 230 and left <= 390 and left + 128 >= 420
    assert worst_part(original, decoded, 500) == (0, 0, 300, 500)
    decoded[299, 499] = 255
    decoded[:280] = 0
    top, left, _, _ = worst_part(original, decoded, 128)
    assert (top, left) == (172, 372)
    assert worst_part(original[:100], decoded[:100], 128)[2:] == (100, 128)


def test_where_two_codecs_differ_most():
    original = np.full((300, 500, 3), 100, np.uint8)
    one, other = original.copy(), original.copy()
    one[:, :] = other[:, :] = 104  # an error that both make is no difference
    one[200:230, 390:420] = 160
    x, y, one_is_nearer = most_different(original, one, other)
    assert abs(x - 405) <= 32 and abs(y - 215) <= 32 and not one_is_nearer
    other[8:60, 8:60] = 250
    x, y, one_is_nearer = most_different(original, one, other)
    assert abs(x - 34) <= 32 and abs(y - 34) <= 32 and one_is_nearer
    assert most_different(original, one, one) is None
    tiny = original[:5, :3]
    assert most_different(tiny, tiny + np.uint8(1), tiny) == (1, 2, False)
    assert part_around(490, 10, 300, 500, 128) == (0, 372, 128, 128)
    assert part_around(250, 150, 300, 500, 128) == (86, 186, 128, 128)
    assert part_around(2, 2, 100, 90, 128) == (0, 0, 100, 90)


def test_template_is_package_data():
    names = {p.name for p in (resources.files("vitcodec.evaluation") / "templates").iterdir()}
    assert {"report.html", "report.css", "report.js"} <= names


def test_provenance_names_machine_versions_and_command():
    facts = provenance()
    assert facts["command"] == shlex.join(["vitcodec", *sys.argv[1:]])
    assert {"machine", "system", "threads", "versions", "date"} <= set(facts)
    assert "torch" in facts["versions"] and "pillow" in facts["versions"] and "libavif" in facts["versions"]


def test_provenance_names_the_model(codec):
    for measured in (codec, Entrant(codec, EncodeOptions(effort=2))):
        facts = provenance(measured)
        assert facts["model"] == f"{codec.name}, SHA-256 {codec.config.sha256}" and facts["device"] == "cpu"
    assert facts["effort"] == "2"


# the commands


class SmallCodec:
    """Rounding with the interface of vitcodec.Codec; `efforts` are those that it was asked for."""

    name, device = "rounding", "cpu"

    def __init__(self):
        self.rounding, self.efforts = Rounding(refuse=[70]), set()

    def encode(self, picture, options=None, **changes):
        self.efforts.add(options.effort)
        return self.rounding.encode(picture, options.quality)

    def decode(self, data, options=None, **changes):
        return self.rounding.decode(data)


@pytest.fixture
def small_codec(monkeypatch):
    codec = SmallCodec()
    monkeypatch.setattr(codecs, "load_codec", lambda *_: codec)
    return codec


@pytest.fixture
def run(small_codec):
    """`vitcodec ARGUMENTS...` with the small codec in place of the model -> result."""
    return lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)))


def test_eval_prints_a_table(run, photos):
    result = run("eval", photos[0].parent, "-q", "50,90", "-q", "95")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[4:10]] == ["noise.png"] * 3 + ["ramp.png"] * 3


@pytest.mark.parametrize("command", ["eval", "compare"])
def test_effort_reaches_the_codec_and_the_report(run, small_codec, photos, tmp_path, command):
    options = ("--json", "-q", "50", "--baselines", "", *(() if command == "eval" else ("-o", tmp_path / "page.html")))
    for given, effort in (((), EncodeOptions.effort), (("--effort", "7"), 7)):
        small_codec.efforts.clear()
        result = run(command, photos[0], *options, *given, *(["--overwrite"] if command == "compare" else []))
        assert result.exit_code == 0 and small_codec.efforts == {effort}
        total = json.loads(result.stdout.splitlines()[-1])
        assert total["provenance"]["effort"] == str(effort)
        assert total["codecs"][0]["description"] == f"effort {effort}"
        assert f"vitcodec rounding: effort {effort}." in total["remarks"]
    assert run(command, photos[0], "--effort", "10").exit_code == 2


def test_eval_prints_json_lines(run, photos, tmp_path):
    result = run("eval", *photos, tmp_path / "missing.png", "-q", "70,100", "--baselines", "jpeg", "--json")
    assert result.exit_code == 1
    *records, total = [json.loads(line, parse_constant=pytest.fail) for line in result.stdout.splitlines()]
    done, failed = ([r for r in records if r["status"] == status] for status in ("done", "failed"))
    assert [(r["codec"], Path(r["file"]).name, r["quality"]) for r in done[:3]] == [
        ("vitcodec rounding", "ramp.png", 100),
        ("vitcodec rounding", "noise.png", 100),
        ("JPEG", "ramp.png", 5),
    ]
    assert [(Path(r["file"]).name, r["quality"]) for r in failed] == [
        ("missing.png", None),
        ("ramp.png", 70),
        ("noise.png", 70),
    ]
    assert (done[0]["identical"], done[0]["psnr"]) == (True, None)
    assert (total["schema_version"], total["done"], total["failed"]) == (1, 2 + 16, 3)
    assert [c["codec"] for c in total["codecs"]] == ["vitcodec rounding", "JPEG"] and total["provenance"][
        "model"
    ] == "rounding"
    assert (
        "missing.png: no such file" in result.stderr
        and "quality 70 is broken (at quality 70, vitcodec rounding)" in result.stderr
    )


def test_eval_counts_images(run, photos):
    folder = photos[0].parent
    for name in ("bad.png", "x.cr2"):
        (folder / name).write_bytes(b"no image")
    result = run("eval", folder, "-q", "10,50,90", "--baselines", "jpeg")
    assert result.exit_code == 1 and "\n1 of 3 images failed:\n" in result.stderr
    assert "left out: 1 .cr2\n" in result.stderr
    total = json.loads(run("eval", folder, "-q", "10,50,90", "--json").stdout.splitlines()[-1])
    assert (total["images"], total["images_failed"], total["left_out"]) == (3, 1, {".cr2": 1})
    (folder / "bad.png").unlink()
    assert run("eval", folder, "-q", "50").exit_code == 0 and run("eval", folder, "-q", "50", "--strict").exit_code == 1
    pairs = run("eval", folder, folder, "--strict")
    assert pairs.exit_code == 1 and "left out: 1 .cr2" in pairs.stderr


def test_eval_writes_reports_and_replaces_only_when_told(run, photos, tmp_path):
    paths = {kind: tmp_path / "new" / f"report.{kind}" for kind in ("csv", "markdown", "html")}
    options = [part for kind, path in paths.items() for part in (f"--{kind}", path)]
    assert run("eval", *photos, "-q", "50,80", "--baselines", "jpeg", *options).exit_code == 0
    written = {path: path.read_bytes() for path in paths.values()}
    assert len(written[paths["csv"]].splitlines()) == 1 + 2 * (2 + 8)
    assert b"<!doctype html>" in written[paths["html"]] and written[paths["markdown"]].startswith(
        b"# vitcodec rounding on 2 images"
    )
    for kind, path in paths.items():
        result = run("eval", *photos, "-q", "50", f"--{kind}", path)
        assert result.exit_code == 1 and "exists already; use --overwrite" in result.stderr
    assert {path: path.read_bytes() for path in paths.values()} == written
    assert run("eval", *photos, "-q", "50,60", "--csv", paths["csv"], "--overwrite").exit_code == 0
    assert len(paths["csv"].read_text().splitlines()) == 5


def test_eval_never_replaces_an_input_or_another_report(run, photos, tmp_path):
    before = photos[0].read_bytes()
    for options in (["--html", photos[0]], ["--csv", tmp_path / "x", "--markdown", tmp_path / "x"]):
        result = run("eval", photos[0].parent, "-q", "50", *options, "--overwrite")
        assert result.exit_code == 2 and "would replace" in result.stderr
    assert photos[0].read_bytes() == before and run("eval", *photos, "--html", tmp_path).exit_code == 1


def test_eval_against_published_curves(run, photos, tmp_path):
    points = [{"bpp": b, "psnr": p} for b, p in ((0.5, 20), (2, 30), (6, 40), (20, 60))]
    (tmp_path / "curves.json").write_text(json.dumps({"curves": [{"id": "x", "name": "Codec X", "points": points}]}))
    curves = ["--against", tmp_path / "curves.json"]
    result = run("eval", *photos, "-q", "40,60,80,90", "--baselines", "jpeg,webp", *curves, "--anchor", "x,JPEG")
    assert result.exit_code == 0
    table = result.stdout.partition("BD-rate for PSNR")[2].partition("BD-rate for SSIMULACRA2")
    rates = re.findall(r"^(vitcodec rounding|JPEG|WebP)  +(Codec X|JPEG|WebP) +[+-]", table[0], re.MULTILINE)
    assert rates == [
        ("vitcodec rounding", "Codec X"),
        ("vitcodec rounding", "JPEG"),
        ("JPEG", "Codec X"),
        ("WebP", "Codec X"),
        ("WebP", "JPEG"),
    ]
    assert "JPEG" in table[2] and "Codec X" not in table[2].partition("BD-rate:")[0]  # which has no such curve
    assert "Published, not measured here" in result.stdout
    result = run("eval", *photos, *curves, "--anchor", "nonsense")
    assert result.exit_code == 2 and "there are x" in result.stderr


@pytest.mark.parametrize("command", ["eval", "compare"])
def test_metrics_can_be_chosen(run, photos, tmp_path, command):
    page = () if command == "eval" else ("-o", tmp_path / "page.html")
    options = ("-q", "50", "--baselines", "", "--json", "--overwrite", *page)
    result = run(command, photos[0], *options, "--metrics", "ms-ssim,ssimulacra2")
    assert result.exit_code == 0
    record, total = map(json.loads, result.stdout.splitlines())
    assert record.keys() & MEASURES.keys() == {"psnr", "ms_ssim", "ssimulacra2"}
    assert total["codecs"][0]["means"][0].keys() & MEASURES.keys() == {"psnr", "ms_ssim", "ssimulacra2"}
    for wrong, message in (
        ("ssimulacra", "unknown metric 'ssimulacra'; did you mean ssimulacra2?"),
        ("psnr,vmaf", "unknown metric 'vmaf'; give psnr, ssim, ms-ssim, ssimulacra2 or all"),
        ("", "no metric is named; give psnr, ssim, ms-ssim, ssimulacra2 or all"),
    ):
        result = run(command, photos[0], *options, "--metrics", wrong)
        assert result.exit_code == 2 and result.stderr == f"error: {message}\n"


def test_eval_of_two_folders(run, photos, tmp_path):
    others = tmp_path / "others"
    others.mkdir()
    for photo in photos:
        Image.fromarray(np.asarray(Image.open(photo)) ^ 3).save(others / f"{photo.stem}.bmp")
    Image.new("RGB", (9, 9)).save(others / "lonely.png")
    result = run("eval", photos[0].parent, others, "--html", tmp_path / "pairs.html", "--csv", tmp_path / "pairs.csv")
    assert result.exit_code == 1 and "lonely.png: has no partner" in result.stderr
    rows = list(csv.DictReader((tmp_path / "pairs.csv").open()))
    assert [(Path(r["file"]).name, r["quality"], r["bytes"], r["bpp"]) for r in rows] == [
        ("noise.png", "", "", ""),
        ("ramp.png", "", "", ""),
    ]
    assert all(math.isfinite(float(r["psnr"])) for r in rows)
    page = Page((tmp_path / "pairs.html").read_text())
    assert len(page.all("figure", id="picture-1")) == 1 and not page.all("section", id="curves")
    assert "bpp" not in result.stdout.split("\n")[2]
    (others / "lonely.png").unlink()
    assert run("eval", photos[0].parent, others).exit_code == 0
    (others / "ramp.jpg").write_bytes((others / "ramp.bmp").read_bytes())
    result = run("eval", photos[0].parent, others)
    assert result.exit_code == 1 and "differs in its suffix only" in result.stderr


def test_eval_of_two_folders_that_share_nothing(run, photos, tmp_path):
    (tmp_path / "empty").mkdir()
    result = run("eval", photos[0].parent, tmp_path / "empty")
    assert result.exit_code == 2 and "share none" in result.stderr and result.stderr.count("\n") == 1
    assert run("eval", photos[0].parent, photos[0].parent, "--baselines", "jpeg").exit_code == 2


def test_eval_refuses_what_makes_no_sense(run, photos, tmp_path):
    for quality in ("0", "101", "good", "50,", "5.5", "-3"):
        result = run("eval", photos[0], "-q", quality)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), quality
    for options in (["-"], [photos[0], "--baselines", "gif"], [photos[0], "--reps", "0"], [photos[0], "--repeat", "2"]):
        result = run("eval", *options)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), options
    (tmp_path / "empty").mkdir()
    assert run("eval", tmp_path / "empty").exit_code == 0
    assert run("eval", tmp_path / "missing").exit_code == 1


def test_compare_at_equal_size(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(make_rgb(120, 90)).save("photo.png")
    result = run("compare", "photo.png", "--match-bpp", "3", "--baselines", "jpeg,webp", "--json")
    assert result.exit_code == 0, result.stderr
    *rows, total = [json.loads(line) for line in result.stdout.splitlines()]
    assert [r["codec"] for r in rows] == ["vitcodec rounding", "JPEG", "WebP"] and total["command"] == "compare"
    assert all(0.85 < r["bpp"] / 3 < 1.15 for r in rows), rows
    assert Page(Path("photo-compare.html").read_text()).all("figure", id="picture-1")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photo-compare.html", "photo.png"]
    again = run("compare", "photo.png", "-q", "50")
    assert again.exit_code == 1 and "exists already" in again.stderr


def test_compare_matches_the_size_of_a_quality(run, tmp_path):
    Image.fromarray(make_rgb(60, 50)).save(tmp_path / "photo.png")
    result = run(
        "compare", tmp_path / "photo.png", "-q", "60", "--baselines", "jpeg", "-o", tmp_path / "page.html", "--json"
    )
    mine, other = [json.loads(line) for line in result.stdout.splitlines()][:2]
    assert mine["quality"] == 60 and (tmp_path / "page.html").exists()
    picture = read_image(tmp_path / "photo.png")
    sizes = [len(JPEG.encode(picture, q)) for q in range(1, 101)]
    assert other["bytes"] == min(sizes, key=lambda s: abs(math.log(s / mine["bytes"])))


def test_compare_says_what_cannot_be_matched(run, tmp_path):
    Image.fromarray(make_rgb(64, 64)).save(tmp_path / "photo.png")
    result = run("compare", tmp_path / "photo.png", "--match-bpp", "0.01", "--baselines", "jpeg")
    assert result.exit_code == 0 and "JPEG: comes no nearer to 0.01 bits per pixel than" in result.stderr
    assert "BD-rate" not in result.stdout and "photo.png" in result.stdout.splitlines()[0]


def test_compare_opens_with_a_sentence_and_where_codecs_differ(run, tmp_path):
    Image.fromarray(make_rgb(200, 160)).save(tmp_path / "photo.png")
    options = (tmp_path / "photo.png", "-q", "60", "--baselines", "jpeg,webp,avif")
    result = run("compare", *options)
    assert result.exit_code == 0, result.stderr
    sentence = result.stdout.splitlines()[0]
    assert re.match(r"photo\.png: (\+\d+\.\d dB over|\d+\.\d dB under|as good as) AVIF at equal size, ", sentence)
    decibels, eye = sentence.split(" To the eye, by SSIMULACRA2: ")
    for part in (decibels, eye):
        assert part.count("AVIF") == 1 and "WebP" in part and "JPEG" in part
    page = (tmp_path / "photo-compare.html").read_text()
    assert sentence.removeprefix("photo.png: ") in page
    (figure,) = Page(page).all("figure", id="picture-1")
    assert 0 < int(figure["data-spot-x"]) < 200 and 0 < int(figure["data-spot-y"]) < 160
    assert [a["data-zoom"] for a in Page(page).all("div", data_mode="grid")] == ["4"]
    total = json.loads(run("compare", *options, "--overwrite", "--json").stdout.splitlines()[-1])
    assert f"photo.png: {total['verdict']['sentence']}" == sentence
    against = total["verdict"]["against"]
    assert against[0]["codec"].startswith("AVIF") and len(against) == 4
    assert all(s["gain"] == pytest.approx(total["verdict"]["psnr"] - s["psnr"]) for s in against)


def test_compare_of_a_lossless_file(run, tmp_path):
    Image.fromarray(make_rgb(64, 64)).save(tmp_path / "photo.png")
    result = run("compare", tmp_path / "photo.png", "-q", "100", "--baselines", "jpeg,webp")
    assert result.exit_code == 0, result.stderr
    assert "lossless against " in result.stdout.splitlines()[0] and "inf" not in result.stdout.replace("--inf", "")
    assert "lossless" in (tmp_path / "photo-compare.html").read_text()
    total = json.loads(
        run(
            "compare", tmp_path / "photo.png", "-q", "100", "--baselines", "jpeg", "--overwrite", "--json"
        ).stdout.splitlines()[-1]
    )
    assert total["verdict"]["psnr"] is None and total["verdict"]["against"][0]["gain"] is None


def test_compare_alone_and_where_a_codec_fails(run, tmp_path, monkeypatch):
    Image.fromarray(make_rgb(64, 64)).save(tmp_path / "photo.png")
    alone = run("compare", tmp_path / "photo.png", "-q", "60", "--baselines", "")
    assert alone.exit_code == 0 and "no other codec was measured" in alone.stdout.splitlines()[0]

    def fail(self, picture, quality):
        raise OSError("encoder error -2")

    monkeypatch.setattr("vitcodec.evaluation.baselines.Baseline.encode", fail)
    result = run("compare", tmp_path / "photo.png", "-q", "60", "--baselines", "webp", "--overwrite")
    assert result.exit_code == 1 and "encoder error -2" in result.stderr and "WebP" in result.stderr
    assert result.stderr.count("\n") <= 3 and "rounding" in (tmp_path / "photo-compare.html").read_text()


def test_compare_refuses_what_makes_no_sense(run, tmp_path, photos):
    for options in (
        ["-q", "5", "--match-bpp", "1"],
        ["--match-bpp", "0"],
        ["--match-bpp", "25"],
        ["--baselines", "x"],
        ["-o", photos[0]],
    ):
        result = run("compare", photos[0], *options)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), options
    assert run("compare", tmp_path / "missing.png").exit_code == 1
    assert run("compare", "-").exit_code == 2


def test_help_starts_without_heavy_imports():
    script = """
import sys
from vitcodec.cli import main
sys.argv = ['vitcodec', 'compare', '--help']
try: main()
except SystemExit: pass
print('heavy:', *sorted({'torch', 'numpy', 'PIL', 'jinja2', 'scipy'} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "heavy:" and "--match-bpp" in result.stdout
