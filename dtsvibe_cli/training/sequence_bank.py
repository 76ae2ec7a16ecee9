"""Training batches out of prepared sequences: random windows at random rates, mirrored at random.

A batch is a function of its seed, so training resumes exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Int
from torch import Tensor
from torch.nn.functional import grid_sample

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.geometry.joints import BLAZEPOSE33_MIRROR, COCO17_MIRROR, SMPL24_MIRROR
from dtsvibe_cli.geometry.rotations import rotvec_to_rotmat
from dtsvibe_cli.models.backbone import landmark_features
from dtsvibe_cli.training.batches import TrainingBatch
from dtsvibe_cli.training.sequences import TrainingSequence, read_sequence

MIN_RATE_HZ: Final = 12.0
MAX_RATE_HZ: Final = 60.0
"""Frame rates of windows: those of videos that people have."""

USUAL_RATE_HZ: Final = 30.0
"""Where nothing shall vary, windows have about this rate."""


@dataclass(frozen=True, kw_only=True)
class _Window:
    """Frames of one sequence."""

    rows: TrainingSequence
    real: Bool[np.ndarray, " time"]
    """False in padding."""


class SequenceBank:
    """Draws training batches from prepared sequences.

    Sequences are drawn by the square root of their length, so that short ones are seen too. Files
    are opened when they are drawn, so any number of them and any size will do.

    Args:
        files: Of :func:`~dtsvibe_cli.training.sequences.sequence_files`.
        window: Frames in a window. Shorter sequences are padded.

    Raises:
        DataError: A file cannot be read, or they were not all prepared with one configuration.
    """

    def __init__(self, files: Sequence[Path], *, window: int) -> None:
        self.window = window
        kept, lengths, kinds, seconds = [], [], set(), 0.0
        for path in files:
            sequence = read_sequence(path)  # let go at once: as long as it is there a file is open
            if sequence.seen.any():
                kept.append(path)
                lengths.append(sequence.num_frames)
                kinds.add(_kind(sequence))
                seconds += sequence.num_frames / sequence.rate_hz
        if not kept:
            raise DataError(
                "There are no prepared sequences to draw from in which anybody is seen."
            )
        if len(kinds) > 1:
            raise DataError(
                f"The prepared sequences are of several kinds ({'; '.join(sorted(kinds))}): "
                "prepare all with the same --config."
            )
        self.files = tuple(kept)
        weights = np.array(lengths) ** 0.5
        self._chances = weights / weights.sum()
        self.minutes = seconds / 60
        """Length of all sequences together."""

    def batch(self, size: int, seed: int, *, vary: bool = True) -> TrainingBatch:
        """One batch; the same for the same seed.

        Args:
            size: Windows in it.
            seed: Of everything that is drawn.
            vary: Draw the rate, and mirror half of the windows; off for validation.
        """
        rng = np.random.default_rng(seed)
        return _stack([self._draw(rng, vary=vary) for _ in range(size)])

    def _draw(self, rng: np.random.Generator, *, vary: bool) -> _Window:
        sequence = read_sequence(self.files[rng.choice(len(self.files), p=self._chances)])
        strides = _strides(sequence, self.window)
        usual = np.abs(sequence.rate_hz / strides - USUAL_RATE_HZ).argmin()
        stride = int(rng.choice(strides) if vary else strides[usual])
        index = _around_a_seen_frame(sequence.seen, self.window, stride, rng)
        real = index < sequence.num_frames
        index = index[np.minimum(np.arange(len(index)), real.sum() - 1)]
        rows = replace(sequence.rows(index), flow=flow_across(sequence, index, stride))
        # features of pictures cannot be mirrored
        if vary and rows.appearance is None and rng.random() < 0.5:
            rows = mirrored(rows)
        return _Window(rows=rows, real=real)


def _kind(sequence: TrainingSequence) -> str:
    seen = sequence.appearance
    appearance = "landmarks" if seen is None else f"{seen.shape[1]} features of pictures"
    return f"{appearance}, flow of {sequence.flow.shape[2]} cells"


def _strides(sequence: TrainingSequence, window: int) -> Int[np.ndarray, " stride"]:
    """How many frames apart those of a window may be.

    Those that keep the rate within bounds and need no padding; one where there are none.
    """
    every = np.arange(1, max(2, int(sequence.rate_hz / MIN_RATE_HZ) + 1))
    rates = sequence.rate_hz / every
    allowed = every[(rates >= MIN_RATE_HZ) & (rates <= MAX_RATE_HZ)]
    allowed = allowed if len(allowed) else every[:1]
    fitting = allowed[(window - 1) * allowed < sequence.num_frames]
    return fitting if len(fitting) else allowed[:1]


def _around_a_seen_frame(
    seen: Bool[np.ndarray, " frame"], window: int, stride: int, rng: np.random.Generator
) -> Int[np.ndarray, " time"]:
    """Frames of a window that holds a random seen one; beyond the end only if it must be padded."""
    anchor = int(rng.choice(np.flatnonzero(seen)))
    before = anchor // stride
    after = (len(seen) - 1 - anchor) // stride
    most = min(window - 1, before)
    fewest = min(max(0, window - 1 - after), most)
    first = anchor - stride * int(rng.integers(fewest, most + 1))
    return first + stride * np.arange(window)


def flow_across(
    sequence: TrainingSequence, index: Int[np.ndarray, " time"], stride: int
) -> Float16[np.ndarray, "time 2 side side"]:
    """Flow into the frames of ``index`` from those ``stride`` frames before, in crop sides.

    The flows in between are followed back from frame to frame, each in its own crop. Zeros where
    the person was not seen all the time, as the pipeline has it.
    """
    if stride == 1:
        return np.array(sequence.flow[index])
    side = sequence.flow.shape[-1]
    squares = torch.from_numpy(sequence.crops_cxcysa[:, :3].copy())
    ticks = (torch.arange(side) + 0.5) / side - 0.5
    cells = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), -1)
    now = squares[index]
    here_px = now[:, None, None, :2] + cells * now[:, None, None, 2:]
    came_px = torch.zeros_like(here_px)
    for back in range(stride):
        frames = np.maximum(index - back, 0)
        square = squares[frames][:, None, None]
        there = (here_px - came_px - square[..., :2]) / (square[..., 2:].clamp_min(1) / 2)
        flow = torch.from_numpy(sequence.flow[frames].astype(np.float32))
        moved = grid_sample(flow, there, padding_mode="border", align_corners=False)
        came_px = came_px + moved.permute(0, 2, 3, 1) * square[..., 2:]
    across = (came_px / now[:, None, None, 2:].clamp_min(1)).permute(0, 3, 1, 2).numpy()
    span = index[:, None] - np.arange(stride + 1)
    followed = (span >= 0) & sequence.seen[np.maximum(span, 0)]
    return np.asarray(across * followed.all(1)[:, None, None, None], dtype=np.float16)


def mirrored(sequence: TrainingSequence) -> TrainingSequence:
    """The same person in a mirror: x changes its sign, left and right change their names.

    Features of pictures cannot be mirrored.
    """
    if sequence.appearance is not None:
        raise ValueError("Features of pictures cannot be mirrored.")
    across = np.array([-1, 1], np.float32)
    smpl, coco, blaze = list(SMPL24_MIRROR), list(COCO17_MIRROR), list(BLAZEPOSE33_MIRROR)
    return replace(
        sequence,
        crops_cxcysa=sequence.crops_cxcysa * np.array([-1, 1, 1, -1], np.float32),
        landmarks_crop=sequence.landmarks_crop[:, blaze] * across,
        visibility=sequence.visibility[:, blaze],
        world_landmarks_m=sequence.world_landmarks_m[:, blaze] * np.array([-1, 1, 1], np.float32),
        keypoints_crop=sequence.keypoints_crop[:, coco] * np.array([-1, 1, 1], np.float32),
        flow=sequence.flow[..., ::-1] * np.array([-1, 1], np.float16)[:, None, None],
        # a mirror at x = 0 turns rotations about y and z the other way
        full_pose_rotvec=sequence.full_pose_rotvec[:, smpl] * np.array([1, -1, -1], np.float32),
        joints_m=sequence.joints_m[:, smpl] * np.array([-1, 1, 1], np.float32),
        joints_m_weight=sequence.joints_m_weight[:, smpl],
        joints_crop=sequence.joints_crop[:, smpl] * across,
        joints_crop_weight=sequence.joints_crop_weight[:, smpl],
    )


def _appearance(rows: TrainingSequence) -> Float[Tensor, "time feature"]:
    """What the network's V-CNN made of each frame."""
    if rows.appearance is not None:
        return torch.from_numpy(rows.appearance).float()
    return landmark_features(
        torch.from_numpy(rows.landmarks_crop),
        torch.from_numpy(rows.visibility),
        torch.from_numpy(rows.world_landmarks_m),
        torch.from_numpy(rows.keypoints_crop),
    )


def _to_crop_before(
    crops_cxcysa: Float[Tensor, "window time 4"],
) -> Float[Tensor, "window time 2 3"]:
    """From each frame's crop coordinates to those of the crop before."""
    before = torch.cat([crops_cxcysa[:, :1], crops_cxcysa[:, :-1]], 1)
    side_before = before[..., 2:3].clamp_min(1)
    scale = crops_cxcysa[..., 2:3] / side_before
    shift = (crops_cxcysa[..., :2] - before[..., :2]) / side_before * 2
    step = torch.cat([scale[..., None] * torch.eye(2), shift[..., None]], -1)
    step[:, 0] = torch.eye(2, 3)
    return step


def _stack(windows: list[_Window]) -> TrainingBatch:
    def stacked(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(window.rows, name) for window in windows]))

    real = torch.from_numpy(np.stack([window.real for window in windows]))
    valid = stacked("seen") & real
    appearance = torch.stack([_appearance(window.rows) for window in windows])
    return TrainingBatch(
        appearance=appearance * valid[..., None],
        flow=stacked("flow").float() * valid[..., None, None, None],
        to_crop_before=_to_crop_before(stacked("crops_cxcysa")),
        valid=valid,
        full_pose=rotvec_to_rotmat(stacked("full_pose_rotvec")),
        betas=stacked("betas"),
        has_smpl=stacked("has_smpl") & real,
        joints_m=stacked("joints_m"),
        joints_m_weight=stacked("joints_m_weight") * real[..., None],
        joints_crop=stacked("joints_crop"),
        joints_crop_weight=stacked("joints_crop_weight") * real[..., None],
    )
