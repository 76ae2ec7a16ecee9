"""Cameras: the crop's weak perspective, the full image's pinhole, and what lies between.

The network imagines a camera that looks straight at the crop's centre. Its answer is turned by
the viewing ray of that centre into the coordinates of the real camera.
"""

import math
import re
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from dtsvibe_cli.datatypes import PinholeCamera, VideoInfo
from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.geometry.rotations import rotation_between

FULL_FRAME_DIAGONAL_MM: Final = 43.2666
"""Diagonal of the 36 x 24 mm picture that "35 mm equivalent" focal lengths refer to."""

DEFAULT_FOCAL_35MM: Final = 35.0
"""When nothing is known, millimetres for a full frame: between the main camera of a phone (about
26, some more where the video is stabilised) and a normal lens (about 43)."""


def focal_from_35mm(focal_mm: float, width_px: int, height_px: int) -> float:
    """Focal length in pixels of a full-frame-equivalent focal length.

    >>> round(focal_from_35mm(43.2666, 300, 400))
    500
    """
    return focal_mm / FULL_FRAME_DIAGONAL_MM * math.hypot(width_px, height_px)


def choose_camera(video: VideoInfo, focal: str | None) -> PinholeCamera:
    """The full image's camera: from the option, else the file's metadata, else a usual lens.

    Args:
        video: The input.
        focal: ``1200px`` or a bare number (pixels), ``35mm`` (full-frame equivalent), or None.

    Raises:
        ConfigError: The option is neither.
    """
    center = (video.width_px / 2, video.height_px / 2)
    if focal is not None:
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(px|mm)?\s*", focal)
        if match is None or float(match[1]) <= 0:
            raise ConfigError(f"'{focal}' is no focal length: give it as 1200px or 35mm.")
        length = float(match[1])
        if match[2] == "mm":
            length = focal_from_35mm(length, video.width_px, video.height_px)
        return PinholeCamera(focal_length_px=length, center_px=center, source="option")
    if video.focal_length_px is not None:
        return PinholeCamera(
            focal_length_px=video.focal_length_px, center_px=center, source="metadata"
        )
    usual = focal_from_35mm(DEFAULT_FOCAL_35MM, video.width_px, video.height_px)
    return PinholeCamera(focal_length_px=usual, center_px=center, source="default")


def project(
    points: Float[Tensor, "*batch 3"], focal_length_px: float, center_px: tuple[float, float]
) -> Float[Tensor, "*batch 2"]:
    """Pixels of points in camera coordinates; points nearer than 5 cm count as 5 cm away."""
    depth = points[..., 2:].clamp_min(0.05)
    center = torch.tensor(center_px, dtype=points.dtype, device=points.device)
    return points[..., :2] / depth * focal_length_px + center


def ray_rotation(
    center_px: Float[Tensor, "*batch 2"], camera: PinholeCamera
) -> Float[Tensor, "*batch 3 3"]:
    """Rotation from a camera that looks at the given pixels to the real camera."""
    principal = torch.tensor(camera.center_px, dtype=center_px.dtype)
    offset = (center_px - principal) / camera.focal_length_px
    ray = torch.cat([offset, torch.ones_like(offset[..., :1])], -1)
    ahead = torch.tensor([0.0, 0.0, 1.0], dtype=center_px.dtype).expand_as(ray)
    return rotation_between(ahead, ray)


def crop_camera_to_translation(
    weak_perspective: Float[Tensor, "frame 3"],
    crops_cxcys: Float[Tensor, "frame 3"],
    camera: PinholeCamera,
) -> Float[Tensor, "frame 3"]:
    """Pelvis position in real camera coordinates, metres, from the crop's (s, tx, ty).

    With crop side b the depth along the ray is ``2 f / (b s)`` (SPIN's formula), where f is the
    focal length of the imagined camera: the real one's divided by the cosine of the ray's angle.
    """
    scale, tx, ty = weak_perspective.unbind(-1)
    principal = torch.tensor(camera.center_px, dtype=crops_cxcys.dtype)
    offset = (crops_cxcys[:, :2] - principal) / camera.focal_length_px
    secant = (1 + offset.square().sum(-1)).sqrt()
    depth = 2 * camera.focal_length_px * secant / (crops_cxcys[:, 2] * scale.clamp_min(0.1))
    ahead = torch.stack([tx, ty, depth], -1)
    turned = ray_rotation(crops_cxcys[:, :2], camera) @ ahead[..., None]
    return turned[..., 0]


def translation_to_crop_camera(
    pelvis_m: Float[Tensor, "frame 3"],
    crops_cxcys: Float[Tensor, "frame 3"],
    camera: PinholeCamera,
) -> Float[Tensor, "frame 3"]:
    """The inverse of :func:`crop_camera_to_translation`."""
    rotation = ray_rotation(crops_cxcys[:, :2], camera)
    ahead = (rotation.transpose(-1, -2) @ pelvis_m[..., None])[..., 0]
    principal = torch.tensor(camera.center_px, dtype=crops_cxcys.dtype)
    offset = (crops_cxcys[:, :2] - principal) / camera.focal_length_px
    secant = (1 + offset.square().sum(-1)).sqrt()
    scale = 2 * camera.focal_length_px * secant / (crops_cxcys[:, 2] * ahead[:, 2])
    return torch.stack([scale, ahead[:, 0], ahead[:, 1]], -1)
