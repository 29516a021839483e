"""Are the files that the encoder writes the same to the byte as before a change?

    python tests/identical.py            # exit code 1 if a file differs from tests/data/encoded-hashes.json
    python tests/identical.py --write    # note the hashes of the encoder as it is

The five example pictures at qualities 20, 50 and 90 and efforts 1 and 3 with `swin`, and at quality 50, effort 1 with
the other models. The encoder's transforms are computed in floating point, so hashes hold for one kind of processor and
one version of torch and of ONNX Runtime, which the file names.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import onnxruntime
import torch

from vitcodec import Codec, read_image

EXAMPLES = Path(__file__).parent.parent / "examples"
HASHES = Path(__file__).parent / "data" / "encoded-hashes.json"
OTHERS = "swin-ms-ssim", "vit", "beit", "cnn"


def machine() -> str:
    versions = f"torch {torch.__version__.split('+')[0]}, onnxruntime {onnxruntime.__version__}"
    return f"{versions}, {torch.backends.cpu.get_cpu_capability()}"


def hashes(only: str | None = None) -> Iterator[tuple[str, str]]:
    """(what was encoded, SHA-256 of the file); only: a part of the name, to choose a few."""
    pictures = {p.name: read_image(p) for p in sorted(EXAMPLES.iterdir()) if p.suffix in (".png", ".jpg")}
    cases = [("swin", quality, effort) for effort in (1, 3) for quality in (20, 50, 90)] + [(m, 50, 1) for m in OTHERS]
    codecs: dict[str, Codec] = {}
    for model, quality, effort in cases:
        for name, picture in pictures.items():
            label = f"{name} {model} q{quality} e{effort}"
            if only and only not in label:
                continue
            if model not in codecs:
                codecs = {model: Codec.from_pretrained(model, "cpu")}
            yield label, hashlib.sha256(codecs[model].encode(picture, quality=quality, effort=effort)).hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", default=HASHES, help="where the hashes are, JSON")
    parser.add_argument("--write", action="store_true", help="write them instead of comparing")
    parser.add_argument("--only", help="cases whose name contains this")
    arguments = parser.parse_args()
    if arguments.write:
        found = {}
        for label, digest in hashes(arguments.only):
            found[label] = digest
            print(digest[:12], label, flush=True)
        arguments.file.write_text(json.dumps({"machine": machine(), "files": found}, indent=1) + "\n")
        return 0
    known = json.loads(arguments.file.read_text())
    if known["machine"] != machine():
        sys.exit(f"the hashes are of {known['machine']}; this is {machine()}")
    differing = 0
    for label, digest in hashes(arguments.only):
        same = digest == known["files"][label]
        differing += not same
        print("same   " if same else "DIFFERS", label, flush=True)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
