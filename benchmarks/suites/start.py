"""What the wavelet alone does, without trained transforms, with the entropy model and gains of trained weights.

Every family and preset starts here, as its corrections are zero. Rates are of real files.
"""

from __future__ import annotations

import argparse

from vitcodec.bitstream import container
from vitcodec.codec import Codec
from vitcodec.decoder import Decoder
from vitcodec.encoder import Encoder
from vitcodec.images import Picture
from vitcodec.options import DecodeOptions, EncodeOptions
from vitcodec.training.package import load_training_model

from ..harness import one
from ..images import image_files
from ..measure import mean_points, point, rows_of
from ..store import Results

FAMILY = "vit"  # any would do
MODELS = ("cnn",)  # of format 0, as any model but swin is
QUALITIES = (20, 50, 80)


class WaveletStart:
    """An ImageCodec of a codec's entropy model and of transforms that were never trained."""

    name = "wavelet start"

    def __init__(self, codec: Codec, effort: int):
        start = load_training_model(codec.config, FAMILY).autoencoder.eval()
        self.encoder, self.decoder = Encoder(codec.config, start, codec.entropy), Decoder(start, codec.entropy)
        self.effort = effort

    def encode(self, picture: Picture, quality: int) -> bytes:
        return container.pack(self.encoder.encode(picture, EncodeOptions(quality=quality, effort=self.effort)))

    def decode(self, data: bytes) -> Picture:
        return self.decoder.decode(container.unpack(data), DecodeOptions())


def run(arguments: argparse.Namespace) -> Results:
    codec = Codec.load(one(arguments.models, None, "model"), "cpu", arguments.threads)
    effort = one(arguments.effort, EncodeOptions.effort, "effort")
    with image_files(arguments) as files:
        report = rows_of(WaveletStart(codec, effort), files, arguments.qualities or QUALITIES)
    rows = mean_points([point(r, r.quality or 0, r.bytes or 0) for r in report.rows])
    print(*rows, sep="\n")
    return {"images": len(files), "effort": effort, "rows": rows}
