"""Optical flow in plain torch, for all crops at once and on any device; needs no weights.

Coarse to fine, as classical estimators go (Brox et al. 2004, Sun et al. 2014). On each level the
flow so far is first corrected by the best of a few displacements (so that a limb that moves by more
than its width is not lost), then by minimising a robust energy: the pictures' difference along the
flow, summed over a small window, and the flow's variation, which is cheap across edges of the
picture. Pictures are compared after local contrast is normalised, so exposure does not matter.

Tuned on pairs of :mod:`dtsvibe_cli.training.flow_pairs` with seeds below 100; the accuracy is
printed by ``tests/benchmarks/flow_accuracy.py``.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from dtsvibe_cli.models.replay import Replayed

COARSEST_PX: Final = 8
"""Side below which the pyramid does not go."""

CONTRAST_SIGMA: Final = 20 / 128
"""Reach of the local contrast normalisation, in sides."""
CONTRAST_FLOOR: Final = 0.03
"""Contrast (of colours from 0 to 1) that is taken for noise."""

SEARCH_RADIUS: Final = 3
"""Displacements tried around the flow so far, pixels of the level; not on the finest level."""
SEARCH_SIGMA_PX: Final = 2.0
STAY_BONUS: Final = 0.01
"""Cost of a displacement a pixel, in normalised contrast: where all fit alike, none is best."""

SMOOTHNESS: Final = 0.25
"""Weight of the flow's variation against the pictures' difference."""
EDGE_SHARPNESS: Final = 1.0
"""How fast smoothing falls with the picture's gradient, down to a tenth."""
DATA_SIGMA_PX: Final = 1.0
ROBUST_DATA: Final = 0.3
ROBUST_FLOW: Final = 0.03
"""Differences from which outliers are assumed: normalised contrast, and pixels of flow."""

WARPS: Final = 2
REWEIGHTINGS: Final = 2
ITERATIONS: Final = 16
SPECTRAL_RADIUS: Final = 0.98
"""Of the Jacobi iteration, for its Chebyshev acceleration."""
MEDIAN_RADIUS: Final = 2

Pictures = Float[Tensor, "crop channel height width"]
Fields = Float[Tensor, "crop 2 height width"]
Scalars = Float[Tensor, "crop 1 height width"]


class TorchFlow:
    """The estimator as a stage: see :class:`~dtsvibe_cli.stages.flow.FlowEstimator`."""

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        # thousands of small kernels: as a CUDA graph most of the time between them is saved
        self._estimate = Replayed(_flow_of_pictures)

    def __call__(
        self,
        before: UInt8[np.ndarray, "crop side side 3"],
        now: UInt8[np.ndarray, "crop side side 3"],
    ) -> Float[np.ndarray, "crop 2 side side"]:
        """Motion into ``now`` at each of its pixels, in units of the side."""
        return self.of_tensors(torch.from_numpy(before), torch.from_numpy(now)).cpu().numpy()

    @torch.inference_mode()
    def of_tensors(
        self, before: UInt8[Tensor, "crop side side 3"], now: UInt8[Tensor, "crop side side 3"]
    ) -> Float[Tensor, "crop 2 side side"]:
        """The same, from crops on a device to flow there."""
        pictures = before.to(self._device), now.to(self._device)
        if not pictures[0].is_cuda:
            return _flow_of_pictures(*pictures)[0]
        return self._estimate(*pictures)[0]


def _flow_of_pictures(
    before: UInt8[Tensor, "crop side side 3"], now: UInt8[Tensor, "crop side side 3"]
) -> tuple[Float[Tensor, "crop 2 side side"]]:
    def tensor(rgb: UInt8[Tensor, "crop side side 3"]) -> Float[Tensor, "crop 3 side side"]:
        return rgb.permute(0, 3, 1, 2).float() / 255

    return (estimate_flow(tensor(before), tensor(now)),)


def estimate_flow(
    before: Float[Tensor, "crop 3 side side"], now: Float[Tensor, "crop 3 side side"]
) -> Float[Tensor, "crop 2 side side"]:
    """Motion into ``now`` at each of its pixels, in units of the side; pictures from 0 to 1."""
    side = now.shape[-1]
    finest_now, finest_old = _normalised(now), _normalised(before)
    sizes = [side]
    while sizes[-1] >= 2 * COARSEST_PX:
        sizes.append(sizes[-1] // 2)
    back = now.new_zeros(len(now), 2, sizes[-1], sizes[-1])
    for size in reversed(sizes):
        level_now = F.interpolate(finest_now, (size, size), mode="area")
        level_old = F.interpolate(finest_old, (size, size), mode="area")
        back = F.interpolate(back, (size, size), mode="bilinear") * (size / back.shape[-1])
        if size < side:
            back = _median(_best_displacement(level_now, level_old, back))
        for _ in range(WARPS):
            back = _median(back + _correction(level_now, level_old, back))
    return -back / side


def _normalised(pictures: Pictures) -> Pictures:
    """Each pixel's colour against its surroundings, in units of their contrast."""
    sigma = CONTRAST_SIGMA * pictures.shape[-1]
    detail = pictures - _blurred(pictures, sigma)
    variance = _blurred(detail.square().mean(1, keepdim=True), sigma)
    return detail / (variance + CONTRAST_FLOOR**2).sqrt()


def _blurred(fields: Pictures, sigma_px: float) -> Pictures:
    """Gaussian blur; beyond the border the outermost pixels go on."""
    channels, size = fields.shape[1], fields.shape[-1]
    radius = min(math.ceil(2.5 * sigma_px), size - 1)
    offset = torch.arange(-radius, radius + 1, dtype=fields.dtype, device=fields.device)
    kernel = torch.exp(-offset.square() / (2 * sigma_px**2))
    kernel = (kernel / kernel.sum()).expand(channels, 1, 1, -1)
    padded = F.pad(fields, (radius,) * 4, mode="replicate")
    return F.conv2d(
        F.conv2d(padded, kernel, groups=channels), kernel.transpose(2, 3), groups=channels
    )


def _warped(pictures: Pictures, back: Fields) -> tuple[Pictures, Scalars]:
    """What lies where the flow points, and 1 where that is inside the picture, else 0."""
    height, width = back.shape[-2:]
    rows = torch.arange(height, dtype=back.dtype, device=back.device)[:, None]
    columns = torch.arange(width, dtype=back.dtype, device=back.device)
    x, y = columns + back[:, 0], rows + back[:, 1]
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    # clamped here, as not every device knows the padding that would do it
    grid = torch.stack(
        [
            (2 * x.clamp(0, width - 1) + 1) / width - 1,
            (2 * y.clamp(0, height - 1) + 1) / height - 1,
        ],
        -1,
    )
    moved = F.grid_sample(pictures, grid, mode="bilinear", align_corners=False)
    return moved, inside[:, None].to(back.dtype)


def _best_displacement(now: Pictures, old: Pictures, back: Fields) -> Fields:
    """The flow moved, pixel by pixel, by what makes small windows of the pictures most alike."""
    crops, channels, height, width = now.shape
    across = 2 * SEARCH_RADIUS + 1
    moved, _ = _warped(old, back)
    shifted = F.unfold(F.pad(moved, (SEARCH_RADIUS,) * 4, mode="replicate"), across)
    shifted = shifted.view(crops, channels, across**2, height, width)
    difference = (shifted - now[:, :, None]).abs().mean(1).clamp(max=1)
    line = torch.arange(across, dtype=now.dtype, device=now.device) - SEARCH_RADIUS
    dy, dx = torch.meshgrid(line, line, indexing="ij")
    displacement = torch.stack([dx.flatten(), dy.flatten()], -1)
    cost = _blurred(difference, SEARCH_SIGMA_PX)
    cost = cost + STAY_BONUS * displacement.norm(dim=1)[:, None, None]
    return back + displacement[cost.argmin(1)].permute(0, 3, 1, 2)


@dataclass(frozen=True, kw_only=True)
class _Linearised:
    """How the pictures' difference changes with the flow, for every channel."""

    x: Pictures
    y: Pictures
    difference: Pictures

    def weighted(self, weight: Scalars) -> tuple[Scalars, ...]:
        """The normal equations: xx, yy, xy, and x and y by the difference, over a small window."""
        products = (
            self.x * self.x, self.y * self.y, self.x * self.y, self.x * self.difference,
            self.y * self.difference,
        )  # fmt: skip
        sums = torch.cat([product.mean(1, keepdim=True) for product in products], 1)
        return tuple(_blurred(sums * weight, DATA_SIGMA_PX).unsqueeze(2).unbind(1))


def _correction(now: Pictures, old: Pictures, back: Fields) -> Fields:
    """What is to be added to the flow: one linearisation of the energy, minimised."""
    moved, inside = _warped(old, back)
    now_x, now_y = _gradient(now)
    moved_x, moved_y = _gradient(moved)
    linear = _Linearised(x=(now_x + moved_x) / 2, y=(now_y + moved_y) / 2, difference=moved - now)
    steepness = (now_x.square() + now_y.square()).sum(1, keepdim=True).sqrt()
    ease = SMOOTHNESS * (0.1 + 0.9 * torch.exp(-EDGE_SHARPNESS * steepness))
    step = torch.zeros_like(back)
    for _ in range(REWEIGHTINGS):
        left = linear.difference + linear.x * step[:, :1] + linear.y * step[:, 1:]
        doubt = (left.square().mean(1, keepdim=True) + ROBUST_DATA**2).sqrt()
        step = _solve(linear.weighted(inside / doubt), _ties(back + step, ease), back, step)
    return step


def _gradient(pictures: Pictures) -> tuple[Pictures, Pictures]:
    """Derivatives along x and y, by five points."""
    height, width = pictures.shape[-2:]
    padded = F.pad(pictures, (2, 2, 2, 2), mode="replicate")
    x = padded[:, :, 2:-2]
    y = padded[..., 2:-2]
    along_x = 8 * (x[..., 3 : 3 + width] - x[..., 1 : 1 + width]) - (x[..., 4:] - x[..., :width])
    along_y = 8 * (y[:, :, 3 : 3 + height] - y[:, :, 1 : 1 + height]) - (
        y[:, :, 4:] - y[:, :, :height]
    )
    return along_x / 12, along_y / 12


def _ties(flow: Fields, ease: Scalars) -> tuple[Scalars, ...]:
    """How strongly each pixel is tied to its right, left, lower and upper neighbour."""
    across = F.pad(flow[..., 1:] - flow[..., :-1], (0, 1, 0, 0))
    down = F.pad(flow[:, :, 1:] - flow[:, :, :-1], (0, 0, 0, 1))
    variation = (across.square() + down.square()).sum(1, keepdim=True)
    tie = ease / (variation + ROBUST_FLOW**2).sqrt()
    to_right = F.pad((tie[..., 1:] + tie[..., :-1]) / 2, (0, 1, 0, 0))
    to_lower = F.pad((tie[:, :, 1:] + tie[:, :, :-1]) / 2, (0, 0, 0, 1))
    return (
        to_right,
        F.pad(to_right[..., :-1], (1, 0, 0, 0)),
        to_lower,
        F.pad(to_lower[:, :, :-1], (0, 0, 1, 0)),
    )


def _solve(
    equations: tuple[Scalars, ...], ties: tuple[Scalars, ...], back: Fields, step: Fields
) -> Fields:
    """The step at which the weighted, quadratic energy is least: Jacobi, Chebyshev accelerated."""
    xx, yy, xy, x_difference, y_difference = equations
    right, left, lower, upper = ties
    tied = right + left + lower + upper
    a, b = xx + tied, yy + tied
    scale = 1 / (a * b - xy * xy)
    a, b, c = a * scale, b * scale, xy * scale
    constant = -(tied * back + torch.cat([x_difference, y_difference], 1))
    own, other = torch.cat([b, a], 1), -torch.cat([c, c], 1)
    before, pace = step, 1.0
    for k in range(ITERATIONS):
        # few operations, each of which does much: on a GPU starting them is what takes time
        around = F.pad(back + step, (1, 1, 1, 1), mode="replicate")
        pull = torch.addcmul(constant, right, around[:, :, 1:-1, 2:])
        pull = torch.addcmul(pull, left, around[:, :, 1:-1, :-2])
        pull = torch.addcmul(pull, lower, around[:, :, 2:, 1:-1])
        pull = torch.addcmul(pull, upper, around[:, :, :-2, 1:-1])
        plain = torch.addcmul(own * pull, other, pull.flip(1))
        if k:
            pace = 1 / (1 - SPECTRAL_RADIUS**2 * pace / (2 if k == 1 else 4))
        before, step = step, torch.lerp(before, plain, pace)
    return step


def _median(flow: Fields) -> Fields:
    """The median of each component over a square: removes outliers, keeps edges."""
    crops, _, height, width = flow.shape
    across = 2 * MEDIAN_RADIUS + 1
    around = F.unfold(F.pad(flow, (MEDIAN_RADIUS,) * 4, mode="replicate"), across)
    return around.view(crops, 2, across**2, height, width).median(2).values
