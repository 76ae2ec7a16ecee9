"""Made-up motion in memory, and what is simulated from it for a small body."""

import torch
from synthetic import random_rotations, small_body

from dtsvibe_cli.geometry.rotations import rotvec_to_rotmat
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.training.motion_bank import Clip, MotionBank
from dtsvibe_cli.training.simulation import Simulator


def body() -> BodyModel:
    """The small body in single precision, as a loaded one is."""
    return small_body().to("cpu")


def clip(name: str = "a", frames: int = 200, seed: int = 0, *, held_out: bool = False) -> Clip:
    """Slow random motion that drifts along x."""
    generator = torch.Generator().manual_seed(seed)
    pace = torch.randn(24, 3, generator=generator) * 0.004
    start = random_rotations(24, seed=seed).float()
    time = torch.arange(frames)[:, None, None]
    return Clip(
        name=name,
        held_out=held_out,
        rotmats=start @ rotvec_to_rotmat(pace * time),
        transl_m=torch.arange(frames)[:, None] * torch.tensor([0.01, 0.0, 0.0]),
    )


def bank(*, held_out: bool = False) -> MotionBank:
    """Three clips of unlike length."""
    return MotionBank(
        clips=tuple(clip(str(k), 60 + 100 * k, k, held_out=held_out) for k in range(3))
    )


def simulator(*, window: int = 16, flow_side: int = 16, held_out: bool = False) -> Simulator:
    return Simulator(bank(held_out=held_out), body(), window=window, flow_side=flow_side)
