"""Names on the command line: inputs and outputs told apart, names that lie, streams, links, times; what is left out."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import storing
from PIL import Image
from storing import StoringCodec, call, lines, made, one_line

import vitcodec

PROGRAM = Path(storing.__file__)


@pytest.fixture(autouse=True)
def storing_codec(monkeypatch):
    storing.install(monkeypatch)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """photos/{a.png, b.jpg} and photos/sub/c.png; the working folder is above them."""
    monkeypatch.chdir(tmp_path)
    storing.make_photos(tmp_path)
    return tmp_path


def shell(command, **options):
    """A line of bash, in which `vitcodec` is the command line with the storing codec."""
    environment = os.environ | {"PYTHONPATH": str(Path(vitcodec.__file__).parent.parent)} | options.pop("env", {})
    start = f'vitcodec() {{ "{sys.executable}" "{PROGRAM}" "$@"; }}; '
    return subprocess.run(
        ["bash", "-c", start + command], capture_output=True, timeout=60, env=environment, text=True, **options
    )


# IN OUT


def test_the_order_of_other_tools(photos):
    assert call("encode", "photos/a.png", "a.vitc").exit_code == 0 and made() == ["a.vitc"]
    assert call("decode", "a.vitc", "new/back.jpg").exit_code == 0
    with Image.open("new/back.jpg") as image:
        assert image.format == "JPEG"
    assert call("encode", "-", "piped.vitc", input=Path("photos/a.png").read_bytes()).exit_code == 0
    assert made() == ["a.vitc", "new/back.jpg", "piped.vitc"]
    # where an output beside the input would have that name anyhow
    assert call("encode", "photos/a.png", "photos/a.vitc").exit_code == 0
    assert call("encode", "photos/a.png", "photos/a.vitc").exit_code == 1
    assert call("encode", "photos/a.png", "photos/a.vitc", "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    "command",
    [
        ("encode", "photos/a.png", "there.vitc"),
        ("encode", "photos/a.png", "there.vitc", "--overwrite"),
        ("encode", "photos", "new.vitc"),
        ("encode", "photos/*.png", "new.vitc"),
        ("encode", "photos/a.png", "photos/b.jpg", "new.vitc"),
        ("encode", "photos/a.png", "new/"),
        ("encode", "photos", "new"),
        ("encode", "photos/a.png", "-"),
        ("decode", "there.vitc", "photos/a.png"),
        ("decode", "there.vitc", "photos/a.png", "--overwrite"),
        ("decode", "photos", "new.png"),
        ("decode", "there.vitc", "new.txt"),
    ],
)
def test_where_the_order_is_unclear_nothing_is_done(photos, command):
    Path("there.vitc").write_bytes(b"precious")
    before = Path("photos/a.png").read_bytes()
    one_line(call(*command), 2, "use -o ")
    assert made() == ["there.vitc"] and Path("there.vitc").read_bytes() == b"precious" and StoringCodec.loads == 0
    assert Path("photos/a.png").read_bytes() == before and not list(Path("photos").glob("*.vitc"))


def test_inputs_stay_inputs(photos):
    call("encode", "photos/a.png", "-o", "a.vitc")
    call("encode", "photos/b.jpg", "-o", "b.vitc")
    assert call("decode", "a.vitc", "b.vitc").exit_code == 0 and Path("b.png").exists()
    result = call("encode", "photos/a.png", "photos/b.jpg", "a.vitc", "-n")  # as a shell expands *
    assert result.exit_code == 1 and "a.vitc: is a .vitc file already; decode" in result.stderr
    result = call("encode", "photos/a.png", "absent.png")
    assert result.exit_code == 1 and "absent.png: no such file" in result.stderr and Path("photos/a.vitc").exists()


# names that lie


def test_an_output_of_encode_is_not_called_an_image(photos):
    for name in ("out.jpg", "out.PNG", "new/out.heic", "out.jxl", "out.svg", "photos/b.jpg"):
        before = Path("photos/b.jpg").read_bytes()
        one_line(call("encode", "photos/a.png", "-o", name, "--overwrite"), 2, name, ".vitc")
        assert Path("photos/b.jpg").read_bytes() == before
    one_line(call("encode", "photos", "-o", "new.vitc"), 2, "new.vitc/")
    assert made() == []
    for name in ("out.VITC", "out.bin", "out"):
        assert call("encode", "photos/a.png", "-o", name).exit_code == 0
    assert call("encode", "photos", "-o", "new.vitc/").exit_code == 0 and Path("new.vitc/a.vitc").exists()


def test_an_output_of_decode_is_called_what_it_is(photos):
    call("encode", "photos/a.png", "-o", "a.vitc")
    one_line(call("decode", "a.vitc", "-o", "x.png", "--format", "jpg"), 2, "x.png: --format jpg contradicts")
    one_line(call("decode", "a.vitc", "-o", "x.gif", "--format", "png"), 2, "x.gif: --format png contradicts")
    one_line(call("decode", "a.vitc", "-o", "x.vitc", "--format", "png"), 2, "x.vitc: decode writes images")
    one_line(call("decode", "a.vitc", "-o", "x.vitc"), 2, "x.vitc: decode writes images")
    one_line(call("decode", "a.vitc", "x.png", "--format", "jpg"), 2, "contradicts")
    one_line(call("decode", ".", "-o", "x.png"), 2, "x.png/")
    assert made() == ["a.vitc"]
    for name, format in (("x.jpeg", "jpg"), ("x.jfif", "jpg"), ("x.dat", "png"), ("x", "tif")):
        assert call("decode", "a.vitc", "-o", name, "--format", format).exit_code == 0, name


def test_inputs_of_the_wrong_kind_or_empty(photos):
    call("encode", "photos/a.png", "-o", "a.vitc")
    Path("a.vitc.png").write_bytes(Path("a.vitc").read_bytes())
    for name in ("empty.png", "empty.vitc"):
        Path(name).write_bytes(b"")
    one_line(call("encode", "a.vitc"), 1, "a.vitc: is a .vitc file already; decode makes an image of it")
    one_line(call("encode", "a.vitc.png", "-o", "x.vitc"), 1, "a.vitc.png: is a .vitc file already")
    one_line(call("decode", "photos/a.png"), 1, "photos/a.png: not a .vitc file")
    for command in (("encode", "empty.png"), ("decode", "empty.png"), ("decode", "empty.vitc"), ("info", "empty.vitc")):
        one_line(call(*command), 1, f"{command[1]}: is empty (0 bytes)")
        assert "--salvage" not in call(*command).stderr
    for command in ("encode", "decode", "info"):
        one_line(call(command, "-", *(["-o", "x"] if command == "encode" else []), input=b""), 1, "<stdin>: is empty")
    assert call("decode", "a.vitc.png", "-o", "x.png").exit_code == 0  # the bytes count, not the name


# what is left out


def test_what_is_left_out_is_said(photos):
    for name in ("x.heic", "y.cr2", "z.cr2", ".DS_Store"):
        Path("photos", name).write_bytes(b"x")
    text = "left out: 2 .cr2, 1 .DS_Store, 1 .heic; 1 subfolder, -r takes it"
    counts = {".cr2": 2, ".DS_Store": 1, ".heic": 1, "subfolders": 1}
    result = call("encode", "photos", "-o", "out")
    assert result.exit_code == 0 and text in result.stderr.splitlines()[-1]
    *_, summary = lines(call("encode", "photos", "-o", "out", "--skip-existing", "--json"))
    assert summary["left_out"] == counts and summary["skipped"] == 2
    strict = call("encode", "photos", "-o", "out", "--skip-existing", "--strict", "--quiet")
    assert strict.exit_code == 1 and strict.stderr.startswith(f"error: {text}") and strict.stderr.count("\n") == 1
    assert text in call("encode", "photos", "-o", "new", "-n").stderr
    call("encode", "photos/sub", "-o", "out/sub")
    for command in (("decode", "out", "-o", "back"), ("info", "out")):
        assert "left out: 1 subfolder, -r takes it" in call(*command).stderr
        *_, summary = lines(call(*command, "--json", *(["--overwrite"] if command[0] == "decode" else [])))
        assert summary["left_out"] == {"subfolders": 1}
        assert call(*command, "--strict", *(["--overwrite"] if command[0] == "decode" else [])).exit_code == 1
    assert call("info", "out", "-r", "--strict").exit_code == 0
    # a run into the folder of the inputs finds its own outputs and does not count them
    for _ in range(2):
        result = call("encode", "photos/sub", "--skip-existing", "--strict")
        assert result.exit_code == 0 and "left out" not in result.stderr


def test_a_folder_of_nothing_but_others(photos):
    Path("others").mkdir()
    Path("others/x.cr2").write_bytes(b"x")
    for command in ("encode", "decode", "info", "eval"):
        result = call(command, "others")
        assert result.exit_code == 0 and "nothing to do" in result.stderr and "left out: 1 .cr2" in result.stderr
        assert lines(call(command, "others", "--json"))[-1]["left_out"] == {".cr2": 1}
        assert call(command, "others", "--strict").exit_code == 1


def test_two_names_of_one_file(photos):
    Path("photos/alias.png").symlink_to("a.png")
    assert call("encode", "photos", "-o", "out").exit_code == 0
    assert made() == ["out/a.vitc", "out/alias.vitc", "out/b.vitc"]


def test_append_suffix(photos):
    Image.open("photos/a.png").save("photos/a.webp")
    one_line(call("encode", "photos", "-o", "out"), 2, "would both become out/a.vitc", "--append-suffix")
    assert call("encode", "photos", "-o", "out", "--append-suffix").exit_code == 0
    assert made() == ["out/a.png.vitc", "out/a.webp.vitc", "out/b.jpg.vitc"]
    assert call("decode", "out", "-o", "back").exit_code == 0 and Path("back/a.webp.png").exists()


# times


def test_preserve(photos):
    os.utime("photos/a.png", ns=(10**18, 10**18 + 7))
    assert call("encode", "photos", "-o", "out", "--preserve").exit_code == 0
    assert call("decode", "out", "-o", "back", "--preserve").exit_code == 0
    for name in ("out/a.vitc", "back/a.png"):
        assert os.stat(name).st_mtime_ns == 10**18 + 7
    call("encode", "photos/a.png", "-o", "now.vitc")
    assert abs(os.stat("now.vitc").st_mtime - time.time()) < 100
    one_line(call("encode", "photos/a.png", "-o", "-", "--preserve"), 2, "--preserve", "<stdout>")
    one_line(call("encode", "-", "-o", "x.vitc", "--preserve", input=b""), 2, "--preserve", "<stdin>")


# streams, in a shell


def test_process_substitution_and_standard_streams(photos):
    call("encode", "photos/a.png", "-o", "a.vitc")
    wanted = StoringCodec().decode(Path("a.vitc").read_bytes()).rgb
    for line in (
        "vitcodec encode <(cat photos/a.png) -o x.vitc",
        "vitcodec encode <(cat photos/a.png) x.vitc",
        "cat photos/a.png | vitcodec encode /dev/stdin -o x.vitc",
        "vitcodec encode /dev/stdin -o x.vitc < photos/a.png",
        "vitcodec encode photos/a.png -o /dev/stdout > x.vitc",
        "vitcodec encode photos/a.png -o /dev/stdout | cat > x.vitc",
        "mkfifo p; cat p > x.vitc & vitcodec encode photos/a.png -o p --overwrite; wait; test -p p",
        "vitcodec encode p -o x.vitc & cat photos/a.png > p; wait",
    ):
        result = shell(line)
        assert result.returncode == 0, (line, result.stderr)
        assert np.array_equal(StoringCodec().decode(Path("x.vitc").read_bytes()).rgb, wanted), line
        Path("x.vitc").unlink()
    for line in ("vitcodec encode <(cat photos/a.png)", "vitcodec encode /dev/stdin < photos/a.png"):
        result = shell(line)
        assert result.returncode == 2 and "use -o FILE" in result.stderr and result.stderr.count("\n") == 1
    result = shell("vitcodec decode <(cat a.vitc) -o >(cat > b.png) && vitcodec info <(cat a.vitc); sleep 0.2")
    assert result.returncode == 0 and "30x20" in result.stdout
    assert np.array_equal(np.asarray(Image.open("b.png")), np.asarray(Image.open("photos/a.png")))
    assert made() == ["a.vitc", "b.png"]


def test_a_terminal_that_holds_no_name(photos):
    Path("odd").mkdir()
    for name in ("b日本.png", os.fsdecode(b"\xff\xfe.png")):
        Path("odd", name).write_bytes(Path("photos/a.png").read_bytes())
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    for env in ({"PYTHONIOENCODING": "cp1252"}, plain, {}):
        for line in ("vitcodec encode odd -o out --overwrite", "vitcodec info out", "vitcodec decode out -o back -n"):
            result = shell(line + " 2>&1 | cat -v", env=env)
            assert "error" not in result.stdout and "Traceback" not in result.stdout and ".vitc" in result.stdout
        records = lines(shell("vitcodec encode odd -o out --overwrite --json", env=env))
        assert [r["status"] for r in records[:2]] == ["done", "done"] and records[2]["done"] == 2
        assert sorted(os.listdir("out")) == sorted(("b日本.vitc", os.fsdecode(b"\xff\xfe.vitc")))


def test_control_characters_of_names_do_not_reach_the_terminal(photos):
    name = "photos/\x1b[2Ja.png"
    Path(name).write_bytes(b"no image")
    result = call("encode", name)
    assert result.exit_code == 1 and "\x1b" not in result.stderr and "\\x1b[2Ja.png" in result.stderr
    result = call("encode", name, "-n")
    assert "\x1b" not in result.stdout and "\\x1b" in result.stdout
