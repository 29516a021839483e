"""SSIMULACRA2 against scores of the program that defines it, and its gradient.

The program, version 2.1, filters by a recursion in float32, whose rounding errors add up: on flat parts they count as
differences, so that pictures close to the original get up to 0.4 less. Two scores are held here for every pair: what
the program says, and what it says with its filter and the products of pixels computed in float64.
"""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vitcodec import ssimulacra2 as module
from vitcodec.ssimulacra2 import ssimulacra2, ssimulacra2_tensor

EXAMPLES = Path(__file__).parent.parent / "examples"


def noise(shape, low, high, seed):
    """Integers in low..high. The numbers of a bit generator are the same in every version of NumPy."""
    raw = np.random.PCG64(seed).random_raw(math.prod(shape)).reshape(shape)
    return (raw % np.uint64(high - low + 1)).astype(np.int64) + low


def photo(name, left, top, width, height):
    with Image.open(EXAMPLES / name) as image:
        return np.asarray(image.convert("RGB").crop((left, top, left + width, top + height))).astype(np.int64)


def banded(x, step):
    """Levels rounded to multiples of a step."""
    return (x + step // 2) // step * step


def blurred(x, radius):
    """Means of (2 radius + 1)^2 pixels, edges repeated."""
    side = 2 * radius + 1
    padded = np.pad(x, ((radius, radius), (radius, radius), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (0, 1))
    return windows.sum((3, 4)) // side**2


def blocky(x, side, share):
    """Mixed with the means of blocks, `share` of 16 parts."""
    height, width = x.shape[:2]
    padded = np.pad(x, ((0, -height % side), (0, -width % side), (0, 0)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // side, side, padded.shape[1] // side, side, 3)
    means = blocks.sum((1, 3)) // side**2
    return (x * (16 - share) + means.repeat(side, 0).repeat(side, 1)[:height, :width] * share) // 16


def noisy(x, amplitude, seed=1):
    return x + noise(x.shape, -amplitude, amplitude, seed)


def coarse_colours(x):
    """Colour differences to green are the means of blocks of 8x8."""
    green = x[..., 1:2]
    return green + blocky(x - green, 8, 16)


def ramp(width, height):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), (x + y) % 256], 2)


def gray(x):
    return (x.sum(2, keepdims=True) // 3).repeat(3, 2)


def lines(width, height):
    y, x = np.mgrid[:height, :width]
    return np.where((x // 3 + y // 5)[..., None] % 4 == 0, 0, 255) * np.ones(3, np.int64)


def pairs():
    """(name, original, decoded, score of the program, its score in float64), the pictures as uint8."""
    face = photo("astronaut.png", 130, 20, 256, 192)
    cup = photo("coffee.png", 200, 120, 203, 157)
    cat = photo("chelsea.png", 120, 60, 101, 67)
    black = np.zeros((40, 50, 3), np.int64)
    cases = [
        ("noise of 2 levels", face, noisy(face, 2), 92.8527, 93.2609),
        ("noise of 8 levels", face, noisy(face, 8), 76.7255, 76.8122),
        ("noise of 30 levels", face, noisy(face, 30), 21.0043, 21.0269),
        ("noise of 120 levels", face, noisy(face, 120), -58.7969, -58.7892),
        ("blur of 3x3", face, blurred(face, 1), 66.6638, 66.7155),
        ("blur of 7x7", face, blurred(face, 3), 21.2776, 21.2714),
        ("blur of 21x21", face, blurred(face, 10), -62.2261, -62.2246),
        ("blocks, a little", face, blocky(face, 8, 2), 82.3951, 82.4560),
        ("blocks, half", face, blocky(face, 8, 8), 29.4448, 29.4449),
        ("blocks alone", face, blocky(face, 8, 16), -30.5059, -30.4990),
        ("bands of 4", cup, banded(cup, 4), 94.0470, 94.1253),
        ("bands of 32", cup, banded(cup, 32), 34.9425, 34.9453),
        ("coarse colours", cup, coarse_colours(cup), 53.2233, 53.2207),
        ("gray for colours", cup, gray(cup), -3.8840, -3.8784),
        ("brighter", cup, cup + 6, 81.9965, 82.0003),
        ("one level in one pixel", cup, cup + (np.arange(cup.size).reshape(cup.shape) == 40_000), 99.3526, 99.6309),
        ("odd sides, noise", cat, noisy(cat, 12), 52.2920, 52.2998),
        ("odd sides, blur", cat, blurred(cat, 2), 60.2947, 60.3021),
        ("odd sides, the other way round", blurred(cat, 2), cat, 61.6585, 61.6660),
        ("gray, noise", gray(cat), noisy(gray(cat)[..., :1], 10).repeat(3, 2), 90.1158, 90.3544),
        ("gray, blur", gray(cat), blurred(gray(cat), 1), 83.4143, 83.6207),
        ("8 rows", face[100:108], noisy(face[100:108], 9), 93.4310, 93.4312),
        ("9 columns", face[:, 90:99], blurred(face[:, 90:99], 1), 85.6566, 85.6566),
        ("ramp in bands", ramp(120, 90), banded(ramp(120, 90), 16), 64.4900, 64.4996),
        ("lines, less contrast", lines(96, 90), lines(96, 90) * 4 // 5 + 20, 51.8066, 51.9103),
        ("lines, blur", lines(96, 90), blurred(lines(96, 90), 1), 46.4394, 46.5014),
        ("lines, opposite", lines(96, 90), 255 - lines(96, 90), -82.5934, -82.5868),
        ("noise for noise", noise((90, 80, 3), 0, 255, 2), noise((90, 80, 3), 0, 255, 3), -58.3563, -58.3549),
        ("white for black", black, black + 255, 19.9172, 19.9167),
        ("nearly black", black, noise(black.shape, 0, 3, 4), 75.3924, 75.2810),
        ("nearly white", black + 255, 255 - noise(black.shape, 0, 3, 4), 82.5210, 82.4490),
        ("a red for a green", black + np.array([200, 40, 40]), black + np.array([40, 200, 40]), -35.7882, -35.7514),
    ]
    # 112 is the last side with five scales
    squares = {
        8: (91.9712, 91.9713),
        9: (92.1091, 92.1090),
        15: (90.6959, 90.7020),
        16: (89.4765, 89.4778),
        17: (88.7361, 88.7424),
        64: (75.8911, 75.8926),
        112: (78.0707, 78.0783),
        113: (78.0390, 78.0518),
        128: (78.8531, 78.8572),
    }
    for side, scores in squares.items():
        square = photo("chelsea.png", 150, 90, side, side)
        cases.append((f"{side}x{side}", square, blocky(noisy(square, 6), 4, 6), *scores))
    for name, a, b, score, exact in cases:
        yield name, *(np.clip(picture, 0, 255).astype(np.uint8) for picture in (a, b)), score, exact


def tensors(*pictures):
    """(1, 3, H, W) float64"""
    return [torch.from_numpy(p.transpose(2, 0, 1).copy())[None].double() for p in pictures]


def test_scores_are_those_of_the_program():
    for name, a, b, score, exact in pairs():
        found = ssimulacra2(a, b)
        assert found == pytest.approx(exact, abs=0.01), name
        assert found == pytest.approx(score, abs=0.5), name


def test_in_float64_they_are_closer():
    for name, a, b, _, exact in pairs():
        assert ssimulacra2_tensor(*tensors(a, b)).item() == pytest.approx(exact, abs=5e-4), name


def test_identical_pictures_have_100_and_no_gradient():
    a = noise((24, 31, 3), 0, 255, 5).astype(np.uint8)
    assert ssimulacra2(a, a) == 100
    x, y = tensors(a, a)
    y.requires_grad_()
    ssimulacra2_tensor(x, y).sum().backward()
    assert (y.grad == 0).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 40), (40, 7)])
def test_a_side_below_8_pixels_has_no_score(height, width):
    a = noise((height, width, 3), 0, 255, 6).astype(np.uint8)
    assert math.isnan(ssimulacra2(a, a))
    with pytest.raises(ValueError, match="at least 8"):
        ssimulacra2_tensor(*tensors(a, a))


def test_what_is_no_pair_of_pictures_is_refused():
    a = np.zeros((20, 20, 3), np.uint8)
    for b in (a[:, :10], a[..., 0], a.astype(np.float32)):
        with pytest.raises(ValueError, match="uint8"):
            ssimulacra2(a, b)
    x = torch.zeros(1, 3, 20, 20)
    for y in (x[..., :10], x[0], torch.zeros(2, 3, 20, 20)):
        with pytest.raises(ValueError, match="one shape"):
            ssimulacra2_tensor(x, y)


def test_the_gradient_is_that_of_the_score():
    # 18 pixels have three scales, odd sides among them
    a, other = tensors(noise((18, 21, 3), 20, 235, 7), noise((18, 21, 3), 20, 235, 8))
    b = (0.8 * a + 0.2 * other).requires_grad_()
    ssimulacra2_tensor(a, b).sum().backward()
    for (direction,) in (tensors(noise((18, 21, 3), -1, 1, seed)) for seed in range(20, 25)):
        with torch.no_grad():
            above, below = (ssimulacra2_tensor(a, b + sign * 1e-4 * direction).item() for sign in (1, -1))
        assert (b.grad * direction).sum().item() == pytest.approx((above - below) / 2e-4, rel=1e-5)


def test_a_step_along_the_gradient_raises_the_score():
    *_, (_, a, b, *_) = (pair for pair in pairs() if pair[0] == "blur of 7x7")
    x, y = (t.float() for t in tensors(a, b))
    y.requires_grad_()
    before = ssimulacra2_tensor(x, y)
    before.sum().backward()
    after = ssimulacra2_tensor(x, y.detach() + 0.5 * y.grad.sign())
    assert after > before + 2


def test_a_batch_is_its_pictures():
    chosen = [tensors(x, y) for _, x, y, *_ in pairs() if x.shape == (192, 256, 3)]
    a, b = (torch.cat(t) for t in zip(*chosen, strict=True))
    together = ssimulacra2_tensor(a, b)
    alone = torch.cat([ssimulacra2_tensor(a[i : i + 1], b[i : i + 1]) for i in range(len(a))])
    assert len(alone) > 5 and torch.allclose(together, alone, rtol=0, atol=1e-9)


def test_strips_leave_no_seam(monkeypatch):
    a, b = (noise((67, 50, 3), 0, 255, seed).astype(np.uint8) for seed in (9, 10))
    whole = ssimulacra2(a, b)
    monkeypatch.setattr(module, "_STRIP", 1)
    assert ssimulacra2(a, b) == pytest.approx(whole, abs=1e-3)


def test_importing_the_module_imports_no_torch():
    code = "import sys, vitcodec.ssimulacra2; print('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(Path(module.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "False"
