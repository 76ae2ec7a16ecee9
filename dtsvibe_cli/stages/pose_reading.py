"""What the pose network sees in crops, brought back into the full image."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dtsvibe_cli.geometry.joints import BLAZEPOSE33_MIRROR
from dtsvibe_cli.models.blazepose import CROP_SIDE_PX, BlazePoseLandmarks
from dtsvibe_cli.stages.crops import Crop, from_crop, turn
from dtsvibe_cli.stages.track_rows import PoseReading


def read_poses(
    network: BlazePoseLandmarks,
    pictures: UInt8[Tensor, "crop side side 3"],
    crops_cxcysa: Sequence[Crop],
    *,
    device: str,
    mirrored: bool = False,
) -> list[PoseReading]:
    """The pose in each crop.

    Args:
        network: Gives the landmarks.
        pictures: The crops, of the side that the network takes.
        crops_cxcysa: Where they were cut out.
        device: Where the network is.
        mirrored: Let it see the mirror images.
    """
    with torch.inference_mode():
        seen = network(as_input(pictures.flip(2) if mirrored else pictures, device))
        # one tensor: each one that is fetched waits for the GPU
        parts = seen.landmarks_px, seen.world_m, seen.visibility[..., None]
        numbers = torch.cat(parts, -1).cpu().double().numpy()
    if mirrored:
        # as in the picture: left is left again, in pixels from the other edge
        numbers = numbers[:, list(BLAZEPOSE33_MIRROR)] * [-1, 1, -1, 1, 1, 1]
        numbers[..., 0] += CROP_SIDE_PX
    landmarks, world, visibility = np.split(numbers, [2, 5], axis=-1)
    return [
        PoseReading(
            crop_cxcysa=crop,
            landmarks_px=from_crop(landmarks[k], crop, CROP_SIDE_PX),
            visibility=visibility[k, :, 0],
            world_m=np.concatenate([world[k, :, :2] @ turn(crop[3]).T, world[k, :, 2:]], 1),
        )
        for k, crop in enumerate(crops_cxcysa)
    ]


def as_input(
    pictures: UInt8[Tensor, "picture side side 3"], device: str
) -> Float[Tensor, "picture 3 side side"]:
    """Pictures as networks take them: RGB, 0 to 1."""
    return (pictures.to(device).permute(0, 3, 1, 2) / 255).contiguous()
