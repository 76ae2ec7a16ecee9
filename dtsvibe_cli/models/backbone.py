"""Backbones, and the first of them, V-CNN: from what one frame shows to a feature (section 3.1).

The paper takes a ResNet-50 that a frame-based pose network left behind. No such file may be
redistributed, so the ``blazepose`` variant takes what the embedded BlazePose and MoveNet networks
say of the frame.
"""

from typing import Final, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dtsvibe_cli.geometry.joints import BLAZEPOSE33
from dtsvibe_cli.models.precision import convolve

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


def _sided(*pairs: tuple[str, str]) -> list[tuple[int, int]]:
    """Landmark indices of pairs named without their side: left ones, then right ones."""
    return [
        (BLAZEPOSE33.index(f"{side}_{start}"), BLAZEPOSE33.index(f"{side}_{end}"))
        for side in ("left", "right")
        for start, end in pairs
    ]


_LEFT_EAR, _RIGHT_EAR, _NOSE = (BLAZEPOSE33.index(n) for n in ("left_ear", "right_ear", "nose"))

_BONES: Final = (
    *_sided(("shoulder", "elbow"), ("elbow", "wrist"), ("wrist", "index"), ("wrist", "pinky")),
    *_sided(("hip", "knee"), ("knee", "ankle"), ("ankle", "foot_index"), ("heel", "foot_index")),
    *_sided(("shoulder", "hip")),
    (BLAZEPOSE33.index("left_shoulder"), BLAZEPOSE33.index("right_shoulder")),
    (BLAZEPOSE33.index("left_hip"), BLAZEPOSE33.index("right_hip")),
    (_LEFT_EAR, _RIGHT_EAR),
    (_LEFT_EAR, _NOSE),
    (_RIGHT_EAR, _NOSE),
)
"""Start and end of the bones whose directions are given."""

_PLANES: Final = (
    (0, 1), (2, 3), (4, 5), (6, 7),  # arms: elbow and palm
    (8, 9), (9, 10), (12, 13), (13, 14),  # legs: knee and ankle
    (18, 16), (18, 17), (19, 16), (19, 17),  # trunk: shoulders and hips against its sides
    (20, 21),  # face
)  # fmt: skip
"""Pairs of :data:`_BONES`; the normal of the plane that they span tells how a limb is twisted."""

BONE_DIRECTIONS: Final = 3 * (len(_BONES) + len(_PLANES))

_FIRST_WORLD: Final = 33 * 2 + 33


def bone_directions(
    features: Float[Tensor, "*batch feature"],
) -> Float[Tensor, "*batch direction"]:
    """Unit vectors along bones and across the planes that they span, from landmark features.

    The columns of a limb's rotation before the camera are such vectors, so that the layers that
    follow have little to add. World landmarks in, zeros where there are none.
    """
    world = features[..., _FIRST_WORLD : _FIRST_WORLD + 99].unflatten(-1, (33, 3)).float()
    start, end = (list(side) for side in zip(*_BONES, strict=True))
    along = nn.functional.normalize(world[..., end, :] - world[..., start, :], dim=-1, eps=1e-3)
    first, second = (list(side) for side in zip(*_PLANES, strict=True))
    # almost straight limbs span no plane: the small vectors stay small
    across = torch.linalg.cross(along[..., first, :], along[..., second, :])
    across = nn.functional.normalize(across, dim=-1, eps=0.1)
    return torch.cat([along, across], dim=-2).flatten(-2)


class LandmarkBackbone(nn.Module):
    """V-CNN of ``lite``: its convolutions are the frozen BlazePose, run once a frame outside."""

    num_features = LANDMARK_FEATURES
    side = None

    def __init__(self, d_model: int, *, bone_directions: bool) -> None:
        super().__init__()
        self.bone_directions = bone_directions
        width = LANDMARK_FEATURES + (BONE_DIRECTIONS if bone_directions else 0)
        self.project = nn.Sequential(
            nn.Linear(width, d_model), nn.GELU(), nn.Linear(d_model, d_model)
        )

    def extract(self, frames: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch feature"]:
        """Feature of each frame; the landmarks are the feature."""
        return frames

    def forward(
        self, features: Float[Tensor, "window time feature"]
    ) -> Float[Tensor, "window time d_model"]:
        """The fully connected layer that ends the stream."""
        if self.bone_directions:
            features = torch.cat([features, bone_directions(features)], dim=-1)
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
        return convolve(self.cnn, (frames - self.mean) / self.deviation)

    def forward(
        self, features: Float[Tensor, "window time feature"]
    ) -> Float[Tensor, "window time d_model"]:
        """The fully connected layer that ends the stream."""
        projected: Tensor = self.project(features)
        return projected
