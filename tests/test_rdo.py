"""--effort: better integers in the same bitstream.

And the relaxed arithmetic that it differentiates, which must predict what the exact one does.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_rgb
from PIL import Image

from vitcodec import options
from vitcodec.codec import Codec
from vitcodec.context.groups import CodingGroup
from vitcodec.context.relaxed import RelaxedArithmetic
from vitcodec.distortion import TUNINGS
from vitcodec.errors import UsageError
from vitcodec.images import Picture
from vitcodec.options import EncodeOptions
from vitcodec.pretrained import registry
from vitcodec.quality import round_tokens
from vitcodec.rdo import EFFORTS, RDOConfig, RDOSearch, best_updates, skip_at_random
from vitcodec.subbands import Subbands
from vitcodec.tiles import Area, crop

QUALITY = 25


@pytest.fixture(scope="session")
def codec(floating):
    return floating


@pytest.fixture(scope="module")
def small() -> Picture:
    with Image.open(Path(__file__).parent.parent / "examples" / "chelsea.png") as image:
        rgb = np.asarray(image.convert("RGB").crop((150, 80, 246, 144)))
    return Picture(rgb)


@pytest.fixture(scope="module")
def integers(codec: Codec, small: Picture) -> Subbands:
    return codec.encoded_tokens(small, quality=QUALITY, effort=1)


def search_of(codec: Codec, quality: int, rounds: int = 0, tune: str = "psnr") -> RDOSearch:
    point = codec.entropy.point(quality, codec.autoencoder.steps)
    config = RDOConfig(rounds=rounds, fit_scales=True)
    return RDOSearch(codec.autoencoder, codec.entropy, point, TUNINGS[tune], config)


def costs(codec: Codec, quality: int, image: torch.Tensor, tokens: Subbands, rounds, tune: str = "psnr") -> list[float]:
    """J after so many rounds of updates each."""
    searches = [search_of(codec, quality, n, tune) for n in rounds]
    return [search.cost(image, search.search(image, tokens)) for search in searches]


def rounded(codec: Codec, quality: int, image: torch.Tensor) -> Subbands:
    with torch.no_grad():
        return round_tokens(codec.autoencoder.encode(image, codec.autoencoder.steps[quality - 1 : quality]), 0.1)


def predictions(codec: Codec, arithmetic, tokens: Subbands) -> list[tuple[CodingGroup, torch.Tensor]]:
    found = []

    def coder(group: CodingGroup, parameters: torch.Tensor) -> torch.Tensor:
        found.append((group, parameters.detach()))
        return group.gather(tokens)

    point = codec.entropy.point(QUALITY, codec.autoencoder.steps)
    codec.entropy.context.autoregressive_pass(arithmetic, point.features, *tokens.grid, coder)
    return found


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
    found = search_of(codec, QUALITY).evaluate(image, integers, gradient=True)
    assert all(t.grad is not None and t.grad.abs().sum() > 0 for t in found.tokens)


def test_rounds_of_updates_lower_the_cost(codec, integers, small):
    image = torch.from_numpy(small.rgb.copy())[None].float()
    before, few, many = costs(codec, QUALITY, image, integers, (0, 1, 4))
    assert few < before and many <= few


@pytest.mark.parametrize(
    ("side", "outer", "where"),
    [
        (3, 0.0, [(2, 2), (2, 6), (3, 3), (3, 7), (4, 4)]),
        # (3, 3) has a corner whose gain is more than twice its own, (3, 7) has not
        (3, 0.5, [(2, 2), (2, 6), (3, 7), (4, 4)]),
        (3, 1.0, [(2, 2), (2, 6), (4, 4)]),
        (5, 1.0, [(4, 4)]),
    ],
)
def test_only_the_best_update_of_a_neighbourhood_is_made(side, outer, where):
    change = torch.ones(1, 7, 9, 2)  # an update that raises the cost
    for y, x, gain in [(2, 2, -3.0), (3, 3, -2.0), (4, 4, -5.0), (4, 5, -4.5), (2, 6, -4.0), (3, 7, -3.5)]:
        change[0, y, x] = gain
        change[0, y, x, 1] += 0.5  # the other channel's update at the place is not made
    assert best_updates(change, side, outer).nonzero().tolist() == [[0, y, x, 0] for y, x in where]


def test_the_neighbourhood_changes_gradually_from_quality_to_quality(codec):
    steps = codec.autoencoder.steps.tolist()
    found = [TUNINGS["psnr"].search.neighbourhood(step) for step in steps]
    assert [side for side, _ in found] == [5] * 22 + [3] * 78
    counts = [outer for _, outer in found]
    assert counts[:37] == [1.0] * 37 and counts[49:] == [0.0] * 51
    assert all(0 <= a - b < 0.15 for a, b in itertools.pairwise(counts))
    assert {TUNINGS["ms-ssim"].search.neighbourhood(step) for step in steps} == {(3, 1.0)}


def test_a_share_of_the_updates_is_skipped_at_random():
    before = Subbands(torch.zeros(1, 64, 64, 1), (torch.zeros(1, 128, 128, 1),))
    after = before.map(lambda t: (t + 2).int())
    mixed = skip_at_random(after, before, 0.7, torch.Generator().manual_seed(0))
    assert [(b == 2).float().mean().item() for b in mixed] == pytest.approx([0.7, 0.7], abs=0.03)
    kept = [EFFORTS[9].kept(k) for k in range(5)]
    assert kept == pytest.approx([1, 1, 0.68, 0.67, 0.66])


@pytest.mark.parametrize("quality", [3, 30, 60])
def test_updates_never_raise_the_cost_of_what_costs_little(codec, quality):
    """Where a round is most likely to do harm, in flat pictures and at coarse steps, its result is checked."""
    image = torch.full((1, 64, 64, 3), 77.0)
    before, after = costs(codec, quality, image, rounded(codec, quality, image), (0, 2))
    assert after <= before


def test_rounds_of_updates_lower_the_cost_in_ms_ssim():
    tuned = Codec.load(registry.TUNED["ms-ssim"], "cpu")
    assert tuned.config.tune == "ms-ssim"
    with Image.open(Path(__file__).parent.parent / "examples" / "chelsea.png") as picture:
        image = torch.from_numpy(np.array(picture.convert("RGB").crop((150, 80, 342, 272)))).float()[None]
    tokens = rounded(tuned, QUALITY, image)
    before, after = costs(tuned, QUALITY, image, tokens, (0, 1), "ms-ssim")
    assert after < before
    # what is too small for five scales keeps its tokens
    part = crop(tokens, Area(0, 0, 10, 12))
    assert search_of(tuned, QUALITY, 2, "ms-ssim").search(image[:, :160], part) is part


def test_every_effort_decodes_to_what_was_coded(codec, small):
    sizes = {}
    for effort in (1, 2, 4):  # those above differ in the number of rounds alone
        options = EncodeOptions(quality=QUALITY, effort=effort)
        data, coded = codec.encode(small, options), codec.encoded_tokens(small, options)
        assert all(torch.equal(a, b) for a, b in codec.tokens(data).zip(coded))
        sizes[effort] = len(data)
    assert len(set(sizes.values())) > 1


def test_every_effort_has_its_configuration():
    assert list(EFFORTS) == list(options.EFFORTS) and EncodeOptions.effort in EFFORTS
    rounds = [config.rounds for config in EFFORTS.values()]
    assert rounds == sorted(set(rounds)) and [c.fit_scales for c in EFFORTS.values()] == [False] + [True] * 8


@pytest.mark.parametrize("effort", [0, 10])
def test_no_such_effort(codec, small, effort):
    with pytest.raises(UsageError, match="effort"):
        codec.encode(small, quality=QUALITY, effort=effort)


@pytest.mark.parametrize("size", [(32, 32), (32, 64), (96, 160)])
def test_low_bands_of_any_size(codec, size):
    """The sparse grids of the smallest low bands have groups without a value."""
    picture = Picture(make_rgb(*size))
    options = EncodeOptions(quality=60, effort=2)
    tokens, coded = codec.tokens(codec.encode(picture, options)), codec.encoded_tokens(picture, options)
    assert torch.equal(tokens.low, coded.low)
