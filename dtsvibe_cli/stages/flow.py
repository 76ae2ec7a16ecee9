"""Optical flow between two frames under one crop transform (paper, section 3.1: flow on the fly).

Flow is measured at each place of the newer crop: how far what is there now has come since the frame
before, in units of the crop's side. Because both frames are cut with the same transform, a moving
crop is not mistaken for a moving body.
"""

from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.stages.raft_flow import RaftFlow
from dtsvibe_cli.stages.torch_flow import TorchFlow

CROP_SIDE_PX: Final = 128
"""Side of the crops that flow is measured on."""


@runtime_checkable
class FlowEstimator(Protocol):
    """Measures how the picture moved."""

    def __call__(
        self,
        before: UInt8[np.ndarray, "crop side side 3"],
        now: UInt8[np.ndarray, "crop side side 3"],
    ) -> Float[np.ndarray, "crop 2 side side"]:
        """Motion into ``now`` at each of its pixels, in units of the side."""
        ...


@runtime_checkable
class DeviceFlow(FlowEstimator, Protocol):
    """An estimator that also takes crops where they are, on a device, and leaves the flow there."""

    def of_tensors(
        self, before: UInt8[Tensor, "crop side side 3"], now: UInt8[Tensor, "crop side side 3"]
    ) -> Float[Tensor, "crop 2 side side"]:
        """Motion into ``now`` at each of its pixels, in units of the side."""
        ...


def make_flow(name: str, device: str = "cpu") -> FlowEstimator:
    """A flow estimator by name.

    Args:
        name: ``dis``, ``torch``, ``auto`` (``torch`` on CUDA, else ``dis``), or a file of RAFT's
            weights, see :class:`~dtsvibe_cli.stages.raft_flow.RaftFlow`.
        device: Where ``torch`` and RAFT run.

    Raises:
        ConfigError: It is neither a name nor a file.
        WeightsError: The file does not hold RAFT weights.
    """
    if name == "auto":
        name = "torch" if device.startswith("cuda") else "dis"
    if name == "dis":
        return DisFlow()
    if name == "torch":
        return TorchFlow(device)
    path = Path(name)
    if name == "raft" and not path.is_file():
        raise ConfigError(
            "RAFT comes without weights: give --flow their file, from torchvision or from "
            "`dtsvibe train-flow`."
        )
    if not path.is_file():
        raise ConfigError(
            f"There is no flow estimator and no file '{name}': give auto, dis, torch, or a file of "
            "RAFT's weights."
        )
    return RaftFlow(path, device)


class DisFlow:
    """OpenCV's Dense Inverse Search (Kroeger et al. 2016): a millisecond a crop on one core."""

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def __call__(
        self,
        before: UInt8[np.ndarray, "crop side side 3"],
        now: UInt8[np.ndarray, "crop side side 3"],
    ) -> Float[np.ndarray, "crop 2 side side"]:
        """Motion into ``now`` at each of its pixels, in units of the side."""
        side = now.shape[1]
        flows = []
        for old, new in zip(before, now, strict=True):
            back = self._dis.calc(_gray(new), _gray(old), np.zeros((side, side, 2), np.float32))
            flows.append(-back.transpose(2, 0, 1) / side)
        return np.stack(flows).astype(np.float32, copy=False)


def _gray(rgb: UInt8[np.ndarray, "side side 3"]) -> UInt8[np.ndarray, "side side"]:
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return np.asarray(gray, dtype=np.uint8)


def coarse_flow(
    estimator: FlowEstimator,
    before: UInt8[Tensor, "crop large large 3"],
    now: UInt8[Tensor, "crop large large 3"],
    side: int,
) -> Float[Tensor, "crop 2 side side"]:
    """Flow between crops as the network takes it; it stays on a GPU where the estimator does."""
    if isinstance(estimator, DeviceFlow):
        return shrink(estimator.of_tensors(before, now), side)
    fine = estimator(before.cpu().numpy(), now.cpu().numpy())
    return shrink(torch.from_numpy(fine), side)


def shrink(
    flow: Float[Tensor, "crop 2 large large"], side: int
) -> Float[Tensor, "crop 2 side side"]:
    """As :func:`shrink_flow`, on a GPU for flow that is there."""
    if flow.is_cuda:
        return shrink_on_device(flow, side)
    return torch.from_numpy(shrink_flow(flow.cpu().numpy(), side))


def shrink_on_device(
    flow: Float[Tensor, "crop 2 large large"], side: int
) -> Float[Tensor, "crop 2 side side"]:
    """As :func:`shrink_flow`, but for rounding where the coarse cells are whole fine ones."""
    return F.interpolate(flow, (side, side), mode="area")


def shrink_flow(
    flow: Float[np.ndarray, "crop 2 large large"], side: int
) -> Float[np.ndarray, "crop 2 side side"]:
    """Flow averaged over the cells of a coarser grid, as the network takes it."""
    resized = [
        cv2.resize(field.transpose(1, 2, 0), (side, side), interpolation=cv2.INTER_AREA)
        for field in flow
    ]
    return np.stack(resized).transpose(0, 3, 1, 2)
