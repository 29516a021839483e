"""Model folders that commands write."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError
from ..pretrained.config import CONFIG, check_name


def checked_name(name: str | None, output: Path, overwrite: bool) -> str:
    """The model's name. Raises UsageError where it cannot be one, or the folder holds a model already."""
    if (output / CONFIG).exists() and not overwrite:
        raise UsageError(f"{output} holds a model already; give --overwrite to replace it")
    model_name = name or output.resolve().name
    try:
        check_name(model_name)
    except ValueError as error:
        raise UsageError(f"{error}; give another with --name") from error
    return model_name
