"""Draws textured, softly lit people fast: a z-buffer and a shader compiled by numba.

Two steps: which face is seen at each sample, then its colour. Samples are finer than the picture
and averaged, so that outlines are smooth.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int

from dtsvibe_cli.errors import ConfigError

NEAR_M: Final = 0.15


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What is seen at each sample of a picture: the nearest face of one or several meshes."""

    inverse_depth: Float[np.ndarray, "rows columns"]
    """One over the depth in metres; 0 where nothing is."""
    face: Int[np.ndarray, "rows columns"]
    """Index of the face, counted over all meshes; -1 where nothing is."""
    weight: Float[np.ndarray, "rows columns 2"]
    """Perspective-correct weights of the face's first two corners."""


def empty_samples(rows: int, columns: int) -> Samples:
    """Nothing seen yet."""
    return Samples(
        inverse_depth=np.zeros((rows, columns), np.float32),
        face=np.full((rows, columns), -1, np.int32),
        weight=np.zeros((rows, columns, 2), np.float32),
    )


def add_mesh(
    samples: Samples,
    points_px: Float[np.ndarray, "vertex 2"],
    depth_m: Float[np.ndarray, " vertex"],
    faces: Int[np.ndarray, "face 3"],
    first_face: int = 0,
) -> None:
    """Enter a mesh where it is nearer than what is there; positions count in samples."""
    _compiled(_scan)(
        np.ascontiguousarray(points_px, dtype=np.float32),
        np.ascontiguousarray(depth_m, dtype=np.float32),
        np.ascontiguousarray(faces, dtype=np.int32),
        first_face,
        samples.inverse_depth,
        samples.face,
        samples.weight,
    )


@dataclass(frozen=True, kw_only=True)
class Light:
    """Light from all sides as second-order spherical harmonics, and a lamp or sun."""

    ambient: Float[np.ndarray, "9 3"]
    """Coefficients of the light that a white surface sends back, by its normal (world axes)."""
    sun_direction: Float[np.ndarray, "3"]
    """Towards it, world axes."""
    sun: Float[np.ndarray, "3"]
    """Its colour; zeros for none."""
    gloss: float = 0.0
    """How much the surface shines."""


def shade(
    samples: Samples,
    normals: Float[np.ndarray, "vertex 3"],
    faces: Int[np.ndarray, "face 3"],
    corner_uv_px: Float[np.ndarray, "face 3 2"],
    texture: Float[np.ndarray, "texture_rows texture_columns 3"],
    light: Light,
    towards_eye: Float[np.ndarray, "3"],
    first_face: int,
    colours: Float[np.ndarray, "rows columns 4"],
) -> None:
    """Write linear light and coverage (0 or 1) of one mesh's samples into ``colours``."""
    _compiled(_paint)(
        samples.face,
        samples.weight,
        np.ascontiguousarray(normals, dtype=np.float32),
        np.ascontiguousarray(faces, dtype=np.int32),
        np.ascontiguousarray(corner_uv_px, dtype=np.float32),
        np.ascontiguousarray(texture, dtype=np.float32),
        light.ambient.astype(np.float32),
        light.sun_direction.astype(np.float32),
        light.sun.astype(np.float32),
        towards_eye.astype(np.float32),
        np.float32(light.gloss),
        first_face,
        colours,
    )


def vertex_normals(
    points: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]
) -> Float[np.ndarray, "vertex 3"]:
    """Unit normals, each the area-weighted mean of the faces around a vertex."""
    out = np.zeros((len(points), 3), np.float32)
    _compiled(_sum_normals)(
        np.ascontiguousarray(points, dtype=np.float32),
        np.ascontiguousarray(faces, dtype=np.int32),
        out,
    )
    return out


@functools.cache
def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    try:
        import numba
    except ImportError as error:
        raise ConfigError(
            "Rendering training pictures needs numba: pip install 'dtsvibe[fast]'."
        ) from error
    # the tests wrap every function of the package to check its types; numba needs the plain one
    compiled: Callable[..., None] = numba.njit(cache=True)(inspect.unwrap(function))
    return compiled


def _scan(
    points: Any, depth: Any, faces: Any, first_face: int, nearest: Any, face_at: Any, weight: Any
) -> None:
    rows, columns = nearest.shape
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        if depth[a] < NEAR_M or depth[b] < NEAR_M or depth[c] < NEAR_M:
            continue
        ax, ay = points[a, 0], points[a, 1]
        bx, by = points[b, 0], points[b, 1]
        cx, cy = points[c, 0], points[c, 1]
        area = (ax - cx) * (by - cy) - (ay - cy) * (bx - cx)
        if abs(area) < 1e-9:
            continue
        left = max(0, int(np.ceil(min(ax, bx, cx) - 0.5)))
        right = min(columns - 1, int(np.floor(max(ax, bx, cx) - 0.5)))
        top = max(0, int(np.ceil(min(ay, by, cy) - 0.5)))
        bottom = min(rows - 1, int(np.floor(max(ay, by, cy) - 0.5)))
        za, zb, zc = 1 / depth[a], 1 / depth[b], 1 / depth[c]
        for row in range(top, bottom + 1):
            y = row + 0.5 - cy
            for column in range(left, right + 1):
                x = column + 0.5 - cx
                wa = (x * (by - cy) - y * (bx - cx)) / area
                wb = ((ax - cx) * y - (ay - cy) * x) / area
                if wa < 0 or wb < 0 or wa + wb > 1:
                    continue
                ka, kb = wa * za, wb * zb
                inverse = ka + kb + (1 - wa - wb) * zc
                if inverse <= nearest[row, column]:
                    continue
                nearest[row, column] = inverse
                face_at[row, column] = first_face + f
                weight[row, column, 0] = ka / inverse
                weight[row, column, 1] = kb / inverse


def _paint(
    face_at: Any,
    weight: Any,
    normals: Any,
    faces: Any,
    corners: Any,
    texture: Any,
    ambient: Any,
    sun_direction: Any,
    sun: Any,
    eye: Any,
    gloss: Any,
    first_face: int,
    colours: Any,
) -> None:
    rows, columns = face_at.shape
    texture_rows, texture_columns = texture.shape[0], texture.shape[1]
    for row in range(rows):
        for column in range(columns):
            f = face_at[row, column] - first_face
            if f < 0 or f >= faces.shape[0]:
                continue
            wa, wb = weight[row, column, 0], weight[row, column, 1]
            wc = 1 - wa - wb
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            x = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c, 0]
            y = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c, 1]
            z = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c, 2]
            length = np.sqrt(x * x + y * y + z * z) + 1e-9
            facing = (x * eye[0] + y * eye[1] + z * eye[2]) / length
            flip = -1.0 if facing < -0.25 else 1.0
            x, y, z = flip * x / length, flip * y / length, flip * z / length
            u = wa * corners[f, 0, 0] + wb * corners[f, 1, 0] + wc * corners[f, 2, 0] - 0.5
            v = wa * corners[f, 0, 1] + wb * corners[f, 1, 1] + wc * corners[f, 2, 1] - 0.5
            u = min(max(u, 0.0), texture_columns - 1.001)
            v = min(max(v, 0.0), texture_rows - 1.001)
            left, top = int(u), int(v)
            du, dv = u - left, v - top
            toward = x * sun_direction[0] + y * sun_direction[1] + z * sun_direction[2]
            lit = max(0.0, (toward + 0.1) / 1.1)
            shine = (
                max(
                    0.0,
                    2 * facing * toward
                    - (
                        eye[0] * sun_direction[0]
                        + eye[1] * sun_direction[1]
                        + eye[2] * sun_direction[2]
                    ),
                )
                ** 8
                * gloss
                if toward > 0
                else 0.0
            )
            for k in range(3):
                albedo = (texture[top, left, k] * (1 - du) + texture[top, left + 1, k] * du) * (
                    1 - dv
                ) + (texture[top + 1, left, k] * (1 - du) + texture[top + 1, left + 1, k] * du) * dv
                light = (
                    ambient[0, k]
                    + ambient[1, k] * y
                    + ambient[2, k] * z
                    + ambient[3, k] * x
                    + ambient[4, k] * x * y
                    + ambient[5, k] * y * z
                    + ambient[6, k] * (3 * z * z - 1)
                    + ambient[7, k] * x * z
                    + ambient[8, k] * (x * x - y * y)
                )
                colours[row, column, k] = albedo * (max(light, 0.0) + lit * sun[k]) + shine * sun[k]
            colours[row, column, 3] = 1.0


def _sum_normals(points: Any, faces: Any, out: Any) -> None:
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        px, py, pz = (
            points[b, 0] - points[a, 0],
            points[b, 1] - points[a, 1],
            points[b, 2] - points[a, 2],
        )
        qx, qy, qz = (
            points[c, 0] - points[a, 0],
            points[c, 1] - points[a, 1],
            points[c, 2] - points[a, 2],
        )
        nx, ny, nz = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
        for k in range(3):
            v = faces[f, k]
            out[v, 0] += nx
            out[v, 1] += ny
            out[v, 2] += nz
    for v in range(out.shape[0]):
        length = np.sqrt(out[v, 0] ** 2 + out[v, 1] ** 2 + out[v, 2] ** 2) + 1e-12
        for k in range(3):
            out[v, k] /= length
