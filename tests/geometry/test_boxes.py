import numpy as np
import pytest

from dtsvibe_cli.geometry import boxes


@pytest.fixture
def some_boxes() -> np.ndarray:
    corners = np.random.default_rng(0).uniform(0, 500, (50, 2, 2))
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def test_square_crop_holds_the_box_and_shares_its_centre(some_boxes: np.ndarray) -> None:
    crops = boxes.square_crops(some_boxes, 1.25)
    corners = boxes.crops_to_xyxy(crops)
    np.testing.assert_allclose(crops[:, :2], some_boxes.reshape(-1, 2, 2).mean(axis=1))
    np.testing.assert_allclose(corners[:, 2:] - corners[:, :2], crops[:, 2:].repeat(2, axis=1))
    np.testing.assert_allclose(crops[:, 2], 1.25 * boxes.sizes(some_boxes))
    assert (corners[:, :2] <= some_boxes[:, :2]).all()
    assert (corners[:, 2:] >= some_boxes[:, 2:]).all()


def test_any_leading_axes(some_boxes: np.ndarray) -> None:
    shaped = some_boxes.reshape(5, 10, 4)
    np.testing.assert_array_equal(
        boxes.square_crops(shaped), boxes.square_crops(some_boxes).reshape(5, 10, 3)
    )
    np.testing.assert_array_equal(
        boxes.square_crops(shaped[0, 0]), boxes.square_crops(shaped)[0, 0]
    )
    assert boxes.square_crops(np.zeros((0, 4))).shape == (0, 3)


def test_pad_grows_every_side_by_its_share() -> None:
    np.testing.assert_allclose(boxes.pad(np.array([10.0, 20, 30, 60]), 0.25), [5, 10, 35, 70])


def test_clip_leaves_no_area_outside() -> None:
    clipped = boxes.clip(np.array([[-5.0, 10, 50, 300], [700, 0, 800, 90]]), 640, 200)
    np.testing.assert_array_equal(clipped, [[0, 10, 50, 200], [640, 0, 640, 90]])
    assert boxes.areas(clipped)[1] == 0


def test_around_points_takes_only_sure_points() -> None:
    box = np.array([[10.0, 10, 20, 20], [0, 0, 1, 1]])
    points = np.zeros((2, 3, 3))
    points[0] = [[5, 15, 0.9], [15, 40, 0.5], [900, 900, 0.1]]
    np.testing.assert_array_equal(
        boxes.around_points(box, points, 0.3), [[5, 10, 20, 40], [0, 0, 1, 1]]
    )


def test_iou_by_hand() -> None:
    first = np.array([[0.0, 0, 4, 4], [10, 10, 10, 20]])
    second = np.array([[2.0, 2, 6, 6], [0, 0, 4, 4], [5, 5, 9, 9], [10, 10, 10, 20]])
    np.testing.assert_allclose(boxes.iou(first, second), [[4 / 28, 1, 0, 0], [0, 0, 0, 0]])


def test_iou_is_symmetric_and_knows_itself(some_boxes: np.ndarray) -> None:
    overlaps = boxes.iou(some_boxes, some_boxes)
    np.testing.assert_allclose(overlaps, overlaps.T)
    np.testing.assert_allclose(np.diag(overlaps), 1)
    assert ((overlaps >= 0) & (overlaps <= 1 + 1e-12)).all()


def test_boxes_move_inside_and_keep_their_size() -> None:
    outside = np.array([[-10.0, 5, 30, 45], [80, 70, 120, 110], [10, 10, 20, 20], [-5, 0, 125, 30]])
    moved = boxes.move_inside(outside, 100, 100)
    expected = [[0, 5, 40, 45], [60, 60, 100, 100], [10, 10, 20, 20], [0, 0, 130, 30]]
    np.testing.assert_allclose(moved, expected)
