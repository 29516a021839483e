"""The training loop: one model for every quality, by rate plus distortion, phase after phase by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..distortion import TUNINGS
from ..errors import UsageError, VitcodecError
from ..models.synthesis import ConvSynthesis
from .best import keep_best
from .checkpoint import State, load_checkpoint, save_checkpoint
from .compiled import eagerly
from .config import CHECKPOINT, PARTS, Phase, TrainingConfig
from .data import Crops
from .engine import Engine
from .integers import QUANTILE
from .journal import Journal
from .model import Average, TrainingModel
from .optimiser import Optimiser
from .parts import BEST, write_average
from .prices import Prices
from .rounding import Gauge, RoundedSynthesis
from .samples import Fresh, Samples, Searched, searched_tokens
from .schedule import choose_trained, learning_rate, too_short
from .step import TrainingStep
from .token_cache import Cached
from .trackers import Tracker
from .validation import REFERENCE, ValidationSet, bd_rate_to_reference, estimated_curves, mean_curve

LOG_SECONDS, LOG_SHARE = 30.0, 0.05  # between entries of the loss; of a short schedule, if that is less
VALIDATION_SHARE = 0.3  # of the schedule; where a validation takes more, there is none at the end
SHIFT_INTERVAL = 25  # steps, after which the shifts of integers follow their weights
AHEAD = 10  # steps that a GPU may be behind the clock
RANK_SEED = 1_000_003  # between the seeds of processes that train together
Report = Callable[[str], None]


class Run:
    """A run of training in a folder, which gets checkpoints to resume from, averaged weights, a log as JSON lines and
    the training curve.

    gauge: the magnitudes of maps, where the synthesis computes as its integers do (TrainingConfig.rounded).
    started: time.monotonic() when the program began: the schedule counts from there. checkpoint: its file, where it is
    not in the folder. trackers: get what the log gets. tokens: the folder of TrainingConfig.fixed_tokens. priced: whose
    curves say what distortion costs, with TrainingConfig.relative; None: the model as it is now. Raises UsageError
    where nothing is left to train.
    """

    def __init__(
        self,
        model: TrainingModel,
        config: TrainingConfig,
        folder: Path,
        engine: Engine | None = None,
        gauge: Gauge | None = None,
        started: float | None = None,
        checkpoint: Path | None = None,
        trackers: Sequence[Tracker] = (),
        tokens: Path | None = None,
        priced: TrainingModel | None = None,
    ):
        self.engine = engine or Engine(torch.device("cpu"))
        self.model, self.config, self.folder = model.to(self.engine.device), config, folder
        self.checkpoint = checkpoint or folder / CHECKPOINT
        self.steps, self.pixels = 0, 0  # trained so far
        self.before, self.started = 0.0, time.monotonic() if started is None else started
        self.reserve = 0.0  # seconds that the last validation will take
        self.state = ""  # the loss, for people
        self.distortion = TUNINGS[config.tune]
        self.kept: Mapping[str, Tensor] = {}  # of the optimiser of the phase before
        self.gauge, self.tokens = gauge, tokens
        priced = (priced or model).to(self.engine.device)
        self.prices = Prices(priced, self.distortion, config.dead_zone, self.engine) if config.relative else None
        if config.decoder_only and model.autoencoder.synthesis is None:
            raise UsageError("the model has no network in its decoder to train")
        if config.rounded:
            self._round()
        self.average = Average(model, config.average)
        folder.mkdir(parents=True, exist_ok=True)
        self.journal = Journal(folder, trackers)

    @property
    def seconds(self) -> float:
        """Since the run began, over all resumptions; loading, compilation, search and validation count."""
        return self.before + time.monotonic() - self.started

    @property
    def done(self) -> float:
        """The share of the schedule that is over, in the first process."""
        return self.seconds / max(60 * self.config.minutes - self.reserve, 1e-3)

    @property
    def seed(self) -> int:
        """The seed of this process from here on: another one after each resumption."""
        return self.config.seed + self.steps + RANK_SEED * self.engine.rank

    def _round(self) -> None:
        """Let the synthesis compute as its integers do. Raises UsageError where it has none."""
        synthesis = self.model.autoencoder.synthesis
        net = synthesis.net if isinstance(synthesis, RoundedSynthesis) else synthesis
        if not isinstance(net, ConvSynthesis) or self.gauge is None:
            raise UsageError("the model's decoder is not one that integers can carry; leave --rounded out")
        self.model.autoencoder.synthesis = RoundedSynthesis(net, self.gauge).to(self.engine.device)

    def _eagerly(self) -> AbstractContextManager[object]:
        """The context for everything but steps."""
        return eagerly() if self.config.compile else nullcontext()

    def _follow(self) -> None:
        synthesis = self.model.autoencoder.synthesis
        if isinstance(synthesis, RoundedSynthesis):
            synthesis.follow()

    def save(self) -> None:
        """Write the checkpoint and the averaged weights; only the first of several processes does."""
        if not self.engine.first:
            return
        metadata, largest = self._metadata(), self._largest()
        save_checkpoint(self.checkpoint, self.model, self.average, State(self.kept, largest, metadata))
        write_average(self.folder, self.average.mean, largest, {**metadata, "model": self.model.description})

    def _metadata(self) -> dict[str, Any]:
        counters = {"steps": self.steps, "seconds": self.seconds, "pixels": self.pixels, "reserve": self.reserve}
        return {**counters, "config": asdict(self.config)}

    def _largest(self) -> Mapping[str, Tensor]:
        """The magnitudes of maps; none where the synthesis is not rounded."""
        return self.gauge.largest if self.config.rounded and self.gauge else {}

    def _write_best(self, fields: Mapping[str, Any]) -> None:
        """The averaged weights as the best so far. fields: for best.json."""
        metadata = {**self._metadata(), **fields, "model": self.model.description}
        write_average(self.folder, self.average.mean, self._largest(), metadata, BEST)

    def resume(self) -> None:
        """Go on from the checkpoint. Raises WeightsError where it is of another model."""
        state = load_checkpoint(self.checkpoint, self.model, self.average)
        self.kept, metadata = state.optimiser, state.metadata
        self.steps, self.pixels = metadata["steps"], metadata["pixels"]
        self.before, self.reserve = metadata["seconds"], metadata["reserve"]
        if self.config.rounded:
            if state.gauge:
                self.gauge = Gauge(QUANTILE, dict(state.gauge))
            self._round()

    def log(self, **entry: object) -> None:
        """Add an entry to the journal, with the steps and minutes trained so far."""
        if self.engine.first:
            self.journal.add(self.steps, round(self.seconds / 60, 2), entry)

    def validate(self, validation: ValidationSet, searched: bool = False) -> float:
        """Log the curve of the averaged weights, and keep them if they are the best; returns their BD-rate against the
        reference, in per cent.

        searched: on tokens that the search chooses, not on rounded ones.
        """
        current = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average.mean)
        self._follow()
        device, dead_zone = self.engine.device, self.config.dead_zone
        fixed = [own.on(device) for own in validation.samples]
        choose = searched_tokens(self.model, dead_zone) if searched and not fixed else None
        with self._eagerly():
            curves = estimated_curves(
                self.model, validation.images.to(device), dead_zone, self.distortion, choose, fixed
            )
        self.model.load_state_dict(current)
        self._follow()
        change = bd_rate_to_reference(validation.references, curves, self.distortion)
        points = [[round(v, 4) for v in point] for point in mean_curve(curves)]
        tokens = "fixed" if fixed else "searched" if searched else "rounded"
        self.log(validation=points, bd_rate=round(change, 3), tokens=tokens)
        keep_best(self.folder, self.steps, round(change, 3), tokens, self._write_best)
        return change

    def train(
        self,
        crops: Crops,
        validation: ValidationSet | None,
        report: Report,
        stop: Callable[[], bool] = lambda: False,
        advance: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """Train to the end of the schedule, by the clock, and write a checkpoint.

        report: called with a line of progress now and then. advance: called after each step with the seconds trained.
        stop: asked before each step; True ends the training early. Raises UsageError where the schedule ended before a
        step, VitcodecError where the loss is no number any more.
        """
        # backward in this thread: a second pool of threads would compete with this one's for the cores (1.05 s a step
        # against 1.18 s)
        torch.autograd.set_multithreading_enabled(False)
        torch.manual_seed(self.seed)
        phases = self.config.phases
        at = self.engine.agree(self.done)
        current = next((k for k, phase in enumerate(phases) if at < phase.end), len(phases) - 1)
        loaded, before, last = self.seconds, self.steps, True

        def validate(phase: Phase) -> None:
            if validation is not None and self.engine.first:
                start = time.monotonic()
                change = self.validate(validation, phase.searched)
                self.reserve = time.monotonic() - start
                report(
                    f"validation after {self.steps} steps: {change:+.2f} % BD-rate against {REFERENCE}, {phase.name}"
                )

        for k, phase in enumerate(phases[current:]):
            if k and self.engine.agree(float(stop())):
                break
            if k:
                # the encoder of the average stays, and the rest goes on from there too
                self.model.load_state_dict(self.average.mean)
                self._follow()
            if k or not self.steps:
                validate(phase)
            if self.reserve > VALIDATION_SHARE * 60 * self.config.minutes:
                report(
                    f"a validation takes {self.reserve:.0f} s, too long for a run of {60 * self.config.minutes:.0f} s: "
                    "there is none at the end; give a longer --time-limit or fewer --val-crops"
                )
                last, self.reserve = False, 0.0
            self._train_phase(phase, crops, partial(validate, phase), report, stop, advance)
        if self.steps == before and not stop():
            raise too_short(self.folder, self.config, loaded, self.seconds + self.reserve, self.steps)
        self.save()
        if last and self.steps > before:
            validate(phases[-1])
        self.journal.close()

    def _train_phase(
        self,
        phase: Phase,
        crops: Crops,
        validate: Callable[[], None],
        report: Report,
        stop: Callable[[], bool],
        advance: Callable[[float], None],
    ) -> None:
        config, engine = self.config, self.engine
        begun = time.monotonic()
        source: Fresh | Searched | Cached = Fresh(crops, config.batch, config.crop)
        if self.tokens is not None:
            source = Cached(self.tokens, config.batch, self.seed, engine.device)
        elif phase.searched:
            source = Searched(source, searched_tokens(self.model, config.dead_zone), config.pool)
            left = 60 * config.minutes - self.seconds - self.reserve
            with self._eagerly():
                while not source.searched or (source.seconds < config.searching / 2 * left and not stop()):
                    source.search()
            self.log(searched=source.searched * config.batch, search_seconds=round(source.seconds, 1))
        step = self.step(source, phase.searched)
        self.log(phase=phase.name, ready=True)
        logged = saved = validated = time.monotonic()
        interval = min(LOG_SECONDS, LOG_SHARE * 60 * config.minutes)
        counted, pixels = 0, config.batch * config.crop**2 * engine.processes  # steps since the log; a step's pixels

        def note() -> None:
            nonlocal counted, logged
            means, now = step.means(), time.monotonic()
            if means is None:
                raise VitcodecError(
                    f"the loss is no number any more after {self.steps} steps; start again from the last checkpoint's "
                    "averaged weights with a lower --lr"
                )
            speed = counted * pixels / (now - logged) / 1e6
            self.log(loss=round(means[0], 5), bpp=round(means[1], 4), megapixels_per_second=round(speed, 4))
            self.state = f"loss {means[0]:.4f}, {means[1]:.3f} bpp"
            report(f"step {self.steps}, {self.seconds / 60:.1f} min: {self.state}, {speed:.3f} MP/s")
            counted, logged = 0, now

        while (done := engine.agree(1.0 if stop() else self.done)) < phase.end:
            if isinstance(source, Searched) and source.seconds < config.searching * (time.monotonic() - begun):
                with self._eagerly():
                    source.search()
            step.optimiser.rate.fill_(learning_rate(config, self.steps, done))
            step.weight.fill_(self.average.weight(self.steps + 1))
            step()
            self.steps += 1
            self.pixels += pixels
            counted += 1
            if engine.device.type == "cuda" and self.steps % AHEAD == 0:
                torch.cuda.synchronize(engine.device)
            if self.steps % SHIFT_INTERVAL == 0:
                self._follow()
            advance(self.seconds)
            now = time.monotonic()
            if now - logged > interval:
                note()
            if now - saved > config.checkpoint_seconds:
                self.save()
                saved = now
            # none so late that the end would wait for it
            if now - validated > config.validation_seconds and self.seconds + 2 * self.reserve < 60 * config.minutes:
                validate()
                validated = time.monotonic()
        if counted:
            note()

    def step(self, source: Callable[[], Samples], searched: bool = False) -> TrainingStep:
        """The step of a phase, whose optimiser goes on from that of the phase before. searched: as Phase has it."""
        choose_trained(self.model, self.config, searched)
        rate = torch.zeros((), device=self.engine.device)
        factors = {start: factor for part, factor in self.config.rates.items() for start in PARTS[part]}
        optimiser = Optimiser(self.model.named_parameters(), rate, self.engine.precision == "bfloat16", factors)
        optimiser.load(self.kept)
        self.kept = optimiser.state()
        return TrainingStep(self.model, source, optimiser, self.average, self.config, self.engine, self.prices)
