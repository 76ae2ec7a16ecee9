"""What the networks have to compute and to move at least: the floor under any implementation.

Counted, not measured: the networks run on torch's ``meta`` device, which has shapes but no numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from dtsvibe_cli.models.blazepose import CROP_SIDE_PX, load_blazepose
from dtsvibe_cli.models.checkpoint import load_network
from dtsvibe_cli.models.precision import inference_dtype, lower_convolutions
from dtsvibe_cli.stages import flow as flow_stage
from dtsvibe_cli.stages.observation import GPU_BATCH_FRAMES
from dtsvibe_cli.stages.torch_flow import estimate_flow
from dtsvibe_cli.stages.windows import choose_stride

_BATCH: Final = GPU_BATCH_FRAMES
"""Crops that share one reading of the weights."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of some work."""

    multiply_adds: float
    """Of convolutions and matrix products; the rest is small."""
    bytes_moved: float
    """When every operation reads its inputs and weights once and writes its result once."""

    def times(self, factor: float) -> "Cost":
        """The same work more often, or in part."""
        return Cost(
            multiply_adds=self.multiply_adds * factor, bytes_moved=self.bytes_moved * factor
        )


class _Traffic(TorchDispatchMode):
    """Adds up the bytes of what operations read and write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes_moved = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            values = tree_leaves((args, kwargs, result))
            self.bytes_moved += sum(
                value.numel() * value.element_size() for value in values if torch.is_tensor(value)
            )
        return result


def cost_of(function: Callable[..., Any], *inputs: Tensor) -> Cost:
    """What a call costs; function and inputs are on the ``meta`` device."""
    with FlopCounterMode(display=False) as flops, _Traffic() as traffic:
        function(*inputs)
    return Cost(multiply_adds=flops.get_total_flops() / 2, bytes_moved=float(traffic.bytes_moved))


def floor_of_network_path(device: str = "cpu") -> dict[str, Cost]:
    """The cost of each part of the network path, for one person in one frame.

    With ``lite``, in the precision of the device. Flow is counted where torch computes it, on CUDA;
    elsewhere it is OpenCV's.
    """
    dtype = inference_dtype(device)
    pose_network = load_blazepose("cpu", dtype).network.to("meta")
    network = load_network("lite")
    lower_convolutions(network, dtype)
    network.to("meta")
    crops = torch.empty(_BATCH, 3, CROP_SIDE_PX, CROP_SIDE_PX, device="meta")
    names = ("landmarks", "presence", "heatmap", "world")
    costs = {"blazepose": cost_of(lambda pictures: pose_network(pictures, names), crops)}
    if device.startswith("cuda"):
        pictures = torch.empty(_BATCH, 3, *(flow_stage.CROP_SIDE_PX,) * 2, device="meta")
        costs["flow"] = cost_of(estimate_flow, pictures, pictures)
    flow_width = 0
    if network.o_cnn is not None:
        side = network.config.flow_side
        flow = torch.empty(_BATCH, 2, side, side, device="meta")
        costs["o_cnn"] = cost_of(network.o_cnn.extract, flow)
        flow_width = network.o_cnn.num_features
    costs = {part: cost.times(1 / _BATCH) for part, cost in costs.items()}

    window, batch = network.window, _BATCH
    windows = (
        torch.empty(batch, window, network.v_cnn.num_features, device="meta"),
        torch.empty(batch, window, flow_width, device="meta") if flow_width else None,
        torch.ones(batch, window, dtype=torch.bool, device="meta"),
    )
    frames = batch * choose_stride(None, window)  # what comes anew with so many windows
    costs["transformer"] = cost_of(lambda: network(*windows)).times(1 / frames)
    return costs
