"""Usage errors in plain words: what an option takes, and what a misspelt word may have meant."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..filesystem.suffixes import SUFFIX, promises_image


def explained(error: Any) -> str:
    """The sentence for a usage error of typer's. Its classes have no common home among the versions of typer."""
    if hasattr(error, "option_name") and hasattr(error, "possibilities"):
        # typer's guesses count the dashes, which every option has
        names = {option.strip("-"): option for option in error.possibilities or ()}
        meant = difflib.get_close_matches(error.option_name.strip("-"), names, 1, 0.65)
        return f"there is no option {error.option_name}" + (f"; did you mean {names[meant[0]]}?" if meant else "")
    return _number(error) or error.format_message().rstrip(".")


def _number(error: Any) -> str | None:
    """For what is no number, or not in the range, of an option that takes one."""
    parameter: Any = getattr(error, "param", None)
    kind = getattr(parameter, "type", None)
    match = re.match(r"(.+?) is not (?:a valid (?:int|float)|in the range)", getattr(error, "message", ""))
    if match is None or kind is None or not parameter.opts:
        return None
    name = max(parameter.opts, key=len)
    low, high = getattr(kind, "min", None), getattr(kind, "max", None)
    number = "a whole number" if kind.name.startswith("int") else "a number"
    bounds = "" if low is None else f" of at least {low}" if high is None else f" from {low} to {high}"
    given = match[1].strip("'\"")
    return f"{name} takes {number}{bounds}, not '{given}'"


def no_command(name: str, commands: Collection[str]) -> str:
    """The sentence for a first word that is no command."""
    meant = difflib.get_close_matches(name.lower(), commands, 1)
    if meant:
        return f"no command '{name}'; did you mean {meant[0]}?"
    if os.path.exists(name):
        command = "decode" if Path(name).suffix.lower() == SUFFIX else "encode"
        if command == "decode" or promises_image(Path(name)) or os.path.isdir(name):
            return f"no command '{name}'; did you mean vitcodec {command} {name}?"
    return f"no command '{name}'; there are {', '.join(commands)}"
