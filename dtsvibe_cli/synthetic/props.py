"""Things that stand between the camera and the people: posts, tables, leaves, other flat shapes."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from dtsvibe_cli.synthetic.noise import fractal_noise
from dtsvibe_cli.synthetic.places import Camera

_SIDE_PX = 128


@dataclass(frozen=True, kw_only=True)
class Prop:
    """A flat, upright, textured thing with holes, fixed in the world."""

    corners: Float[np.ndarray, "4 3"]
    """Top left, top right, bottom left, bottom right; metres."""
    texture: Float[np.ndarray, "side side 4"]
    """Linear light, premultiplied, and coverage."""

    def draw(
        self, camera: Camera, size: tuple[int, int]
    ) -> Float[np.ndarray, "height width 4"] | None:
        """The thing as seen; None when it reaches behind the camera."""
        matrix = self.homography(camera)
        if matrix is None:
            return None
        shift = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1.0]])
        matrix = shift @ matrix @ np.linalg.inv(shift)
        return np.asarray(cv2.warpPerspective(self.texture, matrix, size, flags=cv2.INTER_LINEAR))

    def homography(self, camera: Camera) -> Float[np.ndarray, "3 3"] | None:
        """From pixels of the texture to pixels of the camera."""
        seen = self.corners @ camera.R.T + camera.t
        if seen[:, 2].min() < 0.2:
            return None
        across, down = seen[1] - seen[0], seen[2] - seen[0]
        plane = np.stack([across / _SIDE_PX, down / _SIDE_PX, seen[0]], axis=1)
        return np.asarray(camera.K @ plane)


def random_prop(
    camera: Camera, target: Float[np.ndarray, "3"], rng: np.random.Generator, brightness: float
) -> Prop:
    """Something between a camera and its target."""
    forward = target - camera.centre
    reach = float(np.linalg.norm(forward))
    forward = forward / reach
    share = rng.uniform(0.35, 0.85)
    side = np.cross(forward, [0.0, 1.0, 0.0])
    side /= np.linalg.norm(side) + 1e-9
    foot = camera.centre + forward * reach * share + side * rng.normal(0, 0.35) * share
    kind = rng.choice(["post", "table", "blob", "hedge"])
    wide, high, bottom = {
        "post": (rng.uniform(0.1, 0.5), 6.0, -1.0),
        "table": (rng.uniform(0.6, 3.0), rng.uniform(0.5, 1.1), 0.0),
        "blob": (rng.uniform(0.2, 0.7), rng.uniform(0.2, 0.8), rng.uniform(0.2, 1.6)),
        "hedge": (rng.uniform(1.0, 4.0), rng.uniform(0.3, 1.0), 0.0),
    }[str(kind)]
    low = np.array([foot[0], bottom, foot[2]])
    up, half = np.array([0.0, high, 0.0]), side * wide / 2
    return Prop(
        corners=np.stack([low - half + up, low + half + up, low - half, low + half]),
        texture=_texture(str(kind), rng, brightness),
    )


def _texture(
    kind: str, rng: np.random.Generator, brightness: float
) -> Float[np.ndarray, "side side 4"]:
    y, x = np.mgrid[0:_SIDE_PX, 0:_SIDE_PX] / _SIDE_PX
    points = np.stack([x, y, 0 * x], -1).reshape(-1, 3)
    seed = int(rng.integers(1 << 16))
    stretch = {"post": [2, 12, 1], "hedge": [24, 8, 1]}.get(kind, [6, 6, 1])
    field = fractal_noise(points * stretch, seed=seed, octaves=3).reshape(x.shape)
    colour = rng.uniform(0.1, 0.9, 3) if rng.random() < 0.4 else rng.uniform(0.1, 0.8)
    picture = brightness * (np.ones((*x.shape, 3)) * colour) * (1 + 0.35 * field[..., None])
    if rng.random() < 0.3:
        picture *= np.where(np.mod(x * rng.integers(3, 12), 1) < 0.5, 1.0, 0.5)[..., None]
    cover = np.ones_like(x)
    if kind == "blob":
        cover = (np.hypot(x - 0.5, y - 0.5) + 0.1 * field < 0.42) * 1.0
    elif kind == "hedge":
        edge = fractal_noise(points * [14, 14, 1], seed=seed + 7, octaves=3).reshape(x.shape)
        cover = (y + 0.35 * edge > 0.35) * 1.0
    picture = np.clip(picture, 0, 4) * cover[..., None]
    return np.concatenate([picture, cover[..., None]], -1).astype(np.float32)
