"""The discriminator's side of training: its own optimiser, and one step for each of the network."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dtsvibe_cli.models.discriminator import MotionDiscriminator, fooling_loss, telling_loss
from dtsvibe_cli.training.distributed import parallel


class Adversary:
    """A motion discriminator that learns while the network does."""

    def __init__(
        self, width: int, learning_rate: float, *, seed: int, device: torch.device | str
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.discriminator = MotionDiscriminator(width).to(device)
        self._parallel = parallel(self.discriminator)
        self.optimizer = torch.optim.Adam(self.discriminator.parameters(), learning_rate)

    def doubt(
        self, predicted: Float[Tensor, "window time 23 3 3"], valid: Bool[Tensor, "window time"]
    ) -> Float[Tensor, ""]:
        """Equation 7 for predicted poses; the discriminator gets no gradient from it.

        ``valid`` are the frames in which the person was seen.
        """
        _freeze(self.discriminator, frozen=True)
        loss = fooling_loss(self.discriminator(predicted.float(), valid))
        _freeze(self.discriminator, frozen=False)
        return loss

    def learn(
        self,
        recorded: Float[Tensor, "window time 23 3 3"],
        predicted: Float[Tensor, "window time 23 3 3"],
        valid: Bool[Tensor, "window time"],
    ) -> float:
        """One step on equation 8; returns its value before the step."""
        both = torch.cat([recorded, predicted.detach().float()])
        seen = torch.cat([torch.ones_like(valid[:1]).expand(len(recorded), -1), valid])
        scores = self._parallel(both, seen)
        loss = telling_loss(scores[: len(recorded)], scores[len(recorded) :])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def state_dict(self) -> dict[str, Any]:
        """Everything a checkpoint needs."""
        return {
            "network": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.discriminator.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


def _freeze(module: nn.Module, *, frozen: bool) -> None:
    for parameter in module.parameters():
        parameter.requires_grad_(not frozen)
