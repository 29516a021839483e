"""The size of an installation: vitcodec, its weights, and every package that it needs, as they are installed here.

Without Python's bytecode. Beside it, the packages of the light installation, requirements-light.txt, and what each
extra adds; extras that are not installed are left out. --data: a wheel of PyTorch for CPUs, which takes the place of
PyTorch with its GPU libraries.
"""

from __future__ import annotations

import argparse
import re
import zipfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

import vitcodec
from vitcodec.pretrained import registry
from vitcodec.pretrained.config import PretrainedConfig

from ..store import Results

EXTRAS = "train", "tensorboard", "wandb", "ray", "detect"
LIGHT = Path(__file__).parent.parent.parent / "requirements-light.txt"


def run(arguments: argparse.Namespace) -> Results:
    base = _needed("vitcodec") - {"vitcodec"}
    packages = {name: sum(_sizes(name)) for name in sorted(base)}
    lines = [line.partition("#")[0].strip() for line in LIGHT.read_text("utf-8").splitlines()]
    light = set().union(*(_needed(_name(Requirement(line))) for line in lines if line))
    code = sum(f.stat().st_size for f in Path(vitcodec.__file__).parent.rglob("*.py"))
    weights = {c.name: sum(f.stat().st_size for f in _shipped(c)) for c in registry.available()}
    largest = sorted(packages.items(), key=lambda item: -item[1])
    rows = [{"package": name, "version": metadata.version(name), "bytes": size} for name, size in largest]
    print(*rows, sep="\n")
    extras = {}
    for extra in EXTRAS:
        try:
            more = _needed("vitcodec", extra) - base - {"vitcodec"}
        except metadata.PackageNotFoundError as error:
            print(f"[{extra}] is not measured: {error} is not installed")
            continue
        extras[extra] = sum(sum(_sizes(name)) for name in more)
    cpu = None
    if arguments.data:
        with zipfile.ZipFile(arguments.data) as wheel:
            size = sum(entry.file_size for entry in wheel.infolist())
        cpu = {"version": arguments.data.name.split("-")[1].partition("+")[0], "bytes": size}
    lightest = sum(packages[name] for name in light)
    return {"code": code, "weights": weights, "packages": rows, "light": lightest, "extras": extras, "cpu": cpu}


def _shipped(config: PretrainedConfig) -> list[Path]:
    """A model's files in the wheel: pyproject.toml leaves out what only training needs, but for the default model's."""
    files = [f for f in config.folder.iterdir() if f.is_file()]
    return [f for f in files if config.name == registry.DEFAULT_MODEL or not f.match("*-float.safetensors")]


def _needed(name: str, extra: str = "") -> set[str]:
    """The packages that an installation of `name[extra]` brings, itself included, by their normalised names.

    Raises PackageNotFoundError where one is not installed.
    """
    found: set[tuple[str, str]] = set()
    left = [(name, extra)]
    while left:
        package, with_extra = left.pop()
        if (package, with_extra) in found:
            continue
        found.add((package, with_extra))
        for text in metadata.requires(package) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": with_extra}):
                left += [(_name(requirement), wanted) for wanted in ("", *requirement.extras)]
    return {package for package, _ in found}


def _name(requirement: Requirement) -> str:
    return re.sub(r"[-_.]+", "-", requirement.name).lower()


def _sizes(package: str) -> list[int]:
    """Bytes of each file of an installed package."""
    paths = [Path(str(f.locate())) for f in metadata.files(package) or []]
    return [p.stat().st_size for p in paths if p.is_file() and p.suffix != ".pyc"]
