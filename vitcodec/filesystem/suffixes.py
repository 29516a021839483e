"""Names' endings: which files are taken from folders, which names promise an image, what an output is called.

Nothing here imports PIL: the command line asks before it knows whether there is anything to do.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SUFFIX = ".vitc"
# what folders and globs are searched for; a file that is named itself may have any suffix
IMAGE_SUFFIXES = frozenset(
    (
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".dib"),
        *(".jp2", ".j2k", ".jpx", ".j2c", ".gif", ".pbm", ".pgm", ".ppm", ".pnm"),
    )
)


@dataclass(frozen=True)
class Plugin:
    """A package of the user's that lets Pillow read a further format.

    register: the function of the module that does so, "" where importing it is enough.
    """

    what: str  # with its article
    package: str
    module: str
    register: str
    suffixes: frozenset[str]


# by Pillow's name of the format
PLUGINS = {
    "HEIF": Plugin(
        "a HEIC", "pillow-heif", "pillow_heif", "register_heif_opener", frozenset((".heic", ".heif", ".hif"))
    ),
    "JXL": Plugin("a JPEG XL", "pillow-jxl-plugin", "pillow_jxl", "", frozenset((".jxl",))),
}
# what decode writes -> Pillow's name of it
WRITE_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".jp2": "JPEG2000",
    ".ppm": "PPM",
}
# suffixes of one format, by the one that --format knows
_SAME = {
    ".jpeg": ".jpg",
    ".jpe": ".jpg",
    ".jfif": ".jpg",
    ".tiff": ".tif",
    ".dib": ".bmp",
    ".pnm": ".ppm",
    ".jpeg2000": ".jp2",
}
# further names that promise an image, or a raw file of a camera, of which nothing here writes any
_OTHER_IMAGES = frozenset(
    (
        *(".svg", ".psd", ".ico", ".tga", ".pcx", ".exr", ".hdr", ".apng", ".qoi", ".jxr", ".pdf", ".eps"),
        *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"),
    )
)


def image_suffixes() -> frozenset[str]:
    """The suffixes of files that are images to this installation: what Pillow reads, and the plugins that are there."""
    return IMAGE_SUFFIXES.union(*(plugin.suffixes for plugin in PLUGINS.values() if _installed(plugin.module)))


@cache
def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def plugin_for(suffix: str) -> str | None:
    """The package that would make files of this suffix readable; None: there is none, or it is installed."""
    found = (p.package for p in PLUGINS.values() if suffix in p.suffixes and not _installed(p.module))
    return next(found, None)


def promises_image(path: Path) -> bool:
    """Whether everybody takes a file of that name for an image of another kind than .vitc."""
    suffix = path.suffix.lower()
    return suffix in IMAGE_SUFFIXES | _OTHER_IMAGES or any(suffix in plugin.suffixes for plugin in PLUGINS.values())


def same_format(one: str, other: str) -> bool:
    """Whether two suffixes, such as .jpg and .jpeg, stand for one format."""
    return _SAME.get(one, one) == _SAME.get(other, other)


def renamed(path: Path, suffix: str, append: bool = False) -> Path:
    """The path with `suffix` in place of its own or, with `append`, after it."""
    return path.with_name(path.name + suffix) if append else path.with_suffix(suffix)
