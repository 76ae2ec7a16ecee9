"""Frozen convolutions on a CPU: weights brought into oneDNN's own order once, activation fused.

Eager PyTorch brings the weights into that order again in every call and writes each activation as a
map of its own: networks of many small convolutions take twice as long that way. Which order is best
depends on the picture's size, and weights in another one are reordered in every call after all, so
a few sizes have their own. The operators are
those that torch.compile emits, used without its compiler, whose start alone takes seconds.
"""

from collections.abc import Callable
from typing import Any, Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Activation = Literal["none", "relu", "relu6"]

MAX_SIZES: Final = 3
"""Sizes of pictures that the weights are kept for; of those that come later none has its own."""

_FUSED: Final[dict[Activation, tuple[str, list[float]]]] = {
    "none": ("none", []),
    "relu": ("relu", []),
    "relu6": ("hardtanh", [0.0, 6.0]),
}


def can_pack(weight: Tensor) -> bool:
    """Whether this PyTorch and this machine have the operators for these weights."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and bool(torch.backends.mkldnn.enabled)
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and hasattr(torch._C._nn, "mkldnn_reorder_conv2d_weight")
    )


def pack_convolution(
    weight: Tensor,
    bias: Tensor,
    *,
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    groups: int,
    activation: Activation,
) -> Callable[[Tensor], Tensor]:
    """The convolution as a function of its input (channels last), for inference only.

    Args:
        weight: 4D, 32-bit, on the CPU.
        bias: One number an output channel.
        stride: Vertical, horizontal.
        padding: Left, right, top, bottom; may be uneven.
        groups: Of channels.
        activation: Applied to the result.
    """
    left, right, top, bottom = padding
    if left > right or top > bottom:
        raise ValueError(f"padding {padding} is wider before the picture than behind it")
    # Uneven padding is even padding with a kernel that begins with zeros: no padded copy is made.
    extended = F.pad(weight, (right - left, 0, bottom - top, 0))
    even = (bottom, right)
    name, limits = _FUSED[activation]
    reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
    run = torch.ops.mkldnn._convolution_pointwise
    kernels: dict[tuple[int, ...], Tensor] = {}

    def kernel_for(size: tuple[int, ...]) -> Tensor:
        if size not in kernels:
            if len(kernels) == MAX_SIZES:
                return next(iter(kernels.values()))
            shape = 1, weight.shape[1] * groups, *size
            kernels[size] = reorder(extended.to_mkldnn(), even, stride, (1, 1), groups, shape)
        return kernels[size]

    def convolve(image: Tensor) -> Tensor:
        kernel = kernel_for(image.shape[-2:])
        result: Tensor = run(
            image, kernel, bias, even, stride, (1, 1), groups, name, limits, "none"
        )
        return result

    return convolve
