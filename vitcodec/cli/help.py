"""`vitcodec help COMMAND`."""

from __future__ import annotations

from typing import Annotated

import typer

Words = Annotated[
    list[str] | None, typer.Argument(metavar="[COMMAND]...", show_default=False, help="[default: all commands]")
]


def help_command(ctx: typer.Context, words: Words = None) -> None:
    """The help of a command: what its --help prints.

    \b
    vitcodec help encode
    vitcodec help models push
    """
    # words alone never come here: the command line takes them for `COMMAND --help` (cli/__init__.py)
    ctx.fail("help takes the names of commands")
