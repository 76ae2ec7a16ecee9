from pathlib import Path

import dataset_files as made
import numpy as np
import pytest

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.geometry.joints import SMPL24, mirror_indices
from dtsvibe_cli.training.datasets.joint_names import (
    H36M32,
    HMMR14,
    HMMR_TOES6,
    MPI_INF_3DHP28,
    PENN13,
    POSETRACK17,
    JointNames,
    to_smpl24,
)
from dtsvibe_cli.training.datasets.tracks import (
    ImageFrames,
    JointLabels,
    LabelledTrack,
    boxes_around,
    image_files,
)


@pytest.mark.parametrize(
    ("names", "count"),
    [(H36M32, 32), (MPI_INF_3DHP28, 28), (PENN13, 13), (POSETRACK17, 17), (HMMR14, 14),
     (HMMR_TOES6, 6)],
)  # fmt: skip
def test_names_are_as_many_as_joints_and_as_many_left_as_right(
    names: JointNames, count: int
) -> None:
    given = tuple(name for name in names if name is not None)
    assert len(names) == count
    assert len(set(given)) == len(given)
    mirror_indices(given)  # every joint has its partner
    assert all(name in SMPL24 or name.endswith("_wide") for name in given)


def test_points_are_placed_by_name_and_unknown_ones_weigh_nothing() -> None:
    points = np.array([[[1.0, 2], [3, 4], [5, 6]], [[np.nan, 2], [3, 4], [7, 8]]])
    weight = np.array([[1.0, 1, 0], [1, 1, 0.5]])
    placed, weights = to_smpl24(points, weight, ("left_knee", None, "head"))
    knee, head = SMPL24.index("left_knee"), SMPL24.index("head")
    np.testing.assert_array_equal(placed[:, knee], [[1, 2], [0, 0]])
    np.testing.assert_array_equal(weights[:, knee], [1, 0])
    np.testing.assert_array_equal(weights[:, head], [0, 0.5])
    assert weights.sum() == 1.5
    with pytest.raises(ValueError, match="3 points have 2 names"):
        to_smpl24(points, weight, ("left_knee", None))


def test_boxes_hold_the_known_points_and_a_margin() -> None:
    points = np.array([[10.0, 0], [20, 40], [15, 20], [12, 10], [np.nan, 0], [900, 900]])
    weight = np.array([1.0, 1, 1, 1, 1, 0])
    box = boxes_around(points[None], weight[None])[0]
    np.testing.assert_allclose(box, [8.8, -4.8, 21.2, 44.8])
    weight[0] = 0
    assert np.isnan(boxes_around(points[None], weight[None])).all()  # three points are too few


def test_labels_of_unlike_length_are_refused() -> None:
    labels = JointLabels(names=PENN13, points=np.zeros((4, 13, 2)), weight=np.ones((4, 13)))
    with pytest.raises(DataError, match="5 boxes, 4 2D joints"):
        LabelledTrack(
            dataset="x",
            name="a",
            rate_hz=30.0,
            frames=ImageFrames(()),
            boxes_xyxy=np.zeros((5, 4)),
            joints_2d=labels,
        )
    space = JointLabels(names=PENN13, points=np.zeros((5, 13, 3)), weight=np.ones((5, 13)))
    with pytest.raises(DataError, match="in space but no camera"):
        LabelledTrack(
            dataset="x",
            name="a",
            rate_hz=30.0,
            frames=ImageFrames(()),
            boxes_xyxy=np.zeros((5, 4)),
            joints_3d=space,
        )


def test_pictures_must_be_enough_for_the_labels(tmp_path: Path) -> None:
    made.write_pictures(tmp_path / "a", 3)
    assert [path.stem[-1] for path in image_files(tmp_path / "a", 2).paths] == ["0", "1"]
    with pytest.raises(DataError, match="3 pictures for 4 rows"):
        image_files(tmp_path / "a", 4)
    with pytest.raises(DataError, match=r"holds no \*.png"):
        image_files(tmp_path / "a", pattern="*.png")
