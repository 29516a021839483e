"""The options of `encode` on regions of interest, and where each picture's regions come from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..coco import Coco
from ..errors import UsageError
from ..files import Source
from ..options import EncodeOptions, is_offset
from ..tiles import Region
from .layout import REGIONS
from .options import listed

if TYPE_CHECKING:
    import numpy as np

    from ..detection import Detector
    from ..picture import Picture

Roi = Annotated[
    list[str],
    typer.Option(
        "--roi",
        metavar="X,Y,W,H|FILE",
        show_default=False,
        rich_help_panel=REGIONS,
        help="A region to be better, in pixels, or boxes in COCO's JSON; may be repeated.",
    ),
]
RoiMask = Annotated[
    Path | None,
    typer.Option(
        "--roi-mask",
        metavar="IMAGE",
        show_default=False,
        rich_help_panel=REGIONS,
        help="An image of the same size; the regions are where it is not black.",
    ),
]
RoiQuality = Annotated[
    str,
    typer.Option(
        "--roi-quality",
        metavar="Q|+N",
        rich_help_panel=REGIONS,
        help="The quality of the regions: 1 to 100, or +N or -N by the side of --quality.",
    ),
]
BackgroundQuality = Annotated[
    str | None,
    typer.Option(
        "--background-quality",
        metavar="Q|-N",
        show_default=False,
        rich_help_panel=REGIONS,
        help="The quality of all else, in the same way. [default: --quality]",
    ),
]
RoiDetect = Annotated[
    list[str],
    typer.Option(
        "--roi-detect",
        metavar="CLASS[,...]",
        show_default=False,
        rich_help_panel=REGIONS,
        help="Find regions with a detector, such as person,dog; pip install 'vitcodec[detect]'.",
    ),
]
RoiDetector = Annotated[
    str | None,
    typer.Option(
        "--roi-detector",
        metavar="NAME",
        show_default=False,
        rich_help_panel=REGIONS,
        help="An object detector of transformers: ORG/NAME or a folder. [default: facebook/detr-resnet-50]",
    ),
]
RoiCategories = Annotated[
    list[str],
    typer.Option(
        "--roi-categories",
        metavar="NAME[,...]",
        show_default=False,
        rich_help_panel=REGIONS,
        help="Of COCO's boxes take these categories alone, by name or id, such as person,dog. [default: all]",
    ),
]
RoiAnnotations = Annotated[
    Path | None,
    typer.Option(
        "--roi-annotations",
        metavar="FILE",
        show_default=False,
        rich_help_panel=REGIONS,
        help="The data set that a list of detections is about, which says what its images and categories are.",
    ),
]
RoiScore = Annotated[
    float,
    typer.Option(
        "--roi-score",
        min=0,
        max=1,
        metavar="0..1",
        rich_help_panel=REGIONS,
        help="The least score of a detection, found or in a file.",
    ),
]
SCORE = 0.5


@dataclass(frozen=True)
class Regions:
    """Where regions come from. `detector` is loaded with `with_detector`."""

    fixed: tuple[Region, ...] = ()
    files: tuple[Coco, ...] = ()
    mask: np.ndarray | None = None  # (H, W) bool
    classes: tuple[str, ...] = ()
    detector_name: str | None = None
    score: float = SCORE
    detector: Detector | None = field(default=None, compare=False)

    def with_detector(self, device: str) -> Regions:
        """Raises UsageError, WeightsError."""
        if not self.classes:
            return self
        return replace(self, detector=load_detector(self.classes, self.detector_name, device))

    def boxes_of(self, source: Source, picture: Picture, alone: bool) -> list[Region]:
        """The boxes in a picture. alone: the command has one. Raises UsageError, InputError."""
        from .. import regions

        height, width = picture.rgb.shape[:2]
        boxes = [box for coco in self.files for box in coco.boxes(_path(source), (width, height), alone, self.score)]
        if self.detector:
            boxes += self.detector.boxes(picture.rgb, self.score)
        found = [*self.fixed, *(regions.of_box(*box) for box in boxes)]
        return [region.clipped(width, height) for region in found]

    def masked_in(self, picture: Picture) -> Sequence[Region]:
        """Where the mask is set, as rectangles. Raises UsageError."""
        from .. import regions

        height, width = picture.rgb.shape[:2]
        return [] if self.mask is None else regions.of_mask(self.mask, width, height)


def asked(
    roi: Sequence[str],
    mask: Path | None,
    quality: str,
    background: str | None,
    detect: Sequence[str],
    detector: str | None,
    score: float,
    categories: Sequence[str],
    annotations: Path | None,
) -> Regions | None:
    """What the options ask for; None for nothing. Raises UsageError, and InputError for files that are not usable."""
    classes = tuple(filter(None, listed(list(detect))))
    if detect and not classes:
        raise UsageError("--roi-detect names no class; give such as person,dog")
    if not (roi or mask or classes):
        changed = {
            "--roi-quality": quality != EncodeOptions.roi_quality,
            "--background-quality": background is not None,
            "--roi-detector": detector is not None,
            "--roi-score": score != SCORE,
            "--roi-categories": bool(categories),
            "--roi-annotations": annotations is not None,
        }
        if given := [name for name, value in changed.items() if value]:
            raise UsageError(f"{given[0]} needs regions; give --roi, --roi-mask or --roi-detect")
        return None
    if detector is not None and not classes:
        raise UsageError("--roi-detector needs --roi-detect, which says what to look for")
    boxes, coco = [], []
    for text in roi:
        if match := re.fullmatch(r"(\d{1,5}),(\d{1,5}),([1-9]\d{0,4}),([1-9]\d{0,4})", text):
            boxes.append(Region(*map(int, match.groups())))
        elif text.lower().endswith(".json") or Path(text).is_file():
            coco.append(Coco.read(Path(text)))
        else:
            raise UsageError(
                f"--roi '{text}' is not understood; write it as X,Y,WIDTH,HEIGHT in pixels with an area, "
                "or give a COCO file, .json"
            )
    coco = _described(coco, categories, annotations)
    return Regions(tuple(boxes), tuple(coco), _mask(mask), classes, detector, score)


def _described(found: list[Coco], categories: Sequence[str], annotations: Path | None) -> list[Coco]:
    """Files of boxes with what the options say of them. Raises UsageError, InputError."""
    for name, given in (("--roi-categories", categories), ("--roi-annotations", annotations)):
        if given and not found:
            raise UsageError(f"{name} is about COCO's boxes; give these too, --roi FILE.json")
    if annotations is not None:
        data_set = Coco.read(annotations)
        found = [coco.described_by(data_set) for coco in found]
    if not categories:
        return found
    if not (words := list(filter(None, listed(list(categories))))):
        raise UsageError("--roi-categories names no category; give such as person,dog")
    return [coco.only(words) for coco in found]


def check_target(how: EncodeOptions) -> None:
    """That a search for a size or PSNR can change something. Raises UsageError."""
    background = how.background_quality
    if background is not None and not is_offset(how.roi_quality) and not is_offset(background):
        raise UsageError(
            "a target leaves nothing to search with both qualities fixed; give one as an offset, --roi-quality +20"
        )


def load_detector(classes: Sequence[str], name: str | None, device: str) -> Detector:
    """The one place where a detector is loaded; tests replace it. Raises UsageError, WeightsError."""
    from .. import detection

    return detection.Detector(classes, name or detection.DETR, device)


@dataclass(frozen=True)
class Applied:
    """What became of the regions of one picture."""

    options: EncodeOptions
    notes: list[str]
    boxes: int = 0  # how many of the regions are no parts of a mask
    everywhere: bool = False  # they leave no tile for the background

    def text(self, quality: int) -> str:
        """What is said of them, where there are any. quality: the one that was used."""
        from .. import regions

        how = replace(self.options, quality=quality)
        if not how.roi:
            return ""
        inside, outside = regions.qualities(how)
        if self.everywhere:
            return f", quality {inside} everywhere"
        parts = [f"{self.boxes} region{'s' if self.boxes > 1 else ''}"] if self.boxes else []
        parts += ["a mask"] if len(how.roi) > self.boxes else []
        return f", {' and '.join(parts)} of quality {inside}, all else {outside}"

    @property
    def fields(self) -> dict[str, Any]:
        """For --json."""
        return {"regions": [list(region) for region in self.options.roi]}


def apply(wanted: Regions | None, how: EncodeOptions, source: Source, picture: Picture, alone: bool) -> Applied:
    """The options of a picture, with its regions. Raises UsageError, InputError."""
    from .. import regions

    if wanted is None:
        return Applied(how, [])
    boxes, masked = wanted.boxes_of(source, picture, alone), wanted.masked_in(picture)
    if not (boxes or masked):  # it is encoded as any other picture
        return Applied(replace(how, background_quality=None), ["no region was found in it: one quality everywhere"])
    how, notes = replace(how, roi=[*boxes, *masked]), list[str]()
    height, width = picture.rgb.shape[:2]
    if regions.touch_every_tile(how, width, height):
        side = regions.tile_side(how, width, height)
        notes = [
            f"its regions touch every tile of {side} pixels: one quality everywhere, and pixels outside count less"
        ]
    return Applied(how, notes, len(boxes), bool(notes))


def _mask(path: Path | None) -> np.ndarray | None:
    if path is None:
        return None
    from ..images import read_image

    picture = read_image(path)
    seen = picture.rgb.max(-1) > 0
    return seen if picture.alpha is None else seen & (picture.alpha > 0)


def _path(source: Source) -> Path:
    return source.relative if source.path is None or source.url else source.path
