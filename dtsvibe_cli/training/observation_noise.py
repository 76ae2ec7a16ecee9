"""What the pose networks would say of a person: the truth, made worse in the ways they are wrong.

The kinds of error and their sizes were measured by running both networks on rendered people and,
where no truth is needed, on real clips (tests/benchmarks/observation_gap.py): each joint is off by
something constant, something that lasts and something that jitters; limbs are now and then
somewhere else; hidden joints are guessed, often with full confidence; left and right are exchanged
for a while, of everything or of the legs or arms alone, often by both networks together; world
landmarks are flattened in depth, tilted and of one body size. Who is seen from behind is seen worse
and turned round more often. Rendered people are harder than real ones, so the numbers lie between
the two.
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
from dtsvibe_cli.training.random_draws import Draw

HIPS: Final = [BLAZEPOSE33.index("left_hip"), BLAZEPOSE33.index("right_hip")]
_SHOULDERS: Final = [BLAZEPOSE33.index("left_shoulder"), BLAZEPOSE33.index("right_shoulder")]

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
"""Body parts that hide together: arms, legs, both legs."""

_LIMBS: Final = [k for part in _PARTS[:4] for k in part]

_DEVIATIONS: Final = {
    "shoulder": (0.012, 0.008, 0.0030),
    "elbow": (0.016, 0.011, 0.0040),
    "wrist": (0.016, 0.013, 0.0040),
    "hip": (0.016, 0.009, 0.0030),
    "knee": (0.015, 0.011, 0.0040),
    "ankle": (0.022, 0.012, 0.0040),
    "heel": (0.022, 0.014, 0.0050),
    "foot": (0.022, 0.014, 0.0050),
    "pinky": (0.020, 0.015, 0.0050),
    "index": (0.020, 0.015, 0.0050),
    "thumb": (0.020, 0.015, 0.0050),
}
"""Constant, lasting and jittering error of a landmark, in fractions of the body's extent."""

_FACE_DEVIATIONS: Final = (0.010, 0.006, 0.0020)

_LEGS: Final = ("_knee", "_ankle", "_heel", "_foot_index")
_ARMS: Final = ("_elbow", "_wrist", "_pinky", "_index", "_thumb")


def _deviations() -> Float[Tensor, "3 33 1"]:
    rows = [
        next((v for part, v in _DEVIATIONS.items() if part in name), _FACE_DEVIATIONS)
        for name in BLAZEPOSE33
    ]
    return torch.tensor(rows).T[..., None]


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


def add_noise(
    landmarks: Float[Tensor, "window time 33 2"],
    world_m: Float[Tensor, "window time 33 3"],
    generator: torch.Generator,
) -> NoisyLandmarks:
    """Corrupt clean landmarks (crop coordinates) and world landmarks (metres, mid-hip origin)."""
    draw = Draw(generator)
    extent = landmarks.amax(2) - landmarks.amin(2)
    size = extent.amax(-1)[..., None, None]
    hidden = _hidden(landmarks, draw)
    lost = draw.short_spells(*landmarks.shape[:2], share=0.02, length=4.0)[..., None, None]
    behind = _from_behind(world_m)
    worse_behind = torch.exp(0.45 * (behind - 0.5))[..., None, None]
    amount = torch.exp(draw.normal(len(landmarks), 1, 1, 1) * 0.5 - 0.4) * worse_behind
    worse = (1 + 3 * hidden[..., None].float()) * amount
    given = NoisyLandmarks(
        landmarks=landmarks + size * _displacement(landmarks, worse, lost, draw),
        visibility=_visibility(world_m, hidden, draw),
        world_m=_noisy_world(world_m, amount, hidden, lost, draw),
        keypoints=_noisy_keypoints(landmarks, hidden, size, amount, draw),
    )
    return _with_confused_sides(given, 0.5 + behind, draw)


def _from_behind(world_m: Float[Tensor, "window time 33 3"]) -> Float[Tensor, "window 1"]:
    """0 where the trunk's front is to the camera, 0.5 from a side, 1 from behind."""
    hips, shoulders = world_m[:, :, HIPS], world_m[:, :, _SHOULDERS]
    up = shoulders.mean(2) - hips.mean(2)
    to_left = (shoulders[:, :, 0] - shoulders[:, :, 1]) + (hips[:, :, 0] - hips[:, :, 1])
    ahead = torch.nn.functional.normalize(torch.linalg.cross(to_left, up), dim=-1)
    return (0.5 + 0.5 * ahead[..., 2]).mean(1, keepdim=True)


def _displacement(
    landmarks: Float[Tensor, "window time 33 2"],
    worse: Float[Tensor, "window time 33 1"],
    lost: Bool[Tensor, "window time 1 1"],
    draw: Draw,
) -> Float[Tensor, "window time 33 2"]:
    """How far each landmark is off, in fractions of the body's extent."""
    windows, time = landmarks.shape[:2]
    constant, lasting, jitter = _deviations()
    off = constant * draw.normal(windows, 1, 33, 2)
    off = off + lasting * draw.lasting(windows, time, 33, 2, keep=0.75)
    off = worse * (off + jitter * draw.normal(windows, time, 33, 2))
    for part in _PARTS[:4]:
        elsewhere = draw.short_spells(windows, time, share=0.025, length=5.0)[..., None, None]
        shift = 0.12 * draw.lasting(windows, time, 1, 2, keep=0.95)
        # the joint next to the trunk is not as far off as the end of the limb
        reach = torch.tensor([0.6] + [1.0] * (len(part) - 1))[:, None]
        off[:, :, part] = off[:, :, part] + elsewhere * shift * reach
    displaced: Tensor = off + lost * 0.15 * draw.lasting(windows, time, 33, 2, keep=0.8)
    return displaced


def _hidden(
    landmarks: Float[Tensor, "window time 33 2"], draw: Draw
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


def _visibility(
    world_m: Float[Tensor, "window time 33 3"], hidden: Bool[Tensor, "window time 33"], draw: Draw
) -> Float[Tensor, "window time 33"]:
    """BlazePose is sure of most joints, hidden ones too; of the far arm and leg less."""
    windows, time = hidden.shape[:2]
    sure, level = (draw.lasting_uniform(windows, time, 33, keep=0.9) for _ in range(2))
    is_limb = torch.zeros(33)
    is_limb[_LIMBS] = 1
    far = torch.sigmoid((world_m[..., 2] - 0.10) / 0.04) * is_limb
    seen = torch.where(sure < 0.93 - 0.4 * far, 1 - 0.15 * level**3, 0.2 + 0.6 * level)
    guessed = torch.where(sure < 0.6, 1 - 0.25 * level**3, 0.8 * level**1.5)
    return torch.where(hidden, guessed, seen)


def _noisy_world(
    world_m: Float[Tensor, "window time 33 3"],
    amount: Float[Tensor, "window 1 1 1"],
    hidden: Bool[Tensor, "window time 33"],
    lost: Bool[Tensor, "window time 1 1"],
    draw: Draw,
) -> Float[Tensor, "window time 33 3"]:
    windows, time = world_m.shape[:2]
    worse = (1 + 1.5 * hidden[..., None].float()) * amount
    off = draw.normal(windows, 1, 33, 3) * torch.tensor([0.035, 0.035, 0.055])
    off = off + draw.lasting(windows, time, 33, 3, keep=0.75) * torch.tensor([0.03, 0.03, 0.045])
    off = off + draw.normal(windows, time, 33, 3) * torch.tensor([0.010, 0.010, 0.014])
    flatten = 0.5 + 0.45 * draw.uniform(windows, 1, 1, 1)
    world = world_m * torch.cat([torch.ones(windows, 1, 1, 2), flatten], -1)
    world = world + worse * off + lost * 0.15 * draw.lasting(windows, time, 33, 3, keep=0.8)
    tilt = torch.tensor([-0.07, 0.0, 0.0])
    tilt = tilt + draw.normal(windows, 1, 3) * torch.tensor([0.12, 0.15, 0.06])
    swaying = draw.lasting(windows, time, 3, keep=0.85) * torch.tensor([0.07, 0.12, 0.04])
    world = world @ rotvec_to_rotmat(tilt + swaying).transpose(-1, -2)
    world = world * torch.exp(draw.normal(windows, 1, 1, 1) * 0.07 - 0.10)
    return world - world[:, :, HIPS].mean(2, keepdim=True)


def _noisy_keypoints(
    landmarks: Float[Tensor, "window time 33 2"],
    hidden: Bool[Tensor, "window time 33"],
    size: Float[Tensor, "window time 1 1"],
    amount: Float[Tensor, "window 1 1 1"],
    draw: Draw,
) -> Float[Tensor, "window time 17 3"]:
    """The detector's COCO keypoints: coarser, asked every k-th frame."""
    windows, time = landmarks.shape[:2]
    coco = list(COCO17_TO_BLAZEPOSE33)
    out_of_sight = hidden[:, :, coco]
    worse = (1 + 3 * out_of_sight[..., None].float()) * amount
    constant = _deviations()[0][coco]
    noise = constant * draw.normal(windows, 1, 17, 2)
    noise = noise + draw.lasting(windows, time, 17, 2, keep=0.75) * 0.010
    noise = noise + draw.normal(windows, time, 17, 2) * 0.007
    points = landmarks[:, :, coco] + noise * size * worse
    level = draw.lasting_uniform(windows, time, 17, keep=0.8)
    score = torch.where(out_of_sight, 0.05 + 0.75 * level, 0.25 + 0.63 * level**0.8)
    every = torch.randint(1, 7, (windows, 1), generator=draw.generator)
    phase = torch.randint(0, 7, (windows, 1), generator=draw.generator)
    asked = (torch.arange(time)[None] + phase) % every == 0
    asked &= draw.uniform(windows, 1) > 0.12
    asked &= draw.uniform(windows, time) > 0.05
    return torch.cat([points, score[..., None]], -1) * asked[..., None, None]


def _confusion(
    windows: int,
    time: int,
    *,
    short: float,
    long: Float[Tensor, "window 1"],
    together: float,
    draw: Draw,
) -> tuple[Bool[Tensor, "window time"], Bool[Tensor, "window time"]]:
    """Frames in which the pose network, and those in which the detector, exchanges sides."""

    def spells() -> Bool[Tensor, "window time"]:
        return draw.short_spells(windows, time, share=short, length=3.0) | draw.spells(
            windows, time, long
        )

    by_pose = spells()
    both = draw.uniform(windows, 1) < together
    return by_pose, torch.where(both, by_pose, spells())


def _with_confused_sides(
    given: NoisyLandmarks, often: Float[Tensor, "window 1"], draw: Draw
) -> NoisyLandmarks:
    """Left and right exchanged for a while: of legs, of arms, of everything; how often by window.

    Limbs alone keep their depth half of the time: the network then takes the near leg for the other
    one, else it also believes it to be the far one.
    """
    windows, time = given.visibility.shape[:2]
    for limbs, long in ((_LEGS, 0.10), (_ARMS, 0.04)):
        by_pose, by_detector = _confusion(
            windows, time, short=0.02, long=often * long, together=0.45, draw=draw
        )
        keep_depth = draw.uniform(windows, 1, 1, 1) < 0.5
        order, coco_order = _exchange(BLAZEPOSE33, limbs), _exchange(COCO17, limbs)
        depth = torch.where(keep_depth, given.world_m[..., order, 2:], given.world_m[..., 2:])
        world = torch.cat([given.world_m[..., order, :2], depth], -1)
        given = _choose(given, by_pose, order, world, by_detector, coco_order)
    by_pose, by_detector = _confusion(
        windows, time, short=0.02, long=often * 0.12, together=0.35, draw=draw
    )
    mirror, coco_mirror = list(BLAZEPOSE33_MIRROR), list(COCO17_MIRROR)
    world = given.world_m[:, :, mirror] * torch.tensor([1.0, 1.0, -1.0])
    return _choose(given, by_pose, mirror, world, by_detector, coco_mirror)


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
