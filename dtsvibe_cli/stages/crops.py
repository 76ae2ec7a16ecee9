"""Crops of a frame: squares, turned, cut out as small pictures, on the CPU or on a GPU.

A frame is opened where its crops are cut: :class:`CpuFrame` lets OpenCV do it, :class:`DeviceFrame`
brings the frame to the GPU once and cuts all crops of all people there by one grid sample.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

Crop = Float[np.ndarray, "4"]
"""Centre x and y, side (pixels of the full image), and the clockwise turn (radians)."""


@runtime_checkable
class OpenFrame(Protocol):
    """A frame whose crops can be had."""

    def cut(self, crops_cxcysa: Sequence[Crop], side: int) -> UInt8[Tensor, "crop side side 3"]:
        """The crops as small pictures, on the device where the frame is."""
        ...


FrameOpener = Callable[[UInt8[np.ndarray, "height width 3"]], OpenFrame]


def frame_opener(device: str) -> FrameOpener:
    """How frames are opened for networks on a device."""
    if device.startswith("cuda"):
        return lambda rgb: DeviceFrame(rgb, device)
    return CpuFrame


class CpuFrame:
    """A frame in memory."""

    def __init__(self, rgb: UInt8[np.ndarray, "height width 3"]) -> None:
        self._rgb = rgb

    def cut(self, crops_cxcysa: Sequence[Crop], side: int) -> UInt8[Tensor, "crop side side 3"]:
        """See :class:`OpenFrame`."""
        return torch.from_numpy(np.stack([cut(self._rgb, crop, side) for crop in crops_cxcysa]))


class DeviceFrame:
    """A frame that is brought to a device when the first crop is asked for, and stays there."""

    def __init__(self, rgb: UInt8[np.ndarray, "height width 3"], device: str) -> None:
        self._rgb = rgb
        self._device = device
        self._pixels: UInt8[Tensor, "height width 3"] | None = None

    def cut(self, crops_cxcysa: Sequence[Crop], side: int) -> UInt8[Tensor, "crop side side 3"]:
        """See :class:`OpenFrame`."""
        if self._pixels is None:
            self._pixels = _upload(self._rgb, self._device)
        return cut_batch(self._pixels, np.stack(crops_cxcysa), side)


def _upload(values: np.ndarray, device: torch.device | str) -> Tensor:
    """A copy on the device; nobody waits for it: from pinned memory it runs beside computing."""
    dtype = torch.uint8 if values.dtype == np.uint8 else torch.float32
    staged = torch.empty(values.shape, dtype=dtype, pin_memory=torch.device(device).type == "cuda")
    staged.numpy()[:] = values
    return staged.to(device, non_blocking=True)


def cut(
    rgb: UInt8[np.ndarray, "height width 3"], crop_cxcysa: Crop, side: int
) -> UInt8[np.ndarray, "side side 3"]:
    """The crop as a small picture; beyond the image's edge its last pixels go on (as MediaPipe)."""
    scale = crop_cxcysa[2] / side
    matrix = np.empty((2, 3))
    matrix[:, :2] = turn(float(crop_cxcysa[3])) * scale
    # OpenCV counts from the centre of the first pixel, we count from its corner.
    corner = crop_cxcysa[:2] - matrix[:, :2] @ np.full(2, side / 2)
    matrix[:, 2] = corner + matrix[:, :2] @ np.full(2, 0.5) - 0.5
    picture = cv2.warpAffine(
        rgb,
        matrix,
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(picture, dtype=np.uint8)


def cut_batch(
    rgb: UInt8[Tensor, "height width 3"], crops_cxcysa: Float[np.ndarray, "crop 4"], side: int
) -> UInt8[Tensor, "crop side side 3"]:
    """Many crops at once, where the frame is; but for rounding the same as :func:`cut`."""
    height, width = rgb.shape[:2]
    # places in the frame from -1 to 1, as grid_sample counts: from corner to corner, like us
    scales = crops_cxcysa[:, 2, None, None] / 2
    turns = np.stack([turn(float(angle)) for angle in crops_cxcysa[:, 3]]) * scales
    maps = np.concatenate([turns, crops_cxcysa[:, :2, None]], 2) / [[width / 2], [height / 2]]
    maps[:, :, 2] -= 1
    theta = _upload(maps, rgb.device)
    grid = F.affine_grid(theta, [len(theta), 3, side, side], align_corners=False)
    frame = rgb.permute(2, 0, 1)[None].float()
    crops = F.grid_sample(
        frame, grid.flatten(0, 1)[None], padding_mode="border", align_corners=False
    )
    pictures: Tensor = crops[0].unflatten(1, (-1, side)).permute(1, 2, 3, 0)
    return pictures.round().to(torch.uint8)


def from_crop(
    points: Float[np.ndarray, "point 2"], crop_cxcysa: Crop, side: int
) -> Float[np.ndarray, "point 2"]:
    """Points of a crop picture in pixels of the full image."""
    centred = (points - side / 2) * (crop_cxcysa[2] / side)
    placed: Float[np.ndarray, "point 2"] = centred @ turn(crop_cxcysa[3]).T + crop_cxcysa[:2]
    return placed


def turn(angle: float) -> Float[np.ndarray, "2 2"]:
    """From the crop's axes to the image's, for a crop turned clockwise (as seen) by the angle."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])
