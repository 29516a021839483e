"""Whatever the picture, it comes back: a floor at quality 90, and a ladder of qualities that rises.

The pictures are those of `python -m benchmarks fidelity`, one of each kind. CI takes few and small ones; the suite
takes hundreds.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from storing import call

from benchmarks.generated import KINDS, Generated, picture, pictures
from benchmarks.ladder import EXACT, GOOD, LEAST, drops
from benchmarks.suites.fidelity import measured
from vitcodec import target
from vitcodec.codec import Codec
from vitcodec.metrics import psnr
from vitcodec.options import EncodeOptions
from vitcodec.picture import Picture
from vitcodec.target import Target

LADDER = [30, 60, 90]
SIDES = (64, 128)
DEFAULT, TOKENS = EncodeOptions(effort=1), EncodeOptions(effort=1, coding="tokens")


@pytest.mark.parametrize("seed", range(len(KINDS)), ids=list(KINDS))
def test_any_picture(codec: Codec, seed: int) -> None:
    """As tokens, size and PSNR rise; by default, quality 90 is good, and no larger than the exact picture."""
    made = picture(seed, SIDES)
    points = measured(codec, made, LADDER, TOKENS)
    assert not drops(points), points
    assert all(a["psnr"] < b["psnr"] or a["psnr"] == EXACT for a, b in pairwise(points)), points
    (default,) = measured(codec, made, [GOOD], DEFAULT)
    assert default["psnr"] >= LEAST and default["bytes"] <= exact_size(codec, made), default


def exact_size(codec: Codec, made: Generated) -> int:
    return len(codec.encode(Picture(made.rgb, gray=made.gray), coding="lossless"))


def test_small_pictures(codec: Codec) -> None:
    """Fewer pixels than a token has, or hardly more. What a file holds beside payloads is most of it here."""
    for made in pictures(10, (1, 20), first=1000):
        points = measured(codec, made, [50, GOOD], DEFAULT)
        assert not drops(points) and points[-1]["psnr"] >= LEAST, points
        assert max(p["bytes"] for p in points) <= exact_size(codec, made), points


@pytest.mark.parametrize("name", ["stripes", "ordered-dither", "page"])
def test_a_psnr_that_quality_100_reaches_is_reached(codec: Codec, name: str) -> None:
    made, options = picture(list(KINDS).index(name), (64, 64)), TOKENS
    source = Picture(made.rgb, gray=made.gray)
    wanted = psnr(made.rgb, codec.decode(codec.encode(source, options, quality=100)).rgb) - 0.5
    found = target.encode(codec, source, Target(psnr=wanted), options)
    assert psnr(made.rgb, codec.decode(found.data).rgb) >= wanted
    assert found.note is None or "cannot be reached" not in found.note


Y, X = np.mgrid[:128, :128]
PATTERNS = {
    "checker-1px": (X + Y) % 2 * 255,
    "stripes-2px": Y // 2 % 2 * 255,
    "hatch-45": ((X + Y) % 4 != 0) * 255,
    "scanlines": np.where(Y % 2, 40 + X // 2, 200 - X // 2),
}


@pytest.mark.parametrize("options", [[], ["--tokens", "--effort", "1"]], ids=["default", "tokens"])
def test_patterns_through_the_command_line(
    codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    """Each was 6 to 18 dB once, as values that looked certain to be zero were not coded."""
    monkeypatch.setattr("vitcodec.cli.codecs.load_codec", lambda *_: codec)
    for name, array in PATTERNS.items():
        Image.fromarray(array.astype(np.uint8)).save(tmp_path / f"{name}.png")
    encoded, decoded = tmp_path / "encoded", tmp_path / "decoded"
    for command in (
        ["encode", *map(str, sorted(tmp_path.glob("*.png"))), "-o", f"{encoded}/", "-q", "90", *options],
        ["decode", str(encoded), "-o", f"{decoded}/"],
    ):
        result = call(*command)
        assert result.exit_code == 0, result.stderr
    for name, array in PATTERNS.items():
        rgb = np.repeat(array.astype(np.uint8)[..., None], 3, -1)
        back = np.asarray(Image.open(decoded / f"{name}.png").convert("RGB"))
        assert psnr(rgb, back) >= 40, name


def test_pictures_are_the_same_every_time() -> None:
    first, again = ([*pictures(len(KINDS), (1, 40))] for _ in range(2))
    assert [p.name for p in first] == [p.name for p in again] and len({p.name for p in first}) == len(KINDS)
    assert all((a.rgb == b.rgb).all() for a, b in zip(first, again, strict=True))
    assert {p.kind for p in first} == set(KINDS)


def test_pictures_are_pictures() -> None:
    made: list[Generated] = [*pictures(3 * len(KINDS), (1, 40)), *pictures(len(KINDS), (1, 1))]
    assert all(p.rgb.dtype == np.uint8 and p.rgb.ndim == 3 and p.rgb.flags.c_contiguous for p in made)
    assert {p.gray for p in made} == {True, False}
    assert all(max(p.rgb.shape[:2]) <= 40 for p in made)
