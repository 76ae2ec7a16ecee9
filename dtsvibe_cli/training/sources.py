"""Where a step's data comes from: sources mixed in fixed shares, and recorded motion to compare.

Everything is a function of the run's seed, the step and the process, so that a run can be resumed
and repeated exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.geometry.joints import SMPL24_MIRROR
from dtsvibe_cli.training.batches import BatchSource, TrainingBatch, concatenate
from dtsvibe_cli.training.motion_bank import RATE_HZ, MotionBank
from dtsvibe_cli.training.windows import FRAME_RATES_HZ

_PROCESS, _SOURCE, _RECORDED = 2**48, 2**56, 2**62
"""Distances between the seeds of processes, of sources in a mixture, and of recorded motion."""


class Mixture:
    """Several sources, each with its share of every batch."""

    def __init__(self, sources: Mapping[str, BatchSource], mix: Mapping[str, float]) -> None:
        """Shares need not sum to 1; without any, all sources get the same.

        Raises:
            ConfigError: The mix names other sources than there are, or gives nothing to anybody.
        """
        if mix and set(mix) != set(sources):
            raise ConfigError(
                f"The mix names {', '.join(sorted(mix))}, but there is {', '.join(sorted(sources))}"
                ": motion is that of --motion, the others are the data sets of --data."
            )
        shares = np.array([mix.get(name, 1.0) if mix else 1.0 for name in sources])
        if (shares < 0).any() or not shares.any():
            raise ConfigError("The shares of the mix must not be negative, nor all zero.")
        self.sources = tuple(sources.values())
        self.shares = shares / shares.sum()

    def sizes(self, size: int) -> list[int]:
        """Windows from each source, rounded so that they make up the batch."""
        borders = np.rint(np.cumsum([0.0, *self.shares]) * size)
        return [int(part) for part in np.diff(borders)]

    def batch(self, size: int, seed: int, *, vary: bool = True) -> TrainingBatch:
        """``size`` windows, the same for the same seed; ``vary`` off: without augmentation."""
        parts = [
            source.batch(part, seed + k * _SOURCE, vary=vary)
            for k, (source, part) in enumerate(zip(self.sources, self.sizes(size), strict=True))
            if part
        ]
        return parts[0] if len(parts) == 1 else concatenate(parts)


def recorded_poses(
    bank: MotionBank, size: int, window: int, seed: int
) -> Float[Tensor, "window time 23 3 3"]:
    """Recorded motion for the discriminator: the body's joints, at frame rates videos have."""
    rng = np.random.default_rng(seed)
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    windows = []
    for _ in range(size):
        pose, _ = bank.window(rng, window, RATE_HZ / rng.choice(FRAME_RATES_HZ))
        mirrored = rng.random() < 0.5
        windows.append(flip @ pose[:, list(SMPL24_MIRROR)] @ flip if mirrored else pose)
    return torch.stack(windows)[:, :, 1:]


@dataclass(frozen=True, kw_only=True)
class StepData:
    """What one step of one process is given."""

    batch: TrainingBatch
    recorded: Float[Tensor, "window time 23 3 3"] | None
    """Real motion for the discriminator, when there is one."""

    def to(self, device: torch.device | str) -> "StepData":
        """The same on another device."""
        recorded = None if self.recorded is None else self.recorded.to(device)
        return StepData(batch=self.batch.to(device), recorded=recorded)


class Steps(Dataset[StepData]):
    """The data of every step that is left of a run; the same whoever computes it."""

    def __init__(
        self,
        source: BatchSource,
        recorded: MotionBank | None,
        *,
        window: int,
        batch_size: int,
        seed: int,
        steps: range,
        process: int = 0,
    ) -> None:
        self.source, self.recorded = source, recorded
        self.window, self.batch_size = window, batch_size
        self.seed = seed * 2**32 + process * _PROCESS
        self.steps = steps

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> StepData:
        seed = self.seed + self.steps[index]
        recorded = None
        if self.recorded is not None:
            recorded = recorded_poses(self.recorded, self.batch_size, self.window, seed + _RECORDED)
        return StepData(batch=self.source.batch(self.batch_size, seed), recorded=recorded)
