"""A track cut into overlapping windows of T frames, and predictions put together again.

The paper leaves open how windows tile a video. Ours start every ``stride`` frames; where they
overlap, predictions are blended with weights that fall towards a window's ends. Rotations are
blended as matrices and projected back.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.geometry.rotations import project_to_rotmat
from dtsvibe_cli.models.dts_vibe import Theta


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Which frames of a track each window looks at."""

    rows: Int[np.ndarray, "window time"]
    """Row of the track; padding repeats the last row."""
    valid: Bool[np.ndarray, "window time"]
    """False in padding."""


def cut_windows(num_frames: int, length: int, stride: int) -> Windows:
    """Windows over ``num_frames`` rows; the last one ends with the last row.

    >>> cut_windows(20, 16, 8).rows[:, 0].tolist()
    [0, 4]
    >>> cut_windows(3, 4, 2).valid.tolist()
    [[True, True, True, False]]
    """
    if not 1 <= stride <= length:
        raise ValueError(f"The stride is {stride}; windows of {length} frames need 1 to {length}.")
    starts = list(range(0, max(1, num_frames - length + 1), stride))
    if starts[-1] + length < num_frames:
        starts.append(num_frames - length)
    rows = np.array(starts)[:, None] + np.arange(length)
    return Windows(rows=np.minimum(rows, num_frames - 1), valid=rows < num_frames)


def choose_stride(stride: int | None, length: int) -> int:
    """Frames from one window to the next: the given number, else half a window.

    Raises:
        ConfigError: Frames would be left out between windows.

    >>> choose_stride(None, 16)
    8
    """
    if stride is None:
        return max(1, length // 2)
    if not 1 <= stride <= length:
        raise ConfigError(
            f"--window-stride {stride} does not fit: the network sees {length} frames at a time, "
            f"so it must be 1 to {length}."
        )
    return stride


def blend_weights(length: int) -> Float[Tensor, " time"]:
    """A hat: 1 in the middle of a window, small but not zero at its ends."""
    position = torch.arange(length) + 0.5
    return torch.minimum(position, length - position) / (length / 2)


@dataclass(frozen=True, kw_only=True)
class Stitched:
    """Predictions of a whole track."""

    full_pose: Float[Tensor, "frame 24 3 3"]
    betas: Float[Tensor, " 10"]
    """One body for the whole track."""
    camera: Float[Tensor, "frame 3"]


class Stitcher:
    """Puts a track's windows together as they come, a few at a time.

    Args:
        num_frames: Of the track.
        seen: Whether the person was seen, each frame.
    """

    def __init__(self, num_frames: int, seen: Bool[Tensor, " frame"]) -> None:
        self._seen = seen
        self._pose = torch.zeros(num_frames, 24, 3, 3)
        self._camera = torch.zeros(num_frames, 3)
        self._weight = torch.zeros(num_frames)
        self._betas: list[Float[Tensor, "item 10"]] = []

    def add(self, theta: Theta, windows: Windows) -> None:
        """The network's answers for some windows, on the CPU."""
        rows = torch.from_numpy(windows.rows).flatten()
        weight = blend_weights(windows.rows.shape[1]).expand(len(windows.rows), -1)
        weight = (weight * torch.from_numpy(windows.valid)).flatten()
        pose, camera = theta.full_pose.flatten(0, 1), theta.camera.flatten(0, 1)
        self._pose.index_add_(0, rows, pose * weight[:, None, None, None])
        self._camera.index_add_(0, rows, camera * weight[:, None])
        self._weight.index_add_(0, rows, weight)
        use = self._seen[rows] & torch.from_numpy(windows.valid).flatten()
        self._betas.append(theta.betas.flatten(0, 1)[use])

    def result(self) -> Stitched:
        """The whole track: poses blended, and the median of the betas over frames seen."""
        return Stitched(
            full_pose=project_in_blocks(self._pose),
            betas=torch.cat(self._betas).median(0).values,
            camera=self._camera / self._weight[:, None],
        )


def project_in_blocks(
    matrix: Float[Tensor, "frame 24 3 3"], block: int = 1024
) -> Float[Tensor, "frame 24 3 3"]:
    """The rotation nearest to each matrix, in its place: long tracks are not held twice."""
    for part in matrix.split(block):
        part.copy_(project_to_rotmat(part))
    return matrix
