"""BlazePose landmarks: one person's crop -> 33 landmarks in 2D and in metres, and encoder features.

The network is MediaPipe's ``pose_landmark_full`` (Bazarevsky et al. 2020), converted by
:mod:`dtsvibe_cli.builders.tflite_converter`; the heatmap refinement follows the description of
MediaPipe's ``RefineLandmarksFromHeatmap``. The segmentation branch is left out.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dtsvibe_cli.models.graph_network import GraphNetwork
from dtsvibe_cli.models.precision import inference_dtype
from dtsvibe_cli.weights import read_tensors

WEIGHTS_NAME = "blazepose_landmark_full"
CROP_SIDE_PX = 256
NUM_LANDMARKS = 33
_HEATMAP_STRIDE_PX = 4
_REFINEMENT_KERNEL = 9  # heatmap cells; of 0, 5, 7 and 9 the one closest to MediaPipe's output
_REFINEMENT_MIN_CONFIDENCE = 0.5  # MediaPipe: weaker heatmaps leave the landmark where it is


@dataclass(frozen=True, kw_only=True)
class BlazePoseOutput:
    """What BlazePose says of a batch of crops."""

    landmarks_px: Float[Tensor, "batch 33 2"]
    """Landmarks in pixels of the crop (0 to 256, may lie outside), refined by the heatmap."""
    visibility: Float[Tensor, "batch 33"]
    """Probability that a landmark is in the crop and not hidden, 0 to 1."""
    world_m: Float[Tensor, "batch 33 3"]
    """Landmarks in metres, axes of the crop (x right, y down, z away), origin mid-hip."""
    presence: Float[Tensor, " batch"]
    """Probability that there is a person in the crop, 0 to 1."""
    features: Float[Tensor, "batch 864"] | None
    """End of the encoder, averaged over the picture; None when not asked for."""


class BlazePoseLandmarks(nn.Module):
    """The landmark network with its decoding."""

    def __init__(self, network: GraphNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, crops: Float[Tensor, "batch 3 256 256"], *, with_features: bool = False
    ) -> BlazePoseOutput:
        """Landmarks of square crops around one person each: RGB, 0 to 1, person upright."""
        wanted = ("landmarks", "presence", "heatmap", "world")
        outputs = self.network(crops, (*wanted, "features") if with_features else wanted)
        # 39 rows: the 33 landmarks, then auxiliary points for MediaPipe's own cropping.
        rows = outputs["landmarks"].reshape(len(crops), 39, 5)[:, :NUM_LANDMARKS]
        world = outputs["world"].reshape(len(crops), 39, 3)[:, :NUM_LANDMARKS]
        heatmap = torch.sigmoid(outputs["heatmap"][:, :NUM_LANDMARKS])
        return BlazePoseOutput(
            landmarks_px=refine_with_heatmap(rows[..., :2], heatmap),
            visibility=torch.sigmoid(rows[..., 3]),
            world_m=world,
            presence=outputs["presence"].flatten(),
            features=outputs["features"].mean(dim=(2, 3)) if with_features else None,
        )


def refine_with_heatmap(
    landmarks_px: Float[Tensor, "batch landmark 2"],
    heatmap: Float[Tensor, "batch landmark height width"],
) -> Float[Tensor, "batch landmark 2"]:
    """Landmarks moved to the heatmap's centre of mass in a small window around them.

    Args:
        landmarks_px: Regressed landmarks, pixels of the crop.
        heatmap: Confidences, 0 to 1, one cell for 4 x 4 crop pixels.

    Returns:
        Refined landmarks; those outside the crop or with a weak heatmap stay as they are.
    """
    height, width = heatmap.shape[-2:]
    cell = (landmarks_px / _HEATMAP_STRIDE_PX).floor().long()
    limit = torch.tensor([width, height], device=cell.device)
    inside = ((cell >= 0) & (cell < limit)).all(-1)
    cell = torch.minimum(cell.clamp(min=0), limit - 1)

    radius = _REFINEMENT_KERNEL // 2
    offsets = torch.arange(-radius, radius + 1, device=cell.device)
    columns = cell[..., :1] + offsets
    rows = cell[..., 1:] + offsets
    padded = F.pad(heatmap, (radius, radius, radius, radius))  # outside: no confidence
    index = (rows + radius)[..., :, None] * padded.shape[-1] + (columns + radius)[..., None, :]
    window = padded.flatten(2).gather(2, index.flatten(2)).reshape(index.shape)

    mass = window.sum(dim=(2, 3)).clamp(min=1e-6)
    x = (window.sum(dim=2) * columns).sum(-1) / mass
    y = (window.sum(dim=3) * rows).sum(-1) / mass
    confident = window.amax(dim=(2, 3)) >= _REFINEMENT_MIN_CONFIDENCE
    refined = torch.stack([x, y], dim=-1) * _HEATMAP_STRIDE_PX
    return torch.where((inside & confident)[..., None], refined, landmarks_px)


def load_blazepose(
    device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> BlazePoseLandmarks:
    """The network with its released weights, ready for inference.

    Args:
        device: Where it runs.
        dtype: What its convolutions compute in; None for what is best on the device.

    Raises:
        WeightsError: The weights are missing or damaged.
    """
    network = GraphNetwork.from_file(*read_tensors(WEIGHTS_NAME))
    # the last, small maps hold large numbers: in half precision world landmarks lost 3 mm there
    network.lower_precision(dtype or inference_dtype(device), until="features")
    return BlazePoseLandmarks(network).eval().to(device)
