"""The body's texture map: which point of the body every texel shows, to paint clothes there.

Everything is painted in the coordinates of the mean body's rest pose: a hem lies at the same height
of everybody's leg, whatever the shape.
"""

import functools
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int

from dtsvibe_cli import weights
from dtsvibe_cli.synthetic.noise import fractal_noise

SIDE_PX: Final = 512
"""Side of the body's square texture; about a texel for a pixel of somebody 400 pixels tall."""

TILE_PX: Final = 256
"""Side of the tiles beside it, for things that are worn and not part of the skin."""

SIZE_PX: Final = (SIDE_PX + TILE_PX, SIDE_PX)
"""Width and height of a person's whole texture: the body's square, then two tiles."""

_LONGEST_EDGE: Final = 0.06
"""Faces with longer edges on the map close holes and are never seen."""

_NUM_NOISES: Final = 6


@dataclass(frozen=True, kw_only=True)
class Atlas:
    """The map of the body; the same for everybody."""

    points: Float[np.ndarray, "texel 3"]
    """Rest-pose point of the mean body at each covered texel, metres."""
    nearest: Int[np.ndarray, "side side"]
    """For each texel of the square the covered one whose colour it takes, so that seams close."""
    noises: Float[np.ndarray, "noise texel"]
    """Fields of smooth noise, coarse ones first: folds, weave, strands."""
    corner_uv_px: Float[np.ndarray, "face 3 2"]
    """Where each corner of each face of the body lies on the texture."""

    def fill(self, colours: Float[np.ndarray, "texel 3"]) -> Float[np.ndarray, "side side 3"]:
        """The square with the covered texels' colours."""
        return np.asarray(colours[self.nearest], dtype=np.float32)


@functools.cache
def body_atlas() -> Atlas:
    """The map of the built-in body; built once, in a few seconds.

    Raises:
        WeightsError: The body's file is missing.
    """
    with np.load(weights.find("body7k")[0]) as file:
        uv, uv_faces = file["vt"].astype(np.float64), file["ft"].astype(np.int64)
        template, faces = file["v_template"].astype(np.float64), file["f"].astype(np.int64)
    corners = uv[uv_faces] * [1, -1] + [0, 1]
    edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1)
    kept = edges.max(1) < _LONGEST_EDGE
    covered, points = _scan(corners[kept] * SIDE_PX, template[faces[kept]])
    return Atlas(
        points=points[covered],
        nearest=_nearest(covered),
        noises=_noises(points[covered]),
        corner_uv_px=(corners * SIDE_PX).astype(np.float32),
    )


def _scan(
    corners_px: Float[np.ndarray, "face 3 2"], values: Float[np.ndarray, "face 3 3"]
) -> tuple[Bool[np.ndarray, "side side"], Float[np.ndarray, "side side 3"]]:
    """Values interpolated over triangles on the map, and where there are any."""
    covered = np.zeros((SIDE_PX, SIDE_PX), bool)
    out = np.zeros((SIDE_PX, SIDE_PX, 3))
    for corner, value in zip(corners_px, values, strict=True):
        low = np.maximum(np.floor(corner.min(0) - 0.5), 0).astype(int)
        high = np.minimum(np.ceil(corner.max(0) - 0.5), SIDE_PX - 1).astype(int)
        (a, b), c = corner[:2] - corner[2], corner[2]
        area = a[0] * b[1] - a[1] * b[0]
        if abs(area) < 1e-9 or (high < low).any():
            continue
        x = np.arange(low[0], high[0] + 1)[None] + 0.5 - c[0]
        y = np.arange(low[1], high[1] + 1)[:, None] + 0.5 - c[1]
        first, second = (x * b[1] - y * b[0]) / area, (a[0] * y - a[1] * x) / area
        inside = (first >= -0.02) & (second >= -0.02) & (first + second <= 1.02)
        weights = np.stack([first, second, 1 - first - second], -1)[inside]
        part = np.s_[low[1] : high[1] + 1, low[0] : high[0] + 1]
        covered[part] |= inside
        out[part][inside] = weights @ value
    return covered, out


def _nearest(covered: Bool[np.ndarray, "side side"]) -> Int[np.ndarray, "side side"]:
    """Index among the covered texels of the nearest one."""
    _, labels = cv2.distanceTransformWithLabels(
        (~covered).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    order = np.zeros(labels.max() + 1, np.int32)
    order[labels[covered]] = np.arange(covered.sum())
    return np.asarray(order[labels])


def _noises(points: Float[np.ndarray, "texel 3"]) -> Float[np.ndarray, "noise texel"]:
    scales = ([5, 4, 5], [14, 9, 14], [28, 22, 28], [60, 60, 60], [110, 110, 110], [160, 25, 45])
    assert len(scales) == _NUM_NOISES
    return np.stack(
        [fractal_noise(points * scale, seed=100 + k, octaves=2) for k, scale in enumerate(scales)]
    )
