"""Clean training windows: recorded motion, varied, put before a random camera.

The camera looks straight at the person, as the network assumes; the result is turned by the
viewing ray afterwards, so the network never sees lens or position effects.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dtsvibe_cli.geometry.joints import SMPL24, SMPL24_MIRROR
from dtsvibe_cli.geometry.rotations import rotvec_to_rotmat
from dtsvibe_cli.training.motion_bank import RATE_HZ, MotionBank

FRAME_RATES_HZ: Final = (60, 50, 30, 30, 30, 30, 25, 24, 15, 12)
"""Video frame rates that a window pretends to have, drawn evenly."""

_SIDES: Final = ("left", "right")
_UPPER: Final = tuple(range(12, 24))
_LIMBS: Final = ((13, 16, 18, 20, 22), (14, 17, 19, 21, 23), (1, 4, 7, 10), (2, 5, 8, 11))
_LOOSENESS: Final = {
    "pelvis": 0.0, "spine": 0.10, "neck": 0.12, "head": 0.15, "collar": 0.08, "shoulder": 0.30,
    "elbow": 0.12, "wrist": 0.20, "hand": 0.05, "hip": 0.18, "knee": 0.08, "ankle": 0.12,
    "foot": 0.08,
}  # fmt: skip
"""Deviation of a constant random turn added to each joint, radians: limb roots move most."""

_LIMB_ROOTS: Final = tuple(SMPL24.index(f"{s}_{j}") for j in ("hip", "shoulder") for s in _SIDES)
_LIMB_REACH: Final = torch.tensor([0.8, 0.5, 0.6])
"""Deviation of the turn of a limb held oddly, radians: forward and back, about itself, aside."""
_FOLDED_SHARE: Final = 0.15
"""Of windows in which somebody sits, squats or bends down."""


@dataclass(frozen=True, kw_only=True)
class CleanWindows:
    """Ground truth of a batch of windows, camera coordinates (OpenCV axes)."""

    full_pose: Float[Tensor, "window time 24 3 3"]
    betas: Float[Tensor, "window 10"]
    root_step_m: Float[Tensor, "window time 3"]
    """How far the root moved since the frame before."""
    distance_m: Float[Tensor, " window"]
    """Distance of the camera from the person."""


def _axis_turn(angle: Float[Tensor, "*batch"], axis: int) -> Float[Tensor, "*batch 3 3"]:
    rotvec = torch.zeros(*angle.shape, 3)
    rotvec[..., axis] = angle
    return rotvec_to_rotmat(rotvec)


def looseness() -> Float[Tensor, "24 1"]:
    """Deviation of the random turn of each joint, radians."""
    values = [next(v for key, v in _LOOSENESS.items() if key in name) for name in SMPL24]
    return torch.tensor(values)[:, None]


def random_step(rng: np.random.Generator) -> float:
    """Kept frames of a recording from one frame of a video to the next."""
    return float(RATE_HZ / rng.choice(FRAME_RATES_HZ) * rng.uniform(0.7, 1.3))


def varied_window(
    bank: MotionBank, rng: np.random.Generator, length: int, step: float
) -> tuple[Float[Tensor, "time 24 3 3"], Float[Tensor, "time 3"]]:
    """Recorded motion with limbs recombined and sides mirrored."""
    pose, transl = bank.window(rng, length, step)
    if rng.random() < 0.4:
        other, _ = bank.window(rng, length, step)
        pose = pose.clone()
        pose[:, _UPPER] = other[:, _UPPER]
    if rng.random() < 0.4:
        other, _ = bank.window(rng, length, step)
        limb = _LIMBS[rng.integers(len(_LIMBS))]
        pose = pose.clone()
        pose[:, limb] = other[:, limb]
    if rng.random() < 0.5:
        flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
        pose = flip @ pose[:, list(SMPL24_MIRROR)] @ flip
        transl = transl * torch.tensor([-1.0, 1.0, 1.0])
    if rng.random() < 0.2:
        pose, transl = pose.flip(0), transl.flip(0)
    return pose, transl


def _camera_turns(size: int, generator: torch.Generator) -> Float[Tensor, "window 3 3"]:
    """Rotation from the recording's frame (y up) to a camera's (OpenCV), any side, any height."""

    def normal(deviation: float) -> Float[Tensor, " window"]:
        return torch.randn(size, generator=generator) * deviation

    yaw = torch.rand(size, generator=generator) * 2 * math.pi
    pitch = (normal(0.3) + 0.1).clamp(-0.9, 1.2)
    tilted = torch.rand(size, generator=generator) < 0.25
    roll = torch.where(tilted, normal(0.6), normal(0.12))
    upright = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    turns = _axis_turn(roll, 2) @ _axis_turn(pitch, 0) @ upright @ _axis_turn(yaw, 1)
    odd = torch.rand(size, generator=generator) < 0.08
    anyhow = rotvec_to_rotmat(torch.randn(size, 3, generator=generator) * 1.8)
    return torch.where(odd[:, None, None], anyhow @ turns, turns)


def _odd_limbs(
    pose: Float[Tensor, "window time 24 3 3"], generator: torch.Generator
) -> Float[Tensor, "window time 24 3 3"]:
    """Now and then an arm or a leg is held where recorded motion never had it, and swung a little.

    Balancing, dancing and climbing people do so; few recordings show them.
    """
    windows, time = pose.shape[:2]
    odd = torch.rand(windows, 1, len(_LIMB_ROOTS), 1, generator=generator) < 0.12
    held = torch.randn(windows, 1, len(_LIMB_ROOTS), 3, generator=generator) * _LIMB_REACH
    swing = torch.randn(windows, 1, len(_LIMB_ROOTS), 3, generator=generator) * 0.3
    swing = swing * torch.linspace(-1, 1, time)[:, None, None]
    pose = pose.clone()
    turned = rotvec_to_rotmat((held + swing) * odd) @ pose[:, :, list(_LIMB_ROOTS)]
    pose[:, :, list(_LIMB_ROOTS)] = turned
    return pose


def _folded(
    pose: Float[Tensor, "window time 24 3 3"], generator: torch.Generator
) -> Float[Tensor, "window time 24 3 3"]:
    """Now and then both legs are folded and the trunk bent: sitting, squatting, picking up.

    Recordings of walking, running and dancing hardly ever show it.
    """
    windows, time = pose.shape[:2]

    def within(low: float, high: float) -> Float[Tensor, "window 1"]:
        return low + (high - low) * torch.rand(windows, 1, generator=generator)

    def about_x(angle: Float[Tensor, "window time"]) -> Float[Tensor, "window time 3 3"]:
        return _axis_turn(angle, 0)

    folds = torch.rand(windows, 1, generator=generator) < _FOLDED_SHARE
    going = 1 + 0.3 * torch.randn(windows, 1, generator=generator) * torch.linspace(-1, 1, time)
    amount = folds * going.clamp(0.3, 1.5)
    hips, knees, trunk = within(0.4, 2.0), within(0.4, 1.9), within(-0.2, 1.0)
    pose = pose.clone()
    for side, outward in (("left", 1.0), ("right", -1.0)):
        uneven = 0.15 * torch.randn(windows, 2, generator=generator)
        apart = (0.2 + 0.25 * torch.randn(windows, 1, generator=generator)) * outward
        aside = _axis_turn(amount * apart, 2)
        hip, knee = SMPL24.index(f"{side}_hip"), SMPL24.index(f"{side}_knee")
        pose[:, :, hip] = aside @ about_x(-amount * (hips + uneven[:, :1])) @ pose[:, :, hip]
        pose[:, :, knee] = about_x(amount * (knees + uneven[:, 1:])) @ pose[:, :, knee]
    for name in ("spine1", "spine2", "spine3"):
        joint = SMPL24.index(name)
        pose[:, :, joint] = about_x(amount * trunk / 3) @ pose[:, :, joint]
    return pose


def loosened(
    pose: Float[Tensor, "window time 24 3 3"], generator: torch.Generator
) -> Float[Tensor, "window time 24 3 3"]:
    """Every joint turned a little, all the time and drifting: poses that nobody recorded."""
    size, length = pose.shape[:2]
    scale = torch.where(torch.rand(size, 1, 1, 1, generator=generator) < 0.3, 2.0, 0.6)
    turn = torch.randn(size, 1, 24, 3, generator=generator) * looseness() * scale
    drift = torch.randn(size, 1, 24, 3, generator=generator) * looseness() * 0.3
    drift = drift * torch.linspace(-1, 1, length)[:, None, None]
    return _folded(_odd_limbs(pose @ rotvec_to_rotmat(turn + drift), generator), generator)


def draw_windows(
    bank: MotionBank,
    size: int,
    length: int,
    rng: np.random.Generator,
    *,
    vary: bool = True,
) -> CleanWindows:
    """A batch of clean windows; ``vary`` off gives recorded motion as it is, for validation."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    if vary:
        drawn = [varied_window(bank, rng, length, random_step(rng)) for _ in range(size)]
    else:
        drawn = [bank.window(rng, length, RATE_HZ / 30) for _ in range(size)]
    pose = torch.stack([pose for pose, _ in drawn])
    transl = torch.stack([transl for _, transl in drawn])
    if vary:
        pose = loosened(pose, generator)
    camera = _camera_turns(size, generator)
    pose = pose.clone()
    pose[:, :, 0] = camera[:, None] @ pose[:, :, 0]
    if vary:
        spin = (torch.rand(size, generator=generator) < 0.04).float()
        rate = torch.randn(size, 1, 3, generator=generator) * torch.tensor([0.25, 0.1, 0.1])
        rotvec = rate * torch.arange(length)[:, None] * spin[:, None, None]
        pose[:, :, 0] = pose[:, :, 0] @ rotvec_to_rotmat(rotvec)
    step = torch.diff(transl, dim=1, prepend=transl[:, :1])
    betas = torch.randn(size, 10, generator=generator).clamp(-2.5, 2.5)
    betas = betas * torch.tensor([1.0] * 5 + [0.7] * 5)
    spread = math.log(15 / 1.8)
    distance = 1.8 * torch.exp(torch.rand(size, generator=generator) * spread)
    return CleanWindows(
        full_pose=pose,
        betas=betas,
        root_step_m=(camera[:, None] @ step[..., None])[..., 0],
        distance_m=distance,
    )
