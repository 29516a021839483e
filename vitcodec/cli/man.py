"""The man page, vitcodec(1), from the commands' names, types and help texts.

`python -m vitcodec.cli.man` prints it; `make docs` writes it to docs/vitcodec.1, which the wheel installs. Rendered
help is not used: it depends on the terminal and on typer.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

import typer

from .. import __version__
from . import app
from .environment import ENVIRONMENT, EXIT_STATUS
from .layout import SETTINGS, Group, Row, sections

DESCRIPTION = (
    "vitcodec compresses images to small .vitc files of integer tokens, with a transformer autoencoder, and "
    "reconstructs them, on CPUs and GPUs. One model serves every quality, and comes with the program.",
    "Inputs are files, folders and globs; - is stdin or stdout. Files that exist are replaced only with --overwrite. "
    "One bad file does not stop the others: failures are listed at the end. Results go to stdout, messages to stderr.",
)
FILES = {
    "~/.cache/vitcodec": "Downloaded models; see VITCODEC_CACHE.",
    "*.vitc": "Encoded images. docs/format.md of vitcodec's sources describes the format.",
}
HELP = "-h, --help"  # is said once
SEE_ALSO = "cjxl(1), djxl(1), avifenc(1), avifdec(1), cwebp(1)"


def page() -> str:
    """The page's source, in the macros of man(7)."""
    root: Any = typer.main.get_command(app)
    context = typer.Context(root, info_name="vitcodec", help_option_names=SETTINGS["help_option_names"])
    summary, *examples = _paragraphs(root.help)
    lines = [
        ".\\\" made by python -m vitcodec.cli.man: change the commands' help texts instead",
        f'.TH VITCODEC 1 "" "vitcodec {__version__}" "User Commands"',
        ".SH NAME",
        f"vitcodec \\- {_text(summary[:1].lower() + summary[1:].rstrip('.'))}",  # one line, which apropos reads
        ".SH SYNOPSIS",
        *_synopses(root, context),
        ".SH DESCRIPTION",
        *[line for text in DESCRIPTION for line in (".PP", *_wrapped(text))][1:],
        ".SH OPTIONS",
        *_rows(row for _, rows in sections(root.get_params(context)) for row in rows),
        ".SH COMMANDS",
        *_commands(root, context),
        ".SH EXIT STATUS",
        *_rows((str(code), text) for code, text in EXIT_STATUS.items()),
        ".SH ENVIRONMENT",
        *_rows(ENVIRONMENT.items()),
        ".SH FILES",
        *_rows(FILES.items()),
        ".SH EXAMPLES",
        *(line for paragraph in examples for line in _paragraph(paragraph)),
        ".SH SEE ALSO",
        _text(SEE_ALSO),
    ]
    return "\n".join(lines) + "\n"


def _synopses(root: Any, context: Any) -> Iterator[str]:
    yield "\\fBvitcodec\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR] [\\fIARGUMENTS\\fR]"
    yield ".br"
    yield "\\fBvitcodec help\\fR [\\fICOMMAND\\fR]"


def _commands(group: Any, context: Any) -> Iterator[str]:
    """A subsection for each command, and for the commands of groups."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command.hidden:
            continue
        inner = type(context)(command, info_name=name, parent=context)
        path = inner.command_path
        if isinstance(command, Group):
            yield from _commands(command, inner)
            continue
        arguments = " ".join(f"\\fI{_text(row[0])}\\fR" for row in _titled(command, inner, "Arguments"))
        yield f'.SS "{_text(path)}"'
        yield f"\\fB{_text(path)}\\fR [\\fIOPTIONS\\fR] {arguments}".rstrip()
        for paragraph in _paragraphs(command.help):
            yield ".PP"
            yield from _paragraph(paragraph)
        for _, rows in sections(command.get_params(inner)):
            yield from _rows(row for row in rows if row[0] != HELP)


def _titled(command: Any, context: Any, title: str) -> list[Row]:
    return dict(sections(command.get_params(context))).get(title, [])


def _rows(rows: Iterable[Row]) -> Iterator[str]:
    """Names, and what each of them is. In bold, but for what is to be replaced."""
    for name, text in rows:
        words = [
            f"\\fI{_text(word)}\\fR" if _is_placeholder(word) else f"\\fB{_text(word)}\\fR" for word in name.split()
        ]
        yield ".TP"
        yield " ".join(words)
        yield from _wrapped(text) if text else ("\\&",)


def _is_placeholder(word: str) -> bool:
    return re.match(r"-|[a-z~*/]|VITCODEC_|HF_|OMP_|\d+$", word) is None


def _paragraphs(help: str) -> list[str]:
    """Of a docstring; one that begins with \\b is to keep its lines."""
    return inspect.cleandoc(help).split("\n\n")


def _paragraph(paragraph: str) -> Iterator[str]:
    if not paragraph.startswith("\b"):
        yield from _wrapped(" ".join(paragraph.split()))
        return
    yield from (".RS 4", ".nf", *(_text(line) for line in paragraph.splitlines()[1:]), ".fi", ".RE")


def _wrapped(text: str) -> list[str]:
    return [_text(line) for line in textwrap.wrap(text, 74, break_on_hyphens=False, break_long_words=False)]


def _text(text: str) -> str:
    """Text for roff: what is a hyphen or a quote on the command line stays one that can be copied."""
    for sign, escape in (("\\", "\\e"), ("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga"), ("^", "\\(ha"), ("~", "\\(ti")):
        text = text.replace(sign, escape)
    text = text.replace('"', "\\(dq")
    return f"\\&{text}" if text.startswith(".") else text


if __name__ == "__main__":
    print(page(), end="")
