"""What the command line prints: errors in one line, exit codes, results for people and programs."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import storing
from conftest import make_rgb
from PIL import Image
from storing import StoringCodec, call, lines, made, one_line

from vitcodec.cli.output import Output
from vitcodec.picture import Picture
from vitcodec.progress import report, watched


@pytest.fixture(autouse=True)
def storing_codec(monkeypatch):
    storing.install(monkeypatch)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """photos/{a.png, b.jpg} and photos/sub/c.png; the working folder is above them."""
    monkeypatch.chdir(tmp_path)
    storing.make_photos(tmp_path)
    return tmp_path


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
    one_line(call("encode", "good.vitc", "-o", "x.vitc"), 1, "good.vitc: is a .vitc file already")
    one_line(call("decode", "cut.vitc"), 1, "cut.vitc", "truncated")
    one_line(call("decode", "flipped.vitc"), 1, "flipped.vitc", "checksum")
    one_line(call("decode", "photos/a.png", "-o", "x.png"), 1, "photos/a.png: not a .vitc file")
    one_line(call("decode", "good.vitc", "-m", "other"), 1, "good.vitc: unknown model 'other'")
    one_line(call("encode", "photos/a.png", "--max-pixels", 599), 1, "photos/a.png: 30x20", "--max-pixels")
    one_line(call("decode", "good.vitc", "--max-pixels", 599), 1, "good.vitc: 30x20", "--max-pixels")
    assert made() == ["cut.vitc", "flipped.vitc", "good.vitc", "text.png"]
    nothing = call("encode", "empty")
    assert nothing.exit_code == 0 and "nothing to do" in nothing.stderr


def test_usage_errors_give_one_line(photos):
    for quality in ("0", "101", "high", "50.5"):
        text = f"--quality takes a whole number from 1 to 100, not '{quality}'; see vitcodec encode --help"
        one_line(call("encode", "photos/a.png", "-q", quality), 2, text)
    one_line(call("encode", "photos/a.png", "--target-psnr", "good"), 2, "--target-psnr takes a number, not 'good'")
    one_line(call("encode", "photos/a.png", "--max-pixels", 0), 2, "--max-pixels takes a whole number of at least 1")
    one_line(call("encode", "photos/a.png", "--nope"), 2, "no option --nope; see")
    one_line(call("encode", "photos/a.png", "--recursiv"), 2, "did you mean --recursive? See vitcodec encode --help")
    one_line(call("encode"), 2, "INPUT...")
    one_line(call("conjure"), 2, "conjure", "encode, decode")
    one_line(call("encoed", "photos/a.png"), 2, "no command 'encoed'; did you mean encode? See vitcodec --help")
    one_line(call("photos/a.png"), 2, "did you mean vitcodec encode photos/a.png?")
    assert " encode [OPTIONS] INPUT...\n" in call("encode", "--help").stdout
    one_line(call("models"), 2, "vitcodec models --help")
    one_line(call("encode", "photos", "--overwrite", "--skip-existing"), 2, "contradict")
    one_line(call("encode", "photos", "--quiet", "-v"), 2, "contradict")
    call("encode", "photos/a.png", "-o", "a.vitc")
    one_line(call("decode", "a.vitc", "--format", "xyz"), 2, "xyz")
    one_line(call("decode", "a.vitc", "-o", "a.xyz"), 2, "a.xyz")
    one_line(call("encode", "photos/b.jpg", "--device", "cuda:7"), 1, "cuda:7")


def test_unexpected_errors_give_one_line_and_a_traceback_on_demand(photos, monkeypatch):
    def fail(*_, **changes):
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr(StoringCodec, "encode", fail)
    one_line(call("encode", "photos/a.png"), 1, "internal error", "two lines", "VITCODEC_DEBUG=1")
    result = call("encode", "photos/a.png", env={"VITCODEC_DEBUG": "1"})
    assert result.exit_code == 1 and "Traceback" in result.stderr and "in fail" in result.stderr


def test_out_of_memory_names_the_remedy(photos, monkeypatch):
    def fail(*_, **changes):
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


@pytest.mark.parametrize("total", [1, 3])
def test_progress_within_a_large_image(monkeypatch, total):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    out = Output()
    with out.progress(total) as bar, bar.within("a.png"):
        for share in (0.25, 0.5, 0.1, 1):  # encoded again
            report(share, 12_000_000)
        out.say("a message")
        report(1, 1_000_000)  # too small for a bar
    text = sys.stderr.getvalue()
    assert "a.png:  25%" in text and "3.0/12.0 MP" in text and "1.2/12.0 MP" in text and "12.0/12.0 MP" in text
    assert "a message\n" in text and "/1.0 MP" not in text
    report(1, 12_000_000)  # nobody watches
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    before = sys.stderr.getvalue()
    with out.progress(total) as bar, bar.within("a.png"):
        report(1, 12_000_000)
    assert sys.stderr.getvalue() == before


def test_coding_reports_its_progress(codec):
    shares = []
    picture = Picture(make_rgb(400, 280))

    def watch(done, total):
        assert total == pytest.approx(0.112)
        shares.append(done / total)

    with watched(watch):
        data = codec.encode(picture, effort=1, tile=128, coding="tokens")
        assert shares == sorted(shares) and len(shares) >= 2 and shares[-1] == 1
        shares.clear()
        codec.decode(data)
        assert shares == sorted(shares) and len(shares) >= 2 and shares[-1] == 1
        shares.clear()
        codec.encode(picture, coding="lossless")
        assert shares == [1]


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
    assert call("info", "photos").exit_code == 0


def test_help_of_every_command_has_an_example():
    for command in (
        ["encode"],
        ["decode"],
        ["info"],
        ["view"],
        ["desktop", "install"],
        ["desktop", "uninstall"],
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
