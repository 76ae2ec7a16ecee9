"""Pairs of crops whose optical flow is exactly known: drawn people who move before moving ground.

The person's flow is that of the mesh point seen in each pixel, the ground's that of a homography;
textures move with them, light does not. Both pictures then get blur, noise, another exposure and
JPEG's artefacts. A pair is a function of its seed.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from dtsvibe_cli.geometry.rotations import rotvec_to_rotmat
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.synthetic.appearance import SOLE_M, DressedBody, dress, paint
from dtsvibe_cli.synthetic.motion import WorldMotion, write_motion
from dtsvibe_cli.synthetic.noise import fractal_noise
from dtsvibe_cli.synthetic.render import Fragments, average_down, project, rasterise, vertex_normals

TUNED_BELOW: Final = 100
"""Seeds below this were looked at while the estimators were made."""
HELD_OUT_FROM: Final = 10**6
"""Seeds from this on are for measuring only."""

NUM_PEOPLE: Final = 24
"""Different bodies, clothes and scripts; the pairs of one person differ in all else."""

_OVERSAMPLING: Final = 2
_SCRIPT_S: Final = 6.0
_SCRIPT_HZ: Final = 120.0
_UP: Final = np.diag([1.0, -1.0, -1.0])
"""From the script's axes (y up) to a camera's."""

Picture = Float[np.ndarray, "side side 3"]
Field = Float[np.ndarray, "side side 2"]


@dataclass(frozen=True, kw_only=True)
class FlowPair:
    """Two crops under one transform, and how the picture moved from the one into the other."""

    before: UInt8[np.ndarray, "side side 3"]
    now: UInt8[np.ndarray, "side side 3"]
    flow_px: Float[np.ndarray, "2 side side"]
    """For each pixel of ``now``: how far what is there has come, (dx, dy)."""
    person: Bool[np.ndarray, "side side"]
    """Where ``now`` shows the person."""


@dataclass(frozen=True, kw_only=True)
class _Actor:
    """Somebody dressed, with a script of motion."""

    dressed: DressedBody
    motion: WorldMotion


@dataclass(frozen=True, kw_only=True)
class _Shot:
    """The person before one camera, at one time."""

    points: Float[np.ndarray, "vertex 3"]
    K: Float[np.ndarray, "3 3"]


def make_pair(seed: int, side: int = 128) -> FlowPair:
    """The pair of a seed, ``side`` pixels high and wide."""
    rng = np.random.default_rng((seed, 2022))
    actor = _actor(int(rng.integers(NUM_PEOPLE)))
    shots = _shoot(actor, rng, side)
    ground = _ground(rng, side)
    homography = _ground_motion(rng, side, shots)
    light = rng.normal(size=3) * [1.0, 0.5, 0.5] + [0, -1.0, -0.8]
    light /= np.linalg.norm(light)
    pictures = [
        _draw(actor, shot, _moved(ground, matrix, side), light, side)
        for shot, matrix in zip(shots, (homography, np.eye(3)), strict=True)
    ]
    flow, person = _exact_flow(actor, shots, homography, side)
    before, now = _filmed(pictures, rng)
    return FlowPair(before=before, now=now, flow_px=flow.transpose(2, 0, 1), person=person)


@cache
def _body() -> BodyModel:
    return load_body_model()


@cache
def _actor(number: int) -> _Actor:
    rng = np.random.default_rng((number, 7))
    body = _body()
    betas = rng.normal(0, 0.8, body.num_betas)
    motion = write_motion(
        body,
        betas,
        num_frames=int(_SCRIPT_S * _SCRIPT_HZ),
        frame_rate=_SCRIPT_HZ,
        sole_m=SOLE_M,
        seed=number + 1,
    )
    return _Actor(dressed=dress(body, betas, seed=number + 1), motion=motion)


def _shoot(actor: _Actor, rng: np.random.Generator, side: int) -> tuple[_Shot, _Shot]:
    """The person at two times, before a camera at any side; cut to a crop around the later one."""
    step = int(rng.choice([2, 4, 4, 5, 8, 10]))  # at 60, 30, 24, 15 and 12 frames a second
    last = int(rng.integers(10, len(actor.motion.transl)))
    haste = np.exp(rng.normal(0, 0.5))  # some move faster than the script
    first = max(0, round(last - step * haste))
    loose = _turns(rng.normal(0, 0.25, (24, 3)))
    loose[0] = np.eye(3)
    # and some throw their limbs about
    swing = rng.normal(size=(24, 3)) * (rng.random() < 0.5) * 0.012 * step
    swing[0] *= 0.3
    points = []
    for frame, turn in ((first, loose @ _turns(swing)), (last, loose)):
        local = actor.motion.body_pose_rotmat[frame]
        pose = np.concatenate([actor.motion.global_orient_rotmat[frame, None], local]) @ turn
        points.append(_vertices(actor, pose, actor.motion.transl[frame]))
    return _before_camera(points, rng, side)


def _turns(rotvecs: Float[np.ndarray, "turn 3"]) -> Float[np.ndarray, "turn 3 3"]:
    return rotvec_to_rotmat(torch.from_numpy(rotvecs)).numpy()


def _vertices(
    actor: _Actor, pose: Float[np.ndarray, "24 3 3"], transl: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, "vertex 3"]:
    body = actor.dressed.body
    vertices = body.vertices(
        torch.from_numpy(pose[None]).float(),
        torch.from_numpy(actor.motion.betas[None]).float(),
        torch.from_numpy(transl[None]).float(),
    )
    array: Float[np.ndarray, "vertex 3"] = vertices[0].double().numpy()
    return array


def _before_camera(
    points: list[Float[np.ndarray, "vertex 3"]], rng: np.random.Generator, side: int
) -> tuple[_Shot, _Shot]:
    yaw, pitch, roll = rng.uniform(-np.pi, np.pi), rng.normal(0.1, 0.25), rng.normal(0, 0.1)
    turns = _turns(np.array([[0, yaw, 0], [pitch, 0, 0], [0, 0, roll]]))
    turn = turns[2] @ turns[1] @ _UP @ turns[0]
    middle = points[1].mean(0)
    distance = np.array([0, 0, rng.uniform(2.5, 9.0)])
    before, now = ((each - middle) @ turn.T + distance for each in points)
    flat = now[:, :2] / now[:, 2:]
    extent = np.ptp(flat, axis=0).max() * rng.uniform(1.1, 1.7)
    center = (flat.max(0) + flat.min(0)) / 2 + rng.normal(0, 0.05, 2) * extent
    focal = side / extent
    K = np.array(
        [[focal, 0, side / 2 - focal * center[0]], [0, focal, side / 2 - focal * center[1]],
         [0, 0, 1]]
    )  # fmt: skip
    pan = np.zeros((3, 3))
    pan[:2, 2] = rng.normal(0, 0.02 * side, 2) * (rng.random() < 0.6)
    return _Shot(points=before, K=K + pan), _Shot(points=now, K=K)


def _ground(rng: np.random.Generator, side: int) -> Picture:
    """A texture, twice as large as the crop: grain and patches with edges, often little of both."""
    size = 2 * side
    y, x = np.mgrid[:size, :size]
    points = np.stack([x, y], -1).reshape(-1, 2) / rng.uniform(4, 40) * (128 / side)
    picture = np.full((size, size, 3), rng.uniform(0.15, 0.85, 3))
    for _ in range(int(rng.integers(0, 30))):
        corners = rng.uniform(0, size, 2) + rng.normal(0, 0.15 * size, (int(rng.integers(3, 6)), 2))
        cv2.fillPoly(picture, [corners.astype(np.int32)], rng.uniform(0.05, 0.95, 3).tolist())
    grain = fractal_noise(points, seed=int(rng.integers(10**6)), octaves=4)
    contrast = rng.choice([0.02, 0.08, 0.2, 0.35])
    colour = rng.normal(1, 0.25, 3)
    return np.asarray(picture + contrast * grain.reshape(size, size, 1) * colour)


def _ground_motion(
    rng: np.random.Generator, side: int, shots: tuple[_Shot, _Shot]
) -> Float[np.ndarray, "3 3"]:
    """From pixels of the later crop to where they were: the camera's pan, and a little more."""
    pan = shots[0].K[:2, 2] - shots[1].K[:2, 2]
    moving = rng.random() < 0.7
    shift = pan + moving * rng.normal(0, 0.012 * side, 2)
    linear = np.eye(2) + moving * rng.normal(0, 0.012, (2, 2))
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = shift + side / 2 - linear @ np.full(2, side / 2)
    matrix[2, :2] = moving * rng.normal(0, 0.0002, 2) * 128 / side
    return matrix


def _moved(ground: Picture, to_before: Float[np.ndarray, "3 3"], side: int) -> Picture:
    """The ground as a crop sees it, drawn larger by the oversampling.

    ``to_before`` takes pixels of the later crop, in which the ground stands, to those of this one.
    """
    scale = np.diag([_OVERSAMPLING, _OVERSAMPLING, 1.0])
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])  # from indices to pixels
    offset = np.array([[1, 0, -side / 2], [0, 1, -side / 2], [0, 0, 1.0]])
    forward = np.linalg.inv(half) @ scale @ to_before @ offset @ half
    size = _OVERSAMPLING * side
    picture = cv2.warpPerspective(
        ground, forward, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    return np.asarray(picture)


def _draw(
    actor: _Actor,
    shot: _Shot,
    ground: Picture,
    light: Float[np.ndarray, " 3"],
    side: int,
) -> Picture:
    """The person over the ground, still larger than the crop."""
    size = _OVERSAMPLING * side
    faces = actor.dressed.body.faces.numpy()
    seen = rasterise(
        shot.points, faces, np.diag([_OVERSAMPLING, _OVERSAMPLING, 1.0]) @ shot.K, (size, size)
    )
    albedo = paint(seen.interpolate(actor.dressed.rest_points, faces), actor.dressed.look)
    normal = seen.interpolate(vertex_normals(shot.points, faces), faces)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    brightness = 0.5 + 0.55 * np.clip((normal @ light + 0.2) / 1.2, 0, None)
    picture = ground.copy()
    picture.reshape(-1, 3)[seen.pixel] = albedo * brightness[:, None]
    return picture


def _exact_flow(
    actor: _Actor,
    shots: tuple[_Shot, _Shot],
    homography: Float[np.ndarray, "3 3"],
    side: int,
) -> tuple[Field, Bool[np.ndarray, "side side"]]:
    """Flow at the pixel centres of the later crop, and where the person is."""
    y, x = np.mgrid[:side, :side] + 0.5
    pixels = np.stack([x, y], -1)
    was = np.concatenate([pixels, np.ones((side, side, 1))], -1) @ homography.T
    flow = pixels - was[..., :2] / was[..., 2:]
    before, now = shots
    faces = actor.dressed.body.faces.numpy()
    seen: Fragments = rasterise(now.points, faces, now.K, (side, side))
    came_from = project(seen.interpolate(before.points, faces), before.K)
    person = np.zeros(side * side, bool)
    person[seen.pixel] = True
    flow.reshape(-1, 2)[seen.pixel] = pixels.reshape(-1, 2)[seen.pixel] - came_from
    return flow, person.reshape(side, side)


def _filmed(
    pictures: list[Picture], rng: np.random.Generator
) -> list[UInt8[np.ndarray, "small small 3"]]:
    """What a camera and a video file make of two pictures."""
    blur = rng.uniform(0.6, 3.0)  # of the oversampled picture; small people are enlarged
    noise = rng.choice([0.002, 0.008, 0.02])
    gains = np.exp(rng.normal(0, 0.01 + 0.07 * (rng.random() < 0.3), 2))
    quality = int(rng.integers(35, 96))
    filmed = []
    for picture, gain in zip(pictures, gains, strict=True):
        soft = cv2.GaussianBlur(picture, (0, 0), blur) * gain
        sensor = rng.normal(0, noise * _OVERSAMPLING, picture.shape)
        small = average_down(soft + sensor, _OVERSAMPLING)
        _, packed = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
        filmed.append(np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), dtype=np.uint8))
    return filmed
