"""Gradient descent over a whole track: what is unknown in each frame moves with its neighbours."""

import math
from typing import Final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

REACH: Final = 5.0
"""How strongly neighbouring frames move together, at :data:`REFERENCE_STEP_S` between frames."""

REFERENCE_STEP_S: Final = 1 / 60
"""Frame time at which this, and the weight of the smoothness term, are stated."""

WARM_UP: Final = 10
"""Steps in which the rate rises: the first gradients are large, and Adam takes no notice."""


class Adam:
    """Adam (Kingma and Ba 2015) for one tensor.

    Written out because torch's own imports its compiler first: seconds, and a hundred MiB.

    Args:
        values: What is moved, in place.
        rate: Length of a full step.
        together: Mixes the gradients of frames, the tensor's first axis, before each step.
    """

    MEMORY: Final = (0.9, 0.95)
    """How much of the running means of the gradient and of its square is kept in a step."""

    def __init__(
        self, values: Tensor, rate: float, together: Float[Tensor, "frame frame"] | None = None
    ) -> None:
        self.values = values
        self._rate, self._together = rate, together
        self._mean, self._square = torch.zeros_like(values), torch.zeros_like(values)
        self._num_steps = 0

    @torch.no_grad()
    def step(self, gradient: Tensor, share: float) -> None:
        """Go on, by a share of the full rate."""
        self._num_steps += 1
        first, second = self.MEMORY
        if self._together is not None:
            gradient = (self._together @ gradient.view(len(gradient), -1)).view_as(gradient)
        self._mean.lerp_(gradient, 1 - first)
        self._square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        deviation = self._square.sqrt().div_(math.sqrt(1 - second**self._num_steps)).add_(1e-8)
        rate = share * self._rate / (1 - first**self._num_steps)
        self.values.addcdiv_(self._mean, deviation, value=-rate)


def share_of_rate(step: int, num_steps: int) -> float:
    """Share of the full rate in each step: up in a line, down in a cosine, never to nothing.

    >>> [round(share_of_rate(step, 100), 2) for step in (0, 9, 50, 99)]
    [0.1, 1.0, 0.52, 0.02]
    """
    falling = 0.5 * (1 + math.cos(math.pi * step / num_steps)) + 0.02
    return falling * min(1.0, (step + 1) / WARM_UP)


def togetherness(continuous: Bool[Tensor, " step"], step_s: float) -> Float[Tensor, "frame frame"]:
    """What makes a Sobolev gradient (Neuberger 1985) of one that has a row a frame.

    The inverse of ``1 + reach * (second differences)²``. The smoothness of a motion ties frames to
    each other: frame by frame, descent first bends the track in every frame and then takes long to
    move it as a whole. No tie goes over a cut.

    Args:
        continuous: For each frame but the first whether it follows the one before without a cut.
        step_s: Time between frames.
    """
    num_frames = len(continuous) + 1
    if num_frames < 3:
        return torch.eye(num_frames)
    bend = torch.diff(torch.eye(num_frames), n=2, dim=0)
    bend = bend * (continuous[1:] & continuous[:-1])[:, None]
    reach = REACH * (REFERENCE_STEP_S / step_s) ** 2
    together: Tensor = torch.linalg.inv(torch.eye(num_frames) + reach * bend.T @ bend)
    return together
