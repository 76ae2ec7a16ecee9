"""The networks of the reference pipeline: the right architectures, untrained.

What a network computes costs the same whatever its weights are. They are those of VIBE's demo:

- YOLOv3 on squares of 416 pixels, a dozen frames at a time (its ``demo.py``). The frame becomes
  floats at full size, black bars make it square, and the nearest pixels are taken, as in the
  packages multi-person-tracker (``data.py``) and yolov3-pytorch (``yolo.py``, ``datasets.py``).
- ResNet-50 of crops of 224 pixels, two GRU layers of 1024 with a linear layer and a residual, HMR's
  regressor with three rounds (``lib/models/vibe.py``, ``lib/models/spin.py``).

What comes after the regressor is cheaper here: the demo turns its numbers into rotation vectors,
has smplx pose the body with 49 joints, and projects these.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal, Protocol, runtime_checkable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from dtsvibe_cli.bench import yolov3
from dtsvibe_cli.models.regressor import HmrRegressor
from dtsvibe_cli.stages.ultralytics_offline import import_ultralytics

ReferenceName = Literal["vibe", "nano"]

CROP_SIDE_PX: Final = 224
_FEATURES: Final = 2048
DETECTOR_BATCH: Final = 12
"""Frames that VIBE's detector sees at a time."""
_CROP_BATCH: Final = 32
Picture = UInt8[np.ndarray, "height width 3"]


@runtime_checkable
class ReferenceDetector(Protocol):
    """Looks for people in every frame."""

    def find(self, frames: Sequence[Picture]) -> int:
        """How many there are in all: nearly always none, since it is untrained.

        Args:
            frames: Of one size, red first, at most :data:`DETECTOR_BATCH`.
        """
        ...


class YoloV3Detector:
    """VIBE's: YOLOv3 on squares of 416 pixels, all frames at once."""

    def __init__(self, device: str) -> None:
        network = yolov3.YoloV3()
        settle_statistics(network)
        self._network = network.eval().to(device)
        self._device = device

    def find(self, frames: Sequence[Picture]) -> int:
        """See :class:`ReferenceDetector`."""
        pictures = torch.stack([_floats(rgb) for rgb in frames]).to(self._device)
        squares = torch.stack([_square(picture) for picture in pictures])
        return sum(map(len, self._network.find_people(squares)))


class NanoDetector:
    """YOLO11n through ultralytics with its default settings, as most people run it today."""

    def __init__(self, device: str) -> None:
        self._model: Any = import_ultralytics().YOLO("yolo11n.yaml", task="detect")
        settle_statistics(self._model.model)
        for branch in self._model.model.model[-1].cv3:
            nn.init.zeros_(branch[-1].weight)  # leaves the bias, which says that nobody is there
        self._device = device

    def find(self, frames: Sequence[Picture]) -> int:
        """See :class:`ReferenceDetector`."""
        count = 0
        for rgb in frames:
            bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
            results = self._model.predict(bgr, classes=[0], device=self._device, verbose=False)
            count += len(results[0].boxes.cpu().numpy().xyxy)
        return count


class VibeNetwork(nn.Module):
    """ResNet-50 of every crop, two GRU layers over the track, HMR's regressor."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet50

        cnn: Any = resnet50(weights=None)
        cnn.fc = nn.Identity()
        self.cnn: nn.Module = cnn
        self.gru = nn.GRU(_FEATURES, 1024, 2, batch_first=True)
        self.widen = nn.Linear(1024, _FEATURES)
        self.regressor = HmrRegressor(d_model=_FEATURES, pose_frame="parent")

    @torch.inference_mode()
    def look(self, crops: Float[Tensor, "frame 3 side side"]) -> Float[Tensor, "frame feature"]:
        """Features of each crop."""
        return torch.cat([self.cnn(part) for part in crops.split(_CROP_BATCH)])

    @torch.inference_mode()
    def move(self, features: Float[Tensor, "frame feature"]) -> Float[Tensor, "frame theta"]:
        """SMPL parameters of a whole track at once."""
        hidden, _ = self.gru(features[None])
        encoded = features[None] + self.widen(hidden.relu())
        theta: Tensor = self.regressor(encoded, torch.ones(encoded.shape[:2], dtype=torch.bool))
        return theta[0]


def make_detector(name: ReferenceName, device: str) -> ReferenceDetector:
    """The detector of one of the reference pipelines."""
    return YoloV3Detector(device) if name == "vibe" else NanoDetector(device)


@torch.no_grad()
def settle_statistics(network: nn.Module) -> None:
    """Give the normalisations the statistics of a picture, as training would.

    Left alone, values shrink from layer to layer until they are denormal, which is many times
    slower to compute with.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 1.0
    network.train()
    network(_clouds(4, 256))
    network.eval()
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum


def _clouds(count: int, side: int) -> Float[Tensor, "picture 3 side side"]:
    """Pictures with large and small bumps, 0 to 1; plain noise would leave deep layers nothing."""
    random = torch.Generator().manual_seed(0)
    bumps = torch.zeros(count, 3, side, side)
    for cells in (2, 4, 8, 16, 32, 64, side):
        coarse = torch.rand(count, 3, cells, cells, generator=random)
        bumps += F.interpolate(coarse, (side, side), mode="bilinear") - 0.5
    return (0.5 + 0.25 * bumps).clamp(0, 1)


def _floats(rgb: Picture) -> Float[Tensor, "3 height width"]:
    """The frame, 0 to 1."""
    return torch.from_numpy(rgb).permute(2, 0, 1).contiguous().float() / 255


def _square(picture: Float[Tensor, "3 height width"]) -> Float[Tensor, "3 side side"]:
    """The whole frame between black bars, made small."""
    height, width = picture.shape[1:]
    spare_x, spare_y = max(0, height - width), max(0, width - height)
    bars = spare_x // 2, spare_x - spare_x // 2, spare_y // 2, spare_y - spare_y // 2
    padded = F.pad(picture, bars)
    return F.interpolate(padded[None], (yolov3.SIDE_PX, yolov3.SIDE_PX), mode="nearest")[0]
