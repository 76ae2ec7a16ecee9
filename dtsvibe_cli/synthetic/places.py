"""Where a scene takes place: a panorama or a photograph behind the people, and its light.

A panorama says what is seen in every direction and what light comes from there; its people are lit
as the place is. A photograph says what is seen, and roughly the light. World axes: y is up.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.synthetic.fast_render import Light
from dtsvibe_cli.synthetic.noise import fractal_noise

_DETAIL: Final = 0.06
"""Strength of the fine grain that makes up for a small panorama's resolution."""

_BRIGHTEST: Final = 60.0
"""Panoramas are cut off here: a sun that is brighter makes ripples in interpolated pictures."""

_MAX_TAN: Final = 3.0
"""A backdrop reaches no further from its middle than this (72 degrees)."""

Picture = Float[np.ndarray, "_ _ 3"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A panorama or a photograph, linear light."""

    name: str
    picture: Picture
    is_panorama: bool
    """Whether the picture is a full equirectangular one, its middle row the horizon."""


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera; ``x_cam = R @ x_world + t``, OpenCV axes."""

    R: Float[np.ndarray, "3 3"]
    t: Float[np.ndarray, "3"]
    K: Float[np.ndarray, "3 3"]

    @property
    def centre(self) -> Float[np.ndarray, "3"]:
        """Where it stands, world."""
        return np.asarray(-self.R.T @ self.t)


@dataclass(frozen=True, kw_only=True)
class Backdrop:
    """What is behind the people: one flat picture, far away, seen by a moving camera."""

    picture: Picture
    K: Float[np.ndarray, "3 3"]
    """Intrinsics of the camera that would see it exactly so."""
    seen_from: Camera
    """That camera's place and orientation."""
    distance_m: float
    """From that camera to the picture's plane."""

    def homography(self, camera: Camera) -> Float[np.ndarray, "3 3"]:
        """From pixels of the picture to pixels of the camera."""
        normal = np.array([0.0, 0.0, 1.0])
        moved = camera.R @ (self.seen_from.centre - camera.centre)
        turn = camera.R @ self.seen_from.R.T + np.outer(moved, normal) / self.distance_m
        return np.asarray(camera.K @ turn @ np.linalg.inv(self.K))

    def draw(self, camera: Camera, size: tuple[int, int]) -> Picture:
        """The empty scene, linear light."""
        # OpenCV counts from the centre of the first pixel, we count from its corner
        shift = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1.0]])
        matrix = shift @ self.homography(camera) @ np.linalg.inv(shift)
        return np.asarray(
            cv2.warpPerspective(
                self.picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT101
            )
        )


def make_backdrop(
    place: Place, cameras: list[Camera], size: tuple[int, int], rng: np.random.Generator
) -> Backdrop:
    """The part of a place that the cameras see."""
    middle = cameras[len(cameras) // 2]
    width, height = size
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1.0]])
    seen = []
    for camera in cameras:
        rays = corners @ np.linalg.inv(camera.K).T @ camera.R @ middle.R.T
        ahead = rays[rays[:, 2] > 0.05]
        seen.append(ahead[:, :2] / ahead[:, 2:])
    both = np.clip(np.concatenate(seen), -_MAX_TAN, _MAX_TAN)
    low, high = both.min(0) - 0.05, both.max(0) + 0.05
    pixels_per_tan = float(middle.K[0, 0])
    shape = np.maximum(np.ceil((high - low) * pixels_per_tan), 8).astype(int)
    shrink = min(1.0, 1400 / shape.max())
    shape = np.maximum((shape * shrink).astype(int), 8)
    focal = pixels_per_tan * shrink
    K = np.array([[focal, 0, -low[0] * focal], [0, focal, -low[1] * focal], [0, 0, 1]])
    draw = _of_panorama if place.is_panorama else _of_photograph
    return Backdrop(
        picture=draw(place.picture, K, middle.R, (int(shape[0]), int(shape[1])), rng),
        K=K,
        seen_from=middle,
        distance_m=float(np.exp(rng.uniform(np.log(5), np.log(40)))),
    )


def _of_panorama(
    picture: Picture,
    K: Float[np.ndarray, "3 3"],
    R: Float[np.ndarray, "3 3"],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Picture:
    width, height = size
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones_like(x)], -1) @ R
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    rows, columns = picture.shape[:2]
    u = (np.arctan2(rays[..., 0], -rays[..., 2]) / (2 * np.pi) + 0.5) * columns
    v = (0.5 - np.arcsin(np.clip(rays[..., 1], -1, 1)) / np.pi) * rows
    wide = cv2.copyMakeBorder(picture, 0, 0, 4, 4, cv2.BORDER_WRAP)
    seen = cv2.remap(
        wide,
        (u + 3.5).astype(np.float32),
        (v - 0.5).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    seed = int(rng.integers(1 << 16))
    # grain tied to directions in space, so that it moves with the place
    coarse = fractal_noise(rays.reshape(-1, 3) * 60, seed=seed, octaves=3).reshape(height, width)
    grain = 1 + rng.uniform(0.3, 1.5) * _DETAIL * coarse[..., None]
    return np.asarray(np.clip(seen, 0, None) * grain, dtype=np.float32)


def _of_photograph(
    picture: Picture,
    K: Float[np.ndarray, "3 3"],
    R: Float[np.ndarray, "3 3"],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Picture:
    """A random part of the photograph that has the right shape."""
    width, height = size
    rows, columns = picture.shape[:2]
    largest = min(columns / width, rows / height)
    scale = largest * rng.uniform(0.55, 1.0)
    left = rng.uniform(0, columns - width * scale)
    top = rng.uniform(0, rows - height * scale)
    matrix = np.array([[scale, 0, left], [0, scale, top]])
    if rng.random() < 0.5:
        matrix = np.array([[-scale, 0, left + width * scale], [0, scale, top]])
    shrunk = cv2.GaussianBlur(picture, (0, 0), 0.5 * scale) if scale > 1.3 else picture
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(shrunk, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT101),
        dtype=np.float32,
    )


def light_of(place: Place, rng: np.random.Generator) -> Light:
    """The light on people in a place; a photograph's is guessed from its upper and lower half."""
    gloss = rng.uniform(0, 0.06)
    if place.is_panorama:
        return Light(
            ambient=_irradiance(place.picture),
            sun_direction=np.array([0.0, 1.0, 0.0]),
            sun=np.zeros(3),
            gloss=gloss,
        )
    rows = len(place.picture) // 2
    sky, ground = place.picture[:rows].mean((0, 1)), place.picture[rows:].mean((0, 1))
    sky, ground = 0.4 * sky + 0.6 * sky.mean(), 0.4 * ground + 0.6 * ground.mean()
    ambient = np.zeros((9, 3))
    ambient[0], ambient[1] = (sky + ground) / 2, (sky - ground) / 2
    strength = rng.uniform(0.2, 2.2) * float((sky + ground).mean() / 2)
    turn, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 1.4)
    direction = np.array([np.cos(turn) * np.cos(height), np.sin(height), np.sin(turn)])
    warm = np.array([1.0, rng.uniform(0.85, 1.0), rng.uniform(0.7, 1.0)])
    return Light(
        ambient=ambient + [[0.02]] * 9 * (np.arange(9) == 0)[:, None],
        sun_direction=direction / np.linalg.norm(direction),
        sun=strength * warm,
        gloss=gloss,
    )


def turned(place: Place, rng: np.random.Generator) -> Place:
    """A panorama with another direction ahead, or mirrored; photographs stay as they are."""
    if not place.is_panorama:
        return place
    picture = np.roll(place.picture, int(rng.integers(place.picture.shape[1])), axis=1)
    picture = picture[:, ::-1] if rng.random() < 0.5 else picture
    return Place(name=place.name, picture=np.ascontiguousarray(picture), is_panorama=True)


def _irradiance(panorama: Picture) -> Float[np.ndarray, "9 3"]:
    """Light that a white surface sends back, by its normal: nine coefficients a colour."""
    small = cv2.resize(panorama, (64, 32), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    height = np.pi * (0.5 - (np.arange(32) + 0.5) / 32)
    turn = 2 * np.pi * ((np.arange(64) + 0.5) / 64 - 0.5)
    height, turn = (grid.ravel() for grid in np.meshgrid(height, turn, indexing="ij"))
    directions = np.stack(
        [np.cos(height) * np.sin(turn), np.sin(height), -np.cos(height) * np.cos(turn)], -1
    )
    solid = np.cos(height) * (np.pi / 32) * (2 * np.pi / 64)
    normals = np.random.default_rng(0).standard_normal((300, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    sent = (np.clip(normals @ directions.T, 0, None) * solid) @ small / np.pi
    x, y, z = normals.T
    basis = np.stack(
        [np.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], -1
    )
    coefficients, *_ = np.linalg.lstsq(basis, sent, rcond=None)
    return np.asarray(coefficients)


def made_up_place(rng: np.random.Generator) -> Place:
    """A place without any photograph: a floor and a wall of smooth noise."""
    rows, columns = 400, 600
    x, y = np.meshgrid(np.arange(columns) / 90, np.arange(rows) / 90)
    field = fractal_noise(
        np.stack([x, y, 0 * x], -1).reshape(-1, 3), seed=int(rng.integers(1 << 16)), octaves=5
    ).reshape(rows, columns, 1)
    wall, floor, spots = rng.uniform(0.03, 0.7, (3, 3))
    horizon = rng.uniform(0.35, 0.75) * rows
    base = np.where((np.arange(rows) < horizon)[:, None, None], wall, floor)
    picture = base * (1 + 0.4 * field) + np.clip(field - 0.3, 0, 1) * spots
    return Place(
        name="made up", picture=np.clip(picture, 0, 1).astype(np.float32), is_panorama=False
    )


class PlaceLibrary:
    """Places kept in a folder: panoramas (.npz, linear light) and photographs (.jpg).

    Raises:
        DataError: There are none.
    """

    def __init__(self, folder: Path, panorama_share: float = 0.7) -> None:
        self._panoramas = sorted(folder.glob("*.npz"))
        self._photographs = sorted(folder.glob("*.jpg"))
        self._panorama_share = panorama_share
        if not self._panoramas and not self._photographs:
            raise DataError(
                f"There are no places in {folder}: fetch them with `dtsvibe synthesize --collect`."
            )

    @property
    def names(self) -> list[str]:
        """What there is."""
        return [path.stem for path in (*self._panoramas, *self._photographs)]

    def draw(self, rng: np.random.Generator) -> Place:
        """One of the places."""
        panorama = rng.random() < self._panorama_share
        paths = self._panoramas if panorama else self._photographs
        paths = paths or self._panoramas or self._photographs
        return _read(paths[rng.integers(len(paths))])


@functools.lru_cache(maxsize=32)
def _read(path: Path) -> Place:
    if path.suffix == ".npz":
        with np.load(path) as file:
            picture = np.clip(np.nan_to_num(file["panorama"].astype(np.float32)), 0, _BRIGHTEST)
        return Place(name=path.stem, picture=picture, is_panorama=True)
    encoded = cv2.imread(str(path))
    if encoded is None:
        raise DataError(f"{path} is no picture; delete it.")
    picture = (encoded[..., ::-1].astype(np.float32) / 255) ** 2.2
    return Place(name=path.stem, picture=picture, is_panorama=False)
