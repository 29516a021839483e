"""Models on the hub, against a stand-in for it on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from conftest import make_rgb
from safetensors.torch import save_file

import vitcodec
from vitcodec.errors import UsageError, WeightsError
from vitcodec.models import backbone
from vitcodec.pretrained import hub, registry
from vitcodec.pretrained.config import PretrainedConfig

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SCRIPT = """
import contextlib, io, json, sys
from vitcodec.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["vitcodec", *arguments]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


class StandIn(ThreadingHTTPServer):
    """One repository at the revisions main and v1; it takes uploads to any name."""

    def __init__(self, folder: Path, name: str = "someone/other"):
        super().__init__(("127.0.0.1", 0), Handler)
        self.name = name
        self.folder, self.requests, self.uploaded = folder, list[str](), dict[str, bytes]()


class Handler(BaseHTTPRequestHandler):
    server: StandIn

    def answer(self, code: int, body: bytes = b"{}", **headers: str) -> None:
        self.send_response(code)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        parts = self.path.split("/")
        if "/".join(parts[1:3]) != self.server.name:
            return self.answer(404, X_Error_Code="RepoNotFound")
        _, _, _, _, revision, name = parts
        if revision not in ("main", "v1", COMMIT):
            return self.answer(404, X_Error_Code="RevisionNotFound")
        file = self.server.folder / name
        if not file.is_file():
            return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
        data = file.read_bytes()
        self.answer(200, data, ETag=f'"{hashlib.sha256(data).hexdigest()}"', X_Repo_Commit=COMMIT)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.server.requests.append(f"POST {self.path}")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        home = f"http://127.0.0.1:{self.server.server_port}/someone/new"
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            answer = {
                "files": [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None} for f in files
                ]
            }
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.uploaded[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            answer = {"success": True, "commitUrl": f"{home}/commit/{COMMIT}", "commitOid": COMMIT}
        else:
            answer = {"url": home, "name": "someone/new", "errors": [], "warnings": []}
        self.answer(200, json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A model folder: the default model under another name."""
    folder, config = tmp_path / "other", registry.find()
    folder.mkdir()
    for file in (file for files, _ in config.hashes for file in files):
        shutil.copy(file, folder)
    (folder / "config.json").write_text(replace(config, name="other").to_json())
    (folder / "README.md").write_text("# other\n")
    return folder


@contextmanager
def serving(server: StandIn) -> Iterator[StandIn]:
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def server(other: Path) -> Iterator[StandIn]:
    with serving(StandIn(other)) as server:
        yield server


def run(tmp_path: Path, commands: list[list[str]], **environment: str) -> list[tuple[int, str, str]]:
    """The commands in one process of its own, as huggingface_hub reads its settings when it is imported."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "VITCODEC_"))}
    ours = {
        "PYTHONPATH": str(Path(vitcodec.__file__).parent.parent),
        "VITCODEC_CACHE": str(tmp_path / "cache"),
        "HF_HOME": str(tmp_path / "hf"),
    }
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)],
        cwd=tmp_path,
        env=kept | ours | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return [tuple(json.loads(line)) for line in result.stdout.splitlines()]


def test_models_on_the_hub(tmp_path, server, other):
    vitcodec.write_image(vitcodec.Picture(make_rgb(40, 30)), tmp_path / "a.png")
    (other / "SOURCES.md").write_text("of its images")
    online = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
    downloaded, listed, encoded, decoded, absent, revision, empty = run(
        tmp_path,
        [
            ["models", "download", "hf-hub:someone/other@v1"],
            ["models", "list", "--json"],
            # main is not in the cache: to name it is to ask for it
            ["encode", "a.png", "-o", "a.vitc", "--effort", "1", "-m", "hf-hub:someone/other"],
            ["decode", "a.vitc", "-o", "b.png"],
            ["models", "download", "hf-hub:someone/nothing"],
            ["models", "download", "hf-hub:someone/other@v9"],
            ["models", "verify"],
        ],
        **online,
    )
    assert downloaded[0] == 0 and "hash as stated" in downloaded[2]
    [sources] = (tmp_path / "cache").glob("hub/models--someone--other/snapshots/*/SOURCES.md")
    assert sources.read_text() == "of its images"
    graphs = "graphs.safetensors"
    assert (sources.parent / graphs).read_bytes() == (other / graphs).read_bytes()
    rows = [json.loads(line) for line in listed[1].splitlines()]
    assert [row["status"] for row in rows if row.get("name") == f"hf-hub:someone/other@{COMMIT}"] == ["downloaded"]
    assert encoded[0] == 0, encoded[2]
    # the file names the model `other`, which does not ship; it is found in the cache by its hash
    assert decoded[0] == 0 and (tmp_path / "b.png").is_file(), decoded[2]
    for result in (absent, revision):
        assert result[0] == 1 and "no such model or revision" in result[2] and result[2].count("\n") == 1
    assert empty[0] == 0 and empty[1].count("ok ") == len(registry.available()) + 1

    # without a network: what is in the cache works, the rest says what to do
    asked = len(server.requests)
    again, absent = run(
        tmp_path,
        [
            ["encode", "a.png", "-o", "c.vitc", "--effort", "1", "-m", "hf-hub:someone/other@v1"],
            ["encode", "a.png", "-o", "d.vitc", "-m", "hf-hub:someone/new"],
        ],
        HF_HUB_OFFLINE="1",
        **online,
    )
    assert again[0] == 0 and (tmp_path / "c.vitc").read_bytes() == (tmp_path / "a.vitc").read_bytes()
    assert absent[0] == 1 and "vitcodec models download hf-hub:someone/new" in absent[2] and absent[2].count("\n") == 1
    assert len(server.requests) == asked

    # damage in the cache is found
    [file] = (tmp_path / "cache").glob("hub/models--someone--other/snapshots/*/model.safetensors")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.resolve().write_bytes(data)
    [encoded, verified] = run(
        tmp_path,
        [["encode", "a.png", "-o", "e.vitc", "-m", "hf-hub:someone/other"], ["models", "verify"]],
        HF_HUB_OFFLINE="1",
    )
    assert encoded[0] == 1 and "SHA-256" in encoded[2]
    assert verified[0] == 1 and verified[1].count("ok ") == len(registry.available())


def test_uploading(tmp_path, server, other):
    online = {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_TOKEN": "hf_nobody",
        "HF_HUB_DISABLE_XET": "1",
    }
    (other / "notes.txt").write_text("not to be uploaded")
    pushed, refused = run(
        tmp_path,
        [
            ["models", "push", f"local-dir:{other}", "hf-hub:someone/new"],
            ["models", "push", f"local-dir:{other}", "someone/new"],
        ],
        **online,
    )
    assert pushed[0] == 0, pushed[2]
    parts = [file.name for files, _ in registry.find().hashes for file in files]
    assert "graphs.safetensors" in parts and set(server.uploaded) == {"config.json", "README.md", *parts}
    assert all(server.uploaded[part] == (other / part).read_bytes() for part in parts)
    assert refused[0] == 2 and "hf-hub:ORG/NAME" in refused[2]

    # with a shipped model go the sources that all of these share
    server.uploaded.clear()
    [pushed] = run(tmp_path, [["models", "push", "cnn", "hf-hub:someone/new"]], **online)
    assert pushed[0] == 0, pushed[2]
    shipped = registry.find("cnn")
    assert server.uploaded["SOURCES.md"] == (shipped.folder.parent / "SOURCES.md").read_bytes()
    assert server.uploaded["config.json"] == (shipped.folder / "config.json").read_bytes()


TIMM = """
import sys
import torch
from safetensors.torch import load_file
from vitcodec.models import build_autoencoder
from vitcodec.models.backbone import load_pretrained
analysis = build_autoencoder("vit", {"width": 192, "decoder_blocks": 1, "backbone": "vit_tiny_patch16_224"}).analysis
load_pretrained(analysis, "vit_tiny_patch16_224.augreg_in21k_ft_in1k")
wanted, found = load_file(sys.argv[1]), analysis.body.net.state_dict()
assert len(found) > 100 and all((wanted[k] == v).all() for k, v in found.items() if k != "pos_embed")
assert found["pos_embed"].shape == (1, 1 + 16 * 16, 192) and wanted["pos_embed"].shape == (1, 1 + 14 * 14, 192)
assert torch.allclose(analysis.enter.enter.weight[:, :768], wanted["patch_embed.proj.weight"].flatten(1), atol=1e-6)
"""


def test_pretrained_encoders_of_timm(tmp_path):
    """Weights with the names and shapes of timm's, random, served as the hub would."""
    torch.manual_seed(0)
    file = tmp_path / "model.safetensors"
    save_file(backbone.create("vit_tiny_patch16_224").state_dict(), file)
    with serving(StandIn(tmp_path, "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k")) as server:
        environment = os.environ | {
            "PYTHONPATH": str(Path(vitcodec.__file__).parent.parent),
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": str(tmp_path / "hf"),
        }
        environment.pop("HF_HUB_OFFLINE", None)
        result = subprocess.run(
            [sys.executable, "-c", TIMM, str(file)], capture_output=True, text=True, env=environment, timeout=300
        )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("text", ["hf-hub:alone", "hf-hub:a/b/c", "hf-hub:a/b@", "a/b", "hf-hub:../b c"])
def test_names_that_are_none(text):
    with pytest.raises(UsageError, match="no model on the hub"):
        hub.Repository.parse(text)


def test_a_file_cannot_make_anything_be_downloaded_or_read(tmp_path, monkeypatch):
    monkeypatch.setenv("VITCODEC_CACHE", str(tmp_path))
    assert registry.resolve("swin", registry.find("swin").identity) == "swin"
    assert registry.resolve("unheard-of", bytes(8)) == "unheard-of"


def test_names_that_files_cannot_carry_are_refused(other):
    config = json.loads((other / "config.json").read_text())
    for name in ("../up", "", "a" * 65, "blank space"):
        (other / "config.json").write_text(json.dumps(config | {"name": name}))
        with pytest.raises(WeightsError, match="no usable model"):
            PretrainedConfig.read(other)
