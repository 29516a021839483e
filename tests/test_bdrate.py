"""BD-rate against values known in closed form, and the ranges it is taken over."""

import numpy as np
import pytest

from vitcodec.evaluation.bdrate import bd_rate, overlap

CURVE = [(0.1, 27.0), (0.25, 30.0), (0.6, 33.5), (1.2, 37.0), (2.4, 41.0)]


def scaled(factor, curve=CURVE):
    return [(factor * bpp, psnr) for bpp, psnr in curve]


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.5])
def test_a_constant_ratio_is_its_own_bd_rate(factor):
    assert bd_rate(CURVE, scaled(factor)) == pytest.approx((factor - 1) * 100)


def test_order_of_points_does_not_matter():
    assert bd_rate(CURVE[::-1], scaled(0.7)[::-1]) == pytest.approx(-30)


def test_exchange_of_anchor_and_test():
    other = [(0.09, 27.5), (0.3, 31.0), (0.7, 35.0), (2.0, 40.0)]
    there, back = bd_rate(CURVE, other) / 100, bd_rate(other, CURVE) / 100
    assert (1 + there) * (1 + back) == pytest.approx(1)


def test_straight_lines_that_diverge():
    # log2 rate = psnr / 3 against psnr / 6, both lines: over 30..36 dB the log2 ratio goes from -5 to -6,
    # -5.5 in the mean
    anchor = [(2 ** (q / 3), q) for q in (30.0, 32.0, 36.0)]
    test = [(2 ** (q / 6), q) for q in (30.0, 33.0, 36.0)]
    assert bd_rate(anchor, test) == pytest.approx((2**-5.5 - 1) * 100)


def test_only_the_shared_quality_counts():
    longer = [*scaled(0.8), (50.0, 60.0)]
    assert overlap(CURVE, longer) == (27, 41)
    assert bd_rate(CURVE, longer) == pytest.approx(-20, abs=1)  # the last point only bends the last segment's end


def test_rates_narrow_the_range():
    anchor = [(2 ** (q / 3 - 10), q) for q in np.linspace(24, 42, 10)]  # a straight line in log rate
    test = [(bpp * (0.5 if psnr < 32 else 1), psnr) for bpp, psnr in anchor]
    # the anchor passes 0.5 at 27 dB and the other at 30 dB; both pass 4 at 36 dB
    assert overlap(anchor, test, (0.5, 4)) == (pytest.approx(30), pytest.approx(36))
    assert bd_rate(anchor, test) < -15
    assert bd_rate(anchor, test, (2, 4)) == pytest.approx(
        0, abs=1
    )  # the points beside the range bend the curve a little


def test_rates_wider_than_the_curves_change_nothing():
    assert bd_rate(CURVE, scaled(0.9), (0.01, 10)) == bd_rate(CURVE, scaled(0.9))


def test_without_overlap():
    with pytest.raises(ValueError, match="overlap"):
        bd_rate(CURVE, [(0.1, 50), (0.2, 55)])
    with pytest.raises(ValueError, match="overlap"):
        bd_rate(CURVE, scaled(0.9), (5, 10))


@pytest.mark.parametrize("curve", [[(1, 30)], [(1, 30), (2, 30)], [(0, 30), (1, 32)]])
def test_curves_that_are_none(curve):
    with pytest.raises(ValueError, match="two points"):
        bd_rate(CURVE, curve)


def test_a_rate_that_falls_cannot_be_cut():
    with pytest.raises(ValueError, match="rise"):
        bd_rate(CURVE, [(0.5, 28), (0.2, 32), (3.0, 40)], (0.1, 2.5))


def test_a_range_of_quality_keeps_out_what_a_curve_reaches_besides():
    anchor = [(0.4, 24), (0.6, 27), (1.5, 33), (4.0, 45)]
    test = [(0.2, 26), (0.42, 29), (1.0, 34), (3.0, 45)]
    slid = [(0.12, 24), *test]  # the same curve, further down, where the anchor is at its worst
    assert bd_rate(anchor, slid) < bd_rate(anchor, test) - 1
    assert bd_rate(anchor, slid, qualities=(29, 44)) == pytest.approx(
        bd_rate(anchor, test, qualities=(29, 44)), abs=0.5
    )
    with pytest.raises(ValueError, match="overlap"):
        bd_rate(anchor, test, qualities=(50, 60))
