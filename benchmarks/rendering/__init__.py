"""The generated parts of the documents: `python -m benchmarks docs`, with --check to only list what would change.

A page has its tables between `<!-- generated: NAME -->` and `<!-- end -->`; NAME is one of BLOCKS, or of SPOKEN, which
are written in two languages. README.md, README.es.md and all pages in docs/ may have them. Pages that lie beside this
file are made whole, and may name figures of the default model in {{...}} (anatomy.py). Plots are files of their own.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from ..language import ENGLISH, SPANISH, Language
from ..store import RESULTS
from . import anatomy, cost, diagram, fidelity, inside, rates, search
from .library import Library
from .spanish import translated, translated_plot

ROOT = Path(__file__).parent.parent.parent
TEMPLATES = Path(__file__).parent
BLOCKS = rates.BLOCKS | cost.BLOCKS | search.BLOCKS | fidelity.BLOCKS
SPOKEN = anatomy.BLOCKS | inside.BLOCKS
PLOTS = rates.PLOTS | diagram.PLOTS | {"kodak-es": lambda results: translated_plot(rates.kodak_svg(results) or "")}
IN_SPANISH = "README.es.md", "arquitectura.md"
MARKED = re.compile(r"(?<=<!-- generated: )([\w-]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def filled(text: str, results: Library, language: Language = ENGLISH) -> str:
    """A page with its blocks made anew. Raises KeyError for a name that is none of BLOCKS or SPOKEN."""

    def block(name: str) -> str:
        if name in SPOKEN:
            return "\n".join(SPOKEN[name](results, language))
        return translated(BLOCKS[name](results)) if language.spanish else BLOCKS[name](results)

    return MARKED.sub(lambda m: f"{m[1]}{m[2]}{block(m[1])}\n", text)


def pages(results: Library) -> dict[Path, str]:
    """What every generated file should hold, plots included."""
    found = {p: p.read_text("utf-8") for p in (*ROOT.glob("README*.md"), *sorted((ROOT / "docs").glob("*.md")))}
    found = {p: t for p, t in found.items() if MARKED.search(t)}
    for template in sorted(TEMPLATES.glob("*.md")):
        page = ROOT / "docs" / template.name
        found[page] = anatomy.with_figures(template.read_text("utf-8"), _language(page))
    found = {p: filled(t, results, _language(p)) for p, t in found.items()}
    for name, plot in PLOTS.items():
        if drawn := plot(results):
            found[ROOT / "docs" / f"{name}.svg"] = drawn
    return found


def _language(page: Path) -> Language:
    return SPANISH if page.name in IN_SPANISH else ENGLISH


def stale(results: Library) -> list[Path]:
    """The generated files that are not what the results say."""
    wanted = pages(results)
    return [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]


def write(results: Library) -> list[Path]:
    """Write what is stale, and return it."""
    wanted, changed = pages(results), stale(results)
    for path in changed:
        path.write_text(wanted[path], "utf-8")
    return changed


def main(argv: Sequence[str]) -> int:
    from .. import layers

    parser = argparse.ArgumentParser(prog="python -m benchmarks docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a file would change")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    arguments = parser.parse_args(argv)
    results = Library(arguments.results)
    changed = [*(stale if arguments.check else write)(results), *layers.render(arguments.check)]
    for path in changed:
        print(f"{path.relative_to(ROOT)}: {'would change' if arguments.check else 'written'}")
    return 1 if arguments.check and changed else 0
