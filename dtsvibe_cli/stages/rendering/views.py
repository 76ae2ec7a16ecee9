"""Alternate cameras: the same people seen from around them or from above."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dtsvibe_cli.datatypes import PinholeCamera
from dtsvibe_cli.errors import ConfigError

_FOCAL_IN_HEIGHTS = 1.8
"""Focal length of the alternate camera in heights of its picture: a calm, long lens."""
_MARGIN_M = 0.3
"""Room left around the joints, for flesh and hair."""
_SEEN_SHARE = 0.99
"""Share of the joints that must be in the picture: a few wild ones shall not shrink everybody."""
_GRID_CELLS = 12
_BACKDROP_TOP, _BACKDROP_BOTTOM, _GRID_TONE = 247, 226, 206


@dataclass(frozen=True, kw_only=True)
class Viewpoint:
    """An alternate camera, placed in the coordinates of the real one."""

    R_view_cam: Float[np.ndarray, "3 3"]
    """Turns real camera axes into the alternate camera's."""
    target_cam: Float[np.ndarray, "3"]
    """The point it looks at, metres, camera coordinates."""
    distance_m: float
    """From the alternate camera to the target."""
    floor_m: float
    """Height of the grid under the people: y in camera coordinates."""

    def transform(self, points_cam: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
        """Points in the alternate camera's coordinates."""
        turned = (points_cam - self.target_cam) @ self.R_view_cam.T
        moved: Float[np.ndarray, "*batch 3"] = turned + np.array([0, 0, self.distance_m])
        return moved.astype(np.float32)


def view_rotation(view: str) -> Float[np.ndarray, "3 3"]:
    """Rotation from the real camera's axes to those of a named view.

    ``around:DEG`` walks that far around the people towards the right of the picture, level with
    them; ``side`` is ``around:90``; ``top`` looks straight down, with what is far away at the top.

    Raises:
        ConfigError: The view is none of these.
    """
    if view == "top":
        return np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    kind, _, degrees = ("around:90" if view == "side" else view).partition(":")
    try:
        angle = np.deg2rad(float(degrees))
    except ValueError:
        angle = np.nan
    if kind != "around" or not np.isfinite(angle):
        raise ConfigError(f"There is no view '{view}'; choose side, top or around:DEGREES.")
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])


def view_camera(width: int, height: int) -> PinholeCamera:
    """Lens of the alternate camera for a picture of this size."""
    return PinholeCamera(
        focal_length_px=_FOCAL_IN_HEIGHTS * height,
        center_px=(width / 2, height / 2),
        source="default",
    )


def place_view(
    view: str, joints_cam: Float[np.ndarray, "point 3"], width: int, height: int
) -> Viewpoint:
    """The viewpoint from which nearly all of the joints are in a picture of this size.

    Args:
        view: See :func:`view_rotation`.
        joints_cam: Of all people and frames that shall be seen; may be empty.
        width: Of the picture, pixels.
        height: Of the picture, pixels.

    Raises:
        ConfigError: There is no such view.
    """
    R = view_rotation(view)
    joints = joints_cam if len(joints_cam) else np.array([[-0.5, -0.9, 3.0], [0.5, 0.9, 3.0]])
    low, high = np.quantile(joints, [1 - _SEEN_SHARE, _SEEN_SHARE], axis=0)
    target = (low + high) / 2
    x, y, z = ((joints - target) @ R.T).T
    focal = _FOCAL_IN_HEIGHTS * height
    # in the picture when focal * |x| / (z + distance) <= width / 2, and likewise for y
    needed = np.maximum(
        (np.abs(x) + _MARGIN_M) * focal / (width / 2) - z,
        (np.abs(y) + _MARGIN_M) * focal / (height / 2) - z,
    )
    return Viewpoint(
        R_view_cam=R,
        target_cam=target,
        distance_m=float(np.quantile(needed, _SEEN_SHARE)),
        floor_m=float(high[1]) + 0.08,  # the lowest joints are ankles and toes, above the sole
    )


def backdrop(viewpoint: Viewpoint, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
    """A light picture with a one-metre grid under the people, level with the real camera."""
    tones = np.linspace(_BACKDROP_TOP, _BACKDROP_BOTTOM, height).round().astype(np.uint8)
    picture = np.ascontiguousarray(np.broadcast_to(tones[:, None, None], (height, width, 3)))
    camera = view_camera(width, height)
    x0, _, z0 = np.round(viewpoint.target_cam)
    marks = np.arange(-_GRID_CELLS, _GRID_CELLS + 1)
    # short pieces, so that those behind the camera can be left out
    steps = np.stack([marks[:-1], marks[1:]], 1)
    floor = np.full((len(marks), len(steps), 2), viewpoint.floor_m)
    across, along = np.broadcast_arrays(marks[:, None, None], steps[None])
    for x, z in ((across, along), (along, across)):
        pieces = viewpoint.transform(np.stack([x0 + x, floor, z0 + z], -1)).reshape(-1, 2, 3)
        pieces = pieces[pieces[..., 2].min(1) > 0.1]
        ends = pieces[..., :2] / pieces[..., 2:] * camera.focal_length_px + camera.center_px
        ends = ends[np.abs(ends).max((1, 2)) < 20 * width]
        cv2.polylines(
            picture, list(ends.round().astype(np.int32)), False, (_GRID_TONE,) * 3, 1, cv2.LINE_AA
        )
    return picture
