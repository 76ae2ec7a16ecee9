"""What the pose networks would say of a person: the truth, made worse in the ways they are wrong.

The kinds of error: noise that lasts, jitter, joints hidden or cut off and then guessed, left and
right swapped for a while with full confidence (the whole body, and then front and back in depth; or
only the legs or the arms, now and then by both networks together), depth flattened, tilted world
landmarks, a detector that is asked only every few frames.
"""

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dtsvibe_cli.geometry.joints import (
    BLAZEPOSE33,
    BLAZEPOSE33_MIRROR,
    COCO17,
    COCO17_MIRROR,
    COCO17_TO_BLAZEPOSE33,
    mirror_indices,
)
from dtsvibe_cli.geometry.rotations import rotvec_to_rotmat

HIPS: Final = [BLAZEPOSE33.index("left_hip"), BLAZEPOSE33.index("right_hip")]

_PARTS: Final = tuple(
    [k for k, name in enumerate(BLAZEPOSE33) if any(word in name for word in words)]
    for words in (
        ("left_elbow", "left_wrist", "left_pinky", "left_index", "left_thumb"),
        ("right_elbow", "right_wrist", "right_pinky", "right_index", "right_thumb"),
        ("left_knee", "left_ankle", "left_heel", "left_foot"),
        ("right_knee", "right_ankle", "right_heel", "right_foot"),
        ("knee", "ankle", "heel", "foot"),
    )
)
"""Body parts that hide together."""

_LEGS: Final = ("_knee", "_ankle", "_heel", "_foot_index")
_ARMS: Final = ("_elbow", "_wrist", "_pinky", "_index", "_thumb")


def _exchange(names: tuple[str, ...], limbs: tuple[str, ...]) -> list[int]:
    """Order of the points when only the named joints have their sides exchanged."""
    moved = {f"{side}{limb}" for side in ("left", "right") for limb in limbs}
    mirror = mirror_indices(names)
    return [mirror[k] if name in moved else k for k, name in enumerate(names)]


@dataclass(frozen=True, kw_only=True)
class NoisyLandmarks:
    """What the network is given instead of the truth."""

    landmarks: Float[Tensor, "window time 33 2"]
    visibility: Float[Tensor, "window time 33"]
    world_m: Float[Tensor, "window time 33 3"]
    keypoints: Float[Tensor, "window time 17 3"]


class _Draw:
    """Random numbers of one batch."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def normal(self, *shape: int) -> Float[Tensor, "..."]:
        return torch.randn(*shape, generator=self.generator)

    def uniform(self, *shape: int) -> Float[Tensor, "..."]:
        return torch.rand(*shape, generator=self.generator)

    def lasting(self, *shape: int, keep: float = 0.9) -> Float[Tensor, "..."]:
        """Unit noise over (window, time, ...) that fades by ``keep`` a frame."""
        fresh = self.normal(*shape)
        out = [fresh[:, 0]]
        for t in range(1, shape[1]):
            out.append(keep * out[-1] + (1 - keep**2) ** 0.5 * fresh[:, t])
        return torch.stack(out, 1)

    def spells(self, windows: int, time: int, chance: float) -> Bool[Tensor, "window time"]:
        """One stretch of frames in some of the windows."""
        length = (self.uniform(windows, 1) ** 1.5 * time).ceil()
        start = (self.uniform(windows, 1) * (time + length)).floor() - length
        frame = torch.arange(time)[None]
        hit = self.uniform(windows, 1) < chance
        return hit & (frame >= start) & (frame < start + length)


def add_noise(
    landmarks: Float[Tensor, "window time 33 2"],
    world_m: Float[Tensor, "window time 33 3"],
    generator: torch.Generator,
) -> NoisyLandmarks:
    """Corrupt clean landmarks (crop coordinates) and world landmarks (metres, mid-hip origin)."""
    draw = _Draw(generator)
    windows, time = landmarks.shape[:2]
    extent = landmarks.amax(2) - landmarks.amin(2)
    size = extent.amax(-1)[..., None, None]
    hidden = _hidden(landmarks, draw)
    amount = torch.exp(draw.normal(windows, 1, 1, 1) * 0.5)
    worse = 1 + 4 * hidden[..., None].float()
    lasting = draw.lasting(windows, time, 33, 2) * 0.010
    jitter = draw.normal(windows, time, 33, 2) * 0.004
    points = landmarks + (lasting + jitter) * size * amount * worse
    world = _noisy_world(world_m, amount, hidden, draw)
    visible = 0.75 + 0.25 * draw.uniform(windows, time, 33)
    guessed = 0.8 * draw.uniform(windows, time, 33) ** 1.5
    visibility = torch.where(hidden, guessed, visible)
    given = NoisyLandmarks(
        landmarks=points,
        visibility=visibility,
        world_m=world,
        keypoints=_noisy_keypoints(landmarks, hidden, size, amount, draw),
    )
    return _with_confused_sides(given, draw)


def _with_confused_sides(given: NoisyLandmarks, draw: _Draw) -> NoisyLandmarks:
    """Left and right exchanged for a while: of legs, of arms, of everything.

    Limbs alone keep their depth half of the time: the network then takes the near leg for the other
    one, else it also believes it to be the far one.
    """
    windows, time = given.visibility.shape[:2]
    for limbs, chance in ((_LEGS, 0.12), (_ARMS, 0.05)):
        both = draw.uniform(windows, 1) < 0.4
        by_pose = draw.spells(windows, time, chance)
        by_detector = torch.where(both, by_pose, draw.spells(windows, time, 0.5 * chance))
        keep_depth = draw.uniform(windows, 1, 1, 1) < 0.5
        order = _exchange(BLAZEPOSE33, limbs)
        coco_order = _exchange(COCO17, limbs)
        depth = torch.where(keep_depth, given.world_m[..., order, 2:], given.world_m[..., 2:])
        world = torch.cat([given.world_m[..., order, :2], depth], -1)
        given = _choose(given, by_pose, order, world, by_detector, coco_order)
    everything = draw.spells(windows, time, 0.22)
    mirror, coco_mirror = list(BLAZEPOSE33_MIRROR), list(COCO17_MIRROR)
    world = given.world_m[:, :, mirror] * torch.tensor([1.0, 1.0, -1.0])
    by_detector = draw.spells(windows, time, 0.07)
    return _choose(given, everything, mirror, world, by_detector, coco_mirror)


def _choose(
    given: NoisyLandmarks,
    by_pose: Bool[Tensor, "window time"],
    order: list[int],
    world_m: Float[Tensor, "window time 33 3"],
    by_detector: Bool[Tensor, "window time"],
    coco_order: list[int],
) -> NoisyLandmarks:
    """Points in another order in the frames in which either network is confused."""
    swapped = by_pose[..., None, None]
    return NoisyLandmarks(
        landmarks=torch.where(swapped, given.landmarks[:, :, order], given.landmarks),
        visibility=torch.where(swapped[..., 0], given.visibility[:, :, order], given.visibility),
        world_m=torch.where(swapped, world_m, given.world_m),
        keypoints=torch.where(
            by_detector[..., None, None], given.keypoints[:, :, coco_order], given.keypoints
        ),
    )


def _hidden(
    landmarks: Float[Tensor, "window time 33 2"], draw: _Draw
) -> Bool[Tensor, "window time 33"]:
    """Joints that cannot be seen: single ones, limbs for a while, below the picture's edge."""
    windows, time = landmarks.shape[:2]
    hidden = draw.uniform(windows, time, 33) < 0.02
    hidden |= draw.uniform(windows, 1, 33) < 0.05
    for part in _PARTS:
        hidden[:, :, part] |= draw.spells(windows, time, 0.12)[..., None]
    cut = draw.uniform(windows, 1, 1) < 0.10
    edge = -0.2 + 0.9 * draw.uniform(windows, 1, 1)
    hidden |= cut & (landmarks[..., 1] > edge)
    return hidden


def _noisy_world(
    world_m: Float[Tensor, "window time 33 3"],
    amount: Float[Tensor, "window 1 1 1"],
    hidden: Bool[Tensor, "window time 33"],
    draw: _Draw,
) -> Float[Tensor, "window time 33 3"]:
    windows, time = world_m.shape[:2]
    worse = 1 + 2 * hidden[..., None].float()
    lasting = draw.lasting(windows, time, 33, 3, keep=0.95) * torch.tensor([0.02, 0.02, 0.06])
    world = world_m + lasting * amount * worse + draw.normal(windows, time, 33, 3) * 0.008
    flatten = 0.7 + 0.4 * draw.uniform(windows, 1, 1, 1)
    world = world * torch.cat([torch.ones(windows, 1, 1, 2), flatten], -1)
    tilt = draw.normal(windows, 1, 3) * 0.15 + draw.lasting(windows, time, 3, keep=0.97) * 0.06
    world = world @ rotvec_to_rotmat(tilt).transpose(-1, -2)
    world = world * torch.exp(draw.normal(windows, 1, 1, 1) * 0.06)
    return world - world[:, :, HIPS].mean(2, keepdim=True)


def _noisy_keypoints(
    landmarks: Float[Tensor, "window time 33 2"],
    hidden: Bool[Tensor, "window time 33"],
    size: Float[Tensor, "window time 1 1"],
    amount: Float[Tensor, "window 1 1 1"],
    draw: _Draw,
) -> Float[Tensor, "window time 17 3"]:
    """The detector's COCO keypoints: coarser, asked every k-th frame."""
    windows, time = landmarks.shape[:2]
    coco = list(COCO17_TO_BLAZEPOSE33)
    out_of_sight = hidden[:, :, coco]
    worse = 1 + 3 * out_of_sight[..., None].float()
    noise = draw.lasting(windows, time, 17, 2) * 0.010 + draw.normal(windows, time, 17, 2) * 0.008
    points = landmarks[:, :, coco] + noise * size * amount * worse
    score = torch.where(
        out_of_sight,
        0.35 * draw.uniform(windows, time, 17),
        0.35 + 0.55 * draw.uniform(windows, time, 17),
    )
    every = torch.randint(1, 7, (windows, 1), generator=draw.generator)
    phase = torch.randint(0, 7, (windows, 1), generator=draw.generator)
    asked = (torch.arange(time)[None] + phase) % every == 0
    asked &= draw.uniform(windows, 1) > 0.12
    asked &= draw.uniform(windows, time) > 0.05
    return torch.cat([points, score[..., None]], -1) * asked[..., None, None]
