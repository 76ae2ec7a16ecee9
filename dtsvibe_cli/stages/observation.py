"""What is seen of each followed person: crop, landmarks and flow, one row a frame.

Keeps numbers only, never pictures: a few kilobytes a person and frame, which wait in a temporary
file. A CPU looks frame by frame. A GPU looks at a few frames at once, since it takes hardly longer
for many small pictures than for one; what depends on the frame before still goes frame by frame.
A network whose convolutions take pictures or fine flow runs them here, while those are at hand.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dtsvibe_cli.datatypes import Frame
from dtsvibe_cli.geometry.joints import BLAZEPOSE33
from dtsvibe_cli.models.backbone import Backbone
from dtsvibe_cli.models.blazepose import CROP_SIDE_PX, BlazePoseLandmarks
from dtsvibe_cli.stages import flow as flow_stage
from dtsvibe_cli.stages.crops import Crop, FrameOpener, OpenFrame, frame_opener
from dtsvibe_cli.stages.estimation import MAX_FILLED_GAP_S
from dtsvibe_cli.stages.following import FollowedFrame, FollowedPerson
from dtsvibe_cli.stages.pose_reading import as_input, read_poses
from dtsvibe_cli.stages.sides import side_distances
from dtsvibe_cli.stages.track_rows import PoseReading, SeenTrack, TrackRows, added, seen_track
from dtsvibe_cli.timing import Stopwatch

_BLAZEPOSE_TORSO: Final = tuple(
    BLAZEPOSE33.index(name) for name in ("left_hip", "right_hip", "left_shoulder", "right_shoulder")
)

KEPT_FLOW_SIDE: Final = 32
"""Finest flow that is kept; an O-CNN that takes finer flow sees it in passing."""

DOUBT_FROM: Final = 0.25
"""Distance of limbs (see :func:`_agreement`) from which somebody may be looked at again."""

DOUBT_UNTIL: Final = 1.5
"""Nobody is doubtful who would be so many times as far away with left and right exchanged."""

CLEARLY_BETTER: Final = 0.2
"""A later look replaces the first only when it matches better by so much."""

GPU_BATCH_FRAMES: Final = 16
"""Frames that a GPU looks at together: flow alone is thousands of small kernels, however many."""


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """A frame that waits to be looked at, or the one before those."""

    followed: FollowedFrame
    pixels: OpenFrame

    @property
    def index(self) -> int:
        """Of the frame in the video."""
        return self.followed.frame.index


@dataclass(frozen=True, kw_only=True)
class _Sight:
    """A person in one of the frames that are looked at together."""

    frame: _Opened
    before: _Opened | None
    """The frame before, when the person is in it."""
    person: FollowedPerson
    rows: TrackRows

    @property
    def upright(self) -> Crop:
        """The square around the person, not turned: what the network's camera looks at."""
        return np.append(self.person.crop_cxcys, 0.0)

    def leaning(self) -> Crop:
        """The square turned so that the person is upright in it."""
        return np.append(self.person.crop_cxcys, _lean(self.person, self.rows))


class Observer:
    """Runs the pose network and the flow estimator on every followed person.

    Args:
        pose_network: Gives the landmarks.
        flow: Measures flow.
        picture_cnn: V-CNN of a network that looks at pictures itself, in upright crops.
        flow_cnn: O-CNN of the network; run here only when its flow is too fine to be kept.
        device: Where the networks are.
        open_frame: How crops are had; by default as is best for the device.
        batch_frames: Frames that are looked at together; by default 1, on CUDA
            :data:`GPU_BATCH_FRAMES`. The results are the same but for rounding.
        watch: Counts the time of ``crop``, ``blazepose``, ``v_cnn``, ``flow`` and ``o_cnn``.
    """

    def __init__(
        self,
        pose_network: BlazePoseLandmarks,
        flow: flow_stage.FlowEstimator,
        *,
        picture_cnn: Backbone | None = None,
        flow_cnn: Backbone | None = None,
        device: str = "cpu",
        open_frame: FrameOpener | None = None,
        batch_frames: int | None = None,
        watch: Stopwatch | None = None,
    ) -> None:
        self._watch = watch or Stopwatch()
        self._network = pose_network
        self._flow = flow
        self._picture_cnn = picture_cnn
        self._flow_side = flow_cnn.side if flow_cnn and flow_cnn.side else KEPT_FLOW_SIDE
        self._flow_cnn = flow_cnn if self._flow_side > KEPT_FLOW_SIDE else None
        self._device = device
        self._open_frame = open_frame or frame_opener(device)
        self._batch_frames = batch_frames or (GPU_BATCH_FRAMES if device.startswith("cuda") else 1)
        self._rows = defaultdict[int, TrackRows](TrackRows)
        self._waiting: list[_Opened] = []
        self._before: _Opened | None = None

    def look(self, frame: FollowedFrame) -> None:
        """Take in the next frame."""
        self._waiting.append(_Opened(followed=frame, pixels=self._open_frame(frame.frame.rgb)))
        if len(self._waiting) >= self._batch_frames:
            self._look_at_waiting()

    def tracks(self) -> dict[int, SeenTrack]:
        """Everything observed so far, by tracker identity."""
        self._look_at_waiting()
        return {track_id: seen_track(track_id, rows) for track_id, rows in self._rows.items()}

    def _look_at_waiting(self) -> None:
        frames, self._waiting = self._waiting, []
        sights = []
        for frame in frames:
            sights += self._sights(frame)
            self._before = frame
        if sights:
            self._observe(sights)

    def _sights(self, frame: _Opened) -> list[_Sight]:
        """Everybody in the frame."""
        before = self._before
        if before is not None and not _follows(before.followed.frame, frame.followed.frame):
            before = None
        there = {person.track_id for person in before.followed.people} if before else set()
        return [
            _Sight(
                frame=frame,
                before=before if person.track_id in there else None,
                person=person,
                rows=self._rows[person.track_id],
            )
            for person in frame.followed.people
        ]

    def _observe(self, sights: Sequence[_Sight]) -> None:
        flows = self._flows(sights)  # first: a GPU computes it while crops are prepared
        poses = self._known_poses(sights)
        self._run_backbones(sights, flows)
        if self._flow_side > KEPT_FLOW_SIDE:
            flows = flow_stage.shrink(flows, KEPT_FLOW_SIDE)
        kept_flows = flows.cpu().numpy()
        for k, sight in enumerate(sights):
            pose = poses.get(k)
            if pose is None:
                (pose,) = self._read([sight], [sight.leaning()])
            if _agreement(pose, sight).doubtful:
                pose = self._look_again(pose, sight)
            sight.rows.add(sight.frame.followed.frame, sight.person, pose)
            sight.rows.flow = added(sight.rows.flow, kept_flows[k])

    def _known_poses(self, sights: Sequence[_Sight]) -> dict[int, PoseReading]:
        """The poses of those whose lean does not wait for an earlier one of these frames."""
        known = [
            k
            for k, sight in enumerate(sights)
            if sight.person.lean_rad is not None or sight.frame is sights[0].frame
        ]
        chosen = [sights[k] for k in known]
        poses = self._read(chosen, [sight.leaning() for sight in chosen])
        return dict(zip(known, poses, strict=True))

    def _run_backbones(
        self, sights: Sequence[_Sight], flows: Float[Tensor, "person 2 side side"]
    ) -> None:
        """The frames' part of the network: features of their pictures and of their flow."""
        if self._picture_cnn is not None and self._picture_cnn.side is not None:
            upright = [sight.upright for sight in sights]
            cut = self._cut([sight.frame for sight in sights], upright, self._picture_cnn.side)
            pictures = as_input(cut, self._device)
            with self._watch("v_cnn"):
                features = self._extract(self._picture_cnn, pictures)
            for sight, feature in zip(sights, features, strict=True):
                sight.rows.appearance = added(sight.rows.appearance, feature)
        if self._flow_cnn is not None:
            with self._watch("o_cnn"):
                features = self._extract(self._flow_cnn, flows)
            for sight, feature in zip(sights, features, strict=True):
                sight.rows.flow_features = added(sight.rows.flow_features, feature)

    def _extract(
        self, cnn: Backbone, frames: Float[Tensor, "person channel side side"]
    ) -> Float[np.ndarray, "person feature"]:
        with torch.inference_mode():
            return np.asarray(cnn.extract(frames.to(self._device)).float().cpu().numpy())

    def _look_again(self, first: PoseReading, sight: _Sight) -> PoseReading:
        """The least doubtful of three answers: as it was, from an upright crop, from a mirror.

        Seen a little differently, the network often stops taking a back for a front.
        """
        upright = first.crop_cxcysa * np.array([1, 1, 1, 0])
        others = [
            *self._read([sight], [upright]),
            *self._read([sight], [first.crop_cxcysa], mirrored=True),
        ]
        best = min(others, key=lambda answer: _agreement(answer, sight).crossing)
        gain = _agreement(first, sight).crossing - _agreement(best, sight).crossing
        return best if gain > CLEARLY_BETTER else first

    def _read(
        self, sights: Sequence[_Sight], crops: Sequence[Crop], *, mirrored: bool = False
    ) -> list[PoseReading]:
        """What the pose network sees in each crop, or in its mirror image."""
        pictures = self._cut([sight.frame for sight in sights], crops, CROP_SIDE_PX)
        with self._watch("blazepose"):
            return read_poses(
                self._network, pictures, crops, device=self._device, mirrored=mirrored
            )

    def _cut(
        self, frames: Sequence[_Opened], crops: Sequence[Crop], side: int
    ) -> UInt8[Tensor, "crop side side 3"]:
        """One crop out of each frame, as small pictures; crops of a frame stand together."""
        with self._watch("crop"):
            by_frame = groupby(zip(frames, crops, strict=True), key=lambda pair: pair[0].index)
            cut = []
            for _, pairs in by_frame:
                opened, of_frame = zip(*pairs, strict=True)
                cut.append(opened[0].pixels.cut(of_frame, side))
            return torch.cat(cut)

    def _flows(self, sights: Sequence[_Sight]) -> Float[Tensor, "person 2 side side"]:
        """Flow into each frame, as O-CNN takes it; zeros for people not there a frame ago."""
        side = self._flow_side
        rows = [k for k, sight in enumerate(sights) if sight.before is not None]
        if not rows:
            return torch.zeros(len(sights), 2, side, side)
        upright = [sights[k].upright for k in rows]
        size = max(flow_stage.CROP_SIDE_PX, 8 * math.ceil(side / 8))  # RAFT's must be divisible
        befores = [before for sight in sights if (before := sight.before) is not None]
        old = self._cut(befores, upright, size)
        new = self._cut([sights[k].frame for k in rows], upright, size)
        with self._watch("flow"):
            measured = flow_stage.coarse_flow(self._flow, old, new, side)
        if len(rows) == len(sights):
            return measured
        flows = measured.new_zeros(len(sights), 2, side, side)
        flows[rows] = measured
        return flows


def _follows(before: Frame, frame: Frame) -> bool:
    """Whether what moved between the two frames moved in one step: a pause is none."""
    return before.index + 1 == frame.index and frame.time_s - before.time_s <= MAX_FILLED_GAP_S


class _Agreement(NamedTuple):
    """How far a pose's limbs are from where the last frame and the detector saw them, summed."""

    same: float
    crossed: float
    """With left and right exchanged."""

    @property
    def crossing(self) -> float:
        """How much speaks for left and right being confused."""
        return self.same - self.crossed

    @property
    def doubtful(self) -> bool:
        """Limbs are far away, and might as well be those of the other side.

        Both distances are small of somebody seen from the side, whose limbs hide each other.
        """
        return self.same > DOUBT_FROM and self.crossed < DOUBT_UNTIL * self.same


def _agreement(pose: PoseReading, sight: _Sight) -> _Agreement:
    """Each distance is the limbs' mean, 1 for the most that counts, of one to compare with."""
    points, person, row = pose.keypoints(), sight.person, sight.rows
    size = max(1.0, float(np.ptp(pose.landmarks_px, axis=0).max()))
    others = []
    if row.newest is not None and row.frame_index[-1] + 1 == sight.frame.index:
        others.append(row.newest.keypoints())
    if (person.keypoints[:, 2] > 0).any():
        others.append(person.keypoints)
    pairs = [side_distances(points, other, size) for other in others]
    return _Agreement(sum(same for same, _ in pairs), sum(crossed for _, crossed in pairs))


def _lean(person: FollowedPerson, row: TrackRows) -> float:
    """How far the crop has to be turned so that the person is upright in it.

    The pose network was trained on crops turned that way, and is much worse on a person who leans.
    Read from the detector's keypoints, else from the frame before.
    """
    if person.lean_rad is not None:
        return person.lean_rad
    if row.newest is None:
        return 0.0
    points = row.newest.landmarks_px[list(_BLAZEPOSE_TORSO)]
    up = points[2:].mean(0) - points[:2].mean(0)
    return float(np.arctan2(up[0], -up[1]))
