"""The encoder writes the same bytes as before: a change of the code that is not a change of the codec shows here."""

from __future__ import annotations

import json

import pytest
from identical import HASHES, hashes, machine
from make_golden import DATA

from vitcodec.bitstream import container


def test_the_tokens_of_the_golden_file_are_coded_in_the_same_bytes(codec):
    """Entropy coding is exact: the same on every machine."""
    contents = container.unpack((DATA / "golden-0.vitc").read_bytes())
    point = codec.entropy.point(contents.header.quality, codec.autoencoder.steps)
    payloads, _ = codec.entropy.encode(codec.tokens(contents), point)
    assert {(level, 0): data for level, data in payloads.items()} == contents.payloads


@pytest.mark.parametrize("case", ["chelsea.png swin q20 e1", "chelsea.png swin q90 e1", "rocket.jpg vit q50 e1"])
def test_files_are_those_of_the_noted_hashes(case):
    """Transforms are computed in floating point: the hashes are of one kind of processor."""
    known = json.loads(HASHES.read_text("utf-8"))
    if known["machine"] != machine():
        pytest.skip(f"the hashes are of {known['machine']}; this is {machine()}")
    assert dict(hashes(case)) == {case: known["files"][case]}
