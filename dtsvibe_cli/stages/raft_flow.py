"""Optical flow by RAFT (Teed and Deng 2020), as torchvision builds it.

No weights ship. RAFT-small, trained on drawn people for two hours of a core
(:mod:`dtsvibe_cli.training.flow_training`), beat DIS on the ground behind people, not on people.
"""

import pickle
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from dtsvibe_cli.errors import WeightsError
from dtsvibe_cli.weights import read_tensors


class RaftFlow:
    """The estimator as a stage: see :class:`~dtsvibe_cli.stages.flow.FlowEstimator`.

    Args:
        weights: A file: .safetensors as ``dtsvibe train-flow`` writes it, or torchvision's .pth
            (small or large).
        device: Where it runs.

    Raises:
        WeightsError: The weights are missing, damaged, or not RAFT's.
    """

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        self._network = _load(weights).eval().to(device)
        self._device = device

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
        pictures = (as_input(rgb.to(self._device)) for rgb in (now, before))
        back: Tensor = self._network(*pictures)[-1]
        return -back.float() / now.shape[1]


def as_input(rgb: UInt8[Tensor, "crop side side 3"]) -> Float[Tensor, "crop 3 side side"]:
    """Pictures as RAFT takes them: from -1 to 1."""
    return rgb.permute(0, 3, 1, 2) / 127.5 - 1


def _load(weights: Path) -> nn.Module:
    from torchvision.models.optical_flow import raft_large, raft_small

    if weights.suffix != ".safetensors":
        state = _read_torch(weights)
    else:
        state = {name: tensor.float() for name, tensor in read_tensors(weights)[0].items()}
    small = "update_block.motion_encoder.convcorr2.0.weight" not in state
    network: nn.Module = raft_small(weights=None) if small else raft_large(weights=None)
    try:
        network.load_state_dict(state, strict=True)
    except (RuntimeError, TypeError) as error:
        raise WeightsError(
            f"{weights} does not hold weights of torchvision's RAFT (small or large)."
        ) from error
    return network


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {str(name): tensor for name, tensor in state.items()}
    except (OSError, RuntimeError, EOFError, AttributeError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"{path} does not hold weights of torchvision's RAFT (small or large)."
        ) from error
