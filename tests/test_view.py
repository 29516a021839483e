"""`vitcodec view` and `vitcodec desktop`: with a viewer and a browser that only note what they are asked to show."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import xml.dom.minidom
from pathlib import Path

import numpy as np
import pytest
from conftest import make_rgb
from PIL import Image
from storing import call, install, lines, one_line

from vitcodec import desktop
from vitcodec.cli import view
from vitcodec.lossless import LosslessCodec
from vitcodec.picture import Picture

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the desktop is a freedesktop's")
RGB = make_rgb(40, 30)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own, with two files, without a display, a viewer or a browser."""
    monkeypatch.chdir(tmp_path)
    install(monkeypatch)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    (tmp_path / "a.vitc").write_bytes(LosslessCodec().encode(Picture(RGB)))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.vitc").write_bytes(LosslessCodec().encode(Picture(RGB[::2, ::2])))
    return tmp_path


def program(place: Path, name: str, code: int = 0) -> Path:
    """A program that notes what it is given."""
    path = place / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "$1" >> {place / "opened"}\nexit {code}\n')
    path.chmod(0o755)
    return path


def opened(place: Path) -> list[str]:
    for _ in range(100):
        if (place / "opened").exists():
            break
        time.sleep(0.05)
    return (place / "opened").read_text().splitlines()


# ---- view


def test_the_viewer_shows_a_png(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(place, "xdg-open")
    monkeypatch.setenv("PATH", f"{place / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":0")
    said = call("view", "a.vitc", "sub/a.vitc")
    assert said.exit_code == 0 and said.stderr.count("\n") == 2
    first, second = map(Path, opened(place))
    assert first.name == "a.png" and second.name == "a-2.png" and first.parent == second.parent
    assert np.array_equal(np.asarray(Image.open(first)), RGB)
    assert place / "temporary" == first.parent.parent and first.parent.stat().st_mode & 0o777 == 0o700


def test_without_opening(place: Path) -> None:
    call("encode", str(first_png(place)), "-o", "stored.vitc", "--tokens")
    said = call("view", "--no-open", "stored.vitc", "--fit", "20x20")
    assert said.exit_code == 0 and Image.open(said.stdout.strip()).size == (20, 15)
    row, summary = lines(call("view", "--no-open", "a.vitc", "--json"))
    assert Path(row["output"]).name == "a.png" and (row["width"], row["height"]) == (40, 30)
    assert summary["done"] == 1 and summary["opened"] is None


def first_png(place: Path) -> Path:
    Image.fromarray(RGB).save(place / "a.png")
    return place / "a.png"


def test_a_page_in_the_browser(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = place / "<b>&.vitc"
    shutil.copy(place / "a.vitc", odd)
    said = call("view", "--browser", "--no-open", str(odd), "a.vitc")
    page = Path(said.stdout.strip()).read_text("utf-8")
    assert page.count("<img ") == 2 and "&lt;b&gt;&amp;.vitc" in page and "<b>" not in page
    assert "40x30, lossless" in page and not re.search(r'(src|href)="(?!data:image/png;base64,)', page)
    monkeypatch.setattr("webbrowser.open", lambda address: (place / "opened").write_text(address) > 0)
    monkeypatch.setenv("BROWSER", "something")
    assert call("view", "a.vitc").exit_code == 0  # as there is no viewer
    (address,) = opened(place)
    assert address.startswith("file:///") and address.endswith("/page.html")


def test_where_nothing_can_be_shown_the_place_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = call("view", "a.vitc")
    assert said.exit_code == 1 and said.stdout == "" and "no viewer and no browser" in said.stderr
    assert Path(said.stderr.split()[-1]).is_file()
    program(place, "xdg-open", code=3)  # it knows no program for PNG
    monkeypatch.setenv("PATH", f"{place / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(view, "open_page", lambda page: page.is_file())
    said = call("view", "a.vitc", "--json")
    assert said.exit_code == 0 and lines(said)[0]["output"].endswith("page.html")


def test_one_bad_file_does_not_stop_the_others(place: Path) -> None:
    (place / "bad.vitc").write_bytes((place / "a.vitc").read_bytes()[:-4])
    said = call("view", "--no-open", "bad.vitc", "a.vitc", "absent.vitc")
    assert said.exit_code == 1 and said.stdout.count("\n") == 1
    assert (
        "2 of 3 failed:" in said.stderr
        and "bad.vitc: truncated" in said.stderr
        and "absent.vitc: no such" in said.stderr
    )
    one_line(call("view", "a.vitc", "--fit", "big"), 2, "--fit 'big'")
    one_line(call("view", "a.vitc", "--max-pixels", "9"), 1, "more than 9 pixels")
    assert len(list((place / "temporary").iterdir())) == 1  # none is left of a run that shows nothing
    (place / "none").mkdir()
    assert call("view", "none").exit_code == 0


# ---- desktop


def written(place: Path) -> list[str]:
    return sorted(str(p.relative_to(place / "share")) for p in (place / "share").rglob("*vitcodec*") if p.is_file())


def test_install_and_uninstall(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("update-mime-database", "update-desktop-database"):
        program(place, name)
    monkeypatch.setenv("PATH", str(place / "bin"))
    said = call("desktop", "install", "--dry-run")
    assert said.exit_code == 0 and said.stdout.count("planned") == 3 and not (place / "share").exists()
    foreign = place / "share" / "applications" / "other.desktop"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("[Desktop Entry]\n")
    said = call("desktop", "install")
    assert said.exit_code == 0 and said.stdout.count("written") == 3
    assert opened(place) == [str(place / "share" / "mime"), str(place / "share" / "applications")]
    assert written(place) == [
        "applications/vitcodec-view.desktop",
        "mime/packages/vitcodec.xml",
        "thumbnailers/vitcodec.thumbnailer",
    ]
    assert call("desktop", "install").stdout.count("unchanged") == 3
    (place / "share" / "mime" / "packages" / "vitcodec.xml").write_text(f"<!-- {desktop._MARK} --><older/>")
    assert call("desktop", "install").stdout.count("written") == 1
    assert call("desktop", "uninstall", "-n").stdout.count("planned") == 3 and len(written(place)) == 3
    assert call("desktop", "uninstall").stdout.count("removed") == 3
    assert written(place) == [] and foreign.exists()
    said = call("desktop", "uninstall")
    assert said.exit_code == 0 and said.stdout == "" and "nothing is installed" in said.stderr


def test_what_others_wrote_is_left_alone(place: Path) -> None:
    theirs = place / "share" / "mime" / "packages" / "vitcodec.xml"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("<mine/>")
    one_line(call("desktop", "install"), 1, "vitcodec did not write it")
    assert written(place) == ["mime/packages/vitcodec.xml"]
    assert call("desktop", "install", "-n").exit_code == 1
    assert "left alone" in call("desktop", "uninstall").stdout and theirs.read_text() == "<mine/>"


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_other_systems(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setattr(desktop.sys, "platform", system)
    for command in ("install", "uninstall"):
        one_line(call("desktop", command), 2, "freedesktop")


def entry(place: Path, part: str, words: list[str]) -> dict[str, str]:
    """The keys of an entry."""
    text = next(e.text for e in desktop.entries(place, words) if part in e.path.name)
    parser = configparser.RawConfigParser(strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    (section,) = parser.sections()
    return dict(parser[section])


def words_of(line: str, **codes: str) -> list[str]:
    """An Exec line as a file manager takes it apart."""
    words = shlex.split(re.sub(r"\\([$`])", r"\1", line.replace("\\\\", "\\")))  # Python's shlex leaves these two
    return [re.sub("%(.)", lambda match: {"%": "%", **codes}[match[1]], word) for word in words]


@pytest.mark.parametrize("name", ["python", 'odd "$x`\\ 5% name'])
def test_the_thumbnailer_makes_a_thumbnail(place: Path, name: str) -> None:
    python = place / name / "bin"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    keys = entry(place, "thumbnailer", [str(python), "-m", "vitcodec"])
    assert keys["MimeType"] == "image/x-vitcodec;" and keys["TryExec"].replace("\\\\", "\\") == str(python)
    source, target = place / "-odd name.vitc", place / ".thumbnail.XYZ"
    shutil.copy(place / "a.vitc", source)
    target.touch()  # GNOME makes it before
    words = words_of(keys["Exec"], s="16", i=str(source), o=str(target))
    assert words[0] == str(python)
    words[0] = sys.executable  # an interpreter that knows the packages
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd="/", timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with Image.open(target) as image:
        assert image.format == "PNG" and image.size == (16, 12)


def test_entries_are_valid(place: Path) -> None:
    keys = entry(place, ".desktop", ["/usr/bin/vitcodec"])
    assert keys["Exec"] == "/usr/bin/vitcodec view %F" and keys["Type"] == "Application" and keys["Name"]
    said = call("desktop", "install")
    path = place / "share" / "mime" / "packages" / "vitcodec.xml"
    tree = xml.dom.minidom.parseString(path.read_text())
    (kind,) = tree.getElementsByTagName("mime-type")
    assert kind.getAttribute("type") == desktop.MIME
    if shutil.which("update-mime-database"):
        assert "update-mime-database" not in said.stderr
        assert b"\x89VTC\r\n\x1a\n" in (path.parent.parent / "magic").read_bytes()
        assert "image/x-vitcodec:*.vitc" in (path.parent.parent / "globs2").read_text()
    if validate := shutil.which("desktop-file-validate"):
        subprocess.run([validate, place / "share" / "applications" / "vitcodec-view.desktop"], check=True)


def test_gnome_cannot_see_programs_outside_usr() -> None:
    assert desktop.sandboxed_out(["/home/me/bin/vitcodec"])
    words = desktop.program()
    assert Path(words[0]).is_absolute() and os.access(words[0], os.X_OK)
