"""What the wavelet alone does, without trained transforms, with the entropy model and gains of trained weights.

Every family and preset starts here, as its corrections are zero. Rates are of real files.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from vitcodec.codec import Codec
from vitcodec.options import EncodeOptions
from vitcodec.picture import Picture
from vitcodec.pretrained import registry
from vitcodec.pretrained.config import PretrainedConfig
from vitcodec.pretrained.loading import load_floats
from vitcodec.training.floats import write_folder
from vitcodec.training.package import load_training_model

from ..harness import one
from ..images import image_files
from ..measure import mean_points, point, rows_of
from ..store import Results

FAMILY = "vit"  # any would do
MODELS = ("cnn",)  # in floating point, as any model but swin is
QUALITIES = (20, 50, 80)


class WaveletStart:
    """An ImageCodec of a codec's entropy model and of transforms that were never trained."""

    name = "wavelet start"

    def __init__(self, config: PretrainedConfig, folder: Path, effort: int, threads: int | None):
        start, entropy = load_training_model(config, FAMILY).autoencoder, load_floats(config)[1]
        write_folder(replace(config, folder=folder, family=FAMILY, transform=start.settings), start, entropy)
        self.codec, self.effort = Codec.from_pretrained(f"{registry.LOCAL}{folder}", "cpu", threads), effort

    def encode(self, picture: Picture, quality: int) -> bytes:
        return self.codec.encode(picture, quality=quality, effort=self.effort)

    def decode(self, data: bytes) -> Picture:
        return self.codec.decode(data)


def run(arguments: argparse.Namespace) -> Results:
    config = registry.find(one(arguments.models, None, "model"))
    effort = one(arguments.effort, EncodeOptions.effort, "effort")
    with image_files(arguments) as files, TemporaryDirectory() as folder:
        codec = WaveletStart(config, Path(folder), effort, arguments.threads)
        report = rows_of(codec, files, arguments.qualities or QUALITIES)
    rows = mean_points([point(r, r.quality or 0, r.bytes or 0) for r in report.rows])
    print(*rows, sep="\n")
    return {"images": len(files), "effort": effort, "rows": rows}
