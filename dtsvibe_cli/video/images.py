"""Image folders and single images as input."""

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps

from dtsvibe_cli.errors import ConfigError, VideoError
from dtsvibe_cli.geometry.cameras import focal_from_35mm
from dtsvibe_cli.video.source import require_exists

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
DEFAULT_FRAME_RATE = Fraction(30)

_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
_EXIF_ROTATION_DEG = {3: 180, 6: 270, 8: 90}  # EXIF 2.3, table 6; anti-clockwise


def list_images(source: Path) -> list[Path] | None:
    """The images of a folder in natural order (2 before 10), or None where the source is a video.

    Raises:
        VideoError: The source is missing, or is a folder without images.
    """
    require_exists(source)
    if not source.is_dir():
        return [source] if source.suffix.lower() in IMAGE_SUFFIXES else None
    images = [
        path
        for path in source.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    ]
    if not images:
        raise VideoError(f"The folder {source} holds no images ({', '.join(IMAGE_SUFFIXES)}).")
    return sorted(images, key=_natural_key)


def image_rate(frame_rate: Fraction | None, *, is_images: bool, source: Path) -> Fraction:
    """Frames a second of an image folder; checks that the option fits the source.

    Raises:
        ConfigError: The rate is not positive, or was given for a file with times of its own.
    """
    if frame_rate is None:
        return DEFAULT_FRAME_RATE
    if not is_images:
        raise ConfigError(
            f"A frame rate can only be given for image folders; {source} has its own timestamps."
        )
    if frame_rate <= 0:
        raise ConfigError(f"The frame rate must be above 0, not {frame_rate}.")
    return frame_rate


def load_image(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """The upright picture (EXIF orientation applied), without its transparency.

    Raises:
        VideoError: The file cannot be read as an image.
    """
    try:
        with Image.open(path) as stored:
            upright = ImageOps.exif_transpose(stored)
            if upright.mode.startswith("I;16"):  # Pillow would clip instead of scaling
                grey = (np.asarray(upright) >> 8).astype(np.uint8)
                return np.repeat(grey[..., None], 3, axis=2)
            return np.array(upright.convert("RGB"), dtype=np.uint8)
    except _UNREADABLE as error:
        raise VideoError(f"{path} cannot be read as an image ({error}).") from error


def image_rotation_deg(path: Path) -> int:
    """Anti-clockwise turn that EXIF asks for: 0, 90, 180 or 270."""
    with Image.open(path) as stored:
        return _EXIF_ROTATION_DEG.get(stored.getexif().get(ExifTags.Base.Orientation, 1), 0)


def image_focal_length_px(path: Path) -> float | None:
    """Focal length in EXIF (``FocalLengthIn35mmFilm``), None where it is absent."""
    with Image.open(path) as stored:
        exif = stored.getexif().get_ifd(ExifTags.IFD.Exif)
        size_px = stored.size
    equivalent_mm = float(exif.get(ExifTags.Base.FocalLengthIn35mmFilm) or 0)
    return focal_from_35mm(equivalent_mm, *size_px) if equivalent_mm > 0 else None


def _natural_key(path: Path) -> list[tuple[int, str]]:
    """Sort key that compares runs of digits as numbers."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
