"""The field's error measures on joints, for one sequence at a time.

Averages over sequences are the caller's business: a second difference must never cross a
sequence's border.
"""

import roma
import torch
from jaxtyping import Float
from torch import Tensor


def mpjpe(
    predicted: Float[Tensor, "*batch joint 3"], truth: Float[Tensor, "*batch joint 3"]
) -> Float[Tensor, "*batch"]:
    """Mean joint distance of each frame, in the unit given; align the roots first.

    >>> mpjpe(torch.zeros(1, 2, 3), torch.tensor([[[3.0, 4, 0], [0, 0, 1]]]))
    tensor([3.])
    """
    distance: Tensor = torch.linalg.vector_norm(predicted - truth, dim=-1)
    return distance.mean(-1)


def procrustes_align(
    predicted: Float[Tensor, "*batch joint 3"],
    truth: Float[Tensor, "*batch joint 3"],
    weights: Float[Tensor, "*batch joint"] | None = None,
) -> Float[Tensor, "*batch joint 3"]:
    """``predicted`` of each frame moved onto ``truth`` by the best rotation, translation and scale.

    Reflections are not allowed. Right for every batch size: the layout is never guessed from the
    shape. ``weights`` of zero leave joints out of the fit; they are moved with the others.
    """
    rotation, translation, scale = roma.rigid_points_registration(
        predicted, truth, weights, compute_scaling=True
    )
    moved: Tensor = (rotation @ predicted.transpose(-1, -2)).transpose(-1, -2)
    aligned: Tensor = scale[..., None, None] * moved + translation[..., None, :]
    return aligned


def pa_mpjpe(
    predicted: Float[Tensor, "*batch joint 3"], truth: Float[Tensor, "*batch joint 3"]
) -> Float[Tensor, "*batch"]:
    """Mean joint distance of each frame after its own similarity alignment."""
    return mpjpe(procrustes_align(predicted, truth), truth)


def acceleration_error(
    predicted: Float[Tensor, "*batch frame joint 3"], truth: Float[Tensor, "*batch frame joint 3"]
) -> Float[Tensor, "*batch"]:
    """Mean distance between the second differences of one sequence, per frame squared."""
    error = torch.diff(predicted, n=2, dim=-3) - torch.diff(truth, n=2, dim=-3)
    distance: Tensor = torch.linalg.vector_norm(error, dim=-1)
    return distance.mean((-1, -2))
