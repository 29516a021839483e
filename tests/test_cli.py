"""The command line: plans, exit codes, streams and messages, with a codec that stores PNG in place of the real one."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import vitcodec
from vitcodec.bitstream import container
from vitcodec.bitstream.container import LEVELS, Contents, Header
from vitcodec.cli import app
from vitcodec.cli.output import Output
from vitcodec.errors import DeviceError, WeightsError
from vitcodec.images import Picture

HEAVY = ("torch", "numpy", "PIL", "timm", "scipy", "tqdm", "rich", "huggingface_hub")


class StoringCodec:
    """The interface of vitcodec.codec.Codec; the low band holds the picture as PNG."""

    loads = 0

    def __init__(self, name):
        self.name, self.device = name, "cpu"

    @classmethod
    def load(cls, model=None, device="auto", threads=None):
        cls.loads += 1
        if device == "cuda:7":
            raise DeviceError("cuda:7 is not there; this machine has none")
        if model not in (None, "stored"):
            raise WeightsError(f"unknown model '{model}'; shipped: stored")
        return cls("stored")

    def coded(self, path, quality):
        return container.unpack(self.encode(Picture(np.asarray(Image.open(path))), quality))

    def encode(self, picture, quality, effort=3, distortion_weight=1.0, tile=None, keep_tokens=1.0):
        buffer = io.BytesIO()
        Image.fromarray(picture.rgb).save(buffer, "PNG")
        height, width = picture.rgb.shape[:2]
        tokens = {(level, 0): buffer.getvalue() if level == 0 else bytes(quality) for level in LEVELS}
        metadata = {key: data for key, data in (("ICCP", picture.icc), ("EXIF", picture.exif)) if data}
        return container.pack(
            Contents(Header(width, height, quality, picture.gray, "stored", bytes(8), 128 * 255), metadata, tokens)
        )

    def decode(self, contents, reduce=0, region=None):
        contents = container.unpack(contents) if isinstance(contents, bytes) else contents
        assert contents.tokens.keys() | contents.erased == {
            (level, 0) for level in LEVELS if level == 0 or level > reduce
        }
        image = Image.open(io.BytesIO(contents.tokens[0, 0]))
        rgb = np.asarray(image.reduce(2**reduce) if reduce else image)
        return Picture(rgb, None, contents.header.gray, contents.metadata.get("ICCP"), contents.metadata.get("EXIF"))


@pytest.fixture(autouse=True)
def storing_codec(monkeypatch):
    module = ModuleType("vitcodec.codec")
    module.Codec = StoringCodec
    monkeypatch.setitem(sys.modules, "vitcodec.codec", module)
    devices = ModuleType("vitcodec.devices")
    devices.choose = lambda name: (name, "asked for")
    monkeypatch.setitem(sys.modules, "vitcodec.devices", devices)
    monkeypatch.setattr(StoringCodec, "loads", 0)
    for name in ("VITCODEC_MODEL", "VITCODEC_DEVICE", "VITCODEC_DEBUG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """photos/{a.png, b.jpg}, photos/sub/c.png; the working folder is above it."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (20, 30)), ("b.jpg", (16, 16)), ("sub/c.png", (1, 5))):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return tmp_path


def call(*args, **kwargs):
    return CliRunner().invoke(app, [str(a) for a in args], **kwargs)


def lines(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def made(folder="."):
    return sorted(str(p) for p in Path(folder).rglob("*") if p.is_file() and "photos" not in p.parts)


def one_line(result, code, *parts):
    assert result.exit_code == code and result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, result.stderr
    assert all(part in result.stderr for part in parts), result.stderr


# there and back


def test_a_slash_makes_a_folder_of_a_single_output(photos):
    assert call("encode", "photos/a.png", "-o", "new/").exit_code == 0
    assert call("decode", "new/a.vitc", "-o", "back/").exit_code == 0
    assert Path("new/a.vitc").is_file() and Path("back/a.png").is_file()


def test_folder_there_and_back(photos):
    assert call("encode", "photos", "-r", "-o", "small").exit_code == 0
    assert made() == ["small/a.vitc", "small/b.vitc", "small/sub/c.vitc"]
    assert call("decode", "small", "-r", "-o", "back").exit_code == 0
    assert np.array_equal(np.asarray(Image.open("back/a.png")), np.asarray(Image.open("photos/a.png")))
    assert made("back") == ["back/a.png", "back/b.png", "back/sub/c.png"]


def test_one_file_beside_its_input(photos):
    result = call("encode", "photos/a.png", "-q", "42")
    assert result.exit_code == 0 and result.stdout == "" and "photos/a.png -> photos/a.vitc" in result.stderr
    assert container.read_header(Path("photos/a.vitc").read_bytes()).quality == 42


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp"])
def test_format_of_the_output(photos, suffix):
    call("encode", "photos/a.png", "-o", "a.vitc")
    assert call("decode", "a.vitc", "--format", suffix).exit_code == 0
    assert call("decode", "a.vitc", "-o", f"other.{suffix}").exit_code == 0
    with Image.open(f"a.{suffix}") as one, Image.open(f"other.{suffix}") as other:
        assert one.format == other.format and one.size == (30, 20)


def test_reduce(photos):
    call("encode", "photos/a.png", "-o", "a.vitc")
    for n, size in enumerate([(30, 20), (15, 10), (8, 5), (4, 3), (2, 2)]):
        assert call("decode", "a.vitc", "--reduce", n, "-o", "small.png", "--overwrite").exit_code == 0
        with Image.open("small.png") as image:
            assert image.size == size
    one_line(call("decode", "a.vitc", "--reduce", 5, "-o", "x.png"), 2, "--reduce")


def test_strip(photos):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.open("photos/a.png").save("tagged.png", exif=exif)
    call("encode", "tagged.png")
    call("encode", "tagged.png", "--strip", "-o", "bare.vitc")
    tagged, bare = (container.unpack(Path(name).read_bytes()) for name in ("tagged.vitc", "bare.vitc"))
    assert b"Maker" in tagged.metadata["EXIF"] and not bare.metadata
    call("decode", "tagged.vitc", "-o", "kept.png")
    call("decode", "tagged.vitc", "--strip", "-o", "stripped.png")
    assert Image.open("kept.png").getexif()[0x010F] == "Maker" and not Image.open("stripped.png").getexif()


def test_fit_takes_the_smallest_reduction_that_fills_the_box(photos):
    call("encode", "photos/a.png", "-o", "a.vitc")  # 30x20
    for box, size, reduce in (
        ("15x99", (15, 10), 1),
        ("14x14", (14, 9), 1),
        ("16x16", (16, 11), 0),
        ("4000x1", (2, 1), 4),
        ("99x99", (30, 20), 0),
    ):
        (row, _) = lines(call("decode", "a.vitc", "--fit", box, "-o", "small.png", "--overwrite", "--json"))
        assert (row["width"], row["height"]) == size and row["reduce"] == reduce, box
    one_line(call("decode", "a.vitc", "--fit", "12", "-o", "x.png"), 2, "--fit '12'")
    one_line(call("decode", "a.vitc", "--fit", "12x12", "--reduce", 1, "-o", "x.png"), 2, "--reduce")


def test_region_is_parsed(photos):
    call("encode", "photos/a.png", "-o", "a.vitc")
    for text in ("1,2,3", "1,2,0,4", "-1,0,5,5", "a,b,c,d"):
        one_line(call("decode", "a.vitc", f"--region={text}", "-o", "x.png"), 2, "--region")
    one_line(
        call("decode", "a.vitc", "--region", "30,0,5,5", "-o", "x.png"), 1, "a.vitc", "outside the picture of 30x20"
    )


def test_salvage(photos):
    call("encode", "photos/a.png", "-o", "a.vitc")
    data = Path("a.vitc").read_bytes()
    Path("cut.vitc").write_bytes(data[:-20])
    one_line(call("decode", "cut.vitc"), 1, "--salvage")
    result = call("decode", "cut.vitc", "--salvage", "--json", "-o", "cut.png")
    assert (
        result.exit_code == 0
        and lines(result)[0]["lost"] == ["lost: the details of level 1"]
        and "lost: the details" in result.stderr
    )
    assert lines(call("decode", "a.vitc", "--salvage", "--json", "-o", "a.png"))[0]["lost"] == []
    Path("gone.vitc").write_bytes(data[:60])
    one_line(call("decode", "gone.vitc", "--salvage"), 1, "gone.vitc", "nothing can be salvaged")


def test_tiles_and_kept_tokens_are_checked_before_any_work(photos):
    one_line(call("encode", "photos/a.png", "--tile", 100), 2, "--tile 100", "128, 256")
    for share in (0, 1.5):
        one_line(call("encode", "photos/a.png", "--keep-tokens", share), 2, "--keep-tokens")
    assert not list(Path("photos").rglob("*.vitc"))


def test_tuning_chooses_the_model(photos, monkeypatch):
    monkeypatch.setattr("vitcodec.pretrained.registry.TUNED", {"psnr": "stored", "ms-ssim": "stored-ms-ssim"})
    assert call("encode", "photos/a.png", "-o", "a.vitc", "--tune", "psnr").exit_code == 0
    one_line(call("encode", "photos/a.png", "-o", "b.vitc", "--tune", "ms-ssim"), 1, "unknown model 'stored-ms-ssim'")
    one_line(call("encode", "photos/a.png", "-o", "b.vitc", "--tune", "vmaf"), 2, "psnr or ms-ssim")
    one_line(call("encode", "photos/a.png", "-o", "b.vitc", "--tune", "psnr", "-m", "stored"), 2, "contradict")


def test_targets(photos, monkeypatch):
    one_line(call("encode", "photos/a.png", "-q", 5, "--target-bpp", 1), 2, "--quality and --target-bpp")
    one_line(call("encode", "photos/a.png", "--target-bpp", -1), 2, "more than 0")
    one_line(call("encode", "photos/a.png", "--target-size", "tiny"), 2, "tiny")
    Image.open("photos/a.png").save("a.png")
    size = len(container.pack(StoringCodec("stored").coded("a.png", 50)))
    (row, _) = lines(call("encode", "a.png", "--target-size", str(size), "--json"))
    assert row["quality"] == 50 and row["bytes_out"] == size
    (row, _) = lines(call("encode", "a.png", "--target-bpp", str(8 * size / 600), "--json", "--overwrite"))
    assert row["quality"] == 50
    (row, _) = lines(call("encode", "a.png", "--target-size", "10", "--json", "--overwrite"))
    assert row["quality"] == 1 and "cannot be reached" in row["notes"][0]


@pytest.mark.parametrize("jobs", [1, 3])
def test_jobs_keep_the_order_and_survive_bad_files(photos, jobs):
    rng = np.random.default_rng(1)
    for number in range(12):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(f"photos/n{number:02}.png")
    Path("photos/n05.png").write_bytes(b"no image")
    Path("out").mkdir()
    Path("out/n07.vitc").mkdir()
    *rows, summary = lines(call("encode", "photos", "-o", "out", "-j", jobs, "--json"))
    done = [row["file"] for row in rows if row["status"] == "done"]
    assert done == sorted(done) and len(done) == 12 and summary["failed"] == 2
    assert lines(call("decode", "out", "-o", "back", "-j", jobs, "--json"))[-1]["done"] == 12


def test_a_file_of_another_model_or_version_says_what_it_needs(photos):
    call("encode", "photos/a.png", "-o", "a.vitc")
    contents = container.unpack(Path("a.vitc").read_bytes())
    contents.header = replace(contents.header, model="elsewhere-2", weights=bytes.fromhex("0011223344556677"))
    Path("b.vitc").write_bytes(container.pack(contents))
    one_line(call("decode", "b.vitc"), 1, "b.vitc", "needs the model 'elsewhere-2' (weights 0011223344556677)")
    data = Path("a.vitc").read_bytes()
    Path("c.vitc").write_bytes(data[:8] + bytes([3]) + data[9:])
    one_line(call("decode", "c.vitc"), 1, "c.vitc: needs vitcodec >= 3.0")


def test_a_header_that_claims_much_is_refused_at_once(photos):
    call("encode", "photos/a.png", "-o", "a.vitc")
    contents = container.unpack(Path("a.vitc").read_bytes())
    contents.header = replace(contents.header, width=13_500, height=13_500, tile=1024)
    contents.tokens = dict.fromkeys(container.order(contents.header), b"")
    Path("large.vitc").write_bytes(container.pack(contents))
    one_line(call("decode", "large.vitc"), 1, "large.vitc: 13500x13500", "--max-pixels")


def test_pipes(photos):
    source = Path("photos/a.png").read_bytes()
    encoded = call("encode", "-", "-o", "-", input=source)
    assert encoded.exit_code == 0 and container.read_header(encoded.stdout_bytes).width == 30
    decoded = call("decode", "-", input=encoded.stdout_bytes)  # without -o too
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(decoded.stdout_bytes))), np.asarray(Image.open("photos/a.png"))
    )
    assert (
        call("encode", "-", "-o", "piped.vitc", input=source).exit_code == 0
        and Path("piped.vitc").read_bytes() == encoded.stdout_bytes
    )
    one_line(call("encode", "photos", "-o", "-"), 2, "one input")
    one_line(call("encode", "-", "photos"), 2, "stdin")
    one_line(call("encode", "photos/a.png", "-o", "-", "--json"), 2, "--json")


# what exists is safe


def test_existing_outputs_are_refused(photos):
    Path("photos/a.vitc").write_bytes(b"precious")
    one_line(call("encode", "photos/a.png"), 1, "photos/a.vitc", "--overwrite")
    result = call("encode", "photos")
    assert result.exit_code == 1 and "1 of 2 failed" in result.stderr and Path("photos/b.vitc").exists()
    assert Path("photos/a.vitc").read_bytes() == b"precious"
    assert call("encode", "photos/a.png", "--overwrite").exit_code == 0
    assert Path("photos/a.vitc").read_bytes() != b"precious"


def test_a_second_run_loads_no_model(photos):
    assert call("encode", "photos", "--skip-existing").exit_code == 0 and StoringCodec.loads == 1
    stamps = [p.stat().st_mtime_ns for p in Path("photos").glob("*.vitc")]
    again = call("encode", "photos", "--skip-existing")
    assert again.exit_code == 3 and "2 skipped" in again.stderr and StoringCodec.loads == 1
    assert [p.stat().st_mtime_ns for p in Path("photos").glob("*.vitc")] == stamps


def test_collisions_and_own_inputs_are_refused_before_any_work(photos):
    Image.open("photos/a.png").save("photos/a.webp")
    one_line(call("encode", "photos"), 2, "photos/a.png and photos/a.webp would both become photos/a.vitc")
    one_line(call("encode", "photos/a.png", "-o", "photos/a.png", "--overwrite"), 2, "would replace the input")
    assert StoringCodec.loads == 0 and not list(Path("photos").glob("*.vitc"))


def test_interrupted(photos, monkeypatch):
    encode, calls = StoringCodec.encode, []

    def encode_once(self, picture, quality, **options):
        if calls:
            raise KeyboardInterrupt
        calls.append(quality)
        return encode(self, picture, quality, **options)

    monkeypatch.setattr(StoringCodec, "encode", encode_once)
    result = call("encode", "photos", "-o", "out")
    assert result.exit_code == 130 and "interrupted, 1 of 2 done" in result.stderr and made("out") == ["out/a.vitc"]


# failures


def test_one_bad_file_never_stops_the_batch(photos):
    Path("photos/bad.png").write_bytes(b"no image")
    Path("photos/cut.jpg").write_bytes(Path("photos/b.jpg").read_bytes()[:200])
    result = call("encode", "photos", "absent.png", "-o", "out")
    assert result.exit_code == 1 and made("out") == ["out/a.vitc", "out/b.vitc"]
    last = result.stderr.splitlines()[-4:]
    assert last[0] == "3 of 5 failed:" and all(
        name in line for name, line in zip(("bad.png", "cut.jpg", "absent.png"), last[1:], strict=True)
    )


def test_bad_inputs_give_one_line(photos):
    Path("empty").mkdir()
    Path("text.png").write_text("hello")
    call("encode", "photos/a.png", "-o", "good.vitc")
    good = Path("good.vitc").read_bytes()
    Path("cut.vitc").write_bytes(good[:-3])
    Path("flipped.vitc").write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    one_line(call("encode", "text.png"), 1, "text.png: not an image")
    one_line(call("encode", "absent.png"), 1, "absent.png: no such file")
    one_line(call("encode", "good.vitc", "-o", "x.vitc"), 1, "good.vitc: not an image")
    one_line(call("decode", "cut.vitc"), 1, "cut.vitc", "truncated")
    one_line(call("decode", "flipped.vitc"), 1, "flipped.vitc", "checksum")
    one_line(call("decode", "photos/a.png", "-o", "x.png"), 1, "photos/a.png: not a .vitc file")
    one_line(call("decode", "good.vitc", "-m", "other"), 1, "good.vitc: unknown model 'other'")
    one_line(call("encode", "photos/a.png", "--max-pixels", 599), 1, "photos/a.png: 30x20", "--max-pixels")
    one_line(call("decode", "good.vitc", "--max-pixels", 599), 1, "good.vitc: 30x20", "--max-pixels")
    assert made() == ["cut.vitc", "flipped.vitc", "good.vitc", "text.png"]
    nothing = call("encode", "empty")
    assert nothing.exit_code == 3 and "nothing to do" in nothing.stderr


def test_usage_errors_give_one_line(photos):
    for quality in ("0", "101", "high"):
        one_line(call("encode", "photos/a.png", "-q", quality), 2, "--quality", "vitcodec encode --help")
    one_line(call("encode", "photos/a.png", "--nope"), 2, "--nope")
    one_line(call("encode"), 2, "INPUT")
    one_line(call("conjure"), 2, "conjure")
    one_line(call("models"), 2, "vitcodec models --help")
    one_line(call("encode", "photos", "--overwrite", "--skip-existing"), 2, "contradict")
    one_line(call("encode", "photos", "--quiet", "-v"), 2, "contradict")
    call("encode", "photos/a.png", "-o", "a.vitc")
    one_line(call("decode", "a.vitc", "--format", "xyz"), 2, "xyz")
    one_line(call("decode", "a.vitc", "-o", "a.xyz"), 2, "a.xyz")
    one_line(call("encode", "photos/b.jpg", "--device", "cuda:7"), 1, "cuda:7")


def test_unexpected_errors_give_one_line_and_a_traceback_on_demand(photos, monkeypatch):
    def fail(*_, **options):
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr(StoringCodec, "encode", fail)
    one_line(call("encode", "photos/a.png"), 1, "internal error", "two lines", "VITCODEC_DEBUG=1")
    result = call("encode", "photos/a.png", env={"VITCODEC_DEBUG": "1"})
    assert result.exit_code == 1 and "Traceback" in result.stderr and "in fail" in result.stderr


def test_out_of_memory_names_the_remedy(photos, monkeypatch):
    def fail(*_, **options):
        raise MemoryError

    monkeypatch.setattr(StoringCodec, "encode", fail)
    one_line(call("encode", "photos/a.png"), 1, "photos/a.png", "out of memory", "--device cpu")


# what is printed


def test_dry_run_does_nothing(photos):
    result = call("encode", "photos", "-r", "-o", "out", "-n")
    assert result.exit_code == 0 and StoringCodec.loads == 0 and not Path("out").exists()
    assert result.stdout.splitlines() == [
        f"photos/{x} -> out/{y}.vitc" for x, y in (("a.png", "a"), ("b.jpg", "b"), ("sub/c.png", "sub/c"))
    ]


def test_json(photos):
    Path("photos/bad.png").write_bytes(b"no image")
    Path("photos/b.vitc").write_bytes(b"old")
    result = call("encode", "photos", "--skip-existing", "--json", "-q", "30")
    *rows, summary = lines(result)
    by_name = {row["file"]: row for row in rows}
    assert {name: row["status"] for name, row in by_name.items()} == {
        "photos/a.png": "done",
        "photos/bad.png": "failed",
        "photos/b.jpg": "skipped",
    }
    row, size = by_name["photos/a.png"], Path("photos/a.vitc").stat().st_size
    assert (
        row["bytes_out"] == size
        and row["bpp"] == pytest.approx(8 * size / 600, abs=1e-4)
        and row["quality"] == 30
        and row["width"] == 30
    )
    assert (summary["schema_version"], summary["done"], summary["failed"], summary["skipped"]) == (1, 1, 1, 1)
    assert result.exit_code == 1 and "not an image" in by_name["photos/bad.png"]["error"]
    *rows, summary = lines(call("decode", "photos/a.vitc", "-o", "a.jpg", "--json"))
    assert rows[0]["format"] == "JPEG" and rows[0]["output"] == "a.jpg" and summary["done"] == 1


def test_quiet(photos):
    Path("photos/bad.png").write_bytes(b"no image")
    result = call("encode", "photos", "--quiet")
    assert result.stdout == "" and result.stderr.startswith("1 of 3 failed:")


def test_notes_are_said_once(photos):
    for name in ("d.png", "e.png"):
        Image.fromarray(np.zeros((4, 4), np.uint16)).save(f"photos/{name}")
    assert call("encode", "photos", "-o", "out").stderr.count("16-bit") == 1
    again = call("encode", "photos", "-o", "out", "--overwrite", "-v", "--device", "cpu")
    assert again.stderr.count("16-bit") == 2 and "model stored on cpu: asked for" in again.stderr


def test_progress_bar_where_stderr_is_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    out = Output()
    with out.progress(2) as bar:
        out.say("a message")
        bar.advance(1.5)
        bar.advance(1.5)
    text = sys.stderr.getvalue()
    assert "a message\n" in text and "2/2" in text and "MP/s" in text
    monkeypatch.setattr(sys, "stderr", Terminal())
    for quiet, total in ((True, 2), (False, 1)):
        with Output(quiet=quiet).progress(total) as bar:
            bar.advance(1.5)
    assert sys.stderr.getvalue() == ""


def test_info(photos):
    call("encode", "photos", "-r", "-o", "out", "-q", "77")
    result = call("info", "out/a.vitc")
    assert result.exit_code == 0 and result.stderr == ""
    assert all(part in result.stdout for part in ("out/a.vitc", "30x20", "quality 77", "model stored"))
    assert "TOKL" in call("info", "-v", "out/a.vitc").stdout
    Path("out/bad.vitc").write_bytes(b"?")
    result = call("info", "out", "-r", "--json", "-v")
    *rows, summary = lines(result)
    assert (
        result.exit_code == 1
        and summary["done"] == 3
        and [r["status"] for r in rows] == ["done", "done", "failed", "done"]
    )
    first = rows[0]
    assert sum(chunk["size"] for chunk in first["chunks"]) == first["bytes"] - first["chunks"][0]["offset"]
    assert call("info", "photos").exit_code == 3


def test_help_of_every_command_has_an_example():
    for command in (
        ["encode"],
        ["decode"],
        ["info"],
        ["eval"],
        ["models", "list"],
        ["models", "show"],
        ["models", "push"],
        ["train"],
        ["export"],
        ["doctor"],
    ):
        result = call(*command, "--help")
        assert result.exit_code == 0 and f"\n  vitcodec {' '.join(command)} " in result.stdout.replace(
            "\n  vitcodec doctor\n", "\n  vitcodec doctor \n"
        )


# in a process of its own


def run_python(*args, **kwargs):
    """Python with this checkout's vitcodec, installed or not."""
    environment = os.environ | {"PYTHONPATH": str(Path(vitcodec.__file__).parent.parent)}
    return subprocess.run(
        [sys.executable, *args], **{"capture_output": True, "timeout": 60, "env": environment} | kwargs
    )


def test_help_version_and_info_import_nothing_heavy(photos):
    call("encode", "photos/a.png", "-o", "a.vitc")
    script = """
import sys
from vitcodec.cli import app
from vitcodec.cli import main
def run(*args):
    sys.argv = ["vitcodec", *args]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (args, end.code)
run("--version"); run("--help"); run("info", "a.vitc"); run("models", "list"); run("encode", "--help"); run("train", "--help"); run("eval", "--help")
run("encode", "-n", "photos")
import vitcodec
assert vitcodec.errors.VitcodecError and "Codec" in dir(vitcodec)
print("heavy:", *sorted({m.split(".")[0] for m in sys.modules} & set(sys.argv_heavy)))
""".replace("sys.argv_heavy", repr(HEAVY))
    result = run_python("-c", script, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == f"vitcodec {vitcodec.__version__}"
    assert result.stdout.splitlines()[-1] == "heavy:"


def test_exit_codes_of_the_process(photos):
    assert run_python("-m", "vitcodec", "--version", text=True).stdout == f"vitcodec {vitcodec.__version__}\n"
    result = run_python("-m", "vitcodec", "info", "absent.vitc", text=True)
    assert result.returncode == 1 and result.stderr == "error: absent.vitc: no such file or folder\n"
    result = run_python("-m", "vitcodec", "encode", "photos/a.png", "-q", "101", text=True)
    assert result.returncode == 2 and result.stderr.count("\n") == 1


def test_never_binary_to_a_terminal(photos):
    call("encode", "photos/a.png", "-o", "a.vitc")
    master, terminal = pty.openpty()
    try:
        streams = {"stdin": subprocess.DEVNULL, "stdout": terminal, "stderr": subprocess.PIPE}
        result = run_python("-m", "vitcodec", "decode", "a.vitc", "-o", "-", capture_output=False, **streams)
    finally:
        os.close(terminal)
    assert result.returncode == 2 and b"terminal" in result.stderr
    os.set_blocking(master, False)
    with pytest.raises(OSError):
        os.read(master, 1)
    os.close(master)


def test_ctrl_c(photos):
    script = """
import os, signal, sys, time
from vitcodec import files
from vitcodec.cli import main
files.find_inputs = lambda *_: os.kill(os.getpid(), signal.SIGINT) or time.sleep(10)
sys.argv = ["vitcodec", "info", "a.vitc"]
main()
"""
    result = run_python("-c", script, text=True)
    assert result.returncode == 130 and "Traceback" not in result.stderr


def test_api_names_are_there():
    for name in vitcodec.__all__:
        if name not in ("Codec", "encode", "decode"):  # these load torch
            assert getattr(vitcodec, name)
    with pytest.raises(AttributeError):
        vitcodec.nonsense  # noqa: B018
