"""The command line of the benchmarks: common options, suites found by name, results stored with where they come from.

A suite is a module in suites/: its docstring says what it measures, the first line in few words; run(arguments)
measures and returns what goes into results/NAME.json. It may have add_arguments(parser) for options of its own, and
MODELS, the models that it measures unless others are named. A list "failures" in what run returns makes the exit code
1.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from vitcodec.errors import UsageError, VitcodecError

from .process import CommandError
from .store import RESULTS, Store

SUITES = {path.stem: path for path in sorted((Path(__file__).parent / "suites").glob("[a-z]*.py"))}
QUICK_RESULTS = Path("build/benchmarks")
T = TypeVar("T")


def description(name: str) -> str:
    """The first line of a suite's docstring, without importing it."""
    return (ast.get_docstring(ast.parse(SUITES[name].read_text("utf-8"))) or "").partition("\n")[0]


def listing() -> str:
    return "\n".join(f"{name:10} {description(name)}" for name in SUITES)


def common() -> argparse.ArgumentParser:
    """The options that every suite takes. None: the suite's own default."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--data", type=Path, metavar="PATH", help="an image, a folder or a tar of images")
    parser.add_argument("--model", nargs="+", metavar="NAME", help="one model; some suites take several")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, metavar="N", help="of vitcodec [default: as vitcodec chooses]")
    parser.add_argument("--effort", type=int, nargs="+", metavar="1..9", help="one; some suites take several")
    parser.add_argument("--qualities", type=int, nargs="+", metavar="1..100")
    parser.add_argument("--count", type=int, metavar="N", help="use N of the images, evenly spaced [default: all]")
    parser.add_argument("--reps", type=int, metavar="N", help="runs of which times are the median")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help=f"[default: {RESULTS.name} beside the suites]")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"only try it out: one picture of 192x192 pixels, one run, few settings, results in {QUICK_RESULTS}",
    )
    return parser


def parse(suite: ModuleType, name: str, argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of a suite, with `store`, where its results go."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}",
        description=suite.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common()],
    )
    if hasattr(suite, "add_arguments"):
        suite.add_arguments(parser)
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.count, arguments.reps = arguments.count or 1, arguments.reps or 1
    arguments.models = arguments.model or list(getattr(suite, "MODELS", ())) or [None]
    folder = arguments.results or (QUICK_RESULTS if arguments.quick else RESULTS)
    # families takes LABEL=MODEL, perceptual MODEL --tune NAME
    measured = [m and m.rpartition("=")[2].partition(" --tune ")[0] for m in arguments.models]
    arguments.store = Store(folder, name, command(name, argv), measured, arguments.device)
    return arguments


def command(name: str, argv: Sequence[str]) -> str:
    """The command as others would type it: paths of this machine are cut to their last part."""
    shown = [Path(a).name if a.startswith(("/", "..", "~")) else a for a in argv]
    return shlex.join(["python", "-m", "benchmarks", name, *shown])


def one(values: Sequence[T] | None, default: T, what: str) -> T:
    """The one value of an option that takes several elsewhere. Raises UsageError."""
    if values and len(values) > 1:
        raise UsageError(f"this suite takes one {what}, not {len(values)}")
    return values[0] if values else default


def main(argv: Sequence[str]) -> int:
    name = argv[0] if argv else "--help"
    if name == "--list":
        print(listing())
        return 0
    if name == "docs":
        from . import rendering

        return rendering.main(argv[1:])
    if name not in SUITES:
        asked = name in ("-h", "--help")
        text = f"usage: python -m benchmarks SUITE [options] | docs [--check] | --list\n\n{listing()}"
        print(text if asked else f"no suite '{name}'\n{text}", file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2

    suite = importlib.import_module(f".suites.{name}", __package__)
    arguments = parse(suite, name, argv[1:])
    if arguments.threads:
        import torch

        torch.set_num_threads(arguments.threads)  # for what the suite runs outside of a Codec
    try:
        results = suite.run(arguments)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    except (VitcodecError, CommandError) as error:
        print(error, file=sys.stderr)
        return 1
    arguments.store.save(results)
    print(f"{arguments.store.path}: written")
    for failure in results.get("failures", []):
        print(failure, file=sys.stderr)
    return 1 if results.get("failures") else 0
