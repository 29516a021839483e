"""config.json of a model folder as a typed object.

No torch here, so that listing models and refusing bad ones is quick.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from ..context.config import ContextConfig
from ..errors import WeightsError

CONFIG = "config.json"
# of training, in half precision: the float context model; of models of integers also the encoder's part, and the
# decoder's
FLOAT_CONTEXT = "context-float.safetensors"
FLOAT_TRANSFORM, FLOAT_SYNTHESIS = "transform-float.safetensors", "synthesis-float.safetensors"
GRAPHS = "graphs.safetensors"  # of models of integers: each network's graph, as bytes, under its name
SEARCH = "search.safetensors"  # the same, of networks that the search alone runs
MOST_PARTS = 99
_SCHEMA_VERSION = 1
_FORMAT = 1  # of the files that models make
_KINDS = {str: "a text", int: "a whole number", float: "a number", dict: "an object", list: "a list"}  # of JSON

T = TypeVar("T")
D = TypeVar("D")


@dataclass(frozen=True)
class PretrainedConfig:
    """One set of weights: a folder with config.json, README.md and model.safetensors, in parts where it is large.

    The fields are those of config.json, but for `folder`.
    """

    name: str  # letters, digits, '.', '-' and '_', at most 64: encoded files carry it
    family: str  # a key of models.FAMILIES
    folder: Path  # where config.json lies
    sha256: str  # of the parts, one behind the other, in hexadecimal; registry.verify compares
    transform: Mapping[str, Any]  # the fields of the family's config dataclass
    context: ContextConfig
    dead_zone: float  # of rounding details, in quantisation steps (see quality.quantise)
    # of integers: the fields of integer SynthesisShape; empty where transforms are in floating point
    synthesis: Mapping[str, Any] = field(default_factory=dict)
    graphs: str = ""  # of integers: the SHA-256 of graphs.safetensors, in hexadecimal
    search: str = ""  # of search.safetensors; empty where there is none
    enhancements: tuple[str, ...] = ()  # of enhancement-1.safetensors and those after it (pretrained/enhancements.py)
    parts: int = 1  # safetensors files, 1 to MOST_PARTS
    tune: str = "psnr"  # what the weights were trained for, a key of distortion.TUNINGS
    parameters: int | None = None
    kmac_per_pixel: float | None = None  # thousands of multiplications a pixel of decoding, 768x512 pixels
    licence: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict)  # how the weights were made, for people
    metrics: Mapping[str, Any] = field(default_factory=dict)  # what was measured with them

    @property
    def files(self) -> list[Path]:
        """The parts of the weights, in order."""
        return [self.folder / name for name in part_names(self.parts)]

    @property
    def integers(self) -> bool:
        """Whether all that decodes is integers: then no torch is needed, and pixels are the same everywhere."""
        return bool(self.synthesis)

    @property
    def hashes(self) -> list[tuple[list[Path], str]]:
        """Files with the SHA-256 that is stated of them together: the weights, and graphs where there are any."""
        found = [(self.files, self.sha256), *([([self.folder / GRAPHS], self.graphs)] if self.integers else [])]
        found += [([self.folder / SEARCH], self.search)] if self.search else []
        return found + [([self.enhancement(k)], sha256) for k, sha256 in enumerate(self.enhancements, 1)]

    def enhancement(self, number: int) -> Path:
        """The file of an enhancement."""
        return self.folder / enhancement_name(number)

    @property
    def identity(self) -> bytes:
        """The first 8 bytes of the SHA-256, which encoded files carry."""
        return bytes.fromhex(self.sha256)[:8]

    @classmethod
    def read(cls, folder: Path) -> PretrainedConfig:
        """Read and check a model folder. Raises WeightsError where it holds no readable model."""
        try:
            config = _parse(_load(folder / CONFIG), folder)
            if absent := [file.name for file in config.files if not file.is_file()]:
                raise ValueError(f"{absent[0]} is missing")
        except (OSError, ValueError, TypeError) as error:
            raise WeightsError(
                f"{folder}: no usable model ({error}); give a folder with config.json and model.safetensors"
            ) from error
        return config

    def to_json(self) -> str:
        """The text of config.json, which `read` takes back."""
        values = {
            "schema_version": _SCHEMA_VERSION,
            "name": self.name,
            "family": self.family,
            "sha256": self.sha256,
            "parts": self.parts,
            "format": _FORMAT,
            **({"synthesis": self.synthesis, "graphs": self.graphs} if self.integers else {}),
            **({"search": self.search} if self.search else {}),
            **({"enhancements": list(self.enhancements)} if self.enhancements else {}),
            "transform": dict(self.transform),
            "context": asdict(self.context),
            "dead_zone": self.dead_zone,
            "tune": self.tune,
            "parameters": self.parameters,
            "kmac_per_pixel": self.kmac_per_pixel,
            "licence": self.licence,
            "training": dict(self.training),
            "metrics": dict(self.metrics),
        }
        return json.dumps(values, indent=2) + "\n"


def part_names(count: object) -> list[str]:
    """The files that `count` parts of weights are in: model.safetensors, model-2.safetensors, ... Raises ValueError."""
    if not isinstance(count, int) or not 1 <= count <= MOST_PARTS:
        raise ValueError(f"{count!r} is no number of parts")
    return ["model.safetensors", *(f"model-{number}.safetensors" for number in range(2, count + 1))]


def parts_of(config: Path) -> list[str]:
    """The files of weights and enhancements that a config.json states, whether or not they are there.

    Raises OSError, ValueError.
    """
    values = _load(config)
    count = len(_optional(values, "enhancements", list, []))
    return [*part_names(values.get("parts", 1)), *map(enhancement_name, range(1, count + 1))]


def enhancement_name(number: int) -> str:
    """The file of an enhancement, counted from 1."""
    return f"enhancement-{number}.safetensors"


def context_config(values: Mapping[str, Any]) -> ContextConfig:
    """ContextConfig of what JSON holds. Raises TypeError for an unknown field."""
    return ContextConfig(**tupled(values))


def tupled(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON lists back to the tuples of config dataclasses."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _load(path: Path) -> dict[str, Any]:
    values = json.loads(path.read_text("utf-8"))
    if not isinstance(values, dict):
        raise ValueError(f"{CONFIG} is no JSON object")
    return values


def _parse(values: dict[str, Any], folder: Path) -> PretrainedConfig:
    """Raises ValueError, TypeError."""
    if values.get("format") != _FORMAT:
        raise ValueError(f"its weights are not of format {_FORMAT}: get newer ones")
    config = PretrainedConfig(
        name=_field(values, "name", str),
        family=_field(values, "family", str),
        folder=folder,
        sha256=values.get("sha256", ""),
        transform=_field(values, "transform", dict),
        context=context_config(_field(values, "context", dict)),
        dead_zone=_field(values, "dead_zone", float),
        synthesis=_optional(values, "synthesis", dict, {}),
        graphs=_optional(values, "graphs", str, ""),
        search=_optional(values, "search", str, ""),
        enhancements=tuple(_optional(values, "enhancements", list, [])),
        parts=len(part_names(values.get("parts", 1))),
        tune=_optional(values, "tune", str, "psnr"),
        parameters=_optional(values, "parameters", int, None),
        kmac_per_pixel=_optional(values, "kmac_per_pixel", float, None),
        licence=_optional(values, "licence", str, None),
        training=_optional(values, "training", dict, {}),
        metrics=_optional(values, "metrics", dict, {}),
    )
    for sha256 in (config.sha256, *config.enhancements):
        if not isinstance(sha256, str) or not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise ValueError("no SHA-256 is stated")
    check_name(config.name)
    return config


def check_name(name: str) -> None:
    """Raises ValueError for what no model can be called: files carry the name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise ValueError(f"the name {name!a} has characters other than letters, digits, '.', '-' and '_'")


def _field(values: dict[str, Any], key: str, kind: type[T]) -> T:
    """Raises ValueError where a field is absent or of another type."""
    value: Any = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float if kind is float else kind):
        raise ValueError(f"{CONFIG} states no {key}, which is {_KINDS[kind]}")
    return cast(T, value)


def _optional(values: dict[str, Any], key: str, kind: type[T], default: D) -> T | D:
    return default if values.get(key) is None else _field(values, key, kind)
