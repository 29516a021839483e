"""The house: data flows one way, modules are small, words are those of the field, the public surface is documented."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import subprocess
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

import vitcodec

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "vitcodec").rglob("*.py"))
MOST_LINES = 320
# words that were this project's own: what to say instead is in docs/glossary.md
OLD_WORDS = (
    r"\bungain",
    r"\bvisit(s|ed|or|ors|ing)?\b",
    r"\bautoregressive walk|\bwalk (of|over) the context|context\.walk",
    r"\b[Rr]efiner",
    r"\bput off\b|PUT_OFF",
    r"\bEAGER|\bSETTLED|\bAPART\b|\bSURE\b",
    r"\berror_weight|\berror weight",
    r"(?<!is )\bworth\b(?! 16x16| a )",
    r"\bModelCard|\bread_card",
    r"\bmade_by\b",
    r"\bjudge",
    r"\bshipping\b",
    r"\bblend",
    r"\bLinkedHead",
    r"\bcentred\(|\buncentred\(",
    r"\bleft out tokens|\btokens (that )?(are|were|is) left out|\bmissing tokens?\b|\blost tokens?\b",
    r"\brate_position|\brate position",
    r"(?<![.\w])(un)?fold\(",
)
# the names of tensors in weight files, which a released file keeps, are listed in one place
ALLOWED = {
    "vitcodec/pretrained/loading.py": ("ungain",),
    "tests/test_pretrained.py": ("ungain",),
    "tests/test_house.py": ("",),
}


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Modules of the package that a module imports when it is imported, or for its types."""
    base = dotted(path).split(".")
    package = base if path.name == "__init__.py" else base[:-1]
    tree = ast.parse(path.read_text("utf-8"))
    inside = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    for node in ast.walk(tree):
        if id(node) in inside or not isinstance(node, ast.ImportFrom):
            continue
        start = package[: len(package) - node.level + 1] if node.level else []
        module = ".".join([*start, *([node.module] if node.module else [])])
        if not module.startswith("vitcodec"):
            continue
        for alias in node.names:
            inner = f"{module}.{alias.name}"
            yield inner if inner in KNOWN else module


KNOWN = {dotted(path): path for path in MODULES}


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Also not for types alone. Packages' __init__ count as far as they import."""
    graph = {name: {m for m in imports(path) if m in KNOWN and m != name} for name, path in KNOWN.items()}
    graph["vitcodec"] = set()  # its imports are for type checkers, and for users
    done: set[str] = set()

    def follow(name: str, trail: list[str]) -> None:
        assert name not in trail, f"circular import: {' -> '.join([*trail[trail.index(name) :], name])}"
        if name in done:
            return
        for other in sorted(graph[name]):
            follow(other, [*trail, name])
        done.add(name)

    for name in graph:
        follow(name, [])


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_modules_are_small(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) < MOST_LINES, "split it"


def test_words_are_those_of_the_field() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = []
    for name in listed.splitlines():
        path = ROOT / name
        if path.suffix not in (".py", ".md", ".toml", ".html", ".js", ".css") or not path.exists():
            continue
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            allowed = ALLOWED.get(name, ())
            found += [
                f"{name}:{number}: {match[0]}"
                for word in OLD_WORDS
                if (match := re.search(word, line)) and not any(a in match[0] for a in allowed)
            ]
    assert not found, "\n".join(found)


# ---- the public surface


def classes(annotation: object) -> Iterator[type]:
    """The package's classes that an annotation names."""
    if inspect.isclass(annotation) and not typing.get_args(annotation):
        if annotation.__module__.startswith("vitcodec"):
            yield annotation
        return
    for part in typing.get_args(annotation):
        yield from (c for p in (part if isinstance(part, list) else [part]) for c in classes(p))


def hints_of(thing: object) -> dict[str, object]:
    """Annotations, also of names that are imported for type checkers alone."""
    return typing.get_type_hints(thing, localns=public() | {"torch": torch, "Tensor": torch.Tensor, "Image": Image})


def signatures(thing: object) -> Iterator[tuple[str, dict[str, object]]]:
    """(name, annotations) of a function, or of a class's public methods and fields."""
    if typing.get_args(thing):  # the name of a union
        yield str(thing), {"": thing}
        return
    if not inspect.isclass(thing):
        yield thing.__name__, hints_of(thing)
        return
    if dataclasses.is_dataclass(thing):
        yield thing.__name__, hints_of(thing)
    for name, member in vars(thing).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if inspect.isfunction(function) and (not name.startswith("_") or name == "__init__"):
            yield f"{thing.__name__}.{name}", hints_of(function)


def public() -> dict[str, object]:
    return {name: getattr(vitcodec, name) for name in vitcodec.__all__ if name not in ("__version__", "errors")}


def test_every_type_in_a_public_signature_is_exported() -> None:
    exported = {id(thing) for thing in public().values()}
    missing = {
        f"{where}: {found.__name__}"
        for thing in public().values()
        for where, hints in signatures(thing)
        for hint in hints.values()
        for found in classes(hint)
        if id(found) not in exported
    }
    assert not missing, sorted(missing)


def test_every_public_name_is_documented() -> None:
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    for name, thing in public().items():
        assert f"`{name}" in page or f"{name}(" in page, f"docs/api.md does not describe {name}"
        assert thing.__doc__, f"{name} has no docstring"


def test_type_checkers_see_what_is_exported() -> None:
    tree = ast.parse((ROOT / "vitcodec" / "__init__.py").read_text("utf-8"))
    typed = {a.asname or a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}
    assert typed >= set(vitcodec.__all__) - {"__version__"}


def test_options_as_keywords_have_the_fields_of_options() -> None:
    for options, changes in (
        (vitcodec.EncodeOptions, vitcodec.EncodeChanges),
        (vitcodec.DecodeOptions, vitcodec.DecodeChanges),
    ):
        fields = typing.get_type_hints(options)
        assert typing.get_type_hints(changes) == {f.name: fields[f.name] for f in dataclasses.fields(options)}
