"""A model, ready to search with: from its parts to the search of an effort."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from ..coding.entropy import EntropyModel
from ..errors import UsageError
from ..transform import Transform
from .costs import StepCosts
from .efforts import EFFORTS, SearchConfig
from .importance import PixelSlope
from .proposals import Network, Proposals
from .rounds import Search, Slopes
from .state import Evaluator
from .tuning import SQUARED_ERROR, SearchTuning


@dataclass(frozen=True)
class SearchModel:
    """gradient: makes the source of true slopes, which needs torch, when it is first asked for. network: of the
    proposals; without it their known part serves. exact: makes those with the exact slope of the distortion, when they
    are first asked for; None: the other proposals serve. slope: makes that of a distortion other than the squared
    error, which needs torch; None: the squared error.
    """

    entropy: EntropyModel
    transform: Transform
    gradient: Callable[[], Slopes]
    network: Network | None = None
    exact: Callable[[], Slopes] | None = None
    threads: int = 1
    efforts: Mapping[int, SearchConfig] | None = None  # None: EFFORTS
    tuning: SearchTuning = SQUARED_ERROR
    slope: Callable[[], PixelSlope] | None = None

    def search(self, effort: int, distortion_weight: float = 1.0) -> Search:
        """The search of an effort of EFFORTS. Raises UsageError where it needs torch and there is none."""
        efforts = self.efforts or EFFORTS
        config = efforts[effort]
        try:
            slope = self.slope() if self.slope and config.rounds else None
            gradient = self._gradient if config.gradients else None
        except ImportError as error:
            most = max(n for n, other in efforts.items() if not (other.rounds if self.slope else other.gradients))
            raise UsageError(
                f"effort {effort} needs PyTorch ({error}); pip install torch, or give an effort of at most {most}"
            ) from error
        exact = self._exact if config.exact else None
        evaluate = Evaluator(self.entropy, self.transform, self.tuning, distortion_weight, self.threads, self._costs)
        return Search(evaluate, config, Proposals(self.network, self.threads), gradient, exact, slope)

    @cached_property
    def _costs(self) -> StepCosts:
        return StepCosts(self.entropy.tables)

    @cached_property
    def _exact(self) -> Slopes | None:
        return self.exact() if self.exact else None

    @cached_property
    def _gradient(self) -> Slopes:
        return self.gradient()
