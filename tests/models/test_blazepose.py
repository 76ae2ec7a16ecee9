from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_figures import draw_people
from jaxtyping import Float
from torch import Tensor

from dtsvibe_cli.geometry.joints import BLAZEPOSE33_MIRROR
from dtsvibe_cli.models.blazepose import (
    BlazePoseLandmarks,
    BlazePoseOutput,
    load_blazepose,
    refine_with_heatmap,
)

# Made once by MediaPipe's graph in an independent port, heatmap refinement in a loop over joints.
GOLDEN = Path(__file__).parent / "goldens" / "blazepose.npz"


@pytest.fixture(scope="module")
def network() -> BlazePoseLandmarks:
    return load_blazepose()


@pytest.fixture(scope="module")
def crop() -> Float[Tensor, "3 256 256"]:
    picture = draw_people(256, 256, ((18, 18, 220),))
    return torch.from_numpy(picture).permute(2, 0, 1) / 255


def run(
    network: BlazePoseLandmarks, crops: Float[Tensor, "batch 3 256 256"]
) -> dict[str, Float[np.ndarray, "..."]]:
    with torch.inference_mode():
        output: BlazePoseOutput = network(crops, with_features=True)
    return {name: value.numpy() for name, value in vars(output).items()}


def test_drawn_person_gives_the_stored_numbers(
    network: BlazePoseLandmarks, crop: Float[Tensor, "3 256 256"]
) -> None:
    output = run(network, crop[None])
    tolerance = {
        "landmarks_px": 0.02,
        "visibility": 1e-3,
        "presence": 1e-3,
        "world_m": 5e-4,
        "features": 2e-3,
    }
    with np.load(GOLDEN) as golden:
        assert set(golden.files) == set(tolerance)
        for name, limit in tolerance.items():
            np.testing.assert_allclose(output[name][0], golden[name], atol=limit, err_msg=name)


def test_left_wrist_of_the_drawn_person_is_where_it_was_drawn(
    network: BlazePoseLandmarks, crop: Float[Tensor, "3 256 256"]
) -> None:
    output = run(network, crop[None])
    left_wrist = np.array([18 + 0.755 * 220, 18 + 0.265 * 220])
    assert np.abs(output["landmarks_px"][0, 15] - left_wrist).max() < 12
    assert output["presence"][0] > 0.9


def test_batched_equals_one_by_one(
    network: BlazePoseLandmarks, crop: Float[Tensor, "3 256 256"]
) -> None:
    crops = torch.stack([crop, crop.flip(2), crop.roll(20, dims=2) * 0.7])
    together = run(network, crops)
    for index in range(len(crops)):
        alone = run(network, crops[index : index + 1])
        for name, value in together.items():
            np.testing.assert_allclose(value[index], alone[name][0], atol=5e-3, err_msg=name)


def test_mirrored_crop_gives_mirrored_landmarks(
    network: BlazePoseLandmarks, crop: Float[Tensor, "3 256 256"]
) -> None:
    """The crop spans 0 to 256: a convention off by half a pixel would show as 1 px here."""
    output = run(network, torch.stack([crop, crop.flip(2)]))
    x, mirrored_x = output["landmarks_px"][..., 0]
    assert abs(np.mean(x + mirrored_x[list(BLAZEPOSE33_MIRROR)]) - 256) < 0.8


def test_no_crops_give_no_rows(network: BlazePoseLandmarks) -> None:
    output = run(network, torch.zeros(0, 3, 256, 256))
    assert output["landmarks_px"].shape == (0, 33, 2)
    assert output["features"].shape == (0, 864)


def test_features_and_their_cost_are_optional(
    network: BlazePoseLandmarks, crop: Float[Tensor, "3 256 256"]
) -> None:
    with torch.inference_mode():
        assert network(crop[None]).features is None


def test_nobody_on_a_grey_crop(network: BlazePoseLandmarks) -> None:
    assert run(network, torch.full((1, 3, 256, 256), 0.5))["presence"][0] < 0.5


def heatmap_with(cells: dict[tuple[int, int], float]) -> Float[Tensor, "1 1 64 64"]:
    heatmap = torch.zeros(1, 1, 64, 64)
    for (x, y), value in cells.items():
        heatmap[0, 0, y, x] = value
    return heatmap


@pytest.mark.parametrize(
    ("landmark", "cells", "expected"),
    [
        ((41.0, 81.0), {(12, 21): 0.8}, (48.0, 84.0)),  # the only peak of the window
        ((41.0, 81.0), {(10, 20): 0.6, (12, 20): 0.6}, (44.0, 80.0)),  # centre of mass
        ((41.0, 81.0), {(12, 21): 0.4}, (41.0, 81.0)),  # not confident enough
        ((41.0, 81.0), {(15, 20): 0.9}, (41.0, 81.0)),  # outside the window
        ((1.0, 255.0), {(0, 63): 0.7}, (0.0, 252.0)),  # window reaches over the border
        ((-1.0, 81.0), {(0, 20): 0.9}, (-1.0, 81.0)),  # landmark outside the crop
        ((256.5, 81.0), {(63, 20): 0.9}, (256.5, 81.0)),
    ],
)
def test_refinement_moves_to_the_centre_of_mass(
    landmark: tuple[float, float],
    cells: dict[tuple[int, int], float],
    expected: tuple[float, float],
) -> None:
    refined = refine_with_heatmap(torch.tensor([[landmark]]), heatmap_with(cells))
    torch.testing.assert_close(refined[0, 0], torch.tensor(expected))
