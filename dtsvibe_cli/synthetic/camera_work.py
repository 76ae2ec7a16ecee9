"""Cameras that film people: any side, high or low, wide or long, held, panned, moved, zoomed."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from dtsvibe_cli.synthetic.places import Camera


@dataclass(frozen=True, kw_only=True)
class Shot:
    """How a scene is filmed."""

    size: tuple[int, int]
    """Width and height of the picture, pixels."""
    person_px: float
    """How tall an upright person of ordinary height would be."""
    diagonal_fov_deg: float
    yaw: float
    pitch: float
    """Radians; positive looks down."""
    roll: float
    manner: str
    """``still``, ``pan``, ``follow`` (moves along), ``held`` (by hand)."""
    shake: float
    zoom: float
    """Logarithm of the focal length's change from beginning to end."""


_SHAPES = ((16, 9), (16, 9), (4, 3), (3, 2), (1, 1), (3, 4), (9, 16), (9, 16))


def random_shot(rng: np.random.Generator) -> Shot:
    """Some way to film, small pictures with people of 150 to 350 pixels."""
    shape = _SHAPES[rng.integers(len(_SHAPES))]
    scale = math.sqrt(float(rng.uniform(90e3, 150e3)) / (shape[0] * shape[1]))
    size = (2 * round(scale * shape[0] / 2), 2 * round(scale * shape[1] / 2))
    fov = float(np.clip(rng.normal(58, 16), 18, 105))
    pitch = rng.uniform(0.3, 1.2) if rng.random() < 0.15 else rng.normal(0.08, 0.18)
    return Shot(
        size=size,
        person_px=size[1] * float(np.exp(rng.uniform(np.log(0.55), np.log(1.05)))),
        diagonal_fov_deg=fov,
        yaw=rng.uniform(0, 2 * np.pi),
        pitch=float(np.clip(pitch, -0.7, 1.3)),
        roll=rng.normal(0, 0.2 if rng.random() < 0.1 else 0.03),
        manner=str(rng.choice(["still", "pan", "follow", "held"], p=[0.25, 0.25, 0.2, 0.3])),
        shake=float(rng.choice([0.0, rng.uniform(0.1, 1.0), rng.uniform(1, 3)], p=[0.3, 0.5, 0.2])),
        zoom=rng.normal(0, 0.25) if rng.random() < 0.2 else 0.0,
    )


def film(
    shot: Shot,
    pelvis: Float[np.ndarray, "frame 3"],
    rate_hz: float,
    rng: np.random.Generator,
    *,
    floor: bool = True,
) -> list[Camera]:
    """A camera for each frame, aimed at somebody whose pelvis moves so.

    ``floor`` keeps it above the ground (y = 0).
    """
    frames = len(pelvis)
    focal = math.hypot(*shot.size) / 2 / math.tan(math.radians(shot.diagonal_fov_deg) / 2)
    distance = max(1.4, focal * 1.7 / shot.person_px)
    focal = distance * shot.person_px / 1.7
    middle = pelvis.mean(0)
    travels = np.ptp(pelvis, axis=0).max() > 1.2
    if shot.manner == "still" and not travels:
        aim = np.tile(middle, (frames, 1))
    else:
        lag = 0.05 if shot.manner == "follow" else 0.25
        aim = gaussian_filter1d(pelvis, max(1.0, lag * rate_hz), axis=0, mode="nearest")
    level = math.cos(shot.pitch)
    back = np.array([math.sin(shot.yaw) * level, math.sin(shot.pitch), math.cos(shot.yaw) * level])
    stands = aim if shot.manner == "follow" else np.tile(middle, (frames, 1))
    position = stands + back * distance + _wander(rng, frames, rate_hz, 0.015 * shot.shake)
    # somebody who runs at the camera is not run through
    offset = position - pelvis
    gap = np.linalg.norm(offset, axis=1, keepdims=True)
    position = pelvis + offset * np.maximum(gap, 1.2) / np.maximum(gap, 1e-6)
    if floor:
        position[:, 1] = np.maximum(position[:, 1], 0.15)
    framing = rng.normal(0, 0.06, 3) * 1.7 * (min(shot.size) / shot.person_px)
    aim = aim + framing + _wander(rng, frames, rate_hz, 0.012 * shot.shake * distance)
    zoom = np.exp(shot.zoom * np.linspace(-0.5, 0.5, frames))
    roll = shot.roll + _wander(rng, frames, rate_hz, 0.004 * shot.shake)[:, 0]
    return [_look(position[k], aim[k], roll[k], focal * zoom[k], shot.size) for k in range(frames)]


def _look(
    position: Float[np.ndarray, "3"],
    aim: Float[np.ndarray, "3"],
    roll: float,
    focal_px: float,
    size: tuple[int, int],
) -> Camera:
    forward = aim - position
    forward /= np.linalg.norm(forward)
    up = np.array([0.0, 1.0, 0.0])
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-3:
        right = np.array([1.0, 0.0, 0.0])
    right /= np.linalg.norm(right)
    level = np.stack([right, np.cross(forward, right), forward])
    cos, sin = math.cos(roll), math.sin(roll)
    R = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ level
    K = np.array([[focal_px, 0, size[0] / 2], [0, focal_px, size[1] / 2], [0, 0, 1]])
    return Camera(R=R, t=-R @ position, K=K)


def _wander(
    rng: np.random.Generator, frames: int, rate_hz: float, amount: float
) -> Float[np.ndarray, "frame 3"]:
    """Smooth random movement of the given deviation."""
    sigma = max(0.5, 0.15 * rate_hz)
    margin = int(4 * sigma)
    noise = gaussian_filter1d(rng.standard_normal((frames + 2 * margin, 3)), sigma, axis=0)
    kept = noise[margin : margin + frames]
    return np.asarray(kept * amount * np.sqrt(2 * np.sqrt(np.pi) * sigma))
