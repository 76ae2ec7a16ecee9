"""From observations to a first estimate: windows through the network, stitched, placed.

The network imagines a camera that looks straight at the crop; its answer is turned into the real
camera's coordinates.
"""

from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dtsvibe_cli.datatypes import Observations, PinholeCamera
from dtsvibe_cli.geometry.cameras import crop_camera_to_translation, ray_rotation
from dtsvibe_cli.models.backbone import landmark_features
from dtsvibe_cli.models.dts_vibe import DtsVibe, Theta
from dtsvibe_cli.stages.windows import Stitched, cut_windows, stitch

MAX_FILLED_GAP_S: Final = 1.0
"""Over a longer absence the person's motion is not made up."""

BATCH_WINDOWS: Final = 64


@runtime_checkable
class MotionModel(Protocol):
    """Anything that gives SMPL parameters for windows of frames; the built-in one is DtsVibe."""

    def __call__(
        self,
        appearance: Float[Tensor, "window time feature"],
        flow_features: Float[Tensor, "window time flow_feature"] | None,
        valid: Bool[Tensor, "window time"],
    ) -> Theta:
        """SMPL parameters of every frame of every window."""
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


def network_inputs(
    seen: Observations, timeline: Timeline, squares: Float[np.ndarray, "frame 3"]
) -> tuple[Float[Tensor, "frame feature"], Float[Tensor, "frame 2 side side"]]:
    """Appearance features and flow of every frame, zero where the person was not observed."""
    rows = timeline.source_row

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
    appearance = landmark_features(
        to_square(seen.landmarks_px[rows]),
        torch.from_numpy(seen.visibility[rows]).float(),
        torch.from_numpy(seen.world_landmarks_m[rows]).float(),
        keypoints,
    )
    observed = torch.from_numpy(timeline.observed)
    flow = torch.from_numpy(seen.flow[rows]).float()
    return appearance * observed[:, None], flow * observed[:, None, None, None]


def run_windows(
    network: DtsVibe,
    appearance: Float[Tensor, "frame feature"],
    flow: Float[Tensor, "frame 2 side side"],
    observed: Bool[Tensor, " frame"],
    stride: int,
) -> Stitched:
    """All windows of one timeline through the network, batched, and stitched."""
    device = next(network.parameters()).device
    windows = cut_windows(len(appearance), network.config.window, stride)
    with torch.inference_mode():
        flow_features = None
        if network.o_cnn is not None:
            parts = [network.o_cnn.extract(part.to(device)) for part in flow.split(256)]
            flow_features = torch.cat(parts)
        rows = torch.from_numpy(windows.rows)
        valid = torch.from_numpy(windows.valid) & observed[rows]
        # A window in which nobody was seen has nothing to attend to: let it see its blank frames.
        valid[~valid.any(1)] = True
        thetas = [
            network(
                appearance[part].to(device),
                None if flow_features is None else flow_features[part.to(device)],
                mask.to(device),
            )
            for part, mask in zip(
                rows.split(BATCH_WINDOWS), valid.split(BATCH_WINDOWS), strict=True
            )
        ]
    theta = Theta(
        full_pose=torch.cat([part.full_pose for part in thetas]).cpu().clone(),
        betas=torch.cat([part.betas for part in thetas]).cpu().clone(),
        camera=torch.cat([part.camera for part in thetas]).cpu().clone(),
    )
    return stitch(theta, windows, len(appearance), observed)


def estimate_timeline(
    network: DtsVibe,
    seen: Observations,
    timeline: Timeline,
    camera: PinholeCamera,
    *,
    stride: int = 8,
) -> Estimate:
    """The network's answer for one timeline, in the real camera's coordinates."""
    squares = square_around(seen, timeline)
    appearance, flow = network_inputs(seen, timeline, squares)
    observed = torch.from_numpy(timeline.observed)
    stitched = run_windows(network, appearance, flow, observed, stride)
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
