"""What `tokens` does with each input: read it, and encode it or decode its tokens."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import files
from ..bitstream import container
from ..bitstream.container import MAGIC
from ..errors import UsageError
from ..options import EncodeOptions
from ..pretrained import registry
from . import options
from .output import Output

if TYPE_CHECKING:
    from ..bitstream.container import Contents
    from ..bitstream.header import Header
    from ..codec import Codec
    from ..picture import Picture
    from ..shards.planning import Job
    from ..shards.samples import Sample


@dataclass(frozen=True)
class Read:
    """An input: a picture to encode, or what a .vitc file holds."""

    picture: Picture | None
    contents: Contents | None
    size: int


class Maker:
    """Makes samples of inputs."""

    def __init__(
        self,
        out: Output,
        how: EncodeOptions,
        model: str | None,
        device: str,
        threads: int | None,
        max_pixels: int | None,
    ):
        self.out, self.how, self.model, self.device, self.threads = out, how, model, device, threads
        self.max_pixels = max_pixels
        self.codecs: dict[str | None, Codec] = {}

    def codec(self, name: str | None) -> Codec:
        if name not in self.codecs:
            self.codecs[name] = options.load_codec(self.out, name, self.device, self.threads)
        return self.codecs[name]

    def read(self, job: Job) -> Read:
        from ..images import MAX_PIXELS, read_image

        assert job.source.path is not None
        data, name = files.read_bytes(job.source.path), job.source.name
        if data.startswith(MAGIC):
            return Read(None, container.unpack(data, name=name), len(data))
        return Read(read_image(io.BytesIO(data), self.max_pixels or MAX_PIXELS, name), None, len(data))

    def sample(self, job: Job, loaded: Read, label: int | None) -> Sample:
        from ..shards.reading import info_of
        from ..shards.samples import Sample, grid_of

        if loaded.picture is not None:
            tokens = self.codec(self.model).encode_tokens(loaded.picture, self.how)
        else:
            assert loaded.contents is not None
            tokens = self.codec(self._model_of(loaded.contents.header)).decompress(loaded.contents)
        info = {"source": job.source.relative.as_posix(), **info_of(tokens.header)}
        return Sample(job.key, grid_of(tokens.bands, job.source.name), info, label)

    def _model_of(self, header: Header) -> str | None:
        if header.lossless:
            raise UsageError("is lossless and has no tokens; encode the picture with --tokens")
        return self.model or registry.resolve(header.model, header.weights)


def read_ahead(maker: Maker, jobs: Sequence[Job]) -> Iterator[tuple[Job, Future[Read]]]:
    """Each job with its input, of which the next is read beside the model's work."""
    with ThreadPoolExecutor(1) as pool:
        before: tuple[Job, Future[Read]] | None = None
        for job in jobs:
            now = job, pool.submit(maker.read, job)
            if before:
                yield before
            before = now
        if before:
            yield before
