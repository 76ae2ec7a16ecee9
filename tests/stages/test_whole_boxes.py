import numpy as np
import pytest

from dtsvibe_cli.geometry.joints import COCO17
from dtsvibe_cli.stages.whole_boxes import MEMORY_S, WholeBoxes

WHOLE = np.array([100.0, 50.0, 200.0, 450.0])
TO_THE_HIPS = np.array([105.0, 52.0, 198.0, 260.0])


def keypoints(*, legs: float, trunk: float = 0.8, moved_px: float = 0.0) -> np.ndarray:
    """A person standing in :data:`WHOLE`."""
    points = np.zeros((17, 3))
    for k, name in enumerate(COCO17):
        is_leg = name.endswith(("knee", "ankle"))
        points[k] = 150 + moved_px, 350 if is_leg else 150, legs if is_leg else trunk
    return points


def test_box_of_a_person_seen_to_the_feet_stays() -> None:
    whole = WholeBoxes()
    np.testing.assert_array_equal(whole(1, 0.0, WHOLE, keypoints(legs=0.6)), WHOLE)


def test_lost_legs_stay_in_the_box_and_move_with_the_trunk() -> None:
    whole = WholeBoxes()
    whole(1, 0.0, WHOLE, keypoints(legs=0.6))
    moved = np.array([10.0, 0.0, 10.0, 0.0])
    box = whole(1, 0.2, TO_THE_HIPS + moved, keypoints(legs=0.05, moved_px=10))
    np.testing.assert_allclose(box, WHOLE + moved)
    again = whole(1, 0.4, TO_THE_HIPS + 2 * moved, keypoints(legs=0.05, moved_px=20))
    np.testing.assert_allclose(again, WHOLE + 2 * moved)


def test_new_box_is_held_as_well() -> None:
    whole = WholeBoxes()
    whole(1, 0.0, WHOLE, keypoints(legs=0.6))
    arms_out = np.array([20.0, 52.0, 280.0, 260.0])
    box = whole(1, 0.2, arms_out, keypoints(legs=0.05))
    np.testing.assert_allclose(box, [20, 50, 280, 450])


@pytest.mark.parametrize(
    ("track_id", "time_s", "trunk"), [(2, 0.2, 0.8), (1, MEMORY_S + 0.1, 0.8), (1, 0.2, 0.1)]
)
def test_nothing_is_added_for_strangers_after_long_or_without_a_trunk(
    track_id: int, time_s: float, trunk: float
) -> None:
    whole = WholeBoxes()
    whole(1, 0.0, WHOLE, keypoints(legs=0.6))
    box = whole(track_id, time_s, TO_THE_HIPS, keypoints(legs=0.05, trunk=trunk))
    np.testing.assert_array_equal(box, TO_THE_HIPS)
