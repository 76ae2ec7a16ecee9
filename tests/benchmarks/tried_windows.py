"""Ways from the network's windows to the camera's coordinates, tried (tried.py), and not kept."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from dtsvibe_cli.stages import estimation
from dtsvibe_cli.stages.estimation import Features, MotionModel, Stretch
from dtsvibe_cli.stages.windows import Stitched

SHORT_STEP_FRAMES = 48
"""Shorter stretches are not worth two halves."""


@contextmanager
def over_every_other_frame() -> Iterator[None]:
    """Windows that span twice the time: the even frames by themselves, and the odd ones.

    The flow into each frame stays that from the frame just before.
    """
    usual = estimation.run_windows

    def halves(network: MotionModel, stretches: Sequence[Stretch], **others: Any) -> list[Stitched]:
        return [_joined(network, stretch, usual, others) for stretch in stretches]

    with patch.object(estimation, "run_windows", halves):
        yield


def _joined(network: MotionModel, stretch: Stretch, usual: Any, others: dict[str, Any]) -> Stitched:
    (whole,) = usual(network, [stretch], **others)
    count = len(stretch.observed)
    if count < SHORT_STEP_FRAMES:
        return whole
    everything = stretch.features(slice(0, count))
    full_pose, camera = whole.full_pose.clone(), whole.camera.clone()
    shapes = []
    for first in (0, 1):
        rows = torch.arange(first, count, 2)

        def features(part: slice, rows: Tensor = rows) -> Features:
            flow = None if everything.flow is None else everything.flow[rows[part]]
            return Features(everything.appearance[rows[part]], flow)

        half = Stretch(observed=stretch.observed[rows], features=features)
        (stitched,) = usual(network, [half], **others)
        full_pose[rows], camera[rows] = stitched.full_pose, stitched.camera
        shapes.append(stitched.betas)
    return replace(whole, full_pose=full_pose, camera=camera, betas=sum(shapes) / 2)


@contextmanager
def no_turn_by_the_viewing_ray() -> Iterator[None]:
    """As if everybody were in the picture's middle."""

    def none(places: Tensor, _: Any) -> Tensor:
        return torch.eye(3).expand(len(places), 3, 3)

    with patch.object(estimation, "ray_rotation", none):
        yield
