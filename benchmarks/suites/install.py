"""The size of an installation: vitcodec, its weights, and every package that it needs, as they are installed here.

Without Python's bytecode. Beside it, the packages of the light installation, requirements-light.txt.
"""

from __future__ import annotations

import argparse
import re
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

import vitcodec
from vitcodec.pretrained import registry

from ..store import Results

LIGHT = Path(__file__).parent.parent.parent / "requirements-light.txt"


def run(arguments: argparse.Namespace) -> Results:
    packages = {name: sum(_sizes(name)) for name in sorted(_needed("vitcodec") - {"vitcodec"})}
    lines = [line.partition("#")[0].strip() for line in LIGHT.read_text("utf-8").splitlines()]
    light = set().union(*(_needed(_name(Requirement(line))) for line in lines if line))
    code = sum(f.stat().st_size for f in Path(vitcodec.__file__).parent.rglob("*.py"))
    weights = {c.name: sum(f.stat().st_size for f in c.files) for c in registry.available()}
    largest = sorted(packages.items(), key=lambda item: -item[1])
    rows = [{"package": name, "version": metadata.version(name), "bytes": size} for name, size in largest]
    print(*rows, sep="\n")
    return {"code": code, "weights": weights, "packages": rows, "light": sum(packages[name] for name in light)}


def _needed(name: str) -> set[str]:
    """The packages that an installation of `name` brings, itself included, by their normalised names."""
    found: set[str] = set()
    left = [name]
    while left:
        package = left.pop()
        if package in found:
            continue
        found.add(package)
        for text in metadata.requires(package) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                left.append(_name(requirement))
    return found


def _name(requirement: Requirement) -> str:
    return re.sub(r"[-_.]+", "-", requirement.name).lower()


def _sizes(package: str) -> list[int]:
    """Bytes of each file of an installed package."""
    paths = [Path(str(f.locate())) for f in metadata.files(package) or []]
    return [p.stat().st_size for p in paths if p.is_file() and p.suffix != ".pyc"]
