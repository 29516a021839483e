"""web/: what the JavaScript decoder is tested with is what Python makes of it, and `view --web` serves its page."""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Thread, Timer
from urllib.parse import urlsplit

import pytest
from conftest import make_rgb
from storing import call, one_line

from vitcodec.cli import view, view_web
from vitcodec.lossless import LosslessCodec
from vitcodec.picture import Picture

WEB = Path(__file__).parent.parent / "web"
# quick ones of each kind; make_cases.py writes all
SOME = [
    "one-pixel",
    "gray-alpha",
    "masked",
    "lossless-alpha",
    "cut-level-3",
    "damaged-low-band",
    "unknown-chunk",
    "empty",
]


@pytest.mark.parametrize("name", SOME)
def test_cases_of_the_javascript_decoder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(WEB / "tools"))
    from make_cases import CASES, FOLDER, expected

    known = json.loads((FOLDER / "cases.json").read_text())
    assert known.keys() == CASES.keys() == {path.stem for path in FOLDER.glob("*.vitc")}
    data = (FOLDER / f"{name}.vitc").read_bytes()
    assert [expected(data, way) for way in CASES[name].ways] == known[name]


# ---- view --web


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file, and a page as `make web` would have built it."""
    monkeypatch.chdir(tmp_path)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("<!doctype html>")
    (tmp_path / "page" / "kernels.wasm").write_bytes(b"\0asm")
    (tmp_path / "secret").write_text("secret")
    monkeypatch.setattr(view_web, "PAGE", tmp_path / "page")
    (tmp_path / "a b?.vitc").write_bytes(LosslessCodec().encode(Picture(make_rgb(40, 30))))
    return tmp_path


def answer(address: str, path: str, host: str | None = None) -> tuple[int, dict[str, str], bytes]:
    """What a server says of a path below the page's folder, or of a whole one."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=10)
    whole = path if path.startswith("/") else f"{parts.path}{path}"
    connection.request("GET", whole, headers={"Host": host} if host else {})
    response = connection.getresponse()
    return response.status, dict(response.getheaders()), response.read()


@pytest.fixture
def address(page: Path) -> Iterator[str]:
    from vitcodec import files

    server = view_web.start(files.find_inputs(["a b?.vitc"], {files.SUFFIX}, False).sources)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.addresses[0]
    server.shutdown()
    server.server_close()


def test_the_page_the_file_and_the_weights_are_served(page: Path, address: str) -> None:
    status, headers, body = answer(address, "")
    assert (status, body) == (200, b"<!doctype html>") and headers["Content-Type"].startswith("text/html")
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"  # or no threads
    assert answer(address, "kernels.wasm")[1]["Content-Type"] == "application/wasm"
    assert address.endswith("/?src=files/0/a%20b%3F.vitc")
    assert answer(address, "files/0/a%20b%3F.vitc")[2] == (page / "a b?.vitc").read_bytes()
    models = json.loads(answer(address, "models/models.json")[2])
    (swin,) = (model for model in models.values() if model["name"] == "swin")
    assert swin["context"]["flags"] and len(swin["synthesis"]["shifts"]) == 18
    assert answer(address, f"models/{swin['file']}")[0] == 200
    assert not any(model["name"] == "cnn" for model in models.values())  # in floating point


@pytest.mark.parametrize(
    "path", ["secret", "../secret", "%2e%2e/secret", "files/1/a", "models/x", "/", "/x/index.html"]
)
def test_nothing_else_is_served(page: Path, address: str, path: str) -> None:
    assert answer(address, path)[0] == 404


def test_other_names_of_this_machine_are_refused(page: Path, address: str) -> None:
    assert answer(address, "", "pages.example:80")[0] == 404


def test_it_is_shown_until_ctrl_c(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def browser(address: str) -> bool:
        asked.append(answer(address.partition("?")[0], "")[0])
        Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        return True

    monkeypatch.setattr(view, "open_address", browser)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs behind
    said = call("view", "a b?.vitc", "--web")
    signal.signal(signal.SIGINT, before)
    assert (said.exit_code, asked) == (0, [200]) and "a b?.vitc: http://127.0.0.1:" in said.stdout


def test_without_the_page_it_is_said(page: Path) -> None:
    (page / "page" / "index.html").unlink()
    one_line(call("view", "a b?.vitc", "--web"), 2, "make web")
    one_line(call("view", "a b?.vitc", "--web", "--fit", "10x10"), 2, "--fit do not go together")
