"""A result against known joints: the field's numbers for one person in one sequence."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from dtsvibe_cli.datatypes import PersonMotion
from dtsvibe_cli.errors import DataError
from dtsvibe_cli.evaluation.metrics import acceleration_error, mpjpe, pa_mpjpe


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Errors over all 24 SMPL joints of one sequence."""

    num_frames: int
    mpjpe_mm: float
    """After moving the pelvis onto the true one."""
    pa_mpjpe_mm: float
    """After the best similarity transform of each frame."""
    accel_mm: float
    """Of the second difference, per frame squared, pelvis aligned."""
    position_mm: float
    """Distance of the pelvis in camera coordinates."""
    pixels: float
    """Distance in the picture."""
    pixels_of_box: float
    """The same as a fraction of the true joints' larger extent."""


def compare(
    person: PersonMotion,
    frame_index: Int[np.ndarray, " frame"],
    joints_cam: Float[np.ndarray, "frame 24 3"],
    joints_px: Float[np.ndarray, "frame 24 2"],
) -> Errors:
    """Errors of a person over the frames that both sides know.

    Args:
        person: The estimate.
        frame_index: Frames of the truth.
        joints_cam: True joints, metres, camera coordinates.
        joints_px: True joints in the picture.

    Raises:
        DataError: There are no common frames.
    """
    common, mine, theirs = np.intersect1d(
        person.track.frame_index, frame_index, return_indices=True
    )
    if len(common) == 0:
        raise DataError("The result and the truth have no frame in common.")
    predicted = torch.from_numpy(person.joints_cam[mine]).double()
    truth = torch.from_numpy(joints_cam[theirs]).double()
    by_root, true_by_root = predicted - predicted[:, :1], truth - truth[:, :1]
    apart_px = np.linalg.norm(person.joints_px[mine] - joints_px[theirs], axis=-1)
    extent = (joints_px[theirs].max(1) - joints_px[theirs].min(1)).max(1)
    return Errors(
        num_frames=len(common),
        mpjpe_mm=1000 * float(mpjpe(by_root, true_by_root).mean()),
        pa_mpjpe_mm=1000 * float(pa_mpjpe(predicted, truth).mean()),
        accel_mm=1000 * float(acceleration_error(by_root, true_by_root)) if len(common) > 2 else 0,
        position_mm=1000 * float(torch.linalg.vector_norm(predicted - truth, dim=-1)[:, 0].mean()),
        pixels=float(apart_px.mean()),
        pixels_of_box=float((apart_px / extent[:, None]).mean()),
    )
