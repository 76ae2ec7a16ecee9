"""From observations to a first estimate: windows through the network, stitched, placed.

The network imagines a camera that looks straight at the crop; its answer is turned into the real
camera's coordinates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dtsvibe_cli.datatypes import Observations, PinholeCamera
from dtsvibe_cli.geometry.cameras import crop_camera_to_translation, ray_rotation
from dtsvibe_cli.models.backbone import Backbone, landmark_features
from dtsvibe_cli.models.dts_vibe import Theta
from dtsvibe_cli.stages.windows import Stitched, cut_windows, stitch
from dtsvibe_cli.timing import Stage

MAX_FILLED_GAP_S: Final = 1.0
"""Over a longer absence the person's motion is not made up."""

BATCH_WINDOWS: Final = 64
BATCH_FRAMES: Final = 256


@runtime_checkable
class MotionModel(Protocol):
    """Anything that gives SMPL parameters for windows of frames; the built-in one is DtsVibe.

    It runs on the device that the run was started with, and is ready for inference.
    """

    @property
    def window(self) -> int:
        """Frames in a window."""
        ...

    @property
    def picture_cnn(self) -> Backbone | None:
        """What makes the appearance out of pictures; None for that of landmarks.

        Then it is :func:`~dtsvibe_cli.models.backbone.landmark_features`, in [-1, 1] over a square.
        """
        ...

    @property
    def flow_cnn(self) -> Backbone | None:
        """What makes features out of the flow; None to do without flow."""
        ...

    def __call__(
        self,
        appearance: Float[Tensor, "window time feature"],
        flow_features: Float[Tensor, "window time flow_feature"] | None,
        valid: Bool[Tensor, "window time"],
    ) -> Theta:
        """SMPL parameters of every frame of every window.

        They are those of a camera that looks straight at the person. ``valid`` marks the frames in
        which the person was seen.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """A stretch of video in which a person is followed, short absences included."""

    frame_index: Int[np.ndarray, " frame"]
    """Every frame of the stretch."""
    time_s: Float[np.ndarray, " frame"]
    observed: Bool[np.ndarray, " frame"]
    source_row: Int[np.ndarray, " frame"]
    """Row of the observations; for frames without one, the row before."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A body in every frame of a timeline, in the real camera's coordinates."""

    full_pose: Float[Tensor, "frame 24 3 3"]
    betas: Float[Tensor, " 10"]
    pelvis_m: Float[Tensor, "frame 3"]
    """Position of the pelvis joint."""
    crops_cxcys: Float[Tensor, "frame 3"]
    """The squares that the network's camera refers to."""


def split_timelines(seen: Observations, max_gap_s: float = MAX_FILLED_GAP_S) -> list[Timeline]:
    """Cut a track where the person is absent too long; fill shorter absences with unseen frames."""
    index, time = seen.track.frame_index, seen.time_s
    cuts = np.flatnonzero(np.diff(time) > max_gap_s) + 1
    timelines = []
    for rows in np.split(np.arange(len(index)), cuts):
        frames = np.arange(index[rows[0]], index[rows[-1]] + 1)
        source = rows[np.searchsorted(index[rows], frames, side="right") - 1]
        timelines.append(
            Timeline(
                frame_index=frames,
                time_s=np.interp(frames, index[rows], time[rows]),
                observed=np.isin(frames, index[rows]),
                source_row=source,
            )
        )
    return timelines


def square_around(seen: Observations, timeline: Timeline) -> Float[np.ndarray, "frame 3"]:
    """The square that the network's coordinates refer to: the crop, interpolated where unseen."""
    rows = timeline.source_row[timeline.observed]
    frames = timeline.frame_index[timeline.observed]
    squares = seen.crops_cxcysa[rows, :3]
    columns = [np.interp(timeline.frame_index, frames, column) for column in squares.T]
    return np.stack(columns, axis=1)


@Stage("v_cnn")
def appearance_of(
    seen: Observations, timeline: Timeline, squares: Float[np.ndarray, "frame 3"]
) -> Float[Tensor, "frame feature"]:
    """What each frame says of the body, zero where the person was not observed.

    V-CNN's features where it has looked at the pictures, else those of the landmarks.
    """
    observed = torch.from_numpy(timeline.observed)[:, None]
    if seen.appearance is not None:
        return torch.from_numpy(seen.appearance[timeline.source_row]).float() * observed
    return _of_landmarks(seen, timeline.source_row, squares) * observed


def _of_landmarks(
    seen: Observations, rows: Int[np.ndarray, " frame"], squares: Float[np.ndarray, "frame 3"]
) -> Float[Tensor, "frame feature"]:
    def to_square(points: Float[np.ndarray, "frame point 2"]) -> Tensor:
        placed = (points - squares[:, None, :2]) / (squares[:, None, 2:] / 2)
        return torch.from_numpy(placed).float()

    keypoints = torch.cat(
        [
            to_square(seen.keypoints[rows][..., :2]),
            torch.from_numpy(seen.keypoints[rows][..., 2:]).float(),
        ],
        -1,
    )
    return landmark_features(
        to_square(seen.landmarks_px[rows]),
        torch.from_numpy(seen.visibility[rows]).float(),
        torch.from_numpy(seen.world_landmarks_m[rows]).float(),
        keypoints,
    )


@Stage("o_cnn")
def flow_features_of(
    flow_cnn: Backbone | None, seen: Observations, timeline: Timeline, device: str = "cpu"
) -> Float[Tensor, "frame flow_feature"] | None:
    """O-CNN's features of each frame, those of no flow where the person was not observed.

    They are computed here unless the flow was too fine to be kept until now.
    """
    if flow_cnn is None:
        return None
    rows, observed = timeline.source_row, torch.from_numpy(timeline.observed)
    with torch.inference_mode():
        if seen.flow_features is None:
            flow = torch.from_numpy(seen.flow[rows]).float() * observed[:, None, None, None]
            parts = [flow_cnn.extract(part.to(device)) for part in flow.split(BATCH_FRAMES)]
            return torch.cat(parts)
        known = torch.from_numpy(seen.flow_features[rows]).float().to(device)
        if observed.all():
            return known
        assert flow_cnn.side is not None
        nothing = torch.zeros(1, 2, flow_cnn.side, flow_cnn.side, device=device)
        return torch.where(observed[:, None].to(device), known, flow_cnn.extract(nothing))


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """What the network is told of one timeline."""

    appearance: Float[Tensor, "frame feature"]
    flow_features: Float[Tensor, "frame flow_feature"] | None
    observed: Bool[Tensor, " frame"]


@Stage("transformer")
def run_windows(
    network: MotionModel, stretches: Sequence[Stretch], *, stride: int, device: str = "cpu"
) -> list[Stitched]:
    """All windows of all stretches, whoever they show, through the network in batches; stitched."""
    lengths = [len(stretch.appearance) for stretch in stretches]
    windows = [cut_windows(length, network.window, stride) for length in lengths]
    starts = np.cumsum([0, *lengths])
    rows = torch.cat(
        [torch.from_numpy(w.rows + start) for w, start in zip(windows, starts[:-1], strict=True)]
    )
    appearance = torch.cat([stretch.appearance for stretch in stretches])
    features = [s.flow_features for s in stretches if s.flow_features is not None]
    flow_features = torch.cat(features) if features else None
    valid = torch.cat([torch.from_numpy(w.valid) for w in windows])
    valid &= torch.cat([stretch.observed for stretch in stretches])[rows]
    # A window in which nobody was seen has nothing to attend to: let it see its blank frames.
    valid[~valid.any(1)] = True
    with torch.inference_mode():
        batches = [
            network(
                appearance[part].to(device),
                None if flow_features is None else flow_features[part.to(device)],
                mask.to(device),
            )
            for part, mask in zip(
                rows.split(BATCH_WINDOWS), valid.split(BATCH_WINDOWS), strict=True
            )
        ]
    counts = [len(w.rows) for w in windows]
    poses = torch.cat([batch.full_pose for batch in batches]).cpu().clone().split(counts)
    betas = torch.cat([batch.betas for batch in batches]).cpu().clone().split(counts)
    cameras = torch.cat([batch.camera for batch in batches]).cpu().clone().split(counts)
    return [
        stitch(
            Theta(full_pose=poses[k], betas=betas[k], camera=cameras[k]),
            windows[k],
            lengths[k],
            stretch.observed,
        )
        for k, stretch in enumerate(stretches)
    ]


def estimate_timelines(
    network: MotionModel,
    seen: Sequence[tuple[Observations, Timeline]],
    camera: PinholeCamera,
    *,
    stride: int = 8,
    device: str = "cpu",
) -> list[Estimate]:
    """The network's answers for timelines of any people, in the real camera's coordinates."""
    squares = [square_around(person, timeline) for person, timeline in seen]
    stretches = [
        Stretch(
            appearance=appearance_of(person, timeline, square),
            flow_features=flow_features_of(network.flow_cnn, person, timeline, device),
            observed=torch.from_numpy(timeline.observed),
        )
        for (person, timeline), square in zip(seen, squares, strict=True)
    ]
    if not stretches:
        return []
    stitched = run_windows(network, stretches, stride=stride, device=device)
    return [_before_camera(s, square, camera) for s, square in zip(stitched, squares, strict=True)]


def _before_camera(
    stitched: Stitched, squares: Float[np.ndarray, "frame 3"], camera: PinholeCamera
) -> Estimate:
    """Turned by the viewing ray from the imagined camera to the real one."""
    crops = torch.from_numpy(squares).float()
    turn = ray_rotation(crops[:, :2], camera)
    pose = stitched.full_pose.clone()
    pose[:, 0] = turn @ pose[:, 0]
    return Estimate(
        full_pose=pose,
        betas=stitched.betas.clamp(-3, 3),
        pelvis_m=crop_camera_to_translation(stitched.camera, crops, camera),
        crops_cxcys=crops,
    )
