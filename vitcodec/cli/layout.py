"""What commands look like: usage lines, help in sections, and words that are no command."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePath
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from . import usage

# sections of --help, in this order; an option's section is its rich_help_panel, which is what typer calls it
OPTIONS, CODING, FILES, MODEL, MESSAGES = "Options", "Coding", "Files", "Model and device", "Messages"
CLUSTER, REGIONS = "Cluster", "Regions of interest"
SECTIONS = (OPTIONS, CODING, REGIONS, FILES, MODEL, CLUSTER, MESSAGES)
FEW = 10  # up to so many options stand in one section
WIDEST = 26  # columns of a name beside which its description begins
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

Row = tuple[str, str]  # name, description


class Command(TyperCommand):
    """Its help is the same with every version of typer, and in sections."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Arguments as they are called, `INPUT...`, without typer's braces."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for title, rows in sections(self.get_params(ctx)):
            write_rows(formatter, title, rows)


class Group(TyperGroup):
    """Commands; a word that is none of them is an error that says which may have been meant."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for title, rows in sections(self.get_params(ctx)):
            write_rows(formatter, title, rows)
        write_rows(formatter, "Commands", self.summaries(ctx))

    def summaries(self, ctx: Any) -> list[Row]:
        """Each command with one sentence."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        return [(name, command.get_short_help_str(200)) for name, command in found if command and not command.hidden]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        names = self.list_commands(ctx)
        if not args[0].startswith("-") and args[0] not in names:
            ctx.fail(usage.no_command(args[0], names, files=ctx.parent is None))
        return super().resolve_command(ctx, args)


class App(typer.Typer):
    """A Typer whose commands are of this module's classes."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:  # type: ignore[override]
        return super().command(name, **({"cls": Command} | settings))


def new_app(**settings: Any) -> App:
    return App(
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings=SETTINGS,
        **({"cls": Group} | settings),
    )


def sections(parameters: Iterable[Any]) -> list[tuple[str, list[Row]]]:
    """Arguments and options by section: (title, rows). Those that have nothing in them are left out."""
    parameters = [p for p in parameters if not getattr(p, "hidden", False)]
    arguments = [p for p in parameters if p.param_type_name == "argument"]
    options = [p for p in parameters if p.param_type_name == "option"]
    found: dict[str, list[Row]] = {"Arguments": [row(p) for p in arguments], **{title: [] for title in SECTIONS}}
    for option in options:
        title = getattr(option, "rich_help_panel", None) or (MESSAGES if "--help" in option.opts else OPTIONS)
        found[OPTIONS if len(options) <= FEW else title].append(row(option))
    return [(title, rows) for title, rows in found.items() if rows]


def row(parameter: Any) -> Row:
    """The name with what it takes, and the description with range, default and environment variable."""
    takes = "" if getattr(parameter, "is_flag", False) else metavar(parameter)
    if parameter.param_type_name == "argument":
        name = takes
    else:
        # typer has the names of --help in any order
        ways = [", ".join(sorted(names, key=len)) for names in (parameter.opts, parameter.secondary_opts) if names]
        name = " / ".join(ways) + (f" {takes}" if takes else "")
    # only arguments of typer's have a help text
    return name, " ".join([getattr(parameter, "help", None) or "", *(f"[{note}]" for note in notes(parameter))]).strip()


def metavar(parameter: Any) -> str:
    """What stands for a parameter's value: as declared, or else by its type, whose name depends on typer's version."""
    kind = parameter.type.name
    return parameter.metavar or ("N" if kind.startswith("int") else "X" if kind.startswith("float") else kind.upper())


def notes(parameter: Any) -> list[str]:
    """What is true of a parameter beside its help text."""
    found = []
    low, high = getattr(parameter.type, "min", None), getattr(parameter.type, "max", None)
    if low is not None and high is not None and ".." not in metavar(parameter):
        found.append(f"{low:g} to {high:g}")
    default = parameter.default  # None, or a mark of Click's, where there is none
    values = [v for v in (default if isinstance(default, list | tuple) else [default]) if _is_plain(v)]
    if getattr(parameter, "show_default", False) and values:
        found.append(f"default: {', '.join(map(str, values))}")
    if getattr(parameter, "envvar", None):
        found.append(f"env: {parameter.envvar}")
    if parameter.required and parameter.param_type_name == "option":
        found.append("required")
    return found


def _is_plain(value: object) -> bool:
    return isinstance(value, int | float | str | PurePath) and not isinstance(value, bool) and value != ""


def write_rows(formatter: Any, title: str, rows: Sequence[Row]) -> None:
    """A section. Lines end at spaces alone, hf-hub:ORG/NAME is to be copied in one piece; [default: 3] stays whole."""
    column = min(max(len(name) for name, _ in rows), WIDEST) + 2
    with formatter.section(title):
        indent = " " * formatter.current_indent
        width = max(formatter.width - len(indent) - column, 20)
        for name, description in rows:
            kept = re.sub(r"\[[^]]{1,32}\]|\([^)]{1,16}\)", lambda short: short[0].replace(" ", "\0"), description)
            lines = textwrap.wrap(kept, width, break_on_hyphens=False, break_long_words=False) or [""]
            lines = [line.replace("\0", " ") for line in lines]
            if len(name) > column - 2:
                formatter.write(f"{indent}{name}\n")
            else:
                formatter.write(f"{indent}{name:<{column}}{lines.pop(0)}".rstrip() + "\n")
            for line in lines:
                formatter.write(f"{indent}{'':<{column}}{line}\n")
