"""What each --effort does: rounds of proposals and with the adjoint, then by the gradient, which needs torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SearchConfig:
    """The search of one effort."""

    proposals: int  # rounds of updates by learned proposals; without rounds values are only rounded
    gradients: int  # rounds by the gradient after them
    # whether scale offsets are fitted to the picture, and the adaptive filter where the decoder has one
    fit_scales: bool
    exact: int = 0  # rounds between those, by proposals with the exact slope of the distortion (adjoint.py)
    # the best of all sites are taken together without checking their cost in searches of at most so many rounds
    unchecked_rounds: int = 8
    # the factor on neighbours' gains (moves.update) in the first, second and all later rounds. The more the synthesis
    # corrects, the higher these have to be: they are chosen for a model
    crowding: tuple[float | None, ...] = (0.3, 0.6)
    # after the first rounds a share of the updates, at random, is skipped: made together, they would go back and forth
    skip_after: int = 3  # rounds
    skip_share: float = 0.32
    skip_growth: float = 0.01  # of the share, by round

    @property
    def rounds(self) -> int:
        """All rounds."""
        return self.proposals + self.exact + self.gradients

    def crowding_in(self, round: int) -> float | None:
        """The factor in a round, counted from 0."""
        return self.crowding[min(round, len(self.crowding) - 1)]

    def kept(self, round: int) -> float:
        """The share of updates that is made in a round, counted from 0."""
        skipping = round - self.skip_after
        return 1.0 if skipping < 0 else 1 - self.skip_share - self.skip_growth * skipping


EFFORTS = {
    1: SearchConfig(proposals=0, gradients=0, fit_scales=False),
    2: SearchConfig(proposals=1, gradients=0, fit_scales=True),
    3: SearchConfig(proposals=3, gradients=0, fit_scales=True),
    4: SearchConfig(proposals=1, exact=2, gradients=0, fit_scales=True),
    5: SearchConfig(proposals=1, exact=8, gradients=0, fit_scales=True),
    6: SearchConfig(proposals=1, exact=16, gradients=0, fit_scales=True),
    7: SearchConfig(proposals=1, exact=5, gradients=6, fit_scales=True),
    8: SearchConfig(proposals=1, exact=5, gradients=16, fit_scales=True),
    9: SearchConfig(proposals=1, exact=5, gradients=40, fit_scales=True),
}

# of transforms in floating point, which have no proposals
FLOAT_EFFORTS = {
    effort: SearchConfig(proposals=0, gradients=rounds, fit_scales=rounds > 0, skip_after=2)
    for effort, rounds in enumerate((0, 1, 2, 3, 4, 6, 10, 20, 40), 1)
}
