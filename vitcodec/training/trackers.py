"""TensorBoard and Weights & Biases, through accelerate's trackers. Neither is imported before it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ..errors import UsageError

PROJECT = "vitcodec"  # of Weights & Biases


class Tracker(Protocol):
    """What accelerate's trackers do."""

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        """Add numbers at a step."""

    def finish(self) -> None:
        """Write what is left."""


def _tensorboard(folder: Path, settings: Mapping[str, Any]) -> Tracker:
    from accelerate.tracking import TensorBoardTracker

    tracker = TensorBoardTracker("tensorboard", folder)
    _start(tracker)
    return tracker


def _wandb(folder: Path, settings: Mapping[str, Any]) -> Tracker:
    from accelerate.tracking import WandBTracker

    folder.mkdir(parents=True, exist_ok=True)  # else its files would go elsewhere
    tracker = WandBTracker(PROJECT, name=folder.resolve().name, dir=str(folder))
    _start(tracker)
    tracker.store_init_configuration(dict(settings))
    return tracker


def _start(tracker: Any) -> None:
    """From accelerate 1.11 or so on, what a tracker writes to is opened by `start`, and before that when it is made."""
    if hasattr(tracker, "start"):
        tracker.start()


TRACKERS: dict[str, Callable[[Path, Mapping[str, Any]], Tracker]] = {"tensorboard": _tensorboard, "wandb": _wandb}


def check_tracker(name: str) -> None:
    """Raises UsageError for a logger that is not known."""
    if name not in TRACKERS:
        raise UsageError(f"unknown logger '{name}'; give {' or '.join(TRACKERS)}")


def open_tracker(name: str, folder: Path, settings: Mapping[str, Any]) -> Tracker:
    """A logger for a run in a folder. settings: the run's, for its page. Raises UsageError where it cannot be used."""
    check_tracker(name)
    try:
        return TRACKERS[name](folder, settings)
    except ImportError as error:
        raise UsageError(
            f"--log {name}: {error.name or error} is not installed; pip install 'vitcodec[{name}]'"
        ) from error
    except Exception as error:  # theirs share no base class: no account, no network, no space
        raise UsageError(
            f"--log {name}: cannot be used ({(str(error).strip().splitlines() or [type(error).__name__])[0][:160]}); "
            f"leave it out{', or set WANDB_MODE=offline' if name == 'wandb' else ''}"
        ) from error
