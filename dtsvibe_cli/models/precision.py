"""How finely frozen convolutions compute: in half precision on CUDA, else in 32 bits.

Their weights were stored in 16 bits or fewer anyway. What is read off as pixels, metres or
features, and all that follows, is 32-bit again.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def inference_dtype(device: torch.device | str) -> torch.dtype:
    """What convolutions compute in on a device."""
    return torch.float16 if torch.device(device).type == "cuda" else torch.float32


def lower_convolutions(network: nn.Module, dtype: torch.dtype) -> None:
    """Let a network's convolutions compute in another precision, channels-last."""
    if dtype == torch.float32:
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.to(dtype).to(memory_format=torch.channels_last)


def convolve(
    cnn: nn.Module, pictures: Float[Tensor, "batch channel height width"]
) -> Float[Tensor, "batch feature"]:
    """A convolutional network's answer, in 32 bits whatever its own precision."""
    features: Tensor = cnn(pictures.to(next(cnn.parameters()).dtype))
    return features.float()
