"""O-CNN: from the optical flow into a frame to a feature (paper, section 3.1).

Flow has two channels (dx, dy) in units of the crop's side (the paper leaves this open).
"""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dtsvibe_cli.models.precision import convolve

FLOW_GAIN: Final = 20.0
"""Flow within a person's crop is a few hundredths of its side: bring it near one."""


class SmallFlowEncoder(nn.Module):
    """O-CNN of ``lite``: four strided convolutions, then the fully connected layer."""

    num_features = 4 * 4 * 96

    def __init__(self, d_model: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.cnn = nn.Sequential(
            nn.Conv2d(2, 24, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(48, 96, 3, stride=2, padding=1),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
        )
        self.project = nn.Linear(self.num_features, d_model)

    def extract(self, flow: Float[Tensor, "batch 2 side side"]) -> Float[Tensor, "batch feature"]:
        """Feature of each flow field."""
        return convolve(self.cnn, (flow * FLOW_GAIN).clamp(-4, 4))

    def forward(
        self, features: Float[Tensor, "window time feature"]
    ) -> Float[Tensor, "window time d_model"]:
        """The fully connected layer that ends the stream."""
        projected: Tensor = self.project(features)
        return projected


class ResNet50FlowEncoder(nn.Module):
    """O-CNN of ``paper``: ResNet-50 whose first convolution takes two channels."""

    num_features = 2048

    def __init__(self, d_model: int, side: int) -> None:
        super().__init__()
        self.side = side
        from torchvision.models import resnet50

        network = resnet50(weights=None)
        network.conv1 = nn.Conv2d(2, 64, 7, stride=2, padding=3, bias=False)
        network.fc = nn.Identity()
        self.cnn: nn.Module = network
        self.project = nn.Linear(self.num_features, d_model)

    def load_imagenet(self, state: dict[str, Tensor]) -> None:
        """Start from torchvision's ImageNet ResNet-50, its first filters averaged over colour."""
        adapted = {key: value for key, value in state.items() if not key.startswith("fc.")}
        mean = adapted["conv1.weight"].mean(1, keepdim=True)
        adapted["conv1.weight"] = torch.cat([mean, mean], dim=1)
        self.cnn.load_state_dict(adapted, strict=True)

    def extract(self, flow: Float[Tensor, "batch 2 side side"]) -> Float[Tensor, "batch feature"]:
        """Feature of each flow field."""
        return convolve(self.cnn, (flow * FLOW_GAIN).clamp(-4, 4))

    def forward(
        self, features: Float[Tensor, "window time feature"]
    ) -> Float[Tensor, "window time d_model"]:
        """The fully connected layer that ends the stream."""
        projected: Tensor = self.project(features)
        return projected
