"""V-CNN: from what one frame shows to a feature (paper, section 3.1).

The paper takes a ResNet-50 that a frame-based pose network left behind. No such file may be
redistributed, so the ``blazepose`` variant takes what the embedded BlazePose and MoveNet networks
say of the frame.
"""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

LANDMARK_FEATURES: Final = 33 * 2 + 33 + 33 * 3 + 17 * 3
"""Landmarks in the crop, their visibility, world landmarks, detector keypoints with score."""

RESNET50_FEATURES: Final = 2048


def landmark_features(
    landmarks: Float[Tensor, "*batch 33 2"],
    visibility: Float[Tensor, "*batch 33"],
    world_landmarks_m: Float[Tensor, "*batch 33 3"],
    keypoints: Float[Tensor, "*batch 17 3"],
) -> Float[Tensor, "*batch feature"]:
    """One feature vector a frame.

    ``landmarks`` and the first two columns of ``keypoints`` are in crop coordinates, [-1, 1] over
    the square; the third column is the keypoint's score, and a keypoint with score 0 counts as not
    given.
    """
    given = keypoints[..., 2:] > 0
    points = torch.where(
        given, keypoints[..., :2].clamp(-2, 2), torch.zeros_like(keypoints[..., :2])
    )
    return torch.cat(
        [
            landmarks.clamp(-2, 2).flatten(-2),
            visibility,
            world_landmarks_m.clamp(-2, 2).flatten(-2),
            torch.cat([points, keypoints[..., 2:]], -1).flatten(-2),
        ],
        -1,
    )


class LandmarkBackbone(nn.Module):
    """V-CNN of ``lite``: its convolutions are the frozen BlazePose, run once a frame outside."""

    num_features = LANDMARK_FEATURES

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Linear(LANDMARK_FEATURES, d_model), nn.GELU(), nn.Linear(d_model, d_model)
        )

    def extract(self, frames: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch feature"]:
        """Feature of each frame; the landmarks are the feature."""
        return frames

    def forward(
        self, features: Float[Tensor, "window time feature"]
    ) -> Float[Tensor, "window time d_model"]:
        """The fully connected layer that ends the stream."""
        projected: Tensor = self.project(features)
        return projected


class ResNet50Backbone(nn.Module):
    """V-CNN of ``paper``: ResNet-50 without its classifier, then 2048 -> d_model."""

    num_features = RESNET50_FEATURES

    def __init__(self, d_model: int) -> None:
        super().__init__()
        from torchvision.models import resnet50

        self.cnn: nn.Module = resnet50(weights=None)
        self.cnn.fc = nn.Identity()
        self.project = nn.Linear(RESNET50_FEATURES, d_model)

    def extract(
        self, frames: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch feature"]:
        """Pooled feature of each RGB crop, normalised with ImageNet's mean and deviation."""
        features: Tensor = self.cnn(frames)
        return features

    def forward(
        self, features: Float[Tensor, "window time feature"]
    ) -> Float[Tensor, "window time d_model"]:
        """The fully connected layer that ends the stream."""
        projected: Tensor = self.project(features)
        return projected
