"""Random numbers over (window, time, ...): independent, lasting or in spells; all from one seed."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Draw:
    """Random numbers of one batch."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def normal(self, *shape: int) -> Float[Tensor, "..."]:
        """Independent, deviation one."""
        return torch.randn(*shape, generator=self.generator)

    def uniform(self, *shape: int) -> Float[Tensor, "..."]:
        """Independent, 0 to 1."""
        return torch.rand(*shape, generator=self.generator)

    def lasting(self, *shape: int, keep: float) -> Float[Tensor, "..."]:
        """Unit noise over (window, time, ...) that fades by ``keep`` a frame."""
        fresh = self.normal(*shape)
        out = [fresh[:, 0]]
        for t in range(1, shape[1]):
            out.append(keep * out[-1] + (1 - keep**2) ** 0.5 * fresh[:, t])
        return torch.stack(out, 1)

    def lasting_uniform(self, *shape: int, keep: float) -> Float[Tensor, "..."]:
        """The same, spread evenly over 0 to 1."""
        return 0.5 * (1 + torch.erf(self.lasting(*shape, keep=keep) / math.sqrt(2)))

    def spells(
        self, windows: int, time: int, chance: float | Float[Tensor, "window 1"]
    ) -> Bool[Tensor, "window time"]:
        """One stretch of frames, of any length, in some of the windows."""
        length = (self.uniform(windows, 1) ** 1.5 * time).ceil()
        start = (self.uniform(windows, 1) * (time + length)).floor() - length
        frame = torch.arange(time)[None]
        hit = self.uniform(windows, 1) < chance
        return hit & (frame >= start) & (frame < start + length)

    def short_spells(
        self, windows: int, time: int, *, share: float, length: float
    ) -> Bool[Tensor, "window time"]:
        """Spells of ``length`` frames on average that cover a ``share`` of all frames."""
        chance = self.uniform(windows, time)
        inside = chance[:, 0] < share
        frames = [inside]
        begin = share / (length * (1 - share))
        for t in range(1, time):
            inside = torch.where(inside, chance[:, t] >= 1 / length, chance[:, t] < begin)
            frames.append(inside)
        return torch.stack(frames, 1)
