"""Optical flow drawn from moving points: the nearest point wins, holes are filled, noise added."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate


@dataclass(frozen=True, kw_only=True)
class CameraMotion:
    """What the camera's own motion adds to the flow, in crop sides."""

    pan: Float[Tensor, "window time 2"]
    """The same everywhere."""
    zoom: Float[Tensor, " window"]
    """Times the place in the crop, [-1, 1] over the square."""


def draw_camera_motion(windows: int, time: int, generator: torch.Generator) -> CameraMotion:
    """Half of the cameras stand still, the others pan and zoom a little."""

    def normal(*shape: int) -> Float[Tensor, "..."]:
        return torch.randn(*shape, generator=generator)

    moving = (torch.rand(windows, 1, 1, generator=generator) < 0.5).float()
    pan = (normal(windows, 1, 2) * 0.012 + normal(windows, time, 2) * 0.003) * moving
    zoom = normal(windows) * 0.004 * moving[:, 0, 0]
    return CameraMotion(pan=pan, zoom=zoom)


def splat_flow(
    at: Float[Tensor, "window time vertex 2"],
    depth: Float[Tensor, "window time vertex"],
    moved: Float[Tensor, "window time vertex 2"],
    camera: CameraMotion,
    side: int,
    generator: torch.Generator,
) -> Float[Tensor, "window time 2 side side"]:
    """Flow fields over square crops, as a real estimator would give them.

    ``at`` is where each point lies, 0 to 1 over the crop; ``moved`` how far it came since the frame
    before, in crop sides. The camera's motion is added to the person and alone fills the
    background.
    """
    windows, time = depth.shape[:2]
    num_frames = windows * time
    cell = (at * side).long().clamp(0, side - 1)
    inside = ((at >= 0) & (at < 1)).all(-1)
    first = (torch.arange(num_frames)[:, None] * side * side).view(windows, time, 1)
    index = (first + cell[..., 1] * side + cell[..., 0])[inside].numpy()
    order = np.argsort(-depth[inside].numpy(), kind="stable")
    field = np.zeros((num_frames * side * side, 3), dtype=np.float32)
    values = torch.cat([moved, torch.ones_like(moved[..., :1])], -1)[inside].numpy()
    field[index[order]] = values[order]  # the last write wins: the nearest point
    grid = torch.from_numpy(field).view(num_frames, side, side, 3).permute(0, 3, 1, 2)
    blurred = avg_pool2d(grid, 3, 1, 1, count_include_pad=False)
    mean = blurred[:, :2] / blurred[:, 2:].clamp_min(1e-6)
    covered = blurred[:, 2:] > 0.23
    person = torch.where(covered, mean, torch.zeros_like(mean)).view(windows, time, 2, side, side)
    on_person = covered.view(windows, time, 1, side, side).float()
    return _estimated(person, on_person, camera, generator)


def _estimated(
    person: Float[Tensor, "window time 2 side side"],
    on_person: Float[Tensor, "window time 1 side side"],
    motion: CameraMotion,
    generator: torch.Generator,
) -> Float[Tensor, "window time 2 side side"]:
    """Camera motion, spill over the outline, lost motion, noise: what estimators make of it."""
    windows, time, _, side, _ = person.shape

    def normal(*shape: int) -> Float[Tensor, "..."]:
        return torch.randn(*shape, generator=generator)

    line = torch.linspace(-1, 1, side)
    radial = torch.stack(torch.meshgrid(line, line, indexing="xy"))
    camera = motion.pan[..., None, None] + motion.zoom.view(-1, 1, 1, 1, 1) * radial
    textured = (torch.rand(windows, 1, 1, 1, 1, generator=generator) < 0.8).float()
    flow = (person + camera) * on_person + camera * (1 - on_person) * textured
    flow = flow.flatten(0, 1)
    soft = avg_pool2d(flow, 3, 1, 1, count_include_pad=False)
    rough = interpolate(normal(windows * time, 2, 4, 4), (side, side), mode="bilinear")
    lost = interpolate(normal(windows * time, 1, 5, 5), (side, side), mode="bilinear")
    amount = torch.exp(normal(windows, 1, 1, 1, 1) * 0.7).expand(-1, time, -1, -1, -1).flatten(0, 1)
    noisy = soft + (rough * 0.0015 + normal(*flow.shape) * 0.0007) * amount
    noisy = noisy * (1 - 0.8 * (lost > 1.2).float())
    estimated: Tensor = noisy.unflatten(0, (windows, time))
    return estimated
