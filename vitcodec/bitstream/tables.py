"""The sizes and units of the static probability tables.

A value's table is chosen by three whole numbers: the shape class (of the mixture logit), the mean class and the scale
index. Tables are fitted to counts after training; they hold 16-bit frequencies, so nothing is computed in floating
point when files are read.
"""

from __future__ import annotations

import math

import numpy as np

SHAPES = 3
SHAPE_UNIT = 1.4  # of the mixture logit: rounded and clamped to -1, 0, 1
MEAN_UNIT = 8  # means come in eighths
# means below two (in eighths) have tables of their own, as the dead zone shapes the values near zero; others are
# shifted by whole numbers
NEAR = 16
MEANS = NEAR + MEAN_UNIT
MEAN_LIMIT = MEAN_UNIT << 15
SCALES = 64
SCALE_LOW, SCALE_HIGH = -3.0, 7.0  # log of the scale at index 0 and 63
SCALE_UNIT = 4  # the networks predict quarters of an index
LOG_SCALE_UNIT = (SCALE_HIGH - SCALE_LOW) / (SCALES - 1) / SCALE_UNIT
NARROW, WIDE = 7, 31  # largest magnitude in a table; beyond it the escape symbol, the last
NARROW_SCALES = 20  # scale indices below this have narrow tables
PRECISION = 16  # bits of a frequency
ESCAPE_BITS = 20  # of the longest escape
ESCAPE_SIGN_BITS = 1 + math.log2(ESCAPE_BITS)  # of every escape: its sign and its length

LOG_SCALES = np.linspace(SCALE_LOW, SCALE_HIGH, SCALES)
# Values of large scale are coded as a table symbol for the high bits and this many bypass bits (of equal probability),
# so that the scale left is at most 4
BYPASS_BITS = np.maximum(0, np.ceil(LOG_SCALES / np.log(2) - 2)).astype(np.int32)
