"""What a training step is given: inputs of a batch of windows, and the labels that exist."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class TrainingBatch:
    """Inputs and targets of a batch of windows.

    Targets are those of a camera that looks straight at the person. Where a label does not exist
    its weight is zero and its value is any finite number.
    """

    appearance: Float[Tensor, "window time feature"]
    flow: Float[Tensor, "window time 2 side side"]
    """Into each frame, in crop sides, under that frame's crop."""
    to_crop_before: Float[Tensor, "window time 2 3"]
    """From a frame's crop coordinates to those of the crop before, as ``A @ (x, y, 1)``: where the
    same place of the picture lies; the identity in the first frame."""
    valid: Bool[Tensor, "window time"]
    """Frames in which the person was seen."""
    full_pose: Float[Tensor, "window time 24 3 3"]
    betas: Float[Tensor, "window 10"]
    has_smpl: Bool[Tensor, "window time"]
    """Frames whose ``full_pose`` and ``betas`` are labels."""
    joints_m: Float[Tensor, "window time 24 3"]
    """Relative to the pelvis."""
    joints_m_weight: Float[Tensor, "window time 24"]
    """0: no label."""
    joints_crop: Float[Tensor, "window time 24 2"]
    """Projected joints in crop coordinates, [-1, 1] over the square."""
    joints_crop_weight: Float[Tensor, "window time 24"]
    """0: no label."""

    def to(self, device: torch.device | str) -> "TrainingBatch":
        """The same batch on another device."""
        return replace(self, **{f.name: getattr(self, f.name).to(device) for f in fields(self)})


@runtime_checkable
class BatchSource(Protocol):
    """Anything that gives training batches: simulated motion, prepared sequences, a mixture."""

    def batch(self, size: int, seed: int, *, vary: bool = True) -> TrainingBatch:
        """``size`` windows, the same for the same seed; ``vary`` off: without augmentation."""
        ...


def concatenate(batches: Sequence[TrainingBatch]) -> TrainingBatch:
    """The windows of several batches in one."""
    names = [f.name for f in fields(TrainingBatch)]
    return TrainingBatch(**{n: torch.cat([getattr(b, n) for b in batches]) for n in names})
