"""The encoder writes the same bytes as before: a change of the code that is not a change of the codec shows here."""

from __future__ import annotations

import json

import numpy as np
import pytest
from identical import HASHES, hashes, machine
from make_golden import DATA

from vitcodec.bitstream import container
from vitcodec.pipeline import loading
from vitcodec.tiles import crop


def test_the_tokens_of_the_golden_file_are_coded_in_the_same_bytes(codec):
    """Entropy coding is exact: the same on every machine."""
    contents = container.unpack((DATA / "tiles.vitc").read_bytes())
    entropy, tokens = loading.load(codec.config).encoder.entropy, codec.decompress(contents).bands
    for number in range(contents.header.grid.count):
        part = crop(tokens, contents.header.grid.area(number)).map(np.ascontiguousarray)
        payloads, _ = entropy.encode(part, entropy.point(contents.header.quality))
        assert payloads == {level: data for (level, tile), data in contents.payloads.items() if tile == number}


@pytest.mark.parametrize("case", ["chelsea.png swin q20 e1", "chelsea.png swin q90 e1", "rocket.jpg vit q50 e1"])
def test_files_are_those_of_the_noted_hashes(case):
    """Transforms are computed in floating point: the hashes are of one kind of processor."""
    known = json.loads(HASHES.read_text("utf-8"))
    if known["machine"] != machine():
        pytest.skip(f"the hashes are of {known['machine']}; this is {machine()}")
    assert dict(hashes(case)) == {case: known["files"][case]}
