"""--effort: better integers in the same bitstream. And the relaxed arithmetic that it differentiates, which must predict what the exact one does."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_rgb
from PIL import Image

from vitcodec.codec import Codec
from vitcodec.context.model import CodingGroup
from vitcodec.context.relaxed import RelaxedArithmetic
from vitcodec.errors import UsageError
from vitcodec.images import Picture
from vitcodec.pretrained import registry
from vitcodec.rdo import ROUNDS, RDOSearch, _chosen, _some, rounded
from vitcodec.wavelet import Subbands

QUALITY = 25


@pytest.fixture(scope="module")
def small() -> Picture:
    with Image.open(Path(__file__).parent.parent / "examples" / "chelsea.png") as image:
        rgb = np.asarray(image.convert("RGB").crop((150, 80, 246, 144)))
    return Picture(rgb, None, False, None, None, None, [])


@pytest.fixture(scope="module")
def integers(codec: Codec, small: Picture) -> Subbands:
    return codec.encoded_tokens(small, QUALITY, effort=1)


def predictions(codec: Codec, arithmetic, integers: Subbands) -> list[tuple[CodingGroup, torch.Tensor]]:
    seen = []

    def visit(site: CodingGroup, parameters: torch.Tensor) -> torch.Tensor:
        seen.append((site, parameters.detach()))
        return site.gather(integers)

    rate = codec.entropy.rates[QUALITY - 1 : QUALITY]
    codec.entropy.context.autoregressive_pass(arithmetic, rate, *integers.low.shape[1:3], visit)
    return seen


@pytest.mark.parametrize("gradient", [False, True])
def test_relaxed_arithmetic_predicts_the_same(codec, integers, gradient):
    with torch.no_grad():
        exact = predictions(codec, codec.entropy.arithmetic, integers)
    with torch.set_grad_enabled(gradient):
        floats = integers.map(lambda t: t.float().requires_grad_(gradient))
        relaxed = predictions(codec, RelaxedArithmetic(codec.entropy.arithmetic), floats)
    assert [s for s, _ in exact] == [s for s, _ in relaxed]
    assert all(torch.equal(a.float(), b) for (_, a), (_, b) in zip(exact, relaxed, strict=True))


def test_gradients_reach_every_subband(codec, integers, small):
    image = torch.from_numpy(small.rgb.copy())[None].float()
    *_, q = RDOSearch(codec.autoencoder, codec.entropy, QUALITY)._cost(image, integers, gradient=True)
    assert all(t.grad is not None and t.grad.abs().sum() > 0 for t in (q.low, *q.details))


def test_rounds_of_moves_lower_the_cost(codec, integers, small):
    refine = RDOSearch(codec.autoencoder, codec.entropy, QUALITY)
    image = torch.from_numpy(small.rgb.copy())[None].float()
    before, few, many = (
        refine._cost(image, refine(image, integers, rounds), gradient=False)[0] for rounds in (0, 2, 6)
    )
    assert few < before and many <= few


@pytest.mark.parametrize(
    ("side", "outer", "where"),
    [
        (3, 0.0, [(2, 2), (2, 6), (3, 3), (3, 7), (4, 4)]),
        (
            3,
            0.5,
            [(2, 2), (2, 6), (3, 7), (4, 4)],
        ),  # (3, 3) has a corner that promises more than twice as much, (3, 7) has not
        (3, 1.0, [(2, 2), (2, 6), (4, 4)]),
        (5, 1.0, [(4, 4)]),
    ],
)
def test_only_the_best_move_of_a_neighbourhood_is_made(side, outer, where):
    change = torch.ones(1, 7, 9, 2)  # a move that raises the cost
    for y, x, promised in [(2, 2, -3.0), (3, 3, -2.0), (4, 4, -5.0), (4, 5, -4.5), (2, 6, -4.0), (3, 7, -3.5)]:
        change[0, y, x] = promised
        change[0, y, x, 1] += 0.5  # the other channel's move at the site is not made
    assert _chosen(change, side, outer).nonzero().tolist() == [[0, y, x, 0] for y, x in where]


def test_what_corners_count_changes_gradually_from_quality_to_quality(codec):
    apart = [RDOSearch(codec.autoencoder, codec.entropy, quality)._apart() for quality in range(1, 101)]
    assert [side for side, _ in apart] == [5] * 22 + [3] * 78
    counts = [outer for _, outer in apart]
    assert counts[:37] == [1.0] * 37 and counts[49:] == [0.0] * 51
    assert all(0 <= a - b < 0.15 for a, b in itertools.pairwise(counts))
    assert RDOSearch(codec.autoencoder, codec.entropy, 60, tune="ms-ssim")._apart() == (3, 1.0)


def test_some_of_the_moves_are_put_off():
    before = Subbands(torch.zeros(1, 64, 64, 1), (torch.zeros(1, 128, 128, 1),))
    after = before.map(lambda t: (t + 2).int())
    low, (detail,) = _some(after, before, 0.7, torch.Generator().manual_seed(0))
    assert [(b == 2).float().mean().item() for b in (low, detail)] == pytest.approx([0.7, 0.7], abs=0.03)


@pytest.mark.parametrize("quality", [3, 30, 60])
def test_moves_never_raise_the_cost_of_what_costs_little(codec, quality):
    """Where a round is most likely to do harm, in flat pictures and at coarse steps, its result is checked."""
    refine = RDOSearch(codec.autoencoder, codec.entropy, quality)
    image = torch.full((1, 128, 128, 3), 77.0)
    with torch.no_grad():
        plain = rounded(codec.autoencoder.encode(image, refine.step), 0.1)
    before, after = (refine._cost(image, refine(image, plain, rounds), gradient=False)[0] for rounds in (0, 2))
    assert after <= before


def test_rounds_of_moves_lower_the_cost_in_ms_ssim():
    tuned = Codec.load(registry.TUNED["ms-ssim"], "cpu")
    assert tuned.card.config["tune"] == "ms-ssim"
    with Image.open(Path(__file__).parent.parent / "examples" / "chelsea.png") as picture:
        image = torch.from_numpy(np.array(picture.convert("RGB").crop((150, 80, 342, 272)))).float()[None]
    refine = RDOSearch(tuned.autoencoder, tuned.entropy, QUALITY, tune="ms-ssim")
    with torch.no_grad():
        integers = rounded(tuned.autoencoder.encode(image, refine.step), 0.1)
    before, after = (refine._cost(image, refine(image, integers, rounds), gradient=False)[0] for rounds in (0, 2))
    assert after < before
    # what is too small for five scales stays as it is
    part = Subbands(integers.low[:, :10], tuple(d[:, : 10 << 4 - l] for l, d in enumerate(integers.details, 1)))
    assert refine(image[:, :160], part, 2) is part


def test_every_effort_decodes_to_what_was_coded(codec, small):
    sizes = {}
    for effort in (1, 2, max(ROUNDS)):
        data, coded = codec.encode(small, QUALITY, effort), codec.encoded_tokens(small, QUALITY, effort)
        tokens = codec.tokens(data)
        assert all(
            torch.equal(a, b) for a, b in zip((tokens.low, *tokens.details), (coded.low, *coded.details), strict=True)
        )
        sizes[effort] = len(data)
    assert len(set(sizes.values())) > 1


@pytest.mark.parametrize("effort", [0, 10])
def test_no_such_effort(codec, small, effort):
    with pytest.raises(UsageError, match="effort"):
        codec.encode(small, QUALITY, effort)


@pytest.mark.parametrize("size", [(32, 32), (32, 64), (96, 160)])
def test_low_bands_of_any_size(codec, size):
    """The sparse grids of the smallest low bands have groups without a value."""
    picture = Picture(make_rgb(*size), None, False, None, None, None, [])
    tokens, coded = codec.tokens(codec.encode(picture, 60)), codec.encoded_tokens(picture, 60)
    assert torch.equal(tokens.low, coded.low)
