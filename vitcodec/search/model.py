"""A model of format 1, ready to search with: from its parts to the search of an effort."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..coding.entropy import EntropyModel
from ..engines import Engine
from ..errors import UsageError
from ..pretrained.integer_model import IntegerModel
from .costs import StepCosts
from .efforts import EFFORTS
from .proposals import NETWORK, Network, Proposals
from .rounds import Search, Slopes
from .state import Evaluator
from .tuning import OF_INTEGERS


@dataclass(frozen=True)
class SearchModel:
    """engine: runs the synthesis. floats: runs the proposals where the model has them; without them their known part
    serves. None: the engine does.
    """

    numbers: IntegerModel
    engine: Engine
    entropy: EntropyModel
    threads: int = 1
    device: str = "cpu"  # of the gradient
    floats: Engine | None = None

    def search(self, effort: int, distortion_weight: float = 1.0) -> Search:
        """The search of an effort of EFFORTS. Raises UsageError where it needs torch and there is none."""
        config = EFFORTS[effort]
        evaluate = Evaluator(
            self.entropy,
            self.engine,
            self.numbers.dequantiser,
            OF_INTEGERS,
            distortion_weight,
            self.threads,
            self._costs,
        )
        if not config.gradients:
            return Search(evaluate, config, self._proposals)
        try:
            return Search(evaluate, config, self._proposals, self._gradient)
        except ImportError as error:
            most = max(n for n, other in EFFORTS.items() if not other.gradients)
            raise UsageError(
                f"effort {effort} needs PyTorch ({error}); pip install torch, or give an effort of at most {most}"
            ) from error

    @cached_property
    def _costs(self) -> StepCosts:
        return StepCosts(self.entropy.tables)

    @cached_property
    def _proposals(self) -> Proposals:
        network: Network | None = None
        engine = self.floats or self.engine
        if NETWORK in getattr(engine, "graphs", ()):

            def network(*maps: np.ndarray) -> list[np.ndarray]:
                return engine.run(NETWORK, *maps)

        return Proposals(network, self.threads)

    @cached_property
    def _gradient(self) -> Slopes:
        from .gradient import Gradient  # torch

        return Gradient(self.numbers, self.device)
