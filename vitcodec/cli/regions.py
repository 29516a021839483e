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
from ..options import TILE_SIDES, EncodeOptions, is_offset
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

    def of(self, source: Source, picture: Picture, alone: bool) -> list[Region]:
        """The regions of a picture, which lie within it. alone: the command has one. Raises UsageError, InputError."""
        from .. import regions

        height, width = picture.rgb.shape[:2]
        boxes = [box for coco in self.files for box in coco.boxes(_path(source), (width, height), alone, self.score)]
        if self.detector:
            boxes += self.detector.boxes(picture.rgb, self.score)
        found = [*self.fixed, *(regions.of_box(*box) for box in boxes)]
        if self.mask is not None:
            found += regions.of_mask(self.mask, width, height)
        return [region.clipped(width, height) for region in found]


def asked(
    roi: Sequence[str],
    mask: Path | None,
    quality: str,
    background: str | None,
    detect: Sequence[str],
    detector: str | None,
    score: float,
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
    return Regions(tuple(boxes), tuple(coco), _mask(mask), classes, detector, score)


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
        count = "1 region" if len(how.roi) == 1 else f"{len(how.roi)} regions"
        return f", {count} of quality {inside}, all else {outside}"

    @property
    def fields(self) -> dict[str, Any]:
        """For --json."""
        return {"regions": [list(region) for region in self.options.roi]}


def apply(wanted: Regions | None, how: EncodeOptions, source: Source, picture: Picture, alone: bool) -> Applied:
    """The options of a picture, with its regions. Raises UsageError, InputError."""
    from .. import regions

    if wanted is None:
        return Applied(how, [])
    found = wanted.of(source, picture, alone)
    if not found:  # it is encoded as any other picture
        return Applied(replace(how, background_quality=None), ["no region was found in it: one quality everywhere"])
    how = replace(how, roi=found)
    height, width = picture.rgb.shape[:2]
    if regions.touch_every_tile(how, width, height):
        side = how.tile or TILE_SIDES[0]
        return Applied(how, [f"its regions touch every tile of {side} pixels: one quality everywhere"], True)
    return Applied(how, [])


def _mask(path: Path | None) -> np.ndarray | None:
    if path is None:
        return None
    from ..images import read_image

    picture = read_image(path)
    seen = picture.rgb.max(-1) > 0
    return seen if picture.alpha is None else seen & (picture.alpha > 0)


def _path(source: Source) -> Path:
    return source.relative if source.path is None or source.url else source.path
