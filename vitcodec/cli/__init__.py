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
from typer.core import TyperCommand, TyperGroup

from .. import __version__
from . import usage
from .output import DONE, USAGE, explain

# name -> (module, function or app, summary)
COMMANDS = {
    "encode": ("encode", "encode_command", "Images to .vitc files."),
    "decode": ("decode", "decode_command", ".vitc files back to images."),
    "info": ("info", "info_command", "What .vitc files hold, without decoding them."),
    "eval": ("eval", "eval_command", "Measure rate, quality and speed on images."),
    "compare": ("compare", "compare_command", "One image by several codecs at equal size, side by side."),
    "ray": ("cluster", "app", "encode, decode and eval over a cluster, by Ray."),
    "models": ("models", "app", "List models and show their layers."),
    "train": ("train", "train_command", "Train a model on folders or tars of images."),
    "export": ("train", "export_command", "Turn a training run into a model folder."),
    "doctor": ("doctor", "doctor_command", "Check that this installation works."),
}
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Command(TyperCommand):
    """Shows arguments in its usage line as they are called, `INPUT...`, without typer's braces."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


class Commands(TyperGroup):
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
            single.command(cmd_name, cls=Command, short_help=summary)(target)
            target = single
        return typer.main.get_command(target)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in COMMANDS.items()])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(usage.no_command(args[0], COMMANDS))
        return super().resolve_command(ctx, args)

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
        _survive_names()
        try:
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


def new_app(**settings: Any) -> typer.Typer:
    return typer.Typer(
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings=SETTINGS,
        **settings,
    )


app = new_app(cls=Commands)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"vitcodec {__version__}")
        raise typer.Exit


@app.callback()
def vitcodec(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Images to small .vitc files and back, with a pretrained transformer codec.

    \b
    vitcodec encode photos/ -o small/
    vitcodec decode small/ -o back/
    vitcodec eval photos/ -q 40 -q 80
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
