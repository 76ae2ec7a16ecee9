"""What is seen of each followed person: crop, landmarks and flow, one row a frame.

Works frame by frame and keeps numbers only, never pictures: a few kilobytes a person and frame.
A network whose convolutions take pictures or fine flow runs them here, while those are at hand.
"""

import math
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dtsvibe_cli.datatypes import Frame, Observations, Track
from dtsvibe_cli.geometry.joints import BLAZEPOSE33, BLAZEPOSE33_MIRROR, COCO17_TO_BLAZEPOSE33
from dtsvibe_cli.models.backbone import Backbone
from dtsvibe_cli.models.blazepose import CROP_SIDE_PX, BlazePoseLandmarks
from dtsvibe_cli.stages import flow as flow_stage
from dtsvibe_cli.stages.following import FollowedFrame, FollowedPerson
from dtsvibe_cli.stages.sides import side_distances
from dtsvibe_cli.timing import Stage

_BLAZEPOSE_TORSO: Final = tuple(
    BLAZEPOSE33.index(name) for name in ("left_hip", "right_hip", "left_shoulder", "right_shoulder")
)

KEPT_FLOW_SIDE: Final = 32
"""Finest flow that is kept; an O-CNN that takes finer flow sees it in passing."""

SECOND_LOOK_FROM: Final = 0.05
"""Crossing score (see :func:`_crossing`) from which a person is looked at again."""


@dataclass
class _Rows:
    """The growing rows of one track."""

    frame_index: list[int] = field(default_factory=list)
    time_s: list[float] = field(default_factory=list)
    boxes: list[Float[np.ndarray, "4"]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    crops: list[Float[np.ndarray, "4"]] = field(default_factory=list)
    landmarks: list[Float[np.ndarray, "33 2"]] = field(default_factory=list)
    visibility: list[Float[np.ndarray, " 33"]] = field(default_factory=list)
    world: list[Float[np.ndarray, "33 3"]] = field(default_factory=list)
    keypoints: list[Float[np.ndarray, "17 3"]] = field(default_factory=list)
    flow: list[Float[np.ndarray, "2 side side"]] = field(default_factory=list)
    appearance: list[Float[np.ndarray, " feature"]] = field(default_factory=list)
    flow_features: list[Float[np.ndarray, " flow_feature"]] = field(default_factory=list)
    colours: list[Float[np.ndarray, "56"]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class PoseReading:
    """What the pose network says of one crop, in the full image's coordinates."""

    crop_cxcysa: Float[np.ndarray, "4"]
    landmarks_px: Float[np.ndarray, "33 2"]
    visibility: Float[np.ndarray, " 33"]
    world_m: Float[np.ndarray, "33 3"]

    def keypoints(self) -> Float[np.ndarray, "17 3"]:
        """COCO's keypoints among the landmarks, with their visibility."""
        return _coco(self.landmarks_px, self.visibility)


@dataclass(frozen=True, kw_only=True)
class SeenTrack:
    """One tracker identity: what was observed, and its mean colours for stitching."""

    observations: Observations
    colours: Float[np.ndarray, "56"] | None


class Observer:
    """Runs the pose network and the flow estimator on every followed person.

    Args:
        pose_network: Gives the landmarks.
        flow: Measures flow.
        picture_cnn: V-CNN of a network that looks at pictures itself, in upright crops.
        flow_cnn: O-CNN of the network; run here only when its flow is too fine to be kept.
        device: Where the networks are.
    """

    def __init__(
        self,
        pose_network: BlazePoseLandmarks,
        flow: flow_stage.FlowEstimator,
        *,
        picture_cnn: Backbone | None = None,
        flow_cnn: Backbone | None = None,
        device: str = "cpu",
    ) -> None:
        self._network = pose_network
        self._flow = flow
        self._picture_cnn = picture_cnn
        self._flow_side = flow_cnn.side if flow_cnn and flow_cnn.side else KEPT_FLOW_SIDE
        self._flow_cnn = flow_cnn if self._flow_side > KEPT_FLOW_SIDE else None
        self._device = device
        self._rows: dict[int, _Rows] = {}
        self._before: FollowedFrame | None = None

    def look(self, frame: FollowedFrame) -> None:
        """Take in the next frame."""
        if frame.people:
            self._observe(frame)
        self._before = frame

    def tracks(self) -> dict[int, SeenTrack]:
        """Everything observed so far, by tracker identity."""
        return {track_id: _seen(track_id, rows) for track_id, rows in self._rows.items()}

    def _observe(self, frame: FollowedFrame) -> None:
        rows = [self._rows.setdefault(person.track_id, _Rows()) for person in frame.people]
        crops = [
            np.append(person.crop_cxcys, _lean(person, row))
            for person, row in zip(frame.people, rows, strict=True)
        ]
        poses = self._read_pose(frame.frame.rgb, crops)
        flows = self._flows(frame)
        self._run_backbones(frame, flows, rows)
        if self._flow_side > KEPT_FLOW_SIDE:
            flows = flow_stage.shrink_flow(flows, KEPT_FLOW_SIDE)
        for k, (person, row) in enumerate(zip(frame.people, rows, strict=True)):
            pose = poses[k]
            if _crossing(pose, person, row, frame.frame.index) > SECOND_LOOK_FROM:
                pose = self._look_again(frame.frame, pose, person, row)
            row.frame_index.append(frame.frame.index)
            row.time_s.append(frame.frame.time_s)
            row.boxes.append(person.box_xyxy)
            row.scores.append(person.score)
            row.crops.append(pose.crop_cxcysa)
            row.landmarks.append(pose.landmarks_px)
            row.visibility.append(pose.visibility)
            row.world.append(pose.world_m)
            row.keypoints.append(person.keypoints)
            row.flow.append(flows[k].astype(np.float16))
            if person.colours is not None:
                row.colours.append(person.colours)

    def _run_backbones(
        self,
        frame: FollowedFrame,
        flows: Float[np.ndarray, "person 2 side side"],
        rows: list[_Rows],
    ) -> None:
        """The frame's part of the network: features of its pictures and of its flow."""
        if self._picture_cnn is not None and self._picture_cnn.side is not None:
            side = self._picture_cnn.side
            crops = [_upright(person) for person in frame.people]
            pictures = self._tensor(np.stack([cut(frame.frame.rgb, crop, side) for crop in crops]))
            with Stage("v_cnn"):
                features = self._extract(self._picture_cnn, pictures)
            for row, feature in zip(rows, features, strict=True):
                row.appearance.append(feature)
        if self._flow_cnn is not None:
            with Stage("o_cnn"):
                features = self._extract(self._flow_cnn, torch.from_numpy(flows))
            for row, feature in zip(rows, features, strict=True):
                row.flow_features.append(feature)

    def _extract(
        self, cnn: Backbone, frames: Float[Tensor, "person channel side side"]
    ) -> Float[np.ndarray, "person feature"]:
        """The backbone's features, in half precision."""
        with torch.inference_mode():
            features = cnn.extract(frames.to(self._device)).float().cpu().numpy()
        return np.asarray(features, dtype=np.float16)

    def _look_again(
        self, frame: Frame, first: PoseReading, person: FollowedPerson, row: _Rows
    ) -> PoseReading:
        """The least doubtful of three answers: as it was, from an upright crop, from a mirror.

        Seen a little differently, the network often stops taking a back for a front.
        """
        upright = first.crop_cxcysa * np.array([1, 1, 1, 0])
        answers = [
            first,
            *self._read_pose(frame.rgb, [upright]),
            *self._read_pose(frame.rgb, [first.crop_cxcysa], mirrored=True),
        ]
        return min(answers, key=lambda answer: _crossing(answer, person, row, frame.index))

    @Stage("v_cnn")
    def _read_pose(
        self,
        rgb: UInt8[np.ndarray, "height width 3"],
        crops: list[Float[np.ndarray, "4"]],
        *,
        mirrored: bool = False,
    ) -> list[PoseReading]:
        """What the pose network sees in each crop, or in its mirror image."""
        pictures = np.stack([cut(rgb, crop, CROP_SIDE_PX) for crop in crops])
        if mirrored:
            pictures = np.ascontiguousarray(pictures[:, :, ::-1])
        with torch.inference_mode():
            seen = self._network(self._tensor(pictures))
        landmarks = seen.landmarks_px.double().cpu().numpy()
        world = seen.world_m.double().cpu().numpy()
        visibility = seen.visibility.double().cpu().numpy()
        if mirrored:
            sides = list(BLAZEPOSE33_MIRROR)
            landmarks = landmarks[:, sides] * [-1, 1] + [CROP_SIDE_PX, 0]
            world = world[:, sides] * [-1, 1, 1]
            visibility = visibility[:, sides]
        return [
            PoseReading(
                crop_cxcysa=crop,
                landmarks_px=from_crop(landmarks[k], crop, CROP_SIDE_PX),
                visibility=visibility[k],
                world_m=np.concatenate([world[k, :, :2] @ _turn(crop[3]).T, world[k, :, 2:]], 1),
            )
            for k, crop in enumerate(crops)
        ]

    def _tensor(
        self, pictures: UInt8[np.ndarray, "picture side side 3"]
    ) -> Float[Tensor, "picture 3 side side"]:
        """Pictures as networks take them: RGB, 0 to 1."""
        tensor = torch.from_numpy(pictures).to(self._device).permute(0, 3, 1, 2) / 255
        return tensor.contiguous()

    @Stage("flow")
    def _flows(self, frame: FollowedFrame) -> Float[np.ndarray, "person 2 side side"]:
        """Flow into this frame, as O-CNN takes it; zeros for people not there a frame ago."""
        side = self._flow_side
        flows = np.zeros((len(frame.people), 2, side, side), dtype=np.float32)
        before = self._before
        if before is None or before.frame.index + 1 != frame.frame.index:
            return flows
        there = {person.track_id for person in before.people}
        rows = [k for k, person in enumerate(frame.people) if person.track_id in there]
        if not rows:
            return flows
        upright = [_upright(frame.people[k]) for k in rows]
        size = max(flow_stage.CROP_SIDE_PX, 8 * math.ceil(side / 8))  # RAFT's must be divisible
        old = np.stack([cut(before.frame.rgb, crop, size) for crop in upright])
        new = np.stack([cut(frame.frame.rgb, crop, size) for crop in upright])
        flows[rows] = flow_stage.shrink_flow(self._flow(old, new), side)
        return flows


def _upright(person: FollowedPerson) -> Float[np.ndarray, "4"]:
    """The square around a person, not turned: what the network's camera looks at."""
    return np.append(person.crop_cxcys, 0.0)


def _coco(
    landmarks_px: Float[np.ndarray, "33 2"], visibility: Float[np.ndarray, " 33"]
) -> Float[np.ndarray, "17 3"]:
    coco = list(COCO17_TO_BLAZEPOSE33)
    return np.concatenate([landmarks_px[coco], visibility[coco, None]], axis=1)


def _crossing(pose: PoseReading, person: FollowedPerson, row: _Rows, index: int) -> float:
    """How much speaks for left and right being confused, against the last frame and the detector.

    Positive when the limbs match better with sides exchanged.
    """
    points = pose.keypoints()
    size = max(1.0, float(np.ptp(pose.landmarks_px, axis=0).max()))
    others = []
    if row.frame_index and row.frame_index[-1] + 1 == index:
        others.append(_coco(row.landmarks[-1], row.visibility[-1]))
    if (person.keypoints[:, 2] > 0).any():
        others.append(person.keypoints)
    total = 0.0
    for other in others:
        same, crossed = side_distances(points, other, size)
        total += same - crossed
    return total


@Stage("crop")
def cut(
    rgb: UInt8[np.ndarray, "height width 3"], crop_cxcysa: Float[np.ndarray, "4"], side: int
) -> UInt8[np.ndarray, "side side 3"]:
    """The crop as a small picture; beyond the image's edge its last pixels go on (as MediaPipe)."""
    scale = crop_cxcysa[2] / side
    matrix = np.empty((2, 3))
    matrix[:, :2] = _turn(crop_cxcysa[3]) * scale
    # OpenCV counts from the centre of the first pixel, we count from its corner.
    corner = crop_cxcysa[:2] - matrix[:, :2] @ np.full(2, side / 2)
    matrix[:, 2] = corner + matrix[:, :2] @ np.full(2, 0.5) - 0.5
    picture = cv2.warpAffine(
        rgb,
        matrix,
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(picture, dtype=np.uint8)


def from_crop(
    points: Float[np.ndarray, "point 2"], crop_cxcysa: Float[np.ndarray, "4"], side: int
) -> Float[np.ndarray, "point 2"]:
    """Points of a crop picture in pixels of the full image."""
    centred = (points - side / 2) * (crop_cxcysa[2] / side)
    placed: Float[np.ndarray, "point 2"] = centred @ _turn(crop_cxcysa[3]).T + crop_cxcysa[:2]
    return placed


def _turn(angle: float) -> Float[np.ndarray, "2 2"]:
    """From the crop's axes to the image's, for a crop turned clockwise (as seen) by the angle."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def _lean(person: FollowedPerson, row: _Rows) -> float:
    """How far the crop has to be turned so that the person is upright in it.

    The pose network was trained on crops turned that way, and is much worse on a person who leans.
    Read from the detector's keypoints, else from the frame before.
    """
    if person.lean_rad is not None:
        return person.lean_rad
    if not row.landmarks:
        return 0.0
    points = row.landmarks[-1][list(_BLAZEPOSE_TORSO)]
    up = points[2:].mean(0) - points[:2].mean(0)
    return float(np.arctan2(up[0], -up[1]))


def _seen(track_id: int, rows: _Rows) -> SeenTrack:
    track = Track(
        track_id=track_id,
        frame_index=np.array(rows.frame_index),
        boxes_xyxy=np.stack(rows.boxes),
        scores=np.array(rows.scores),
    )
    observations = Observations(
        track=track,
        crops_cxcysa=np.stack(rows.crops),
        landmarks_px=np.stack(rows.landmarks),
        visibility=np.stack(rows.visibility),
        world_landmarks_m=np.stack(rows.world),
        keypoints=np.stack(rows.keypoints),
        flow=np.stack(rows.flow),
        time_s=np.array(rows.time_s),
        appearance=np.stack(rows.appearance) if rows.appearance else None,
        flow_features=np.stack(rows.flow_features) if rows.flow_features else None,
    )
    return SeenTrack(
        observations=observations, colours=np.mean(rows.colours, 0) if rows.colours else None
    )


def join(parts: list[Observations], track_id: int) -> Observations:
    """Several tracks of one person as one, frames in order; of a frame seen twice the surer row."""
    index = np.concatenate([part.track.frame_index for part in parts])
    scores = np.concatenate([part.track.scores for part in parts])
    order = np.lexsort((-scores, index))
    keep = order[np.append(True, np.diff(index[order]) > 0)]

    def rows(name: str, of_track: bool = False) -> np.ndarray:
        columns = [getattr(part.track if of_track else part, name) for part in parts]
        return np.asarray(np.concatenate(columns)[keep])

    def rows_if_there(name: str) -> np.ndarray | None:
        return None if any(getattr(part, name) is None for part in parts) else rows(name)

    return Observations(
        track=Track(
            track_id=track_id,
            frame_index=rows("frame_index", of_track=True),
            boxes_xyxy=rows("boxes_xyxy", of_track=True),
            scores=rows("scores", of_track=True),
        ),
        crops_cxcysa=rows("crops_cxcysa"),
        landmarks_px=rows("landmarks_px"),
        visibility=rows("visibility"),
        world_landmarks_m=rows("world_landmarks_m"),
        keypoints=rows("keypoints"),
        flow=rows("flow"),
        time_s=rows("time_s"),
        appearance=rows_if_there("appearance"),
        flow_features=rows_if_there("flow_features"),
    )
