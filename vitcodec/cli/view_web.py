"""`vitcodec view --web`: the page whose decoder runs in the browser, on this machine alone, until it is stopped.

The page, of web/ in the source tree, is built by `make web` into the package; a wheel holds it if it was built before.
A server hands out that page, the files, and the weights that they need. Nothing else can be fetched from it, by nobody
but this machine, and under an address that cannot be guessed: other users' browsers run here too.
"""

from __future__ import annotations

import io
import json
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO
from urllib.parse import quote, unquote, urlsplit

from .. import files
from ..errors import UsageError
from ..pretrained import registry
from ..pretrained.config import PretrainedConfig
from . import decode
from .output import Output, one_line

PAGE = Path(__file__).parents[1] / "web"
HOST = "127.0.0.1"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".json": "application/json",
}
_HEADERS = {
    # with these two the decoder may use all cores
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True)
class Site:
    """What can be fetched. token: the first part of every address."""

    sources: Sequence[files.Source]  # none of them a stream
    token: str
    models: dict[str, PretrainedConfig]  # by the hash of the weights, in hexadecimal digits, as files name them

    def paths(self) -> list[str]:
        """The address of each file's page, without the host."""
        return [f"/{self.token}/?src={quote(_path_of(k, source))}" for k, source in enumerate(self.sources)]

    def open(self, path: str) -> tuple[BinaryIO, str] | None:
        """A stream of what is at an address, and its type; None where nothing is."""
        first, _, rest = unquote(urlsplit(path).path).lstrip("/").partition("/")
        if not secrets.compare_digest(first.encode(), self.token.encode()):
            return None
        for k, source in enumerate(self.sources):
            if rest == _path_of(k, source):
                return _stream_of(source), "image/x-vitcodec"
        if rest == "models/models.json":
            listed = {identity: _listed(identity, config) for identity, config in self.models.items()}
            return io.BytesIO(json.dumps(listed).encode()), _TYPES[".json"]
        if found := self._weights().get(rest.removeprefix("models/")) if rest.startswith("models/") else None:
            return found.open("rb"), "application/octet-stream"
        name = rest or "index.html"
        page = {path.name: path for path in PAGE.iterdir() if path.is_file()}.get(name)
        return None if page is None else (page.open("rb"), _TYPES.get(page.suffix, "application/octet-stream"))

    def _weights(self) -> dict[str, Path]:
        """Of every model, and their enhancements, by what models.json calls them."""
        named = {identity: config.files[0] for identity, config in self.models.items()}
        for config in self.models.values():
            named |= {sha256: config.enhancement(k) for k, sha256 in enumerate(config.enhancements, 1)}
        return named


def _path_of(number: int, source: files.Source) -> str:
    assert source.path is not None
    return f"files/{number}/{source.path.name}"


def _stream_of(source: files.Source) -> BinaryIO:
    with decode.stream_of(source) as stream:
        return io.BytesIO(stream.read())


def _listed(identity: str, config: PretrainedConfig) -> dict[str, Any]:
    context = config.context
    return {
        "name": config.name,
        "file": identity,
        "context": {"low_scales": context.low_scales, "conditional": context.conditional, "flags": context.flags},
        "synthesis": dict(config.synthesis),
        "enhancements": [{"file": sha256, "sha256": sha256} for sha256 in config.enhancements],
    }


def _models() -> dict[str, PretrainedConfig]:
    """All models of integers that are here: what a browser can run."""
    found = [*registry.available(), *registry.searched(), *(config for _, config in registry.downloaded())]
    return {config.identity.hex(): config for config in reversed(found) if config.integers}


class Handler(BaseHTTPRequestHandler):
    """Answers to GET alone."""

    server: Server

    def do_GET(self) -> None:
        """http.server calls it."""
        # a page elsewhere could let its own name point here
        local = self.headers.get("Host", "").rpartition(":")[0] in (HOST, "localhost")
        found = self.server.site.open(self.path) if local else None
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        stream, kind = found
        with stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            self.send_response(HTTPStatus.OK)
            for name, value in {"Content-Type": kind, "Content-Length": str(size), **_HEADERS}.items():
                self.send_header(name, value)
            self.end_headers()
            shutil.copyfileobj(stream, self.wfile)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is said of requests."""


class Server(ThreadingHTTPServer):
    """The server of a site, on a free port."""

    daemon_threads = True

    def __init__(self, site: Site):
        super().__init__((HOST, 0), Handler)
        self.site = site

    @property
    def addresses(self) -> list[str]:
        """Of each file's page."""
        return [f"http://{HOST}:{self.server_address[1]}{path}" for path in self.site.paths()]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is no error."""


def start(sources: Sequence[files.Source]) -> Server:
    """A server of files, not running yet. Raises UsageError where the page was not built, and for streams."""
    if not (PAGE / "index.html").is_file():
        raise UsageError(
            "the page of --web is not in this installation; install vitcodec from a wheel that has it, build it with "
            "'make web' in the source tree, or leave --web out"
        )
    if any(source.path is None or source.stream for source in sources):
        raise UsageError("--web shows files, not what comes through a pipe; write it to a file first")
    return Server(Site(sources, secrets.token_urlsafe(12), _models()))


def show(out: Output, server: Server, open_address: Callable[[str], bool] | None) -> bool | None:
    """Serve until Ctrl-C. open_address: opens an address, and says whether it could; None: not asked for."""
    serving = Thread(target=server.serve_forever, daemon=True)
    serving.start()
    for source, address in zip(server.site.sources, server.addresses, strict=True):
        out.record({"file": source.name, "output": address, "status": "done"})
        out.result(f"{one_line(source.name)}: {address}")
    tried = [open_address(address) for address in server.addresses] if open_address else []
    opened = all(tried) if tried else None
    if opened is False:
        out.say("no browser can be started here; open the address in one")
    out.say("shown as long as this runs: Ctrl-C ends it")
    try:
        while serving.is_alive():
            serving.join(1)
    except KeyboardInterrupt:
        server.shutdown()
    server.server_close()
    return opened
