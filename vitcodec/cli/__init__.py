"""The `vitcodec` command.

Wiring only: a command's module is imported when that command runs, so that `--help` and `--version` start at once.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from .. import __version__
from .layout import Group, Row, new_app
from .output import DONE, USAGE, explain

ASK = "__complete"  # what the scripts of `vitcodec completion` call
# name -> (module, function or app, summary)
COMMANDS = {
    "encode": ("encode", "encode_command", "Images to .vitc files."),
    "decode": ("decode", "decode_command", ".vitc files back to images."),
    "tokens": ("tokens", "tokens_command", "Images to shards of tokens, for training on them."),
    "info": ("info", "info_command", "What .vitc files hold, without decoding them."),
    "view": ("view", "view_command", "Show .vitc files in the system's viewer or browser."),
    "eval": ("eval", "eval_command", "Measure rate, quality and speed on images."),
    "compare": ("compare", "compare_command", "One image by several codecs at equal size, side by side."),
    "ray": ("cluster", "app", "encode, decode and eval over a cluster, by Ray."),
    "sample": ("sample", "sample_command", "Draw pictures from what a model has learned."),
    "interpolate": ("interpolate", "interpolate_command", "Go from one image to another, as an animation."),
    "models": ("models", "app", "List, show, download, check and upload models."),
    "train": ("train", "train_command", "Train a model on folders or tars of images."),
    "finetune": ("export", "finetune_command", "Train a model on for your images, and export it."),
    "export": ("export", "export_command", "Turn a training run into a model folder."),
    "desktop": ("desktop", "app", "Make .vitc files known to a Linux desktop."),
    "doctor": ("doctor", "doctor_command", "Check that this installation works."),
    "completion": ("completion", "completion_command", "Print a script that completes words in a shell."),
    "help": ("help", "help_command", "The help of a command."),
}


class Commands(Group):
    """Imports commands when they are asked for, and ends every error with one line and its exit code."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, summary = COMMANDS[cmd_name]
        target = getattr(importlib.import_module(f".{module}", __name__), attribute)
        if not isinstance(target, typer.Typer):
            single = new_app()
            single.command(cmd_name, short_help=summary)(target)
            target = single
        return typer.main.get_command(target)

    def summaries(self, ctx: Any) -> list[Row]:
        return [(name, summary) for name, (_, _, summary) in COMMANDS.items()]

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        args = list(sys.argv[1:] if args is None else args)
        if args[:1] == ["help"] and not any(word.startswith("-") for word in args):
            args = [*args[1:], "--help"]
        _survive_names()
        try:
            if args[:1] == [ASK]:
                sys.exit(importlib.import_module(".completion", __name__).answer(self, args[1:]))
            # not standalone: errors come here, and the command's return value is the exit code
            code = super().main(
                args or ["--help"], prog_name or "vitcodec", complete_var, False, windows_expand_args, **extra
            )
        except Exception as error:
            code = explain(error, command=next((a for a in args if a in COMMANDS), None)).report()
        sys.exit(code or (DONE if args else USAGE))


def _survive_names() -> None:
    """A name that the terminal's encoding cannot hold is printed with escapes, and ends nothing."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


app = new_app(cls=Commands)


def _print_version(ctx: typer.Context, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        print(f"vitcodec {__version__}")
        raise typer.Exit


@app.callback()
def vitcodec(
    version: Annotated[
        bool,
        typer.Option("-V", "--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Images to small .vitc files and back, with a pretrained transformer codec.

    \b
    vitcodec encode photos/ -o small/
    vitcodec decode small/ -o back/
    vitcodec eval photos/ -q 40 -q 80
    vitcodec help encode
    """


def main() -> None:
    """Run the command that sys.argv holds. Raises SystemExit."""
    app()


def run() -> None:
    """The console script: `main`, but networks are not taken apart at the end, which is a tenth of a command's time."""
    try:
        main()
    except SystemExit as end:
        if not isinstance(end.code, int) or "torch" in sys.modules:  # torch may have processes to end
            raise
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:  # nobody reads any more
            raise end from None
        os._exit(end.code)
