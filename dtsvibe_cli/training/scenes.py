"""Random scenes for the rendered stage: recorded motion on dressed people, filmed in a place.

A scene is a function of the seed and its index alone.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dtsvibe_cli.geometry.joints import BLAZEPOSE33
from dtsvibe_cli.geometry.rotations import rotvec_to_rotmat
from dtsvibe_cli.landmarks import LandmarkRegressor
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.synthetic.camera_work import Shot, film, random_shot
from dtsvibe_cli.synthetic.dressing import dress_person
from dtsvibe_cli.synthetic.film import Actor, Film, FilmedFrame, is_hidden
from dtsvibe_cli.synthetic.lens import random_footage
from dtsvibe_cli.synthetic.outfit import random_outfit
from dtsvibe_cli.synthetic.places import (
    Backdrop,
    Camera,
    Place,
    PlaceLibrary,
    light_of,
    made_up_place,
    make_backdrop,
    turned,
)
from dtsvibe_cli.synthetic.props import random_prop
from dtsvibe_cli.synthetic.render import project
from dtsvibe_cli.training.motion_bank import RATE_HZ, MotionBank
from dtsvibe_cli.training.windows import FRAME_RATES_HZ, loosened, varied_window

MIN_FRAMES: Final = 32
MAX_FRAMES: Final = 64

_LOOSENED: Final = 0.45
"""How often joints are turned away from what was recorded."""

_DEPTHS_M: Final = {
    "shoulder": 0.12, "elbow": 0.08, "wrist": 0.06, "hip": 0.17, "knee": 0.10, "ankle": 0.08,
    "heel": 0.07, "foot": 0.07,
}  # fmt: skip
_DEPTH_INSIDE_M: Final = np.array(
    [next((d for key, d in _DEPTHS_M.items() if key in name), 0.05) for name in BLAZEPOSE33]
)
"""How deep below clothes each landmark may lie and still count as seen."""


@dataclass(frozen=True, kw_only=True)
class PersonTruth:
    """What is true of one person, in the coordinates of the real camera of each frame."""

    full_pose: Float[Tensor, "frame 24 3 3"]
    betas: Float[np.ndarray, "10"]
    joints_cam: Float[np.ndarray, "frame 24 3"]
    joints_px: Float[np.ndarray, "frame 24 2"]
    landmarks_cam: Float[np.ndarray, "frame 33 3"]
    landmarks_px: Float[np.ndarray, "frame 33 2"]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A film and what is true of the people in it."""

    film: Film
    people: tuple[PersonTruth, ...]
    rate_hz: float
    place: str
    shot: Shot


@dataclass(frozen=True, kw_only=True)
class _Performance:
    """One person's motion in the world (y up, floor at 0)."""

    actor: Actor
    pose: Float[Tensor, "frame 24 3 3"]
    joints: Float[np.ndarray, "frame 24 3"]
    landmarks: Float[np.ndarray, "frame 33 3"]
    betas: Float[np.ndarray, "10"]


class Director:
    """Makes scenes.

    Args:
        bank: Motion to draw from.
        body: The built-in body.
        places: Where scenes may take place; without any they take place nowhere in particular.
        frames: Shortest and longest length of a scene.
    """

    def __init__(
        self,
        bank: MotionBank,
        body: BodyModel,
        places: PlaceLibrary | None = None,
        frames: tuple[int, int] = (MIN_FRAMES, MAX_FRAMES),
    ) -> None:
        self._bank = bank
        self._body = body
        self._places = places
        self._frames = frames
        self._landmarks_of = LandmarkRegressor(body)

    def scene(self, seed: int, index: int) -> Scene:
        """One scene; the same for the same seed and index."""
        rng = np.random.default_rng((seed, index))
        frames = int(rng.integers(self._frames[0], self._frames[1] + 1))
        rate = float(rng.choice(FRAME_RATES_HZ))
        step = RATE_HZ / rate * rng.uniform(0.7, 1.3)
        grounded = rng.random() > 0.07
        number = int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))
        cast = [self._perform(frames, step, rng, grounded=grounded)]
        for _ in range(number - 1):
            other = self._perform(frames, step, rng, grounded=True)
            cast.append(_placed_near(cast[0], other, rng))
        shot = random_shot(rng)
        cameras = film(shot, cast[0].joints[:, 0], rate, rng)
        place = self._place(rng)
        backdrop = make_backdrop(place, cameras, shot.size, rng)
        light = light_of(place, rng)
        strongest = light.ambient[0] + 0.7 * np.linalg.norm(light.ambient[1:4], axis=0)
        exposure = _exposure(backdrop, strongest + 0.6 * light.sun)
        middle = cast[0].joints[frames // 2, 0]
        props = tuple(
            random_prop(cameras[frames // 2], middle, rng, float(light.ambient[0].mean()))
            for _ in range(int(rng.choice([0, 1, 2], p=[0.72, 0.2, 0.08])))
        )
        return Scene(
            film=Film(
                actors=tuple(performance.actor for performance in cast),
                cameras=cameras,
                backdrop=backdrop,
                props=props,
                light=light,
                footage=random_footage(rng, exposure),
                size=shot.size,
                shadow=rng.uniform(0.1, 0.55) if grounded and rng.random() < 0.8 else 0.0,
                seed=int(rng.integers(1 << 31)),
            ),
            people=tuple(_before(performance, cameras) for performance in cast),
            rate_hz=rate,
            place=place.name,
            shot=shot,
        )

    def _place(self, rng: np.random.Generator) -> Place:
        if self._places is None or rng.random() < 0.05:
            return made_up_place(rng)
        return turned(self._places.draw(rng), rng)

    def _perform(
        self, frames: int, step: float, rng: np.random.Generator, *, grounded: bool
    ) -> _Performance:
        """Somebody's looks and motion, standing on the floor at the origin."""
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        pose, transl = varied_window(self._bank, rng, frames, step)
        if rng.random() < _LOOSENED:
            pose = loosened(pose[None], generator)[0]
        turn = rng.normal(0, 1.8, 3) if not grounded else np.array([0, rng.uniform(0, 6.3), 0])
        rotation = rotvec_to_rotmat(torch.from_numpy(turn)).float()
        pose = pose.clone()
        pose[:, 0] = rotation @ pose[:, 0]
        transl = (transl - transl.mean(0)) @ rotation.T
        spread = np.array([1.0] * 5 + [0.7] * 5)
        betas = np.clip(rng.normal(0, 1, 10), -2.5, 2.5) * spread
        person = dress_person(self._body, betas, random_outfit(rng), rng)
        shape = torch.from_numpy(betas).float().expand(frames, -1)
        with torch.no_grad():
            posed = self._body.pose(pose, shape)
            moved = (transl - posed.joints[:, 0])[:, None]
            vertices = (person.vertices(posed) + moved).numpy()
            joints = (posed.joints + moved).numpy()
            landmarks = (self._landmarks_of(posed, shape) + moved).numpy()
        down = np.array([0.0, vertices[..., 1].min(), 0.0], np.float32)
        return _Performance(
            actor=Actor(person=person, vertices=vertices - down),
            pose=pose,
            joints=joints - down,
            landmarks=landmarks - down,
            betas=betas,
        )


def _placed_near(
    first: _Performance, other: _Performance, rng: np.random.Generator
) -> _Performance:
    """Somebody beside, behind or before the first."""
    way, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 2.6)
    frame = len(first.joints) // 2
    goal = first.joints[frame, 0] + far * np.array([np.cos(way), 0, np.sin(way)])
    by = (goal - other.joints[frame, 0]) * [1, 0, 1]
    by = by.astype(np.float32)
    return _Performance(
        actor=Actor(person=other.actor.person, vertices=other.actor.vertices + by),
        pose=other.pose,
        joints=other.joints + by,
        landmarks=other.landmarks + by,
        betas=other.betas,
    )


def _before(performance: _Performance, cameras: list[Camera]) -> PersonTruth:
    R = np.stack([camera.R for camera in cameras])
    t = np.stack([camera.t for camera in cameras])

    def seen(points: Float[np.ndarray, "frame point 3"]) -> Float[np.ndarray, "frame point 3"]:
        return np.asarray(points @ R.transpose(0, 2, 1) + t[:, None])

    def pixels(points: Float[np.ndarray, "frame point 3"]) -> Float[np.ndarray, "frame point 2"]:
        return np.stack([project(p, camera.K) for p, camera in zip(points, cameras, strict=True)])

    pose = performance.pose.clone()
    pose[:, 0] = torch.from_numpy(R).float() @ pose[:, 0]
    joints, landmarks = seen(performance.joints), seen(performance.landmarks)
    return PersonTruth(
        full_pose=pose,
        betas=performance.betas,
        joints_cam=joints,
        joints_px=pixels(joints),
        landmarks_cam=landmarks,
        landmarks_px=pixels(landmarks),
    )


def _exposure(backdrop: Backdrop, on_people: Float[np.ndarray, "3"]) -> float:
    """So that the place is of middling brightness and people in it are too."""
    place = float(np.percentile(backdrop.picture.mean(-1), 60)) + 1e-4
    people = 0.45 * float(on_people.mean()) + 1e-4
    return 0.30 / float(np.exp(0.4 * np.log(place) + 0.6 * np.log(people)))


def hidden_landmarks(
    scene: Scene, frame: FilmedFrame, person: int, index: int
) -> Bool[np.ndarray, "33"]:
    """Which landmarks of a person cannot be seen in a frame."""
    points = scene.people[person].landmarks_cam[index]
    return is_hidden(scene.film, frame, points, index, _DEPTH_INSIDE_M)
