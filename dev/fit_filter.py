"""Fit the adaptive filters of a model of integers, one for each quality, to what it makes of fixed tokens.

    python dev/fit_filter.py MODEL runs/tokens shared/data/train/train-0*.tar -o FOLDER

Tokens are those of a cache of train_context.py, made from the same images. Each quality gets the least-squares weights
of crops of about its step, every crop's error counting alike. FOLDER is a copy of MODEL with the filters in it.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from token_cache import CROP, PAIR, SHARD, load_tokens

from vitcodec.adaptive_filter import SIZES, THRESHOLD_LIMIT, WEIGHT_BITS, WEIGHT_LIMIT, AdaptiveFilter, FilterNumbers
from vitcodec.adaptive_filter import _by_plane as by_plane
from vitcodec.analysis import decompose
from vitcodec.engines.onnx import GRAPHS, read_graphs
from vitcodec.fixed_point import FRACTION_BITS
from vitcodec.options import QUALITIES
from vitcodec.pipeline import loading
from vitcodec.pretrained import integer_model
from vitcodec.pretrained.config import PretrainedConfig
from vitcodec.quality import step_of
from vitcodec.search.filter_fit import RIDGE, FilterFit
from vitcodec.subbands import Subbands
from vitcodec.training.assemble import ANALYSIS, PROPOSALS, write_folder
from vitcodec.training.data import Crops, read_images

CLIPPED_STEPS = 0.15  # a threshold in quantisation steps
WIDTH = 0.35  # of the steps that count for a quality: standard deviation of their logarithm
