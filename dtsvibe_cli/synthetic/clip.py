"""Puts person, place and camera together and writes a synthetic video with its truth."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.synthetic.appearance import SOLE_M, DressedBody, dress, paint
from dtsvibe_cli.synthetic.motion import shaped_joints, write_motion
from dtsvibe_cli.synthetic.render import average_down, rasterise, vertex_normals
from dtsvibe_cli.synthetic.scene import SUN_DIRECTION, Backdrop, Quad, courtyard, follow, view
from dtsvibe_cli.synthetic.truth import Truth, save_truth, see_motion
from dtsvibe_cli.video import VideoWriter

FRAME_RATE = Fraction(30)
_FOCAL_PER_HEIGHT = 1.35
"""Focal length in picture heights: 53 degrees across at 4:3, close to a phone's main camera."""
_OVERSAMPLING = 2
_SENSOR_NOISE = 0.014


@dataclass(frozen=True, kw_only=True)
class Stage:
    """All that is needed to draw any frame of a clip."""

    person: DressedBody
    quads: tuple[Quad, ...]
    truth: Truth
    size: tuple[int, int]
    """Width and height of the video."""
    seed: int


@dataclass(frozen=True, kw_only=True)
class _Shot:
    """One frame's camera and body; drawn larger than the video by the oversampling."""

    points: Float[np.ndarray, "vertex 3"]
    """Vertices of the dressed body, metres, camera coordinates."""
    R: Float[np.ndarray, "3 3"]
    t: Float[np.ndarray, " 3"]
    K: Float[np.ndarray, "3 3"]
    size: tuple[int, int]


def make_clip(
    out_dir: Path,
    *,
    seconds: float = 5.0,
    width: int = 640,
    height: int = 480,
    seed: int = 0,
    name: str = "synthetic_walk",
) -> tuple[Path, Path]:
    """Writes ``NAME.mp4`` and ``NAME_truth.npz``; returns their paths.

    Args:
        out_dir: Folder of the two files; made when it is not there.
        seconds: Length, at 30 frames a second; the script repeats itself after six seconds.
        width: Picture width, pixels.
        height: Picture height, pixels.
        seed: Chooses shape, colours and all small irregularities. The same seed, the same truth.
        name: What the files are called.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    body = load_body_model()
    truth = make_truth(body, seconds=seconds, width=width, height=height, seed=seed)
    stage = build_stage(body, truth, size=(width, height), seed=seed)
    video_path, truth_path = out_dir / f"{name}.mp4", out_dir / f"{name}_truth.npz"
    with VideoWriter(video_path, frame_rate=FRAME_RATE) as writer:
        for index in range(len(truth.transl)):
            writer.write(draw_frame(stage, index), pts=index, time_base=1 / FRAME_RATE)
    save_truth(truth_path, truth, body, seed=seed)
    return video_path, truth_path


def make_truth(
    body: BodyModel, *, seconds: float = 5.0, width: int = 640, height: int = 480, seed: int = 0
) -> Truth:
    """The truth of the clip that :func:`make_clip` draws with the same arguments."""
    betas = np.zeros(body.num_betas)
    betas[:4] = (0.3, -0.4, 0.0, 0.9)  # seed 0 is a fixed, ordinary adult
    if seed:
        betas += np.random.default_rng(seed).normal(0, 0.6, body.num_betas)
    frames, fps = max(2, round(seconds * FRAME_RATE)), float(FRAME_RATE)
    motion = write_motion(body, betas, num_frames=frames, frame_rate=fps, sole_m=SOLE_M, seed=seed)
    pelvis = motion.transl + shaped_joints(body, betas)[0]
    return see_motion(
        body,
        motion,
        follow(pelvis, fps, seed=seed),
        focal_length_px=_FOCAL_PER_HEIGHT * height,
        center_px=(width / 2, height / 2),
        fps=fps,
    )


def build_stage(body: BodyModel, truth: Truth, *, size: tuple[int, int], seed: int) -> Stage:
    """Dresses the person of a truth and builds the place; ``size`` is width and height, pixels."""
    return Stage(
        person=dress(body, truth.betas, seed=seed),
        quads=courtyard(seed),
        truth=truth,
        size=size,
        seed=seed,
    )


def draw_frame(stage: Stage, index: int) -> UInt8[np.ndarray, "height width 3"]:
    """One frame, drawn large and averaged down, with a little blur and sensor noise."""
    shot = _shoot(stage, index)
    backdrop = view(stage.quads, shot.R, shot.t, shot.K, shot.size)
    picture = _shadowed(stage, shot, backdrop)
    _draw_person(stage, shot, backdrop, picture)
    picture = cv2.GaussianBlur(picture, (0, 0), 0.9)
    random = np.random.default_rng((stage.seed, index))
    noise = _SENSOR_NOISE * random.standard_normal(picture.shape, dtype=np.float32)
    return average_down(picture + noise, _OVERSAMPLING)


def _shoot(stage: Stage, index: int) -> _Shot:
    truth = stage.truth
    full_pose = np.concatenate(
        [truth.global_orient_rotmat[index, None], truth.body_pose_rotmat[index]]
    )
    full_pose_, betas, transl = (
        torch.from_numpy(array[None]).float()
        for array in (full_pose, truth.betas, truth.transl[index])
    )
    vertices = stage.person.body.vertices(full_pose_, betas, transl)[0]
    return _Shot(
        points=vertices.double().numpy(),
        R=truth.R_cam_world[index],
        t=truth.t_cam_world[index],
        K=np.diag([_OVERSAMPLING, _OVERSAMPLING, 1.0]) @ truth.K,
        size=(stage.size[0] * _OVERSAMPLING, stage.size[1] * _OVERSAMPLING),
    )


def _shadowed(stage: Stage, shot: _Shot, backdrop: Backdrop) -> Float[np.ndarray, "height width 3"]:
    """The backdrop with the shadow on the floor: the body pressed flat along the light."""
    world = (shot.points - shot.t) @ shot.R
    world -= np.clip(world[:, 1:2], 0, None) / SUN_DIRECTION[1] * SUN_DIRECTION
    world[:, 1] = 0.0
    faces = stage.person.body.faces.numpy()
    fragments = rasterise(world @ shot.R.T + shot.t, faces, shot.K, shot.size, cull=False)
    width, height = shot.size
    mask = np.zeros(width * height, np.float32)
    mask[fragments.pixel] = 1
    soft = cv2.GaussianBlur(mask.reshape(height, width), (0, 0), height / 240)
    darkness = np.where(backdrop.quad == 0, 0.52 * soft, 0)[..., None]
    bluish = np.array([1.0, 0.97, 0.90])  # what is left is the light of the sky
    return np.asarray(backdrop.rgb * (1 - darkness * bluish), dtype=np.float32)


def _draw_person(
    stage: Stage,
    shot: _Shot,
    backdrop: Backdrop,
    picture: Float[np.ndarray, "height width 3"],
) -> None:
    """Paints the visible points of the person into the picture."""
    faces = stage.person.body.faces.numpy()
    seen = rasterise(shot.points, faces, shot.K, shot.size)
    albedo = paint(seen.interpolate(stage.person.rest_points, faces), stage.person.look)
    normal = seen.interpolate(vertex_normals(shot.points, faces), faces)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    sun, up = shot.R @ SUN_DIRECTION, shot.R[:, 1]
    sunlight = np.clip((normal @ sun + 0.15) / 1.15, 0, None)[:, None]
    skylight = (0.5 + 0.5 * normal @ up)[:, None]
    # sky from above, warm light from the paving below
    ambient = skylight * [0.46, 0.50, 0.56] + (1 - skylight) * [0.40, 0.36, 0.32]
    colour = albedo * (ambient + sunlight * [0.66, 0.62, 0.55])
    front = seen.depth < backdrop.depth.ravel()[seen.pixel]
    picture.reshape(-1, 3)[seen.pixel[front]] = colour[front]
