"""The trained network as a weights file: its configuration travels with it, loading is strict.

Large matrices are stored as 8-bit integers with one scale a row (the error is below a 250th of a
row's largest weight), so that the whole network is half the size of 16-bit floats.
"""

from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from dtsvibe_cli.errors import ConfigError, WeightsError
from dtsvibe_cli.models.config import ModelConfig
from dtsvibe_cli.models.dts_vibe import DtsVibe, build
from dtsvibe_cli.models.precision import inference_dtype, lower_convolutions
from dtsvibe_cli.weights import read_tensors, registry, write_tensors

KIND: Final = "dtsvibe-network"
SCALE_SUFFIX: Final = ".row_scale"
MIN_PACKED_SIZE: Final = 4096
"""Tensors smaller than this stay 16-bit floats."""


def pack(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as they are stored."""
    packed: dict[str, Tensor] = {}
    for name, value in state.items():
        if value.dim() < 2 or value.numel() < MIN_PACKED_SIZE:
            packed[name] = value.half().contiguous() if value.is_floating_point() else value
            continue
        rows = value.float().flatten(1)
        scale = rows.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
        packed[name] = (rows / scale).round().to(torch.int8).view(value.shape).contiguous()
        packed[name + SCALE_SUFFIX] = scale.flatten()
    return packed


def unpack(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of :func:`pack`, in 32-bit floats.

    Raises:
        WeightsError: The scales of a matrix are missing.
    """
    state: dict[str, Tensor] = {}
    for name, value in packed.items():
        if name.endswith(SCALE_SUFFIX):
            continue
        scale = packed.get(name + SCALE_SUFFIX)
        if scale is not None:
            state[name] = (value.float().flatten(1) * scale[:, None]).view(value.shape)
        elif value.dtype == torch.int8:
            raise WeightsError(f"The weights file is damaged: {name} has lost its scales.")
        else:
            state[name] = value.float() if value.is_floating_point() else value
    return state


def save_network(network: DtsVibe, path: Path, about: dict[str, Any]) -> tuple[Path, ...]:
    """Write a network; ``about`` says how it was trained. Returns the files (shards) written."""
    metadata = {"kind": KIND, "model": network.config.to_dict(), "about": about}
    return write_tensors(path, pack(network.state_dict()), metadata)


def load_network(source: str | Path, device: torch.device | str = "cpu") -> DtsVibe:
    """A trained network, ready for inference; on CUDA its convolutions are in half precision.

    Args:
        source: ``lite`` or another built-in name, or the path of a .safetensors file.
        device: Where it runs.

    Raises:
        WeightsError: It is missing, damaged, or not a network of ours.
    """
    packed, metadata = read_tensors(built_in_name(source))
    if metadata.get("kind") != KIND:
        raise WeightsError(
            f"{source} does not hold a dtsvibe network; leave --weights out for the built-in one."
        )
    try:
        network = build(ModelConfig.from_dict(metadata["model"]))
        # the tensors read become the weights; copied, they would stand in memory twice
        network.load_state_dict(unpack(packed), strict=True, assign=True)
    except (RuntimeError, KeyError, ConfigError) as error:
        raise WeightsError(f"{source} does not fit the network it says it holds.") from error
    lower_convolutions(network, inference_dtype(device))
    return network.eval().to(device)


def built_in_name(source: str | Path) -> str | Path:
    """The registry's name of a built-in network (``dtsvibe_lite`` for ``lite``), or the path."""
    name = f"dtsvibe_{source}"
    return name if isinstance(source, str) and name in registry() else source
