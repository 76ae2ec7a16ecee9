"""A z-buffer rasteriser without any GL library: numpy alone, or the same loop compiled by numba."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from dtsvibe_cli.datatypes import PinholeCamera
from dtsvibe_cli.stages.rendering import MeshInstance
from dtsvibe_cli.stages.rendering.compositing import SUPERSAMPLE, composite
from dtsvibe_cli.stages.rendering.shading import LitScene, light_scene

LINE_HALF_WIDTH = 0.5
"""Half the width of a wireframe's line, in samples: each triangle draws its half of an edge."""

_MAX_BATCH = 1 << 20
"""Samples worked on at once, so that a person filling the picture does not fill the memory."""


@dataclass(frozen=True, kw_only=True)
class _Triangles:
    """Triangles on the sample grid, with the slopes of their corners' barycentric weights.

    Weights are linear in the picture: ``along_x * (x - x2) + along_y * (y - y2)`` for the first two
    corners, and what is left to one for the third. One over depth is linear too.
    """

    x: Float[np.ndarray, "3 face"]
    y: Float[np.ndarray, "3 face"]
    inverse_depth: Float[np.ndarray, "3 face"]
    along_x: Float[np.ndarray, "3 face"]
    along_y: Float[np.ndarray, "3 face"]
    colors: Float[np.ndarray, "3 face 3"]
    """Of the corners, 0 to 255."""


def _triangles(scene: LitScene) -> _Triangles:
    offset = np.array([scene.region.left, scene.region.top], np.float32)
    grid = (scene.vertices_px - offset) * np.float32(SUPERSAMPLE)
    corners = scene.faces.T
    x, y = grid[:, 0][corners], grid[:, 1][corners]
    twice_area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    return _Triangles(
        x=x,
        y=y,
        inverse_depth=1 / scene.vertices_cam[:, 2][corners],
        along_x=np.stack([y[1] - y[2], y[2] - y[0], y[0] - y[1]]) / twice_area,
        along_y=np.stack([x[2] - x[1], x[0] - x[2], x[1] - x[0]]) / twice_area,
        colors=(scene.colors_rgb * np.float32(255))[corners],
    )


def _spans(
    triangles: _Triangles, width: int, height: int
) -> tuple[
    Int[np.ndarray, " span"],
    Int[np.ndarray, " span"],
    Int[np.ndarray, " span"],
    Int[np.ndarray, " span"],
]:
    """The runs of samples inside the triangles: face, row, first column and length of each."""
    first = np.maximum(np.ceil(triangles.y.min(0) - 0.5), 0).astype(np.int64)
    last = np.minimum(np.floor(triangles.y.max(0) - 0.5), height - 1).astype(np.int64)
    num_rows = np.maximum(last - first + 1, 0)
    face = np.repeat(np.arange(len(num_rows)), num_rows)
    row = np.arange(len(face)) + np.repeat(first - (np.cumsum(num_rows) - num_rows), num_rows)

    # inside where all three weights are positive: each bounds the run on the left or the right
    x2 = triangles.x[2, face]
    dy = (row + 0.5 - triangles.y[2, face]).astype(np.float32)
    left, right = np.full_like(dy, -1e9), np.full_like(dy, 1e9)
    for corner in range(3):
        rise = triangles.along_x[corner, face]
        at_x2 = triangles.along_y[corner, face] * dy + np.float32(corner == 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = x2 - at_x2 / rise
        np.maximum(left, crossing, out=left, where=rise > 0)
        np.minimum(right, crossing, out=right, where=rise < 0)
        right[(rise == 0) & (at_x2 < 0)] = -1e9
    column = np.clip(np.ceil(left - 0.5), 0, width).astype(np.int64)
    length = np.clip(np.floor(right - 0.5), -1, width - 1).astype(np.int64) - column + 1
    kept = np.flatnonzero(length > 0)
    return face[kept], row[kept], column[kept], length[kept]


def _nearest_faces(triangles: _Triangles, width: int, height: int) -> Int[np.ndarray, " sample"]:
    """For each sample one more than the index of the nearest face over it, or 0."""
    face, row, column, length = _spans(triangles, width, height)
    slope_x = (triangles.inverse_depth * triangles.along_x).sum(0)
    slope_y = (triangles.inverse_depth * triangles.along_y).sum(0)
    at_left = (
        triangles.inverse_depth[2, face]
        + slope_x[face] * (column + 0.5 - triangles.x[2, face])
        + slope_y[face] * (row + 0.5 - triangles.y[2, face])
    ).astype(np.float32)
    slope = slope_x[face]
    first_sample = row * width + column

    # positive floats order like their bits: one integer holds depth and face, the greatest wins
    buffer = np.zeros(width * height, np.int64)
    ends = np.cumsum(length)
    start = 0
    while start < len(face):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _MAX_BATCH, side="right")))
        part = slice(start, stop)
        run = length[part]
        step = np.arange(ends[stop - 1] - done) - np.repeat(ends[part] - run - done, run)
        depth = np.repeat(at_left[part], run)
        depth += np.repeat(slope[part], run) * step.astype(np.float32)
        key = depth.view(np.int32).astype(np.int64) << 32
        key |= np.repeat(face[part] + 1, run)
        np.maximum.at(buffer, np.repeat(first_sample[part], run) + step, key)
        start = stop
    return buffer & 0xFFFFFFFF


def _rasterise_numpy(
    triangles: _Triangles, width: int, height: int, wireframe: bool
) -> UInt8[np.ndarray, "samples_y samples_x 4"]:
    """Colour and alpha of each sample: the nearest faces first, then their colours."""
    nearest = _nearest_faces(triangles, width, height)
    layer = np.zeros((height * width, 4), np.uint8)
    hits = np.flatnonzero(nearest)
    for start in range(0, len(hits), _MAX_BATCH):
        sample = hits[start : start + _MAX_BATCH]
        face = nearest[sample] - 1
        row = sample // width
        dx = (sample - row * width + 0.5 - triangles.x[2, face]).astype(np.float32)
        dy = (row + 0.5 - triangles.y[2, face]).astype(np.float32)
        weights = triangles.along_x.take(face, 1) * dx + triangles.along_y.take(face, 1) * dy
        weights[2] += 1
        if wireframe:
            on_line = _distance_to_edge(triangles, weights, face) < LINE_HALF_WIDTH
            sample, face = sample[on_line], face[on_line]
            weights = weights.compress(on_line, 1)
        weights *= triangles.inverse_depth.take(face, 1)  # perspective-correct
        weights /= weights.sum(0)
        color = triangles.colors[0, face] * weights[0, :, None]
        color += triangles.colors[1, face] * weights[1, :, None]
        color += triangles.colors[2, face] * weights[2, :, None]
        layer[sample, :3] = np.clip(color, 0, 255) + np.float32(0.5)
        layer[sample, 3] = 255
    return layer.reshape(height, width, 4)


def _distance_to_edge(
    triangles: _Triangles, weights: Float[np.ndarray, "3 sample"], face: Int[np.ndarray, " sample"]
) -> Float[np.ndarray, " sample"]:
    """How far each sample is from the nearest edge of its face, in samples."""
    steepness = np.hypot(triangles.along_x, triangles.along_y)
    nearest: Float[np.ndarray, " sample"] = (weights / steepness.take(face, 1)).min(0)
    return nearest


def _rasterise_loop(
    x: Float[np.ndarray, "3 face"],
    y: Float[np.ndarray, "3 face"],
    inverse_depth: Float[np.ndarray, "3 face"],
    along_x: Float[np.ndarray, "3 face"],
    along_y: Float[np.ndarray, "3 face"],
    colors: Float[np.ndarray, "3 face 3"],
    line_half_width: float,
    layer: UInt8[np.ndarray, "samples_y samples_x 4"],
) -> None:
    """The same picture sample by sample, for numba; ``line_half_width`` < 0 fills the faces."""
    height, width = layer.shape[:2]
    nearest = np.zeros((height, width), np.float32)
    half, one, white = np.float32(0.5), np.float32(1), np.float32(255)
    for f in range(x.shape[1]):
        a0, a1, a2 = along_x[0, f], along_x[1, f], along_x[2, f]
        c0, c1, c2 = along_y[0, f], along_y[1, f], along_y[2, f]
        x0, x1, x2 = x[0, f], x[1, f], x[2, f]
        y0, y1, y2 = y[0, f], y[1, f], y[2, f]
        i0, i1, i2 = inverse_depth[0, f], inverse_depth[1, f], inverse_depth[2, f]
        top = max(0, int(np.ceil(min(y0, y1, y2) - 0.5)))
        bottom = min(height - 1, int(np.floor(max(y0, y1, y2) - 0.5)))
        left = max(0, int(np.ceil(min(x0, x1, x2) - 0.5)))
        right = min(width - 1, int(np.floor(max(x0, x1, x2) - 0.5)))
        for row in range(top, bottom + 1):
            dy = np.float32(row + 0.5) - y2
            for column in range(left, right + 1):
                dx = np.float32(column + 0.5) - x2
                w0, w1, w2 = a0 * dx + c0 * dy, a1 * dx + c1 * dy, a2 * dx + c2 * dy + one
                if w0 < 0 or w1 < 0 or w2 < 0:
                    continue
                z0, z1, z2 = w0 * i0, w1 * i1, w2 * i2
                depth = z0 + z1 + z2
                if depth <= nearest[row, column]:
                    continue
                nearest[row, column] = depth
                if line_half_width >= 0:
                    edge = min(w0 / np.hypot(a0, c0), w1 / np.hypot(a1, c1), w2 / np.hypot(a2, c2))
                    if edge >= line_half_width:
                        layer[row, column] = 0
                        continue
                far = one / depth
                for channel in range(3):
                    mixed = z0 * colors[0, f, channel] + z1 * colors[1, f, channel]
                    mixed = (mixed + z2 * colors[2, f, channel]) * far
                    layer[row, column, channel] = np.uint8(min(white, mixed) + half)
                layer[row, column, 3] = 255


@functools.cache
def _compiled_loop() -> Callable[..., None]:
    import numba

    # the tests wrap every function of the package to check its types; numba needs the plain one
    compiled: Callable[..., None] = numba.njit(cache=True, nogil=True)(
        inspect.unwrap(_rasterise_loop)
    )
    return compiled


def _rasterise_numba(
    triangles: _Triangles, width: int, height: int, wireframe: bool
) -> UInt8[np.ndarray, "samples_y samples_x 4"]:
    layer = np.zeros((height, width, 4), np.uint8)
    t = triangles
    half_width = LINE_HALF_WIDTH if wireframe else -1.0
    _compiled_loop()(t.x, t.y, t.inverse_depth, t.along_x, t.along_y, t.colors, half_width, layer)
    return layer


class SoftwareRenderer:
    """Renders on the CPU; ``compiled`` by numba, or in numpy alone."""

    def __init__(self, *, compiled: bool) -> None:
        self.name = "numba" if compiled else "numpy"
        self._rasterise = _rasterise_numba if compiled else _rasterise_numpy

    def draw(
        self,
        image: UInt8[np.ndarray, "height width 3"],
        meshes: Sequence[MeshInstance],
        camera: PinholeCamera,
        *,
        opacity: float = 1.0,
        wireframe: bool = False,
    ) -> UInt8[np.ndarray, "height width 3"]:
        """See :class:`dtsvibe_cli.stages.rendering.Renderer`."""
        height, width = image.shape[:2]
        scene = light_scene(meshes, camera, width, height) if opacity > 0 else None
        if scene is None:
            return image.copy()
        region = scene.region
        samples = (region.width * SUPERSAMPLE, region.height * SUPERSAMPLE)
        layer = self._rasterise(_triangles(scene), *samples, wireframe)
        return composite(image, layer, region, opacity)

    def close(self) -> None:
        """Nothing is held."""
