"""What the refinement is fitted to: both networks' points with how far each is to be trusted."""

from dataclasses import dataclass, fields, replace
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dtsvibe_cli.datatypes import Observations, PinholeCamera
from dtsvibe_cli.geometry.cameras import ray_rotation
from dtsvibe_cli.geometry.joints import BLAZEPOSE33, COCO17, COCO17_TO_BLAZEPOSE33
from dtsvibe_cli.stages.estimation import Timeline

_BONE_NAMES: Final = (
    ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
    ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"),
    ("left_hip", "left_knee"), ("left_knee", "left_ankle"),
    ("right_hip", "right_knee"), ("right_knee", "right_ankle"),
    ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"),
    ("left_hip", "left_shoulder"), ("right_hip", "right_shoulder"),
    ("left_ankle", "left_foot_index"), ("right_ankle", "right_foot_index"),
)  # fmt: skip

BONES: Final = tuple((BLAZEPOSE33.index(a), BLAZEPOSE33.index(b)) for a, b in _BONE_NAMES)
"""Pairs of landmarks whose directions in space are compared."""

_FACE: Final = tuple(
    k
    for k, name in enumerate(BLAZEPOSE33)
    if any(part in name for part in ("nose", "eye", "ear", "mouth"))
)
_HANDS: Final = tuple(
    k
    for k, name in enumerate(BLAZEPOSE33)
    if any(part in name for part in ("pinky", "index", "thumb")) and "foot" not in name
)
_COCO_FACE: Final = tuple(range(COCO17.index("left_shoulder")))

AGREE_WITHIN: Final = 0.05
"""The networks agree on a joint when their points are within this fraction of the body's size."""

KEYPOINT_REACH_S: Final = 0.15
"""Detector keypoints are interpolated between looks that are at most this far from a frame."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One row a frame; rows of different timelines follow each other."""

    landmarks_px: Float[Tensor, "frame 33 2"]
    landmark_weight: Float[Tensor, "frame 33"]
    keypoints_px: Float[Tensor, "frame 17 2"]
    keypoint_weight: Float[Tensor, "frame 17"]
    bones: Float[Tensor, "frame bone 3"]
    """Unit directions in the real camera's coordinates."""
    bone_weight: Float[Tensor, "frame bone"]
    size_px: Float[Tensor, " frame"]
    """Extent of the body in the picture, smoothed."""
    continuous: Bool[Tensor, " step"]
    """For each frame but the first: whether it follows the one before without a cut."""
    step_s: float
    """Typical time between frames."""
    flow: Float[Tensor, "frame 2 side side"]
    """Motion into each frame, in units of the square's side."""
    flow_weight: Float[Tensor, "frame 33"]
    squares: Float[Tensor, "frame 3"]
    """Upright squares that flow was measured in."""

    def trust(self, rows: range) -> float:
        """How well the person was seen in some frames: the mean weight of a landmark."""
        return float(self.landmark_weight[rows.start : rows.stop].mean())

    def cut(self, rows: range) -> "Evidence":
        """Some consecutive rows."""
        part = slice(rows.start, rows.stop)
        steps = slice(rows.start, max(rows.start, rows.stop - 1))
        changes = {
            f.name: getattr(self, f.name)[steps if f.name == "continuous" else part]
            for f in fields(self)
            if f.name != "step_s"
        }
        return replace(self, **changes)


class EvidenceSource:
    """What the refinement compares with, for timelines one after the other, made when asked for.

    Args:
        seen: Of one person.
        timelines: That person's.
        squares: Upright squares that flow was measured in, each frame.
        camera: The full image's.
    """

    def __init__(
        self,
        seen: Observations,
        timelines: list[Timeline],
        squares: Float[np.ndarray, "frame 3"],
        camera: PinholeCamera,
    ) -> None:
        self._seen, self._squares, self._camera = seen, squares, camera
        self._rows = np.concatenate([t.source_row for t in timelines])
        self._observed = np.concatenate([t.observed for t in timelines])
        self._frames = np.concatenate([t.frame_index for t in timelines])
        self._time_s = np.concatenate([t.time_s for t in timelines])
        extent = (seen.landmarks_px.max(1) - seen.landmarks_px.min(1)).max(1)
        self._size_px = np.maximum(_running_median(extent, 9)[self._rows], 8.0)
        firsts = np.cumsum([0, *(len(t.frame_index) for t in timelines[:-1])])
        self._follows = np.append(False, np.diff(self._frames) == 1)
        self._follows[firsts] = False  # a recording that was paused counts its frames on
        steps_s = np.diff(self._time_s)
        self._step_s = float(np.median(steps_s)) if len(steps_s) else 1 / 30

    def __len__(self) -> int:
        return len(self._rows)

    def trust(self, rows: range) -> float:
        """How well the person was seen in some frames: the mean weight of a landmark."""
        return float(self._weighed(slice(rows.start, rows.stop)).landmark_weight.mean())

    def cut(self, rows: range) -> Evidence:
        """Some consecutive frames."""
        part = slice(rows.start, rows.stop)
        seen, chosen, weighed = self._seen, self._rows[part], self._weighed(part)
        bones, bone_weight = _bone_directions(
            seen.world_landmarks_m[chosen], weighed.landmark_weight
        )
        flow = np.asarray(seen.flow[chosen], np.float32)
        # all zeros in the first frame of a track and after a gap
        follows = self._follows[part]
        has_flow = (np.abs(flow).reshape(len(flow), -1).max(1) > 0) & follows

        def tensor(array: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).float()

        squares = tensor(self._squares[part])
        turn = ray_rotation(squares[:, :2], self._camera)
        return Evidence(
            landmarks_px=tensor(seen.landmarks_px[chosen]),
            landmark_weight=tensor(weighed.landmark_weight),
            keypoints_px=tensor(weighed.keypoints_px),
            keypoint_weight=tensor(weighed.keypoint_weight),
            bones=(turn[:, None] @ tensor(bones)[..., None])[..., 0],
            bone_weight=tensor(bone_weight),
            size_px=tensor(self._size_px[part]),
            continuous=torch.from_numpy(follows[1:]),
            step_s=self._step_s,
            flow=tensor(flow) * tensor(self._observed[part])[:, None, None, None],
            flow_weight=tensor(weighed.landmark_weight * has_flow[:, None]),
            squares=squares,
        )

    def _weighed(self, part: slice) -> "_Weighed":
        """Both networks' weights, and the detector's points."""
        seen, chosen, observed = self._seen, self._rows[part], self._observed[part, None]
        keypoints, keypoint_trust = _interpolated_keypoints(seen, self._time_s[part])
        landmark_weight = seen.visibility[chosen] * observed
        landmark_weight[:, list(_FACE)] *= 0.2
        landmark_weight[:, list(_HANDS)] *= 0.4
        landmark_weight *= _agreement(
            seen.landmarks_px[chosen], keypoints, keypoint_trust, self._size_px[part]
        )
        keypoint_weight = keypoint_trust * observed
        keypoint_weight[:, list(_COCO_FACE)] *= 0.2
        return _Weighed(landmark_weight, keypoints, keypoint_weight)


class _Weighed(NamedTuple):
    landmark_weight: Float[np.ndarray, "frame 33"]
    keypoints_px: Float[np.ndarray, "frame 17 2"]
    keypoint_weight: Float[np.ndarray, "frame 17"]


def _running_median(values: Float[np.ndarray, " frame"], width: int) -> Float[np.ndarray, " frame"]:
    padded = np.pad(values, width // 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    return np.asarray(np.median(windows, axis=1))


def _interpolated_keypoints(
    seen: Observations, time_s: Float[np.ndarray, " frame"]
) -> tuple[Float[np.ndarray, "frame 17 2"], Float[np.ndarray, "frame 17"]]:
    """The detector's points in every frame, and their scores, lower between the looks."""
    asked = np.flatnonzero((seen.keypoints[..., 2] > 0).any(1))
    points = np.zeros((len(time_s), 17, 2))
    trust = np.zeros((len(time_s), 17))
    if len(asked) == 0:
        return points, trust
    at = seen.time_s[asked]
    after = np.searchsorted(at, time_s).clip(1, max(1, len(at) - 1))
    before, after = np.minimum(after - 1, len(at) - 1), np.minimum(after, len(at) - 1)
    distance = np.minimum(np.abs(time_s - at[before]), np.abs(time_s - at[after]))
    near = np.clip(1 - 0.5 * distance / KEYPOINT_REACH_S, 0, 1) * (distance <= KEYPOINT_REACH_S)
    for k in range(17):
        track = seen.keypoints[asked, k]
        points[:, k, 0] = np.interp(time_s, at, track[:, 0])
        points[:, k, 1] = np.interp(time_s, at, track[:, 1])
        trust[:, k] = np.interp(time_s, at, track[:, 2]) * near
    return points, trust


def _agreement(
    landmarks: Float[np.ndarray, "frame 33 2"],
    keypoints: Float[np.ndarray, "frame 17 2"],
    trust: Float[np.ndarray, "frame 17"],
    size: Float[np.ndarray, " frame"],
) -> Float[np.ndarray, "frame 33"]:
    """One where the detector agrees or says nothing, less where it contradicts."""
    agree = np.ones(landmarks.shape[:2])
    coco = list(COCO17_TO_BLAZEPOSE33)
    apart = np.linalg.norm(landmarks[:, coco] - keypoints, axis=-1) / size[:, None]
    contradiction = 1 - np.exp(-((apart / AGREE_WITHIN) ** 2))
    agree[:, coco] = 1 - 0.8 * np.minimum(1, 2 * trust) * contradiction
    return agree


def _bone_directions(
    world_m: Float[np.ndarray, "frame 33 3"], weight: Float[np.ndarray, "frame 33"]
) -> tuple[Float[np.ndarray, "frame bone 3"], Float[np.ndarray, "frame bone"]]:
    first, second = (list(ends) for ends in zip(*BONES, strict=True))
    bones = world_m[:, second] - world_m[:, first]
    length = np.linalg.norm(bones, axis=-1, keepdims=True)
    both = np.minimum(weight[:, first], weight[:, second])
    return bones / np.maximum(length, 1e-6), both
