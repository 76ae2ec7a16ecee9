"""The focal length that a truth implies, where its files do not state it."""

import numpy as np
from jaxtyping import Float


def focal_from_pairs_px(
    joints_m: Float[np.ndarray, "frame joint 3"], joints_px: Float[np.ndarray, "frame joint 2"]
) -> float:
    """Least squares over ``x = f X / Z + cx``, ``y = f Y / Z + cy``, which are linear in f, cx, cy.

    >>> points = np.random.default_rng(0).uniform((-1, -1, 3), (1, 1, 5), (4, 9, 3))
    >>> pixels = points[..., :2] / points[..., 2:] * 1200 + (500, 400)
    >>> round(focal_from_pairs_px(points, pixels))
    1200
    """
    known = np.isfinite(joints_m).all(-1) & np.isfinite(joints_px).all(-1)
    points, pixels = joints_m[known], joints_px[known]
    ratio = points[:, :2] / points[:, 2:]
    one, zero = np.ones(len(ratio)), np.zeros(len(ratio))
    rows = np.concatenate(
        [np.stack([ratio[:, 0], one, zero], 1), np.stack([ratio[:, 1], zero, one], 1)]
    )
    solution = np.linalg.lstsq(rows, np.concatenate([pixels[:, 0], pixels[:, 1]]), rcond=None)[0]
    return float(solution[0])
