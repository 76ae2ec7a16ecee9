"""From observations to a first estimate: windows through the network, stitched, placed.

The network imagines a camera that looks straight at the crop; its answer is turned into the real
camera's coordinates.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dtsvibe_cli.datatypes import Observations, PinholeCamera
from dtsvibe_cli.geometry.cameras import crop_camera_to_translation, ray_rotation
from dtsvibe_cli.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from dtsvibe_cli.models.backbone import Backbone, landmark_features
from dtsvibe_cli.models.dts_vibe import Theta
from dtsvibe_cli.stages.windows import Stitched, Stitcher, Windows, cut_windows
from dtsvibe_cli.timing import Stage

MAX_FILLED_GAP_S: Final = 1.0
"""Over a longer absence the person's motion is not made up."""

BATCH_WINDOWS: Final = 64


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

    def cut(self, rows: slice) -> "Timeline":
        """Some consecutive frames."""
        return Timeline(
            frame_index=self.frame_index[rows],
            time_s=self.time_s[rows],
            observed=self.observed[rows],
            source_row=self.source_row[rows],
        )


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
            return flow_cnn.extract(flow.to(device))
        known = torch.from_numpy(seen.flow_features[rows]).float().to(device)
        if observed.all():
            return known
        assert flow_cnn.side is not None
        nothing = torch.zeros(1, 2, flow_cnn.side, flow_cnn.side, device=device)
        return torch.where(observed[:, None].to(device), known, flow_cnn.extract(nothing))


class Features(NamedTuple):
    """What the network is told of some frames in a row."""

    appearance: Float[Tensor, "frame feature"]
    flow: Float[Tensor, "frame flow_feature"] | None


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """One timeline as the network sees it."""

    observed: Bool[Tensor, " frame"]
    features: Callable[[slice], Features]
    """Of some of the frames: those of a long video are not in memory at once."""


@Stage("transformer")
def run_windows(
    network: MotionModel, stretches: Sequence[Stretch], *, stride: int, device: str = "cpu"
) -> list[Stitched]:
    """All windows of all stretches, whoever they show, through the network in batches; stitched."""
    stitchers = [Stitcher(len(s.observed), s.observed) for s in stretches]
    windows = [cut_windows(len(s.observed), network.window, stride) for s in stretches]
    for batch in _batches([len(w.rows) for w in windows]):
        parts = [_part_of(windows[k], chosen) for k, chosen in batch]
        inputs = [_inputs(stretches[k], part) for (k, _), part in zip(batch, parts, strict=True)]
        theta = _predict(network, inputs, device)
        start = 0
        for (k, _), part in zip(batch, parts, strict=True):
            own = slice(start, start + len(part.rows))
            start = own.stop
            answer = Theta(
                full_pose=theta.full_pose[own], betas=theta.betas[own], camera=theta.camera[own]
            )
            stitchers[k].add(answer, part)
    return [stitcher.result() for stitcher in stitchers]


def _batches(counts: Sequence[int]) -> Iterator[list[tuple[int, slice]]]:
    """Which windows of which stretches go through the network together."""
    batch: list[tuple[int, slice]] = []
    room = BATCH_WINDOWS
    for k, count in enumerate(counts):
        start = 0
        while start < count:
            stop = min(count, start + room)
            batch.append((k, slice(start, stop)))
            room -= stop - start
            start = stop
            if room == 0:
                yield batch
                batch, room = [], BATCH_WINDOWS
    if batch:
        yield batch


def _part_of(windows: Windows, chosen: slice) -> Windows:
    return Windows(rows=windows.rows[chosen], valid=windows.valid[chosen])


class _Inputs(NamedTuple):
    """What the network is called with."""

    appearance: Float[Tensor, "window time feature"]
    flow: Float[Tensor, "window time flow_feature"] | None
    valid: Bool[Tensor, "window time"]


def _inputs(stretch: Stretch, windows: Windows) -> _Inputs:
    """Some windows of one stretch."""
    first, last = int(windows.rows.min()), int(windows.rows.max())
    features = stretch.features(slice(first, last + 1))
    rows = torch.from_numpy(windows.rows)
    valid = torch.from_numpy(windows.valid) & stretch.observed[rows]
    # A window in which nobody was seen has nothing to attend to: let it see its blank frames.
    valid[~valid.any(1)] = True
    local = rows - first
    return _Inputs(
        features.appearance[local],
        None if features.flow is None else features.flow[local.to(features.flow.device)],
        valid,
    )


def _predict(network: MotionModel, inputs: Sequence[_Inputs], device: str) -> Theta:
    """The network's answers, on the CPU."""
    flows = [each.flow for each in inputs if each.flow is not None]
    with torch.inference_mode():
        theta = network(
            torch.cat([each.appearance for each in inputs]).to(device),
            torch.cat(flows) if flows else None,
            torch.cat([each.valid for each in inputs]).to(device),
        )
    return Theta(
        full_pose=theta.full_pose.cpu().clone(),
        betas=theta.betas.cpu().clone(),
        camera=theta.camera.cpu().clone(),
    )


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

    def stretch(
        person: Observations, timeline: Timeline, square: Float[np.ndarray, "frame 3"]
    ) -> Stretch:
        def features(rows: slice) -> Features:
            part = timeline.cut(rows)
            return Features(
                appearance_of(person, part, square[rows]),
                flow_features_of(network.flow_cnn, person, part, device),
            )

        return Stretch(observed=torch.from_numpy(timeline.observed), features=features)

    stretches = [stretch(*pair, square) for pair, square in zip(seen, squares, strict=True)]
    stitched = run_windows(network, stretches, stride=stride, device=device)
    placed = [
        _before_camera(s, square, camera) for s, square in zip(stitched, squares, strict=True)
    ]
    return [_bridged(each, timeline) for each, (_, timeline) in zip(placed, seen, strict=True)]


def _before_camera(
    stitched: Stitched, squares: Float[np.ndarray, "frame 3"], camera: PinholeCamera
) -> Estimate:
    """Turned by the viewing ray from the imagined camera to the real one."""
    crops = torch.from_numpy(squares).float()
    turn = ray_rotation(crops[:, :2], camera)
    pose = stitched.full_pose
    pose[:, 0] = turn @ pose[:, 0]
    return Estimate(
        full_pose=pose,
        betas=stitched.betas.clamp(-3, 3),
        pelvis_m=crop_camera_to_translation(stitched.camera, crops, camera),
        crops_cxcys=crops,
    )


def _bridged(estimate: Estimate, timeline: Timeline) -> Estimate:
    """Straight from one sighting to the next where nobody was seen.

    Of such frames the network is told nothing, and what it makes up, above all how far away the
    person is, does not meet the frames around.
    """
    unseen = np.flatnonzero(~timeline.observed)
    if not len(unseen):
        return estimate
    sightings = np.flatnonzero(timeline.observed)  # the first and the last frame are among them
    next_one = np.searchsorted(sightings, unseen)
    before, after = sightings[next_one - 1], sightings[next_one]
    at = timeline.time_s
    share = torch.from_numpy((at[unseen] - at[before]) / (at[after] - at[before])).float()
    pose, pelvis_m = estimate.full_pose.clone(), estimate.pelvis_m.clone()
    turn = rotmat_to_rotvec(pose[before].transpose(-1, -2) @ pose[after])
    pose[unseen] = pose[before] @ rotvec_to_rotmat(share[:, None, None] * turn)
    pelvis_m[unseen] = torch.lerp(pelvis_m[before], pelvis_m[after], share[:, None])
    return replace(estimate, full_pose=pose, pelvis_m=pelvis_m)
