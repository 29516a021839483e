"""Boxes in COCO's JSON: a list of detections, or a data set of images and annotations.

Source: https://cocodataset.org/#format-data and #format-results. Nothing here imports torch or NumPy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from . import files
from .errors import InputError, UsageError
from .suggestions import meant

# the names of COCO's categories 1, 2, 3, ...; a number without one is not used
_NAMES = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,,stop sign,parking meter,"
    "bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,,backpack,umbrella,,,handbag,tie,suitcase,frisbee,"
    "skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,,wine glass,"
    "cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,,dining table,,,toilet,,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,"
    "refrigerator,,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
)
CATEGORIES = {number: name for number, name in enumerate(_NAMES.split(","), 1) if name}
_WHAT = "give a list of detections, or a data set with images and annotations"
_FARTHEST = 1e9  # pixels; numbers beyond are no box's
Box = tuple[float, float, float, float]  # left, top, width, height, in pixels


@dataclass(frozen=True)
class Coco:
    """What a file says. Raises InputError for one that is no COCO."""

    name: str  # of the file, for messages
    images: dict[Any, dict[str, Any]]  # by id
    detections: Sequence[dict[str, Any]]
    categories: dict[int, str] = field(default_factory=dict)  # by id; empty: the file does not list them
    image_ids: frozenset[Any] = frozenset()  # those of all detections in the file, also of other categories

    @classmethod
    def read(cls, path: Path) -> Coco:
        """Raises InputError."""
        try:
            data = json.loads(files.read_bytes(path))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: is not JSON ({error}); {_WHAT}") from error
        images, categories, found = [], [], data
        if isinstance(data, dict):
            images, categories, found = data.get("images", []), data.get("categories", []), data.get("annotations")
        for entries in (images, categories, found):
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise InputError(f"{path}: is JSON, but not COCO's; {_WHAT}")
        if any(not isinstance(entry.get(key), int | str) for entry in images for key in ("id", "file_name")):
            raise InputError(f"{path}: has an image without id or file_name; {_WHAT}")
        if any(not isinstance(entry.get("image_id", 0), int | str) for entry in found):
            raise InputError(f"{path}: has a detection whose image_id is no number or name; {_WHAT}")
        if any(type(entry.get("id")) is not int or not isinstance(entry.get("name"), str) for entry in categories):
            raise InputError(f"{path}: has a category without id or name; {_WHAT}")
        names = {entry["id"]: entry["name"] for entry in categories}
        ids = frozenset(entry["image_id"] for entry in found if "image_id" in entry)
        return cls(str(path), {entry["id"]: entry for entry in images}, found, names, ids)

    def described_by(self, data_set: Coco) -> Coco:
        """The same detections, with the images and categories of the data set that they are about.

        What this file lists itself stays. Raises InputError where the other lists neither.
        """
        if not (data_set.images or data_set.categories):
            raise InputError(f"{data_set.name}: lists neither images nor categories; give the data set's annotations")
        return replace(self, images=self.images or data_set.images, categories=self.categories or data_set.categories)

    def only(self, categories: Sequence[str]) -> Coco:
        """The detections of some categories, by name or id. Raises UsageError for unknown ones, InputError."""
        used = [entry.get("category_id") for entry in self.detections]
        if any(type(number) is not int for number in used):
            raise InputError(f"{self.name}: has a detection without category_id; {_WHAT}")
        table = self.categories or (CATEGORIES if CATEGORIES.keys() >= set(used) else {})
        wanted = {self._category(word, table) for word in categories}
        return replace(self, detections=[entry for entry in self.detections if entry["category_id"] in wanted])

    def _category(self, word: str, table: dict[int, str]) -> int:
        named = {name.lower(): number for number, name in table.items()}
        if word.lower() in named:
            return named[word.lower()]
        if not table:
            if word.isdecimal():
                return int(word)
            raise UsageError(
                f"{self.name}: lists no categories, and its ids are not COCO's, so that '{word}' has none; "
                "give --roi-annotations with a file that lists them, or the id"
            )
        if word.isdecimal() and int(word) in table:
            return int(word)
        near = meant(word, named)
        some = ", ".join(list(named)[:8]) + (", ..." if len(named) > 8 else "")
        advice = f"did you mean {near}?" if near else f"it knows {some}"
        raise UsageError(f"{self.name}: knows no category '{word}'; {advice}")

    def boxes(self, picture: PurePath, size: tuple[int, int], alone: bool, score: float) -> list[Box]:
        """The boxes of a picture, of at least that score where they have one.

        picture: its path, by whose end it is found. size: width and height. alone: it is the only one, and so is meant
        where the file knows one only, and has to be known where the file tells. Raises InputError.
        """
        ids = self._ids(picture, alone)
        if alone and not ids and self._tells(picture):
            raise InputError(f"{self.name}: has no image '{picture.name}'; {self._how_to_name()}")
        for image in (self.images[key] for key in ids if key in self.images):
            stated = (image.get("width", size[0]), image.get("height", size[1]))
            if stated != size:
                raise InputError(
                    f"{self.name}: has boxes for a picture of {stated[0]}x{stated[1]} pixels, and this one has "
                    f"{size[0]}x{size[1]}; give boxes of the upright picture"
                )
        found = [entry for entry in self.detections if "image_id" not in entry or entry["image_id"] in ids]
        return [self._box(entry) for entry in found if self._score(entry) >= score]

    def _ids(self, picture: PurePath, alone: bool) -> set[Any]:
        """What image_id can be of a picture."""
        named = {key: PurePath(str(image["file_name"])).parts for key, image in self.images.items()}
        for parts in (len(picture.parts), 1):  # the whole path as far as both go, or else the name
            found = {key for key, known in named.items() if known[-parts:] == picture.parts[-min(parts, len(known)) :]}
            if found:
                return found
        known = self.images.keys() | self.image_ids
        own = {picture.name, picture.stem, *_number(picture)} & known
        return known if alone and len(known) == 1 and not self.images else own

    def _tells(self, picture: PurePath) -> bool:
        """Whether a picture whose id is not found is certain to be none of those that the file is about."""
        known = self.image_ids
        # a list leaves out images without a detection, so that a missing number may be one of these
        return bool(self.images) or (bool(known) and not _number(picture) and all(isinstance(n, int) for n in known))

    def _how_to_name(self) -> str:
        if self.images:
            names = [str(image["file_name"]) for image in self.images.values()]
            return f"name the picture as there: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        return (
            "its images are numbers: name the picture so, as 000000000139.jpg, or give --roi-annotations with the names"
        )

    def _score(self, entry: dict[str, Any]) -> float:
        score = entry.get("score", 1)
        if not isinstance(score, int | float):
            raise InputError(f"{self.name}: has a detection whose score is no number")
        return score

    def _box(self, entry: dict[str, Any]) -> Box:
        box = entry.get("bbox")
        if (
            not isinstance(box, list)
            or len(box) != 4
            or any(type(n) not in (int, float) or abs(n) > _FARTHEST for n in box)
        ):
            raise InputError(f"{self.name}: has a detection without bbox [x, y, width, height]; {_WHAT}")
        x, y, width, height = box
        return x, y, width, height


def _number(picture: PurePath) -> list[int]:
    """The image's id where a file is named after it: 000000000139.jpg, COCO_val2014_000000000139.jpg."""
    found = re.fullmatch(r"(?:COCO_\w+_)?(\d{1,18})", picture.stem)
    return [int(found[1])] if found else []
