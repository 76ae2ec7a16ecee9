"""The camera that labels imply, where their files do not state it."""

import numpy as np
from jaxtyping import Float

from dtsvibe_cli.datatypes import PinholeCamera
from dtsvibe_cli.errors import DataError


def fitted_camera(
    points_m: Float[np.ndarray, "*batch 3"], points_px: Float[np.ndarray, "*batch 2"]
) -> PinholeCamera:
    """The camera that sees points where they are in the picture, by least squares.

    ``x = f X / Z + cx`` and ``y = f Y / Z + cy`` are linear in f, cx and cy. Data sets that give
    both kinds of points need no calibration files. What the lens distorts is averaged over; points
    that are not finite do not count.

    Raises:
        DataError: The points belong to no camera.

    >>> points = np.random.default_rng(0).uniform((-1, -1, 3), (1, 1, 5), (4, 9, 3))
    >>> pixels = points[..., :2] / points[..., 2:] * 1200 + (500, 400)
    >>> round(fitted_camera(points, pixels).focal_length_px)
    1200
    """
    good = np.isfinite(points_m).all(-1) & np.isfinite(points_px).all(-1) & (points_m[..., 2] > 0)
    space, picture = points_m[good], points_px[good]
    slope = space[:, :2] / space[:, 2:]
    one, zero = np.ones(len(slope)), np.zeros(len(slope))
    system = np.concatenate(
        [np.stack([slope[:, 0], one, zero], 1), np.stack([slope[:, 1], zero, one], 1)]
    )
    (f, cx, cy), _, rank, _ = np.linalg.lstsq(system, picture.T.reshape(-1), rcond=None)
    if rank < 3 or f <= 0:
        raise DataError("The labels in space and in the picture belong to no camera.")
    return PinholeCamera(
        focal_length_px=float(f), center_px=(float(cx), float(cy)), source="metadata"
    )
