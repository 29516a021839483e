"""Image <-> .vitc: where transforms, entropy coding and the container meet."""

from __future__ import annotations

import io
import threading

import numpy as np
import torch
from torch import Tensor

from . import container, loading, weights
from .container import Contents, Header
from .devices import choose
from .entropy.coding import ORDER
from .errors import FormatError, UsageError, WeightsError
from .images import Picture
from .quantisation import LAGRANGIAN
from .wavelet import LEVELS, Subbands

DEFAULT_QUALITY = 50
PAD = 32  # sides are padded to multiples of this
SITE = 1 << LEVELS  # pixels along a side of a site of the low band
TILE = 1024  # pixels along a side of a tile of tokens
ERROR_WEIGHT = 1.2  # of the rate-distortion optimised rounding: a value moved to zero also makes its neighbours look smaller


class Codec:
    """A model on a device, ready to encode and decode.

    Every method may be called from several threads at once; the work itself is done by one at a time, as torch already uses all cores.
    """

    def __init__(self, card: weights.ModelCard, device: torch.device):
        self.name, self.card, self.device = card.name, card, device
        self.autoencoder, self.entropy = loading.load(card, device)
        self._lock = threading.Lock()

    @classmethod
    def load(cls, model: str | None = None, device: str = "auto", threads: int | None = None) -> Codec:
        """model: a shipped model's name, local-dir:PATH, or None for $VITCODEC_MODEL or else the default; device: auto, cpu, cuda[:N] or mps.

        Raises WeightsError, DeviceError.
        """
        if threads:
            torch.set_num_threads(threads)
        return cls(weights.find(model), choose(device)[0])

    def encode(self, picture: Picture, quality: int = DEFAULT_QUALITY) -> bytes:
        """A .vitc file of the picture at quality 1..100. Raises UsageError, LimitError."""
        header = self._header(picture, quality)
        with self._lock:
            tokens, _ = self._code(picture.rgb, header)
        metadata = {"ICCP": picture.icc, "EXIF": picture.exif, "XMP ": picture.xmp, "ALPH": _pack_alpha(picture.alpha)}
        return container.pack(Contents(header, {k: v for k, v in metadata.items() if v is not None}, tokens))

    def coded_tokens(self, picture: Picture, quality: int = DEFAULT_QUALITY) -> Subbands:
        """The integers that `encode` writes, as the encoder knows them: what `tokens` reads back."""
        with self._lock:
            return self._code(picture.rgb, self._header(picture, quality))[1]

    def _header(self, picture: Picture, quality: int) -> Header:
        if not 1 <= quality <= 100:
            raise UsageError(f"quality {quality} is out of range; give 1 to 100")
        height, width = picture.rgb.shape[:2]
        return Header(width, height, quality, picture.gray, self.name, self.card.identity, TILE)

    def _code(self, rgb: np.ndarray, header: Header) -> tuple[dict[tuple[int, int], bytes], Subbands]:
        """The payloads of every level and tile, and the integers in them."""
        latents = self.latents(rgb, header.quality)
        integers = latents.map(lambda t: torch.empty_like(t, dtype=torch.int32))
        error_weights = self._error_weights(header.quality)
        tokens: dict[tuple[int, int], bytes] = {}
        for index, tile in enumerate(tiles(header)):
            payloads, coded = self.entropy.encode(_cut(latents, *tile), header.quality, error_weights)
            tokens |= {(level, index): data for level, data in payloads.items()}
            _paste(integers, coded, *tile)
        return tokens, integers

    @torch.no_grad()
    def _error_weights(self, quality: int) -> np.ndarray:
        gains = self.autoencoder.error_gains(self._step(quality))[0].cpu().numpy()
        return ERROR_WEIGHT * LAGRANGIAN * gains**2

    @torch.no_grad()
    def latents(self, rgb: np.ndarray, quality: int) -> Subbands:
        """(H, W, 3) uint8 -> the latents before rounding, batch of one."""
        image = torch.from_numpy(_pad(rgb)).to(self.device)[None].float()
        return self.autoencoder.encode(image, self._step(quality))

    def tokens(self, data: bytes | Contents, reduce: int = 0) -> Subbands:
        """The integers of a file, exact on every device: int32, batch of one; levels that `reduce` leaves out are missing from the details."""
        contents = container.unpack(data, reduce + 1) if isinstance(data, bytes) else data
        header = contents.header
        self._check(header)
        rows, columns = (-(-n // PAD) * PAD // SITE for n in (header.height, header.width))
        low = torch.zeros(1, rows, columns, 3, dtype=torch.int32, device=self.device)
        finest = reduce + 1
        details = [low.new_zeros(1, rows << (LEVELS - l), columns << (LEVELS - l), 9) for l in range(finest, LEVELS + 1)]
        whole = Subbands(low, tuple(details))
        for index, (y, x, h, w) in enumerate(tiles(header)):
            payloads = {level: contents.tokens[level, index] for level in ORDER if level == 0 or level >= finest}
            part = self.entropy.decode(payloads, header.quality, h, w, finest)
            _paste(whole, part, y, x, h, w)
        return whole

    @torch.no_grad()
    def decode(self, data: bytes | Contents, reduce: int = 0) -> Picture:
        """The picture of a .vitc file; reduce = 1..4 halves its sides that many times and reads only the coarser levels.

        Raises FormatError, UnsupportedError, LimitError, WeightsError.
        """
        if not 0 <= reduce <= LEVELS:
            raise UsageError(f"reduce {reduce} is out of range; give 0 to {LEVELS}")
        contents = container.unpack(data, reduce + 1) if isinstance(data, bytes) else data
        header = contents.header
        with self._lock:
            latents = self.tokens(contents, reduce).map(Tensor.float)
            step = self._step(header.quality)
            if reduce:
                latents = Subbands(latents.low, (*(latents.low.new_zeros(1, 0, 0, 9),) * reduce, *latents.details))
                image = self.autoencoder.decode_reduced(latents, step, reduce)
            else:
                image = self.autoencoder.decode(latents, step)
            height, width = (-(-n // (1 << reduce)) for n in (header.height, header.width))
            image = image[0, :height, :width]
            if header.gray:
                image = image.mean(-1, keepdim=True).expand(-1, -1, 3)
            rgb = image.round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        m = contents.metadata
        alpha = _unpack_alpha(m["ALPH"], header, reduce) if "ALPH" in m else None
        return Picture(rgb, alpha, header.gray, m.get("ICCP"), m.get("EXIF"), m.get("XMP "), [])

    def _step(self, quality: int) -> Tensor:
        return self.autoencoder.steps[quality - 1 : quality]

    def _check(self, header: Header) -> None:
        if header.weights != self.card.identity:
            raise WeightsError(
                f"the file was made with other weights (model '{header.model}', {header.weights.hex()}), not with '{self.name}' "
                f"({self.card.identity.hex()}); decode it with the model that made it"
            )


def tiles(header: Header) -> list[tuple[int, int, int, int]]:
    """(y, x, h, w) of every tile in sites of the low band, in raster order."""
    side = header.tile // SITE
    rows, columns = (-(-n // PAD) * PAD // SITE for n in (header.height, header.width))
    return [(y, x, min(side, rows - y), min(side, columns - x)) for y in range(0, rows, side) for x in range(0, columns, side)]


def _area(t: Tensor, rows: int, y: int, x: int, h: int, w: int) -> Tensor:
    """The part of a subband that belongs to sites (y, x) to (y + h, x + w) of a low band of `rows` rows."""
    k = t.shape[1] // rows
    return t[:, y * k : (y + h) * k, x * k : (x + w) * k]


def _cut(bands: Subbands, y: int, x: int, h: int, w: int) -> Subbands:
    return bands.map(lambda t: _area(t, bands.low.shape[1], y, x, h, w))


def _paste(bands: Subbands, part: Subbands, y: int, x: int, h: int, w: int) -> None:
    for target, source in zip((bands.low, *bands.details), (part.low, *part.details), strict=True):
        _area(target, bands.low.shape[1], y, x, h, w).copy_(source)


def _pad(rgb: np.ndarray) -> np.ndarray:
    """Repeat the last row and column until both sides are multiples of 32."""
    return np.pad(rgb, ((0, -rgb.shape[0] % PAD), (0, -rgb.shape[1] % PAD), (0, 0)), mode="edge")


def _pack_alpha(alpha: np.ndarray | None) -> bytes | None:
    if alpha is None:
        return None
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(alpha, "L").save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _unpack_alpha(data: bytes, header: Header, reduce: int) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.size != (header.width, header.height) or image.mode != "L":
                raise ValueError(f"it is {image.size[0]}x{image.size[1]} {image.mode}")
            image.load()
            return np.asarray(image.reduce(1 << reduce) if reduce else image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FormatError(f"the alpha channel is damaged ({error})") from error
