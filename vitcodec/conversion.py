"""What `Codec.encode` takes, to a Picture and back: paths, files, Pillow's images, arrays and tensors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, Union, cast

import numpy as np
from PIL import ExifTags, Image

from .errors import InputError
from .imageio import cicp, exif
from .imageio.metadata import FileMetadata, per_inch
from .imageio.samples import samples_of
from .images import picture_of, read_image
from .picture import Picture, check

if TYPE_CHECKING:
    from torch import Tensor

# what is one picture, or, with four dimensions, a batch of them
PictureLike: TypeAlias = Union[Picture, str, os.PathLike[str], BinaryIO, Image.Image, np.ndarray, "Tensor"]
_WANTED = "give a path, a file, a Pillow image, an array (height, width, 3) or a tensor (3, height, width)"
_UPRIGHT = {ExifTags.Base.Orientation: 1}


def is_batch(source: object) -> bool:
    """Whether it is several pictures: a list, a tuple, or an array or tensor of four dimensions."""
    return isinstance(source, list | tuple) or getattr(source, "ndim", 0) == 4


def as_pictures(sources: Any) -> list[Picture]:
    """Every picture of a batch. Raises as as_picture does, with the number of the one at fault."""
    pictures = []
    for k, source in enumerate(sources):
        try:
            pictures.append(as_picture(source))
        except InputError as error:
            raise InputError(f"picture {k}: {error}") from error
    return pictures


def as_picture(source: PictureLike) -> Picture:
    """A picture out of anything that is one.

    Arrays of NumPy are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), tensors of torch (C, H, W); uint8 0 to 255, floats
    0 to 1. A file is an image file, open for reading bytes. Pillow's images keep their profile, EXIF and alpha, and are
    turned as their EXIF says. Raises InputError for anything else, and as read_image does.
    """
    if isinstance(source, Picture):
        check(source)
        return source
    if isinstance(source, str | os.PathLike):
        return read_image(os.fspath(source))
    if isinstance(source, Image.Image):
        return from_pil(source)
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if type(source).__module__.split(".")[0] == "torch" and hasattr(source, "detach"):
        return _from_tensor(source)
    if hasattr(source, "read"):
        return read_image(cast(BinaryIO, source))
    raise InputError(f"{type(source).__name__} is no picture; {_WANTED}")


def from_pil(image: Image.Image) -> Picture:
    """A Pillow image as reading its file gives it: 16 bits become 8, palettes and CMYK become RGB.

    Raises InputError for modes F and I, whose values have no range, and for an image without pixels.
    """
    if not all(image.size):
        raise InputError(f"a Pillow image of {image.width}x{image.height} has no pixels; give one that has")
    info, block = image.info, image.getexif()
    icc, points = colours_of(image)
    xmp, dpi = info.get("xmp"), info.get("dpi")
    # Pillow makes an orientation up where XMP says which side is up
    stated = None if dict(block) in ({}, _UPRIGHT) else block.tobytes()
    metadata = FileMetadata(
        icc=icc,
        cicp=points,
        exif=stated,
        xmp=xmp if isinstance(xmp, bytes) else None,
        dpi=per_inch(*map(float, dpi)) if dpi else None,
    )
    return picture_of(samples_of(image), metadata)


def colours_of(image: Image.Image) -> tuple[bytes | None, bytes | None]:
    """The profile and the code points of a Pillow image: those of a .vitc file, unless a profile has come since."""
    profile, points = image.info.get("icc_profile") or None, image.info.get("cicp")
    if points and profile in (None, cicp.profile_of(points, len(image.getbands()) < 3)):
        return None, points
    return profile, None


def _from_array(array: np.ndarray) -> Picture:
    shape, values = array.shape, array[..., None] if array.ndim == 2 else array
    if values.ndim != 3 or values.shape[2] not in (1, 3, 4):
        hint = "; transpose it: array.transpose(1, 2, 0)" if array.ndim == 3 and shape[0] in (1, 3, 4) else ""
        raise InputError(f"an array of shape {shape} is no picture{hint or f'; {_WANTED}'}")
    return _of_values(np.ascontiguousarray(values), "an array")


def _from_tensor(tensor: Any) -> Picture:
    shape = tuple(tensor.shape)
    if len(shape) != 3 or shape[0] not in (1, 3, 4):
        hint = "; move its channels first: tensor.permute(2, 0, 1)" if len(shape) == 3 and shape[2] in (1, 3, 4) else ""
        raise InputError(f"a tensor of shape {shape} is no picture{hint or f'; {_WANTED}'}")
    tensor = tensor.detach()
    if tensor.is_floating_point():
        tensor = tensor.float()  # NumPy knows no bfloat16
    return _of_values(np.ascontiguousarray(tensor.permute(1, 2, 0).cpu().numpy()), "a tensor")


def _of_values(values: np.ndarray, what: str) -> Picture:
    """(H, W, 1, 3 or 4) of 8-bit levels, or of floats in 0..1."""
    if not values.size:
        raise InputError(f"{what} of shape {values.shape} has no pixels; give one that has")
    if np.issubdtype(values.dtype, np.floating):
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 1):  # also where there are NaNs
            raise InputError(
                f"{what} of floats goes from 0 to 1, and this one from {low:g} to {high:g}; scale it, or clip it first"
            )
        values = np.rint(values * 255).astype(np.uint8)
    if values.dtype != np.uint8:
        raise InputError(f"{what} of {values.dtype} is no picture; give uint8 from 0 to 255, or floats from 0 to 1")
    alpha = np.ascontiguousarray(values[..., 3]) if values.shape[2] == 4 else None
    gray = values.shape[2] == 1
    return Picture(np.ascontiguousarray(np.repeat(values, 3, -1) if gray else values[..., :3]), alpha, gray)


def to_pil(picture: Picture) -> Image.Image:
    """Mode L, LA, RGB or RGBA, with profile, EXIF, XMP and resolution in `info`, as Pillow's own readers do it."""
    image = Image.fromarray(np.ascontiguousarray(picture.rgb[..., 0] if picture.gray else picture.rgb))
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha))
    image.info.update(info_of(picture))
    return image


def info_of(picture: Picture) -> dict[str, Any]:
    """What a Pillow image of it has in `info`. Code points are there as "cicp", and as the profile that they make."""
    points, profile = picture.cicp, picture.icc
    if points is not None:
        profile = profile or cicp.profile_of(points, picture.gray)
    block = exif.PREFIX + picture.exif if picture.exif else None
    found = {"icc_profile": profile, "cicp": points, "exif": block, "xmp": picture.xmp, "dpi": picture.dpi}
    return {key: value for key, value in found.items() if value is not None}


def same(one: Picture, other: Picture) -> bool:
    """Whether two pictures have the same values and metadata, whatever their notes say."""
    planes = [(one.rgb, other.rgb), (one.alpha, other.alpha)]
    if not all(a is b or (a is not None and b is not None and np.array_equal(a, b)) for a, b in planes):
        return False
    fields: Sequence[str] = ("gray", "icc", "exif", "xmp", "cicp", "dpi")
    return all(getattr(one, name) == getattr(other, name) for name in fields)
