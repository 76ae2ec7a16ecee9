from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from dtsvibe_cli.models.blazepose import CROP_SIDE_PX, BlazePoseOutput, load_blazepose
from dtsvibe_cli.models.config import PRESETS
from dtsvibe_cli.models.dts_vibe import build
from dtsvibe_cli.models.movenet import load_movenet, prepare_image
from dtsvibe_cli.models.precision import inference_dtype, lower_convolutions
from dtsvibe_cli.stages.crops import CpuFrame
from dtsvibe_cli.synthetic.truth import load_truth
from dtsvibe_cli.video import read_frames

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    (frame,) = islice(read_frames(EXAMPLES / "synthetic_walk.mp4"), 12, 13)
    return frame.rgb


def test_only_cuda_computes_in_half_precision() -> None:
    assert inference_dtype("cuda:1") == torch.float16
    assert inference_dtype("cpu") == inference_dtype("mps") == torch.float32


def test_landmarks_in_half_precision(rgb: np.ndarray) -> None:
    """Within a third of a pixel of a crop of 256, 2 mm, 1 % visibility."""
    joints_px = load_truth(EXAMPLES / "synthetic_walk_truth.npz").joints_px[12]
    middle, size = joints_px.mean(0), 1.4 * np.ptp(joints_px, axis=0).max()
    crop = CpuFrame(rgb).cut([np.array([*middle, size, 0.0])], CROP_SIDE_PX)

    def look(dtype: torch.dtype) -> BlazePoseOutput:
        with torch.inference_mode():
            seen: BlazePoseOutput = load_blazepose(dtype=dtype)(crop.permute(0, 3, 1, 2) / 255)
            return seen

    full, half = look(torch.float32), look(torch.float16)
    assert half.landmarks_px.dtype == torch.float32
    assert not torch.equal(half.landmarks_px, full.landmarks_px)
    torch.testing.assert_close(half.landmarks_px, full.landmarks_px, atol=0.33, rtol=0)
    torch.testing.assert_close(half.world_m, full.world_m, atol=2e-3, rtol=0)
    torch.testing.assert_close(half.visibility, full.visibility, atol=0.01, rtol=0)


def test_detections_in_half_precision(rgb: np.ndarray) -> None:
    image, _ = prepare_image(rgb, 256)
    with torch.inference_mode():
        full, half = (load_movenet(dtype=dtype)(image) for dtype in (torch.float32, torch.float16))
    assert len(full.scores) == len(half.scores) == 1
    torch.testing.assert_close(half.boxes_xyxy, full.boxes_xyxy, atol=0.5, rtol=0)
    torch.testing.assert_close(half.keypoints, full.keypoints, atol=0.5, rtol=0)


@pytest.mark.parametrize("name", ["lite", "paper"])
def test_flow_features_in_half_precision(name: str) -> None:
    network = build(PRESETS[name]).eval()
    assert network.o_cnn is not None
    side = PRESETS[name].flow_side
    flow = 0.05 * torch.randn(2, 2, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        full = network.o_cnn.extract(flow)
        lower_convolutions(network, torch.float16)
        half = network.o_cnn.extract(flow)
    assert half.dtype == torch.float32
    assert not torch.equal(half, full)
    torch.testing.assert_close(half, full, atol=5e-3 * float(full.abs().max()), rtol=0)
