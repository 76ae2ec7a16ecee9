"""A zero-phase filter over time, in seconds, so that all frame rates are smoothed alike."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dtsvibe_cli.geometry.rotations import project_to_rotmat


def gaussian_matrix(
    time_s: Float[np.ndarray, " frame"], deviation_s: float
) -> Float[Tensor, "frame frame"]:
    """Rows of Gaussian weights around each frame's own time, each adding up to one.

    At the ends the kernel is cut on both sides alike, so that a straight line stays one.
    """
    if deviation_s <= 0:
        return torch.eye(len(time_s), dtype=torch.float64)
    time = torch.from_numpy(np.asarray(time_s, dtype=np.float64))
    apart = (time[:, None] - time[None]).abs()
    reach = torch.minimum(time - time[0], time[-1] - time) + 1e-9
    step = torch.diff(time).median() if len(time) > 1 else torch.tensor(1.0)
    allowed = torch.minimum(4 * torch.tensor(deviation_s), reach.clamp_min(0))[:, None]
    weight = torch.exp(-0.5 * (apart / deviation_s) ** 2) * (apart <= allowed + 0.01 * step)
    normalised: Float[Tensor, "frame frame"] = weight / weight.sum(1, keepdim=True)
    return normalised


def smooth_rotations(
    rotmat: Float[Tensor, "frame joint 3 3"],
    time_s: Float[np.ndarray, " frame"],
    deviation_s: float,
) -> Float[Tensor, "frame joint 3 3"]:
    """Rotations averaged over time with Gaussian weights; ``deviation_s`` 0 changes nothing."""
    if deviation_s <= 0 or len(rotmat) < 2:
        return rotmat

    def project(mixed: Float[Tensor, "frame value"]) -> Float[Tensor, "frame value"]:
        return project_to_rotmat(mixed.view(-1, *rotmat.shape[1:])).flatten(1)

    return _apply(rotmat.flatten(1), time_s, deviation_s, project).view_as(rotmat)


def smooth_values(
    values: Float[Tensor, "frame value"],
    time_s: Float[np.ndarray, " frame"],
    deviation_s: float,
) -> Float[Tensor, "frame value"]:
    """Numbers averaged over time with Gaussian weights; ``deviation_s`` 0 changes nothing."""
    if deviation_s <= 0 or len(values) < 2:
        return values
    return _apply(values, time_s, deviation_s)


_BLOCK = 512
"""Frames filtered at once, so that memory does not grow with the square of a track's length."""


def _apply(
    values: Float[Tensor, "frame value"],
    time_s: Float[np.ndarray, " frame"],
    deviation_s: float,
    finish: Callable[[Tensor], Tensor] = lambda mixed: mixed,
) -> Float[Tensor, "frame value"]:
    step_s = float(np.median(np.diff(time_s)))
    margin = int(np.ceil(4 * deviation_s / max(step_s, 1e-6))) + 1
    filtered = torch.empty_like(values)
    for start in range(0, len(values), _BLOCK):
        low, high = max(0, start - margin), min(len(values), start + _BLOCK + margin)
        matrix = gaussian_matrix(time_s[low:high], deviation_s).to(values.dtype)
        inner = slice(start - low, min(start + _BLOCK, len(values)) - low)
        filtered[start : start + _BLOCK] = finish((matrix @ values[low:high])[inner])
    return filtered
