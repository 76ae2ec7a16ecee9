"""Which poses, motions and views training shows the network: a Markdown table.

    python tests/benchmarks/motion_variety.py MOTION_DIR [--windows N]

Counted are frames of the recorded motion, and of what training makes of it: limbs recombined, held
oddly, joints loosened, mirrored, and put before random cameras. Held-out recordings are left out.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.training.motion_bank import RATE_HZ, load_bank
from dtsvibe_cli.training.windows import _camera_turns, loosened, varied_window

LENGTH = 16
STEP = RATE_HZ / 30
_J = {name: k for k, name in enumerate(SMPL24)}
_UP = 1
"""Axis of the recordings that points up."""


def joints_of(pose: Tensor) -> Tensor:
    """(window, time, joint, 3) of the mean body, y up."""
    body = load_body_model()
    posed = body.pose(pose.flatten(0, 1), torch.zeros(1, 10))
    return posed.joints.unflatten(0, pose.shape[:2])


def _angle_deg(first: Tensor, second: Tensor) -> Tensor:
    cos = torch.nn.functional.cosine_similarity(first, second, dim=-1)
    return torch.rad2deg(torch.acos(cos.clamp(-1, 1)))


def _trunk_deg(j: Tensor) -> Tensor:
    """From upright to the line from pelvis to neck."""
    up = torch.zeros(3)
    up[_UP] = 1
    trunk = j[..., _J["neck"], :] - j[..., _J["pelvis"], :]
    return _angle_deg(trunk, up.expand_as(trunk))


def _bend_deg(j: Tensor, first: str, middle: str, last: str) -> Tensor:
    """0 for a straight joint."""
    upper = j[..., _J[middle], :] - j[..., _J[first], :]
    return _angle_deg(upper, j[..., _J[last], :] - j[..., _J[middle], :])


def _height(j: Tensor, name: str) -> Tensor:
    return j[..., _J[name], _UP]


def _both_knees_deg(j: Tensor) -> Tensor:
    sides = [_bend_deg(j, f"{s}_hip", f"{s}_knee", f"{s}_ankle") for s in ("left", "right")]
    return torch.minimum(*sides)


def _lowest_ankle(j: Tensor) -> Tensor:
    return torch.minimum(_height(j, "left_ankle"), _height(j, "right_ankle"))


def _reaching_up(j: Tensor) -> Tensor:
    wrists = torch.maximum(_height(j, "left_wrist"), _height(j, "right_wrist"))
    return (wrists > _height(j, "head")) & (_trunk_deg(j) < 60)


def _reaching_down(j: Tensor) -> Tensor:
    wrists = torch.minimum(_height(j, "left_wrist"), _height(j, "right_wrist"))
    knees = torch.minimum(_height(j, "left_knee"), _height(j, "right_knee"))
    return (wrists < knees) & (_trunk_deg(j) < 120)


def _one_leg_high(j: Tensor) -> Tensor:
    ankles = (_height(j, "left_ankle") - _height(j, "right_ankle")).abs()
    return (ankles > 0.4) & (_trunk_deg(j) < 60)


def _sitting(j: Tensor) -> Tensor:
    hips = torch.minimum(
        _bend_deg(j, "neck", "left_hip", "left_knee"),
        _bend_deg(j, "neck", "right_hip", "right_knee"),
    )
    return (_both_knees_deg(j) > 60) & (hips > 60) & (_trunk_deg(j) < 60)


def _crouching(j: Tensor) -> Tensor:
    """Pelvis lower over the feet than half a leg (0.8 m of this body)."""
    return (_height(j, "pelvis") - _lowest_ankle(j) < 0.4) & (_trunk_deg(j) < 60)


POSES: dict[str, Callable[[Tensor], Tensor]] = {
    "trunk upright, within 20°": lambda j: _trunk_deg(j) < 20,
    "leaning, 20° to 60°": lambda j: (_trunk_deg(j) >= 20) & (_trunk_deg(j) < 60),
    "lying, 60° to 120°": lambda j: (_trunk_deg(j) >= 60) & (_trunk_deg(j) < 120),
    "upside down, over 120°": lambda j: _trunk_deg(j) >= 120,
    "reaching up: a wrist above the head": _reaching_up,
    "reaching down: a wrist below a knee": _reaching_down,
    "an ankle 0.4 m above the other": _one_leg_high,
    "knees and hips bent by 60°, as if sitting": _sitting,
    "crouching: pelvis less than 0.4 m above a foot": _crouching,
}


def _turn_deg_per_s(pose: Tensor) -> Tensor:
    """How fast the pelvis turns about the vertical, frame to frame."""
    facing = pose[:, :, 0, :, 2]
    heading = torch.atan2(facing[..., 0], facing[..., 2])
    turned = torch.diff(heading, dim=1)
    turned = torch.rad2deg(torch.atan2(turned.sin(), turned.cos()).abs())
    upright = facing[:, 1:, _UP].abs() < 0.7
    return torch.where(upright, turned * 30, 0)


def _views(pose: Tensor, camera: Tensor) -> dict[str, float]:
    """Where the cameras stand: shares of windows."""
    facing = camera @ pose[:, 0, 0, :, 2, None]
    from_front = torch.rad2deg(torch.atan2(facing[:, 0, 0], -facing[:, 2, 0])).abs()
    up = torch.zeros(3)
    up[_UP] = 1
    seen_up = camera @ up
    elevation = torch.rad2deg(torch.asin((-seen_up[:, 2]).clamp(-1, 1)))
    roll = torch.rad2deg(torch.atan2(seen_up[:, 0], -seen_up[:, 1])).abs()
    shares = {
        "seen from the front, within 60°": from_front < 60,
        "from a side": (from_front >= 60) & (from_front < 120),
        "from behind, within 60°": from_front >= 120,
        "camera looks down by 20° or more": elevation >= 20,
        "camera looks up by 10° or more": elevation <= -10,
        "camera rolled by 20° to 90°": (roll >= 20) & (roll < 90),
        "camera rolled by more: upside down": roll >= 90,
    }
    return {name: float(share.float().mean()) for name, share in shares.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("motion", type=Path)
    parser.add_argument("--windows", type=int, default=4000)
    args = parser.parse_args()
    body = load_body_model()
    bank = load_bank(args.motion, body.joint_template.double().numpy()).subset(held_out=False)
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    drawn = [bank.window(rng, LENGTH, STEP)[0] for _ in range(args.windows)]
    varied = [varied_window(bank, rng, LENGTH, STEP)[0] for _ in range(args.windows)]
    recorded, trained = torch.stack(drawn), loosened(torch.stack(varied), generator)
    lines = [
        f"{len(bank.clips)} recordings, {bank.minutes:.1f} minutes; {args.windows} windows each.",
        "",
        "| share of frames | recorded | as trained |",
        "|---|---|---|",
    ]
    joints = [joints_of(pose) for pose in (recorded, trained)]
    for name, holds in POSES.items():
        shares = " | ".join(f"{100 * float(holds(j).float().mean()):.1f} %" for j in joints)
        lines.append(f"| {name} | {shares} |")
    for limit in (90, 180):
        turning = [(_turn_deg_per_s(pose) > limit).float().mean() for pose in (recorded, trained)]
        shares = " | ".join(f"{100 * float(share):.1f} %" for share in turning)
        lines.append(f"| turning by more than {limit}° a second | {shares} |")
    for name, share in _views(trained, _camera_turns(args.windows, generator)).items():
        lines.append(f"| {name} | | {100 * share:.1f} % |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
