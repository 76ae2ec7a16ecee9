"""Backbones, and the first of them, V-CNN: from what one frame shows to a feature (section 3.1).

The paper takes a ResNet-50 that a frame-based pose network left behind. No such file may be
redistributed, so the ``blazepose`` variant takes what the embedded BlazePose and MoveNet networks
say of the frame.
"""

from typing import Final, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

LANDMARK_FEATURES: Final = 33 * 2 + 33 + 33 * 3 + 17 * 3
"""Landmarks in the crop, their visibility, world landmarks, detector keypoints with score."""

RESNET50_FEATURES: Final = 2048

PICTURE_SIDE_PX: Final = 224
"""Side of the crops that the paper's V-CNN looks at."""

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION: Final = (0.229, 0.224, 0.225)
"""Of red, green and blue, 0 to 1: what networks trained on ImageNet expect to be taken out."""


@runtime_checkable
class Backbone(Protocol):
    """V-CNN or O-CNN, a torch module in two steps.

    ``extract`` holds the convolutions and runs once a frame. Calling the module gives the layer
    that ends the stream; it runs on windows, which overlap.
    """

    @property
    def num_features(self) -> int:
        """Length of a frame's feature."""
        ...

    @property
    def side(self) -> int | None:
        """Side of the square pictures or flow fields it takes; None when it takes landmarks."""
        ...

    def extract(self, frames: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch feature"]:
        """Feature of each frame: RGB (3 channels, 0 to 1), flow (2, crop sides) or landmarks."""
        ...

    def __call__(
        self, features: Float[Tensor, "window time feature"]
    ) -> Float[Tensor, "window time d_model"]:
        """What the features bring to the two streams' common width."""
        ...


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
    side = None

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
    side = PICTURE_SIDE_PX

    def __init__(self, d_model: int) -> None:
        super().__init__()
        from torchvision.models import resnet50

        self.cnn: nn.Module = resnet50(weights=None)
        self.cnn.fc = nn.Identity()
        self.project = nn.Linear(RESNET50_FEATURES, d_model)
        mean, deviation = torch.tensor([IMAGENET_MEAN, IMAGENET_DEVIATION])[..., None, None]
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("deviation", deviation, persistent=False)
        self.mean: Tensor
        self.deviation: Tensor

    def extract(
        self, frames: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch feature"]:
        """Pooled feature of each crop, RGB from 0 to 1."""
        features: Tensor = self.cnn((frames - self.mean) / self.deviation)
        return features

    def forward(
        self, features: Float[Tensor, "window time feature"]
    ) -> Float[Tensor, "window time d_model"]:
        """The fully connected layer that ends the stream."""
        projected: Tensor = self.project(features)
        return projected
