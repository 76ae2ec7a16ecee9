"""From fused features to the 157 SMPL and camera numbers of each frame (paper, section 3.1).

``TransformerRegressor``: one fully connected layer gives the coarse numbers, a transformer over
the window corrects them. 157 is prime, so its tokens are embedded first. ``HmrRegressor``: the
iterative one, for the ablation.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dtsvibe_cli.models.config import NUM_THETA
from dtsvibe_cli.models.temporal_encoder import transformer_layers


def mean_theta(pose_frame: Literal["parent", "camera"]) -> Float[Tensor, " theta"]:
    """A body in the rest pose that stands upright, faces the camera and fills most of the crop."""
    identity = torch.tensor([1.0, 0, 0, 0, 1, 0])
    facing = torch.tensor([1.0, 0, 0, 0, -1, 0])
    camera = torch.tensor([0.9, 0.0, 0.0])
    others = facing if pose_frame == "camera" else identity
    return torch.cat([facing, others.repeat(23), torch.zeros(10), camera])


class TransformerRegressor(nn.Module):
    """Coarse parameters by one layer, then a correction by a transformer over the window."""

    def __init__(
        self,
        *,
        d_model: int,
        d_regressor: int,
        heads: int,
        layers: int,
        window: int,
        dropout: float,
        pose_frame: Literal["parent", "camera"],
    ) -> None:
        super().__init__()
        self.coarse = nn.Linear(d_model, NUM_THETA)
        nn.init.normal_(self.coarse.weight, std=0.01)
        with torch.no_grad():
            self.coarse.bias.copy_(mean_theta(pose_frame))
        self.embed = nn.Linear(NUM_THETA, d_regressor)
        self.position = nn.Parameter(torch.randn(window, d_regressor) * 0.02)
        self.layers = transformer_layers(d_regressor, heads, 2 * d_regressor, layers, dropout)
        self.correct = nn.Linear(d_regressor, NUM_THETA)
        nn.init.zeros_(self.correct.weight)
        nn.init.zeros_(self.correct.bias)

    def forward(
        self, fused: Float[Tensor, "window time d_model"], valid: Bool[Tensor, "window time"]
    ) -> Float[Tensor, "window time theta"]:
        """Theta of every frame."""
        coarse: Tensor = self.coarse(fused)
        tokens = self.embed(coarse) + self.position[: fused.shape[1]]
        theta: Tensor = coarse + self.correct(self.layers(tokens, src_key_padding_mask=~valid))
        return theta


class HmrRegressor(nn.Module):
    """HMR's iterative error feedback, each frame by itself, three rounds from the mean."""

    def __init__(
        self,
        *,
        d_model: int,
        pose_frame: Literal["parent", "camera"],
        width: int = 1024,
        rounds: int = 3,
    ) -> None:
        super().__init__()
        self.rounds = rounds
        self.register_buffer("start", mean_theta(pose_frame))
        self.start: Tensor
        self.step = nn.Sequential(
            nn.Linear(d_model + NUM_THETA, width),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(0.5),
        )
        self.correct = nn.Linear(width, NUM_THETA)
        nn.init.normal_(self.correct.weight, std=0.001)
        nn.init.zeros_(self.correct.bias)

    def forward(
        self, fused: Float[Tensor, "window time d_model"], valid: Bool[Tensor, "window time"]
    ) -> Float[Tensor, "window time theta"]:
        """Theta of every frame; ``valid`` is not needed, since frames do not see each other."""
        theta = self.start.expand(*fused.shape[:2], NUM_THETA)
        for _ in range(self.rounds):
            theta = theta + self.correct(self.step(torch.cat([fused, theta], -1)))
        return theta
