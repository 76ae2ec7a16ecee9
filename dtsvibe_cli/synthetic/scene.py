"""The place: textured flat pieces (floor, walls, props, sky), and a hand-held camera.

World coordinates as in :mod:`gait`: metres, y up, floor at y = 0; the camera starts on the positive
z side.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter1d

SUN_DIRECTION = np.array([0.45, 0.75, 0.50]) / np.linalg.norm([0.45, 0.75, 0.50])
"""From the scene to the light."""
_PIXELS_PER_M = 120
Texture = Float[np.ndarray, "rows columns 3"]


@dataclass(frozen=True, kw_only=True)
class Quad:
    """A textured parallelogram."""

    origin: Float[np.ndarray, " 3"]
    """Corner where the texture's first row and column lie, metres."""
    across: Float[np.ndarray, " 3"]
    """From the first to the last column."""
    down: Float[np.ndarray, " 3"]
    """From the first to the last row."""
    texture: Texture
    """Colours, 0 to 1, light included."""


@dataclass(frozen=True, kw_only=True)
class CameraPath:
    """A pinhole camera at every frame; ``x_cam = R_cam_world @ x_world + t_cam_world``."""

    R_cam_world: Float[np.ndarray, "frame 3 3"]
    t_cam_world: Float[np.ndarray, "frame 3"]


@dataclass(frozen=True, kw_only=True)
class Backdrop:
    """The empty scene as one camera sees it."""

    rgb: Float[np.ndarray, "height width 3"]
    depth: Float[np.ndarray, "height width"]
    """Along the camera's axis, metres."""
    quad: Int[np.ndarray, "height width"]
    """Which quad is seen; 0 is the floor."""


def _grain(
    random: np.random.Generator, rows: int, columns: int, cell: int
) -> Float[np.ndarray, "{rows} {columns} 1"]:
    """Smooth random values around 0, ``cell`` pixels from one bump to the next."""
    coarse = random.standard_normal((rows // cell + 3, columns // cell + 3)).astype(np.float32)
    smooth = cv2.resize(
        coarse, (columns + 2 * cell, rows + 2 * cell), interpolation=cv2.INTER_CUBIC
    )
    return np.asarray(smooth[cell : cell + rows, cell : cell + columns, None], dtype=np.float32)


def _plaster(
    random: np.random.Generator, size_m: tuple[float, float], colour: tuple[float, float, float]
) -> Texture:
    columns, rows = (max(8, round(length * _PIXELS_PER_M)) for length in size_m)
    shade = 1 + 0.05 * _grain(random, rows, columns, 60) + 0.04 * _grain(random, rows, columns, 9)
    shade += 0.03 * _grain(random, rows, columns, 2)
    return np.asarray(np.array(colour, np.float32) * shade, dtype=np.float32)


def _tiles(
    random: np.random.Generator,
    size_m: tuple[float, float],
    colour: tuple[float, float, float],
    tile_m: tuple[float, float],
    *,
    shifted: bool,
) -> Texture:
    """Bricks or paving: every tile has its own shade, joints are darker."""
    texture = _plaster(random, size_m, colour)
    rows, columns, _ = texture.shape
    y, x = (np.arange(count) / _PIXELS_PER_M for count in (rows, columns))
    row = np.floor(y / tile_m[1]).astype(int)
    along = x[None, :] / tile_m[0] + (0.5 * (row % 2))[:, None] * shifted
    column = np.floor(along).astype(int)
    shades = random.uniform(0.80, 1.15, (row.max() + 1, column.max() + 1))
    texture *= shades[row[:, None], column][..., None].astype(np.float32)
    joint = (np.mod(along, 1) * tile_m[0] < 0.012) | (np.mod(y, tile_m[1]) < 0.012)[:, None]
    texture[joint] *= 0.55
    return texture


def _sky(random: np.random.Generator) -> Texture:
    rows, columns = 300, 600
    height = np.linspace(1, 0, rows, dtype=np.float32)[:, None, None]
    blue = np.array([0.42, 0.60, 0.84], np.float32) * height
    blue = blue + np.array([0.83, 0.88, 0.92], np.float32) * (1 - height)
    cloud = np.clip(
        _grain(random, rows, columns, 50) + 0.5 * _grain(random, rows, columns, 20), 0, 1
    )
    return np.asarray(blue + 0.6 * cloud * (0.97 - blue), dtype=np.float32)


def _box(
    random: np.random.Generator,
    corner: tuple[float, float, float],
    size: tuple[float, float, float],
    colour: tuple[float, float, float],
) -> list[Quad]:
    """The four sides of a box that the camera may see, and its top; lit by the sun."""
    low, (w, h, d) = np.array(corner), size
    x, y, z = np.array([w, 0, 0.0]), np.array([0, h, 0.0]), np.array([0, 0, d])
    sides = (
        (low + y + z, x, -y, (0, 0, 1), (w, h)),
        (low + y, x, -y, (0, 0, -1), (w, h)),
        (low + y, z, -y, (-1, 0, 0), (d, h)),
        (low + x + y + z, -z, -y, (1, 0, 0), (d, h)),
        (low + y, x, z, (0, 1, 0), (w, d)),
    )
    quads = []
    for origin, across, down, normal, size_m in sides:
        light = np.float32(0.55 + 0.55 * max(0.0, float(SUN_DIRECTION @ normal)))
        texture = _plaster(random, size_m, colour) * light
        quads.append(Quad(origin=origin, across=across, down=down, texture=texture))
    return quads


def courtyard(seed: int) -> tuple[Quad, ...]:
    """A paved yard: walls, windows, bench, plant box, pillar, sky. The floor comes first."""
    random = np.random.default_rng(seed)

    def flat(x: float, y: float, z: float, width: float, height: float, texture: Texture) -> Quad:
        return Quad(
            origin=np.array([x, y, z]),
            across=np.array([width, 0.0, 0.0]),
            down=np.array([0, -height, 0.0]),
            texture=texture,
        )

    paving = _tiles(random, (20.0, 11.0), (0.66, 0.63, 0.58), (0.6, 0.4), shifted=True)
    floor = Quad(
        origin=np.array([-6.0, 0.0, -3.4]),
        across=np.array([20.0, 0.0, 0.0]),
        down=np.array([0.0, 0.0, 11.0]),
        texture=paving,
    )
    bricks = _tiles(random, (20.0, 3.0), (0.55, 0.58, 0.57), (0.25, 0.085), shifted=True)
    side = _plaster(random, (10.0, 3.4), (0.70, 0.69, 0.63))
    quads = [floor, flat(-6.0, 3.0, -3.4, 20.0, 3.0, bricks)]
    quads.append(
        Quad(
            origin=np.array([-3.6, 3.4, 6.6]),
            across=np.array([0.0, 0.0, -10.0]),
            down=np.array([0, -3.4, 0.0]),
            texture=side,
        )
    )
    for x, colour in (
        (-2.4, (0.25, 0.33, 0.40)),
        (0.9, (0.29, 0.36, 0.42)),
        (4.4, (0.22, 0.30, 0.36)),
    ):
        quads.append(
            flat(
                x - 0.06,
                2.36,
                -3.39,
                1.12,
                1.32,
                _plaster(random, (1.12, 1.32), (0.86, 0.85, 0.82)),
            )
        )
        quads.append(flat(x, 2.3, -3.38, 1.0, 1.2, _plaster(random, (1.0, 1.2), colour)))
        quads.append(
            flat(x + 0.48, 2.3, -3.37, 0.04, 1.2, _plaster(random, (0.04, 1.2), (0.86, 0.85, 0.82)))
        )
    quads.append(
        flat(
            -0.9,
            1.9,
            -3.38,
            0.9,
            0.6,
            _tiles(random, (0.9, 0.6), (0.80, 0.72, 0.40), (0.3, 0.2), shifted=False),
        )
    )
    quads += _box(random, (2.0, 0.0, -3.0), (1.5, 0.45, 0.45), (0.50, 0.36, 0.22))
    quads += _box(random, (-3.3, 0.0, -2.9), (0.7, 0.5, 0.7), (0.48, 0.47, 0.45))
    quads += _box(random, (-3.2, 0.5, -2.8), (0.5, 0.7, 0.5), (0.22, 0.36, 0.16))
    quads += _box(random, (3.0, 0.0, -1.6), (0.35, 3.2, 0.35), (0.72, 0.70, 0.66))
    quads.append(flat(-150.0, 75.0, -60.0, 300.0, 85.0, _sky(random)))
    return tuple(quads)


def follow(pelvis: Float[np.ndarray, "frame 3"], frame_rate: float, *, seed: int) -> CameraPath:
    """A camera on a shoulder: pans after the walker with a delay, drifts sideways, shakes."""
    frames = len(pelvis)
    random = np.random.default_rng(seed + 1)
    margin = int(2 * frame_rate)

    def shake(amount: float) -> Float[np.ndarray, "frame 3"]:
        noise = random.standard_normal((frames + 2 * margin, 3))
        slow = gaussian_filter1d(noise, 0.16 * frame_rate, axis=0)[margin : margin + frames]
        return np.asarray(slow * amount * np.sqrt(2 * np.sqrt(np.pi) * 0.16 * frame_rate))

    time = np.arange(frames) / frame_rate
    late = gaussian_filter1d(pelvis, 0.5 * frame_rate, axis=0, mode="nearest")
    sway = np.stack([0.35 * np.sin(0.9 * time), 0.05 * np.sin(1.3 * time), 0.0 * time], axis=-1)
    position = np.array([-0.25, 1.25, 3.85]) + sway + shake(0.008)
    # step back from somebody who comes close
    position[:, 2] += 0.8 * np.clip(late[:, 2], 0, None)
    target = np.stack(
        [0.75 * late[:, 0], np.full(frames, 0.98), 0.75 * late[:, 2]], axis=-1
    ) + shake(0.012)
    forward = target - position
    forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
    roll = np.array([0.0, 1.0, 0.0]) + shake(0.004)
    right = np.cross(forward, roll)
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    R = np.stack([right, np.cross(forward, right), forward], axis=1)
    return CameraPath(R_cam_world=R, t_cam_world=-(R @ position[..., None])[..., 0])


def view(
    quads: tuple[Quad, ...],
    R_cam_world: Float[np.ndarray, "3 3"],
    t_cam_world: Float[np.ndarray, " 3"],
    K: Float[np.ndarray, "3 3"],
    size: tuple[int, int],
) -> Backdrop:
    """The empty scene seen by one camera; ``size`` is width and height."""
    width, height = size
    x = (np.arange(width, dtype=np.float32) + 0.5)[None, :]
    y = (np.arange(height, dtype=np.float32) + 0.5)[:, None]
    rgb = np.zeros((height, width, 3), np.float32)
    nearness = np.zeros((height, width), np.float32)
    seen = np.full((height, width), -1, np.int16)
    for index, quad in enumerate(quads):
        # K [across down origin] (a, b, 1) = depth (x, y, 1), inverted: a/depth, b/depth, 1/depth
        columns = np.stack([quad.across, quad.down, quad.origin], axis=-1)
        plane = R_cam_world @ columns
        plane[:, 2] += t_cam_world
        forms = np.linalg.inv(K @ plane).astype(np.float32)
        a, b, inverse = (form[0] * x + form[1] * y + form[2] for form in forms)
        front = (inverse > nearness) & (a >= 0) & (a <= inverse) & (b >= 0) & (b <= inverse)
        if not front.any():
            continue
        rows = np.flatnonzero(front.any(axis=1))
        part = slice(rows[0], rows[-1] + 1)
        safe = np.where(front[part], inverse[part], 1)
        texture_rows, texture_columns, _ = quad.texture.shape
        colours = cv2.remap(
            quad.texture,
            a[part] / safe * texture_columns - np.float32(0.5),
            b[part] / safe * texture_rows - np.float32(0.5),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        rgb[part][front[part]] = colours[front[part]]
        nearness[front], seen[front] = inverse[front], index
    return Backdrop(rgb=rgb, depth=1 / np.maximum(nearness, 1e-6), quad=seen)
