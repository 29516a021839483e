"""Usage errors in plain words: what an option takes, and what a misspelt word may have meant."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..filesystem.suffixes import SUFFIX, promises_image
from ..suggestions import meant


def explained(error: Any, command: str | None) -> str:
    """The line for a usage error of typer's, with whose --help to see: command's, where the error does not say.

    typer's classes have no common home among its versions.
    """
    sentence, context = _sentence(error), getattr(error, "ctx", None)
    path = context.command_path.split()[1:] if context else [command] if command else []
    return f"{sentence}{' See' if sentence.endswith('?') else '; see'} {' '.join(['vitcodec', *path, '--help'])}"


def _sentence(error: Any) -> str:
    if hasattr(error, "option_name") and hasattr(error, "possibilities"):
        # typer's guesses count the dashes, which every option has
        names = {option.strip("-"): option for option in error.possibilities or ()}
        found = meant(error.option_name.strip("-"), names, 0.65)
        return f"there is no option {error.option_name}" + (f"; did you mean {names[found]}?" if found else "")
    sentence = _number(error) or error.format_message().rstrip(".")
    return sentence[:1].lower() + sentence[1:]


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


def no_command(name: str, commands: Collection[str], files: bool) -> str:
    """The sentence for a first word that is no command. files: whether it may be a file that is to be coded."""
    if found := meant(name, commands):
        return f"no command '{name}'; did you mean {found}?"
    if files and os.path.exists(name):
        command = "decode" if Path(name).suffix.lower() == SUFFIX else "encode"
        if command == "decode" or promises_image(Path(name)) or os.path.isdir(name):
            return f"no command '{name}'; did you mean vitcodec {command} {name}?"
    return f"no command '{name}'; there are {', '.join(commands)}"
