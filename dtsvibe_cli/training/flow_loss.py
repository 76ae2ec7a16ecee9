"""The flow loss of the refinement stage (equation 9): 2D joints must move as the picture does."""

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import grid_sample

from dtsvibe_cli.training.batches import TrainingBatch


def sample_flow(
    flow: Float[Tensor, "window time 2 side side"], at: Float[Tensor, "window time point 2"]
) -> Float[Tensor, "window time point 2"]:
    """Flow at points in crop coordinates, bilinear between the middles of cells, crop sides.

    No gradient reaches ``at``: a joint should follow the flow, not look for a place that suits it.
    """
    sampled: Tensor = grid_sample(
        flow.flatten(0, 1).float(),
        at.detach().flatten(0, 1)[:, :, None].float(),
        padding_mode="border",
        align_corners=False,
    )
    at_points: Tensor = sampled[..., 0].transpose(1, 2).unflatten(0, flow.shape[:2])
    return at_points


def carry_back(
    points: Float[Tensor, "window time point 2"], batch: TrainingBatch
) -> Float[Tensor, "window time point 2"]:
    """Where points were in the frame before, in the crop coordinates of that frame."""
    came_from = points - 2 * sample_flow(batch.flow, points)  # a side is 2 in crop coordinates
    step = batch.to_crop_before
    return came_from @ step[..., :2].transpose(-1, -2) + step[..., None, :, 2]


def flow_error(
    joints_crop: Float[Tensor, "window time joint 2"], batch: TrainingBatch
) -> tuple[Float[Tensor, "window step joint 2"], Bool[Tensor, "window step joint"]]:
    """How far each joint, carried back along the flow, is from itself in the frame before.

    One row less than frames (equation 9 starts with the second). The mask leaves out frames in
    which, or before which, nobody was seen, frames without flow (somebody unseen in between, where
    windows skip frames), and joints outside the crop.
    """
    error = carry_back(joints_crop, batch)[:, 1:] - joints_crop[:, :-1]
    has_flow = (batch.flow[:, 1:] != 0).flatten(2).any(-1)
    seen = batch.valid[:, 1:] & batch.valid[:, :-1] & has_flow
    inside = (joints_crop[:, 1:].detach().abs() <= 1).all(-1)
    return error, inside & seen[..., None]
