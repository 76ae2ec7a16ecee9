from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_figures import draw_people

from dtsvibe_cli.models.movenet import MoveNet, MoveNetOutput, load_movenet, prepare_image

# Made once by an independent port of the original graph and its decoder for six people.
GOLDEN = Path(__file__).parent / "goldens" / "movenet.npz"
TWO_PEOPLE = ((20.0, 20.0, 220.0), (180.0, 50.0, 170.0))


@pytest.fixture(scope="module")
def network() -> MoveNet:
    return load_movenet()


def find_people(network: MoveNet, picture: np.ndarray, longest_side: int) -> MoveNetOutput:
    image, _ = prepare_image(picture, longest_side)
    with torch.inference_mode():
        people: MoveNetOutput = network(image)
    return people


def test_two_drawn_figures_give_the_stored_numbers(network: MoveNet) -> None:
    people = find_people(network, draw_people(256, 384, TWO_PEOPLE), 384)
    with np.load(GOLDEN) as golden:
        np.testing.assert_allclose(
            people.keypoints[..., :2], golden["keypoints"][..., :2], atol=0.02
        )
        np.testing.assert_allclose(people.boxes_xyxy, golden["boxes_xyxy"], atol=0.02)
        # The original takes a keypoint's score from whichever candidate makes it highest, ours from
        # its own person.
        np.testing.assert_allclose(people.keypoints[..., 2], golden["keypoints"][..., 2], atol=0.02)
        np.testing.assert_allclose(people.scores, golden["scores"], atol=2e-3)


def test_more_people_than_the_original_can_name(network: MoveNet) -> None:
    figures = tuple((68.0 * i - 20, 20.0, 150.0) for i in range(9))
    people = find_people(network, draw_people(192, 672, figures), 672)
    sure = people.scores > 0.3
    assert int(sure.sum()) == len(figures)
    noses = people.keypoints[sure, 0, :2].numpy()
    for left, top, size in figures:
        drawn = np.array([left + 0.5 * size, top + 0.115 * size])
        assert np.linalg.norm(noses - drawn, axis=1).min() < 8


def test_best_first_and_inside_the_image(network: MoveNet) -> None:
    people = find_people(network, draw_people(200, 384, TWO_PEOPLE), 384)
    assert len(people.scores) >= 2
    assert (people.scores.diff() <= 0).all()
    assert (people.boxes_xyxy >= 0).all()
    assert (people.boxes_xyxy <= torch.tensor([384, 224, 384, 224])).all()


@pytest.mark.parametrize("kind", ["black", "white", "noise"])
def test_nobody_where_nobody_is(network: MoveNet, kind: str) -> None:
    picture = np.zeros((192, 256, 3), np.uint8)
    if kind == "white":
        picture[:] = 255
    elif kind == "noise":
        picture[:] = np.random.default_rng(0).integers(0, 256, picture.shape)
    people = find_people(network, picture, 256)
    assert people.boxes_xyxy.shape == (0, 4)
    assert people.scores.shape == (0,)
    assert people.keypoints.shape == (0, 17, 3)


def test_coordinates_divided_by_the_scale_are_those_of_the_image(network: MoveNet) -> None:
    picture = draw_people(512, 768, tuple((2 * a, 2 * b, 2 * c) for a, b, c in TWO_PEOPLE))
    image, scale = prepare_image(picture, 384)
    with torch.inference_mode():
        people = network(image)
    nose = people.keypoints[0, 0, :2].numpy() / scale
    assert np.linalg.norm(nose - (2 * (20 + 0.5 * 220), 2 * (20 + 0.115 * 220))) < 16


@pytest.mark.parametrize(
    ("height", "width", "side", "padded", "scale"),
    [
        (1080, 1920, 512, (288, 512), 512 / 1920),
        (994, 1768, 256, (160, 256), 256 / 1768),
        (100, 50, 256, (256, 128), 2.56),
        (1, 3000, 256, (32, 256), 256 / 3000),
    ],
)
def test_prepared_image_is_padded_below_and_right(
    height: int, width: int, side: int, padded: tuple[int, int], scale: float
) -> None:
    picture = np.full((height, width, 3), 200, np.uint8)
    image, found_scale = prepare_image(picture, side)
    assert image.shape == (1, 3, *padded)
    assert found_scale == pytest.approx(scale)
    inside = image[0, 0, : max(round(height * scale), 1), : round(width * scale)]
    assert (inside == 200).all()
    assert image.sum() == 3 * inside.sum()


def test_sizes_that_are_no_multiples_are_refused(network: MoveNet) -> None:
    with pytest.raises(ValueError, match="100 x 96"):
        network(torch.zeros(1, 3, 96, 100))
