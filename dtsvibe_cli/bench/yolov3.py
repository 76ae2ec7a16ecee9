"""YOLOv3, as its report describes it (Redmon and Farhadi 2018), untrained: the detector of VIBE.

Darknet-53 with heads at three scales; 61.9 million parameters, 33 billion multiplications for a
picture of 416 pixels, the report's 66 billion operations.
"""

from typing import Final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

SIDE_PX: Final = 416
NUM_CLASSES: Final = 80
PERSON: Final = 0
MIN_SCORE: Final = 0.7
"""VIBE's threshold."""
MAX_OVERLAP: Final = 0.4
_ANCHORS_PX: Final = {
    32: ((116, 90), (156, 198), (373, 326)),
    16: ((30, 61), (62, 45), (59, 119)),
    8: ((10, 13), (16, 30), (33, 23)),
}
"""Width and height of the boxes that each scale starts from, by its stride."""


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.1, inplace=True),
    )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_conv(width, width // 2, 1), _conv(width // 2, width, 3))

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        out: Tensor = x + self.layers(x)
        return out


def _stage(width: int, blocks: int) -> nn.Sequential:
    """Half the side, twice the width, then residual blocks."""
    return nn.Sequential(
        _conv(width // 2, width, 3, stride=2), *(_Residual(width) for _ in range(blocks))
    )


def _neck(inputs: int, width: int) -> nn.Sequential:
    """Five layers, narrow and wide in turn."""
    return nn.Sequential(
        _conv(inputs, width, 1),
        _conv(width, 2 * width, 3),
        _conv(2 * width, width, 1),
        _conv(width, 2 * width, 3),
        _conv(2 * width, width, 1),
    )


def _head(width: int) -> nn.Sequential:
    final = nn.Conv2d(2 * width, 3 * (5 + NUM_CLASSES), 1)
    assert final.bias is not None
    nn.init.zeros_(final.weight)
    nn.init.constant_(final.bias, -4.0)  # as after training nearly everywhere: nobody is there
    return nn.Sequential(_conv(width, 2 * width, 3), final)


class YoloV3(nn.Module):
    """Boxes of people in square pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.to_8 = nn.Sequential(_conv(3, 32, 3), _stage(64, 1), _stage(128, 2), _stage(256, 8))
        self.to_16, self.to_32 = _stage(512, 8), _stage(1024, 4)
        self.neck_32, self.head_32 = _neck(1024, 512), _head(512)
        self.up_16, self.neck_16, self.head_16 = _conv(512, 256, 1), _neck(768, 256), _head(256)
        self.up_8, self.neck_8, self.head_8 = _conv(256, 128, 1), _neck(384, 128), _head(128)

    def forward(self, pictures: Float[Tensor, "batch 3 side side"]) -> dict[int, Tensor]:
        """Raw predictions by stride."""
        at_8 = self.to_8(pictures)
        at_16 = self.to_16(at_8)
        neck_32 = self.neck_32(self.to_32(at_16))
        neck_16 = self.neck_16(torch.cat([_twice(self.up_16(neck_32)), at_16], 1))
        neck_8 = self.neck_8(torch.cat([_twice(self.up_8(neck_16)), at_8], 1))
        return {32: self.head_32(neck_32), 16: self.head_16(neck_16), 8: self.head_8(neck_8)}

    @torch.inference_mode()
    def find_people(
        self, pictures: Float[Tensor, "batch 3 side side"]
    ) -> list[Float[Tensor, "person 5"]]:
        """Corners in pixels of the picture, and score, of the people in each; overlaps removed."""
        from torchvision.ops import nms

        raw = self(pictures)
        every = torch.cat([_boxes(raw[stride], stride) for stride in _ANCHORS_PX], 1)
        found = []
        for rows in every:
            rows = rows[rows[:, 4] > MIN_SCORE]
            found.append(rows[nms(rows[:, :4], rows[:, 4], MAX_OVERLAP)].cpu())
        return found


def _twice(x: Float[Tensor, "batch channel rows columns"]) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _boxes(
    raw: Float[Tensor, "batch channel cells cells"], stride: int
) -> Float[Tensor, "batch box 5"]:
    """Corners and person scores of all boxes of one scale."""
    batch, _, cells, _ = raw.shape
    values = raw.view(batch, 3, 5 + NUM_CLASSES, cells, cells).permute(0, 1, 3, 4, 2)
    ticks = torch.arange(cells, device=raw.device)
    corner = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), -1)
    center = (values[..., :2].sigmoid() + corner) * stride
    anchors = torch.tensor(_ANCHORS_PX[stride], device=raw.device)[:, None, None]
    half = values[..., 2:4].exp() * anchors / 2
    scores = values[..., 4:].sigmoid()
    score = scores[..., :1] * scores[..., 1 + PERSON, None]
    return torch.cat([center - half, center + half, score], -1).flatten(1, 3)
