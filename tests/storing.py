"""A codec that stores PNG in place of a model, so that tests of the command line wait for no network.

It takes its place through the seam that cli/codecs.py documents: `install` in a test, `python storing.py ARGUMENTS...`
for a process of its own, which is `vitcodec ARGUMENTS...` with this codec.
"""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from vitcodec.bitstream import container
from vitcodec.bitstream.container import Contents
from vitcodec.bitstream.header import Header
from vitcodec.bitstream.metadata import pack_metadata, unpack_picture
from vitcodec.cli import app, codecs, main
from vitcodec.errors import DeviceError, WeightsError
from vitcodec.options import DecodeOptions, EncodeOptions
from vitcodec.subbands import CODING_ORDER
from vitcodec.tiles import Region


class StoringCodec:
    """The interface of vitcodec.Codec; the payload of the low band is the picture as PNG."""

    name, device = "stored", "cpu"
    engine, reason = "Pillow", ""
    loads = 0  # how often a codec was loaded
    padding = 0  # bytes by which the payload of every detail level is longer

    @classmethod
    def load(cls, model, device, threads, tune=None):
        cls.loads += 1
        if device == "cuda:7":
            raise DeviceError("cuda:7 is not there; this machine has none")
        if model not in (None, "stored"):
            raise WeightsError(f"unknown model '{model}'; shipped: stored")
        return cls()

    def encode(self, picture, options=None, **changes):
        options = replace(options or EncodeOptions(), **changes)
        buffer = io.BytesIO()
        Image.fromarray(picture.rgb).save(buffer, "PNG")
        height, width = picture.rgb.shape[:2]
        tokens = {(level, 0): bytes(options.quality + self.padding) for level in CODING_ORDER}
        tokens[0, 0] = buffer.getvalue()
        metadata = pack_metadata(replace(picture, alpha=None), None)
        header = Header(width, height, options.quality, picture.gray, "stored", bytes(8), 128 * 255)
        return container.pack(Contents(header, metadata, tokens))

    def read(self, source, options=None, name="<bytes>"):
        options = options or DecodeOptions()
        contents = container.unpack(source, options.reduce + 1, name)
        if options.region is not None:
            options.region.clipped(contents.header.width, contents.header.height)
        return contents

    def decode(self, data, options=None, **changes):
        options = replace(options or DecodeOptions(), **changes)
        contents = data if isinstance(data, Contents) else self.read(data, options)
        received_or_erased = contents.payloads.keys() | contents.erased
        assert received_or_erased == {(level, 0) for level in CODING_ORDER if level == 0 or level > options.reduce}
        image = Image.open(io.BytesIO(contents.payloads[0, 0]))
        rgb = np.asarray(image.reduce(2**options.reduce) if options.reduce else image)
        whole = Region(0, 0, contents.header.width, contents.header.height)
        return unpack_picture(contents, rgb, whole, options.reduce)


def install(monkeypatch):
    """The storing codec in place of every model, in a process without vitcodec's environment variables."""
    monkeypatch.setattr(codecs, "load_codec", StoringCodec.load)
    monkeypatch.setattr(codecs, "describe_device", lambda name: (name, "asked for"))
    monkeypatch.setattr(StoringCodec, "loads", 0)
    for name in ("VITCODEC_MODEL", "VITCODEC_DEVICE", "VITCODEC_DEBUG"):
        monkeypatch.delenv(name, raising=False)


def make_photos(folder):
    """photos/{a.png, b.jpg} and photos/sub/c.png in a folder."""
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (20, 30)), ("b.jpg", (16, 16)), ("sub/c.png", (1, 5))):
        path = folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


# what tests do with the command line


def call(*args, **kwargs):
    """`vitcodec ARGS...` in this process -> result."""
    return CliRunner().invoke(app, [str(a) for a in args], **kwargs)


def lines(result):
    """The JSON objects that a command printed."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def made(folder="."):
    """The files below a folder that are no photos."""
    return sorted(str(p) for p in Path(folder).rglob("*") if p.is_file() and "photos" not in p.parts)


def one_line(result, code, *parts):
    """Asserts that a command failed with this exit code and one line that holds these parts."""
    assert result.exit_code == code and result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, result.stderr
    assert all(part in result.stderr for part in parts), result.stderr


if __name__ == "__main__":
    codecs.load_codec = StoringCodec.load
    StoringCodec.padding = 30_000  # so that writing takes a while
    main()
