"""A small perspective rasteriser in numpy: which triangle does each pixel see, and where in it.

It draws nothing itself: colours are computed by the caller for every visible point, which lets the
appearance be painted in body coordinates without any texture map.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

_NEAR_M = 0.1


@dataclass(frozen=True, kw_only=True)
class Fragments:
    """The visible points of a mesh, one for each covered pixel."""

    pixel: Int[np.ndarray, " point"]
    """Row-major index of the pixel."""
    face: Int[np.ndarray, " point"]
    """Triangle that is seen there."""
    barycentric: Float[np.ndarray, "point 3"]
    """Perspective-correct weights of the triangle's corners."""
    depth: Float[np.ndarray, " point"]
    """Depth along the camera's axis, metres."""

    def interpolate(
        self, values: Float[np.ndarray, "vertex channel"], faces: Int[np.ndarray, "face 3"]
    ) -> Float[np.ndarray, "point channel"]:
        """Vertex values at the visible points."""
        corners = values[faces[self.face]]
        return np.asarray(np.einsum("pk,pkc->pc", self.barycentric, corners))


def project(
    points_cam: Float[np.ndarray, "*batch 3"], K: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "*batch 2"]:
    """Pixels of points in camera coordinates (x right, y down, z forward)."""
    homogeneous = points_cam @ K.T
    return np.asarray(homogeneous[..., :2] / homogeneous[..., 2:])


def rasterise(
    points_cam: Float[np.ndarray, "vertex 3"],
    faces: Int[np.ndarray, "face 3"],
    K: Float[np.ndarray, "3 3"],
    size: tuple[int, int],
    *,
    cull: bool = True,
) -> Fragments:
    """The nearest triangle under each pixel centre.

    Args:
        points_cam: Vertices, metres, camera coordinates.
        faces: Triangles, anti-clockwise seen from outside.
        K: Intrinsics of the picture that is drawn.
        size: Width and height of that picture.
        cull: Leave out triangles seen from behind.
    """
    width, height = size
    corners = project(points_cam, K)[faces]
    depth = points_cam[:, 2][faces]
    low = np.ceil(corners.min(axis=1) - 0.5).astype(np.int64)
    high = np.floor(corners.max(axis=1) - 0.5).astype(np.int64)
    low, high = np.maximum(low, 0), np.minimum(high, [width - 1, height - 1])
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    # y points down in the picture, so a triangle seen from outside has a negative area
    area = edge1[:, 0] * edge2[:, 1] - edge1[:, 1] * edge2[:, 0]
    drawn = (high >= low).all(axis=1) & (depth.min(axis=1) > _NEAR_M)
    drawn &= (area < -1e-9) if cull else (np.abs(area) > 1e-9)
    face = np.flatnonzero(drawn)

    # every pixel of every triangle's box is a candidate; triangles are small, so few are wasted
    columns, rows = (high - low + 1)[face].T
    candidate = np.repeat(face, columns * rows)
    start = np.cumsum(columns * rows) - columns * rows
    within = np.arange(len(candidate)) - np.repeat(start, columns * rows)
    x = low[candidate, 0] + within % np.repeat(columns, columns * rows)
    y = low[candidate, 1] + within // np.repeat(columns, columns * rows)
    offset = np.stack([x, y], axis=-1) + 0.5 - corners[candidate, 0]
    second = offset[:, 0] * edge2[candidate, 1] - offset[:, 1] * edge2[candidate, 0]
    third = edge1[candidate, 0] * offset[:, 1] - edge1[candidate, 1] * offset[:, 0]
    weights = np.stack([area[candidate] - second - third, second, third], axis=-1)
    weights /= area[candidate, None]
    inside = (weights >= 0).all(axis=1)

    candidate, weights = candidate[inside], weights[inside] / depth[candidate[inside]]
    pixel = (y * width + x)[inside]
    inverse_depth = weights.sum(axis=1)
    far_to_near = np.argsort(inverse_depth, kind="stable")
    nearest = np.full(width * height, -1)
    nearest[pixel[far_to_near]] = far_to_near  # of several writes to one pixel the last stays
    seen = nearest[nearest >= 0]
    return Fragments(
        pixel=pixel[seen],
        face=candidate[seen],
        barycentric=weights[seen] / inverse_depth[seen, None],
        depth=1 / inverse_depth[seen],
    )


def vertex_normals(
    points: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]
) -> Float[np.ndarray, "vertex 3"]:
    """Unit normals, each the area-weighted mean of the triangles around a vertex."""
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    face_normal = np.cross(b - a, c - a)
    total = np.stack(
        [
            np.bincount(faces.ravel(), np.repeat(face_normal[:, axis], 3), len(points))
            for axis in range(3)
        ],
        axis=-1,
    )
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=-1, keepdims=True), 1e-12))


def average_down(
    picture: Float[np.ndarray, "height width 3"], factor: int
) -> UInt8[np.ndarray, "small_height small_width 3"]:
    """The mean of each block of ``factor`` x ``factor`` samples, as 8-bit colours."""
    height, width, _ = picture.shape
    blocks = picture.reshape(height // factor, factor, width // factor, factor, 3)
    return np.asarray(np.clip(blocks.mean(axis=(1, 3)), 0, 1) * 255 + 0.5, dtype=np.uint8)
