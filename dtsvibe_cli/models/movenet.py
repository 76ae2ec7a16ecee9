"""MoveNet multipose: an image -> boxes and 17 COCO keypoints of every person in it.

The network is Google's MoveNet MultiPose Lightning, converted by
:mod:`dtsvibe_cli.builders.tfjs_converter` up to its six heads. The decoding below follows the
original's (CenterNet with keypoint regression, Zhou et al. 2019), but for any number of people: the
original stops at six, leaves duplicates to the caller, and lets candidates lend each other scores.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from dtsvibe_cli.models.graph_network import GraphNetwork
from dtsvibe_cli.models.precision import inference_dtype
from dtsvibe_cli.weights import read_tensors

WEIGHTS_NAME = "movenet_multipose"
SIZE_MULTIPLE_PX = 32
NUM_KEYPOINTS = 17
DEFAULT_MIN_SCORE = 0.1
_HEADS = ("center", "box_scale", "box_offset", "heatmap", "regression", "offset")
_STRIDE_PX = 4  # one cell of the heads' maps
# Constants of the original graph, as stored there in 16-bit precision.
_INPUT_SCALE = 0.007843017578125  # 2 / 255
_GAUSSIAN_AREA = 0.300048828125  # of the map's shorter side, in cells: spread around a keypoint
_MIN_KEYPOINT_SCORE = 0.126953125  # weaker keypoints do not count for the person's score
_PEAK_WINDOW = 5  # cells
_CHUNK = 16  # people decoded at once: bounds the memory for crowds
# Two sets of keypoints more alike than this are one person (COCO's object keypoint similarity).
_DUPLICATE_SIMILARITY = 0.5
# COCO's keypoint deviations, as fractions of the square root of the person's area.
_COCO_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
    *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)


@dataclass(frozen=True, kw_only=True)
class MoveNetOutput:
    """People in one image, best first."""

    boxes_xyxy: Float[Tensor, "person 4"]
    """Corners, pixels of the network's input, clipped to it."""
    scores: Float[Tensor, " person"]
    """Confidence in the person, 0 to 1: that of the centre times the mean of the keypoints'."""
    keypoints: Float[Tensor, "person 17 3"]
    """COCO keypoints (x, y in pixels of the network's input, score 0 to 1)."""


class MoveNet(nn.Module):
    """The network with its decoding."""

    def __init__(self, network: GraphNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, image: Float[Tensor, "1 3 height width"], *, min_score: float = DEFAULT_MIN_SCORE
    ) -> MoveNetOutput:
        """People in one image: RGB, 0 to 255, height and width multiples of 32."""
        height, width = image.shape[-2:]
        if height % SIZE_MULTIPLE_PX or width % SIZE_MULTIPLE_PX:
            raise ValueError(f"image is {width} x {height}, not multiples of {SIZE_MULTIPLE_PX}")
        maps = {
            name: values[0]
            for name, values in self.network(image * _INPUT_SCALE - 1, _HEADS).items()
        }
        maps["heatmap"] = torch.sigmoid(maps["heatmap"])
        peaks, centre_scores = _find_peaks(torch.sigmoid(maps["center"][0]), min_score)
        boxes = _decode_boxes(maps, peaks)
        chunks = zip(torch.split(peaks, _CHUNK), torch.split(boxes, _CHUNK), strict=True)
        keypoints = torch.cat([_decode_keypoints(maps, *chunk) for chunk in chunks])

        counted = keypoints[..., 2] * (keypoints[..., 2] > _MIN_KEYPOINT_SCORE)
        mean = counted.sum(1) / (counted > 0).sum(1).clamp(min=1)
        scores = centre_scores * mean
        order = scores.argsort(descending=True, stable=True)
        order = order[scores[order] >= min_score]
        scores, boxes, keypoints = scores[order], boxes[order], keypoints[order]
        kept = _without_duplicates(keypoints, boxes)
        return MoveNetOutput(
            boxes_xyxy=boxes[kept] * _STRIDE_PX,
            scores=scores[kept],
            keypoints=keypoints[kept] * keypoints.new_tensor([_STRIDE_PX, _STRIDE_PX, 1]),
        )


def prepare_image(
    rgb: UInt8[np.ndarray, "height width 3"], longest_side: int
) -> tuple[Float[Tensor, "1 3 padded_height padded_width"], float]:
    """The network's input for an image, and how many of its pixels one image pixel became.

    The image is resized so that its longer side is ``longest_side`` and padded with black on the
    right and below to multiples of 32: dividing the network's coordinates by the scale gives those
    of the image.
    """
    height, width = rgb.shape[:2]
    scale = longest_side / max(height, width)
    new_height, new_width = max(round(height * scale), 1), max(round(width * scale), 1)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(rgb, (new_width, new_height), interpolation=interpolation)
    image = torch.from_numpy(resized).permute(2, 0, 1)[None].to(torch.float32)
    return F.pad(
        image, (0, -new_width % SIZE_MULTIPLE_PX, 0, -new_height % SIZE_MULTIPLE_PX)
    ), scale


def load_movenet(device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> MoveNet:
    """The network with its released weights, ready for inference.

    Args:
        device: Where it runs.
        dtype: What its convolutions compute in; None for what is best on the device.

    Raises:
        WeightsError: The weights are missing or damaged.
    """
    network = GraphNetwork.from_file(*read_tensors(WEIGHTS_NAME))
    network.lower_precision(dtype or inference_dtype(device))
    return MoveNet(network).eval().to(device)


def _find_peaks(
    centre: Float[Tensor, "height width"], min_score: float
) -> tuple[Int[Tensor, "person 2"], Float[Tensor, " person"]]:
    """Cells (x, y) where the centre map peaks with at least ``min_score``, and the values there.

    A person's score is at most that of the centre, so nobody above ``min_score`` is lost.
    """
    highest = F.max_pool2d(centre[None], _PEAK_WINDOW, stride=1, padding=_PEAK_WINDOW // 2)[0]
    y, x = torch.nonzero((centre == highest) & (centre >= min_score), as_tuple=True)
    return torch.stack([x, y], dim=1), centre[y, x]


def _decode_boxes(
    maps: dict[str, Tensor], peaks: Int[Tensor, "person 2"]
) -> Float[Tensor, "person 4"]:
    """Boxes (corners, cells) around the peaks, clipped to the map."""
    x, y = peaks.unbind(1)
    height, width = maps["center"].shape[-2:]
    # The heads write y before x.
    centre = peaks + maps["box_offset"][:, y, x].T.flip(1)
    half_size = maps["box_scale"][:, y, x].T.flip(1).clamp(min=0) / 2
    limit = peaks.new_tensor([width, height, width, height])
    boxes = torch.cat([centre - half_size, centre + half_size], dim=1)
    return torch.minimum(boxes.clamp(min=0), limit)


def _decode_keypoints(
    maps: dict[str, Tensor],
    peaks: Int[Tensor, "person 2"],
    boxes: Float[Tensor, "person 4"],
) -> Float[Tensor, "person 17 3"]:
    """Keypoints (x, y in cells, score) of the people at these peaks.

    Each is the highest cell of the keypoint's heatmap, inside the person's box and weighted by a
    Gaussian around where the person's centre expects it, plus the sub-cell offset of that cell.
    """
    heatmap = maps["heatmap"]
    height, width = heatmap.shape[-2:]
    columns = torch.arange(width, device=heatmap.device)
    rows = torch.arange(height, device=heatmap.device)
    regressed = maps["regression"][:, peaks[:, 1], peaks[:, 0]].T
    regressed = regressed.reshape(len(peaks), NUM_KEYPOINTS, 2)
    expected = peaks[:, None] + regressed.flip(2)

    spread = _GAUSSIAN_AREA * min(height, width)
    near_x = torch.exp(-((columns - expected[..., :1]) ** 2) / spread)
    near_y = torch.exp(-((rows - expected[..., 1:]) ** 2) / spread)
    x0, y0, x1, y1 = boxes[:, None, :].unbind(2)
    near_x = near_x * ((columns >= x0) & (columns < x1))[:, None]
    near_y = near_y * ((rows >= y0) & (rows < y1))[:, None]
    weighted = heatmap * near_y[..., :, None] * near_x[..., None, :]

    score, cell = weighted.flatten(2).max(dim=2)
    y, x = cell // width, cell % width
    offset = maps["offset"].reshape(NUM_KEYPOINTS, 2, height, width)
    index = torch.arange(NUM_KEYPOINTS, device=heatmap.device).expand_as(cell)
    return torch.stack([x + offset[index, 1, y, x], y + offset[index, 0, y, x], score], dim=-1)


def _without_duplicates(
    keypoints: Float[Tensor, "person 17 3"], boxes: Float[Tensor, "person 4"]
) -> Int[Tensor, " kept"]:
    """Indices of the people that are no copy of a better one; the input is sorted, best first."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    variance = area[:, None, None] * (2 * keypoints.new_tensor(_COCO_SIGMAS)) ** 2
    distance = (keypoints[:, None, :, :2] - keypoints[None, :, :, :2]).square().sum(-1)
    similarity = torch.exp(-distance / (2 * variance).clamp(min=1e-6)).mean(-1)
    alike = (similarity > _DUPLICATE_SIMILARITY).tolist()
    kept: list[int] = []
    for person in range(len(keypoints)):
        if not any(alike[better][person] for better in kept):
            kept.append(person)
    return torch.tensor(kept, dtype=torch.long, device=keypoints.device)
