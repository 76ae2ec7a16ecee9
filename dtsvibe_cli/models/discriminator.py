"""The motion discriminator (paper, section 3.2; VIBE, section 3.2): is this motion a recorded one?

It reads the rotations of the body's 23 joints as 6D numbers. The root's is left out: it depends on
the camera, which recorded motion does not have.
"""

from typing import Final

from jaxtyping import Bool, Float
from torch import Tensor, nn

from dtsvibe_cli.geometry.rotations import rotmat_to_rot6d

NUM_BODY_JOINTS = 23

_NO_ATTENTION: Final = -1e4


class MotionDiscriminator(nn.Module):
    """A two-layer GRU over the poses, pooled by learned attention, and one score a window."""

    def __init__(self, width: int = 1024) -> None:
        super().__init__()
        self.gru = nn.GRU(NUM_BODY_JOINTS * 6, width, num_layers=2, batch_first=True)
        self.attention = nn.Sequential(
            nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(),
            nn.Linear(width, 1),
        )  # fmt: skip
        self.score = nn.Linear(width, 1)

    def forward(
        self,
        body_pose: Float[Tensor, "window time 23 3 3"],
        valid: Bool[Tensor, "window time"] | None = None,
    ) -> Float[Tensor, " window"]:
        """Trained towards 1 for recorded motion, 0 for predicted.

        Where ``valid`` is off nothing was seen, or a short window is filled up: no attention.
        """
        hidden, _ = self.gru(rotmat_to_rot6d(body_pose).flatten(-2))
        attention = self.attention(hidden)
        if valid is not None:
            attention = attention.masked_fill(~valid[..., None], _NO_ATTENTION)
        share = attention.softmax(1)
        score: Tensor = self.score((share * hidden).sum(1))[..., 0]
        return score


def fooling_loss(scores_of_predicted: Float[Tensor, " window"]) -> Float[Tensor, ""]:
    """Equation 7, least squares: what the network pays for motion that is told from recorded."""
    return (scores_of_predicted - 1).square().mean()


def telling_loss(
    scores_of_recorded: Float[Tensor, " window"], scores_of_predicted: Float[Tensor, " window"]
) -> Float[Tensor, ""]:
    """Equation 8: what the discriminator pays for confusing the two."""
    return (scores_of_recorded - 1).square().mean() + scores_of_predicted.square().mean()
