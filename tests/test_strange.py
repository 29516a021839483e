"""Strange and hostile image files: a few hundred of those that fuzz.py makes by the thousand."""

from __future__ import annotations

from random import Random

import pytest
from strange import WRITTEN, damaged, faults, make, misread

ROUNDS = 10


@pytest.mark.parametrize("part", range(ROUNDS))
def test_strange_files_come_back(part: int, capfd: pytest.CaptureFixture[str]) -> None:
    """No exception, no other picture, nothing lost in silence, and no good picture refused for its metadata."""
    found = []
    for seed in range(40 * part, 40 * (part + 1)):
        rng = Random(seed)
        strange = make(rng)
        found += [f"seed {seed}, {strange.name}: {what}" for what in faults(strange, rng.choice(WRITTEN))]
    assert not found, "\n".join(found)
    assert capfd.readouterr().err == "", "a decoder writes to stderr by itself"


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_give_a_picture_or_a_message() -> None:
    found = []
    for seed in range(200):
        strange = damaged(Random(seed))
        found += [f"seed {seed}, {strange.name}: {what}" for what in misread(strange)]
    assert not found, "\n".join(found)


def test_files_are_the_same_every_time() -> None:
    assert [make(Random(s)).data for s in range(30)] == [make(Random(s)).data for s in range(30)]
