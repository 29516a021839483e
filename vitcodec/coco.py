"""Boxes in COCO's JSON: a list of detections, or a data set of images and annotations.

Source: https://cocodataset.org/#format-data and #format-results. Nothing here imports torch or NumPy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from . import files
from .errors import InputError

_WHAT = "give a list of detections, or a data set with images and annotations"
_FARTHEST = 1e9  # pixels; numbers beyond are no box's
Box = tuple[float, float, float, float]  # left, top, width, height, in pixels


@dataclass(frozen=True)
class Coco:
    """What a file says. Raises InputError for one that is no COCO."""

    name: str  # of the file, for messages
    images: dict[Any, dict[str, Any]]  # by id
    detections: Sequence[dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> Coco:
        """Raises InputError."""
        try:
            data = json.loads(files.read_bytes(path))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: is not JSON ({error}); {_WHAT}") from error
        images: Any = data.get("images", []) if isinstance(data, dict) else []
        found: Any = data.get("annotations") if isinstance(data, dict) else data
        for entries in (images, found):
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise InputError(f"{path}: is JSON, but not COCO's; {_WHAT}")
        if any(not isinstance(entry.get(key), int | str) for entry in images for key in ("id", "file_name")):
            raise InputError(f"{path}: has an image without id or file_name; {_WHAT}")
        if any(not isinstance(entry.get("image_id", 0), int | str) for entry in found):
            raise InputError(f"{path}: has a detection whose image_id is no number or name; {_WHAT}")
        return cls(str(path), {entry["id"]: entry for entry in images}, found)

    def boxes(self, picture: PurePath, size: tuple[int, int], alone: bool, score: float) -> list[Box]:
        """The boxes of a picture, of at least that score where they have one.

        picture: its path, by whose end it is found. size: width and height. alone: it is the only one, and so is meant
        where the file knows one only. Raises InputError.
        """
        ids = self._ids(picture, alone)
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
        known = set(self.images) | {entry["image_id"] for entry in self.detections if "image_id" in entry}
        number = re.fullmatch(r"(?:COCO_\w+_)?(\d+)", picture.stem)  # 000000000139.jpg, COCO_val2014_000000000139.jpg
        own = {picture.name, picture.stem, *([int(number[1])] if number else [])} & known
        return known if alone and len(known) == 1 and not self.images else own

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
