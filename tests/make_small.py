"""Write the small random model of integers and a file of it, whose numbers tests know: python tests/make_small.py.

To be made again only while the format is a draft and changes.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from pathlib import Path

from conftest import make_rgb
from small_model import write_small_model
from test_light import ARCHIVE, FILE, KNOWN, digest, pixel_digest

from vitcodec.codec import Codec
from vitcodec.picture import Picture

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small"
        write_small_model(small)
        with tarfile.open(ARCHIVE, "w:xz", preset=9) as archive:
            for file in sorted(small.iterdir()):
                info = tarfile.TarInfo(f"small/{file.name}")
                info.size = file.stat().st_size
                with file.open("rb") as stream:
                    archive.addfile(info, stream)
        codec = Codec.from_pretrained(f"local-dir:{small}", "cpu", threads=1)
        FILE.write_bytes(codec.encode(Picture(make_rgb(150, 90, seed=3)), quality=55, coding="tokens", tile=128))
        known = {
            "tokens": digest(codec.decompress(FILE.read_bytes()).bands),
            "pixels": pixel_digest(codec, FILE.read_bytes()),
        }
        KNOWN.write_text(json.dumps(known, indent=2) + "\n")
