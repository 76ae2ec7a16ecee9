import numpy as np
import pytest
from synthetic import random_rotations

from dtsvibe_cli.evaluation.frame_errors import (
    Measures,
    measure_joints,
    pixel_error_of_box,
    usual_step,
)
from dtsvibe_cli.evaluation.joint_sets import JointSet, common_with_smpl
from dtsvibe_cli.geometry.joints import SMPL24

SET = common_with_smpl(SMPL24)


def random_joints(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, 24, 3))


def measured(predicted: np.ndarray, truth: np.ndarray, joints: JointSet = SET) -> Measures:
    return measure_joints(predicted, truth, np.arange(len(truth)), joints)


@pytest.mark.parametrize("frames", [1, 2, 3, 16])
def test_turned_and_scaled_copies_have_no_aligned_error(frames: int) -> None:
    truth = random_joints(frames)
    turned = truth @ random_rotations(frames, seed=1).numpy().transpose(0, 2, 1)
    copies = turned * np.linspace(0.5, 2, frames)[:, None, None] + [1, 2, 3]
    result = measured(copies, truth)
    assert result.pa_mpjpe_mm.max() < 1e-6
    assert result.mpjpe_mm.min() > 100


def test_a_constant_offset_of_all_joints_is_the_roots_alone() -> None:
    truth = random_joints(4)
    result = measured(truth + np.array([0.03, 0.04, 0]), truth)
    np.testing.assert_allclose(result.root_mm, 50)
    np.testing.assert_allclose(result.mpjpe_mm, 0, atol=1e-9)


def test_an_offset_of_all_but_the_root_is_an_error_of_that_size() -> None:
    truth = random_joints(4)
    predicted = truth.copy()
    predicted[:, 1:] += [0, 0, 0.05]
    result = measured(predicted, truth)
    np.testing.assert_allclose(result.mpjpe_mm, 50 * 23 / 24)
    np.testing.assert_allclose(result.root_mm, 0, atol=1e-9)


def parabola(frames: np.ndarray) -> np.ndarray:
    """One joint accelerated by 2 mm a frame squared; the root stands still."""
    points = np.zeros((len(frames), 24, 3))
    points[:, 20, 1] = 0.001 * frames**2
    return points


def test_acceleration_of_a_parabola() -> None:
    still = random_joints(1).repeat(6, axis=0)
    result = measured(still + parabola(np.arange(6)), still)
    expected = [np.nan, *[2 / 24] * 4, np.nan]
    np.testing.assert_allclose(result.accel_mm, expected, atol=1e-9)
    np.testing.assert_allclose(result.jitter_mm, expected, atol=1e-9)
    np.testing.assert_allclose(result.true_jitter_mm[1:-1], 0, atol=1e-9)


def test_acceleration_never_crosses_a_gap() -> None:
    """Frames 4 to 9 are missing: a jump lies between 3 and 10."""
    frames = np.array([0, 1, 2, 3, 10, 11, 12])
    truth = random_joints(1).repeat(7, axis=0)
    jump = np.zeros((7, 24, 3))
    jump[4:, 1:] = 1.0
    result = measure_joints(truth + jump, truth, frames, SET)
    assert np.isnan(result.accel_mm[[0, 3, 4, 6]]).all()
    np.testing.assert_allclose(result.accel_mm[[1, 2, 5]], 0, atol=1e-9)


def test_acceleration_never_crosses_frames_that_were_missed() -> None:
    truth = random_joints(1).repeat(7, axis=0)
    predicted = truth.copy()
    predicted[3] = np.nan
    result = measured(predicted, truth)
    assert np.isfinite(result.accel_mm).tolist() == [False, True, False, False, False, True, False]
    assert np.isnan(result.mpjpe_mm[3])


def test_acceleration_takes_the_sequences_own_step() -> None:
    """Truth in every second frame: 0, 2, 4, 6; a parabola of time has four times the value."""
    frames = np.arange(0, 8, 2)
    still = random_joints(1).repeat(4, axis=0)
    result = measure_joints(still + parabola(frames), still, frames, SET)
    np.testing.assert_allclose(result.accel_mm[1:-1], 4 * 2 / 24, atol=1e-9)
    assert usual_step(frames) == 2


def test_joints_that_nobody_knows_are_left_out() -> None:
    truth = random_joints(3)
    predicted = 2 * truth
    predicted[:, 7] += 5
    truth[:, 7] = np.nan
    result = measured(predicted, truth)
    assert result.pa_mpjpe_mm.max() < 1e-6
    others = np.delete(np.linalg.norm(truth - truth[:, :1], axis=-1), 7, axis=1)
    np.testing.assert_allclose(result.mpjpe_mm, 1000 * others.mean(1))
    assert np.isnan(result.swapped).all()  # sides are compared where all joints are known


def test_frames_without_a_root_are_not_measured() -> None:
    truth = random_joints(3)
    truth[1, 0] = np.nan
    result = measured(random_joints(3, seed=1), truth)
    for values in (result.mpjpe_mm, result.pa_mpjpe_mm, result.root_mm):
        assert np.isfinite(values).tolist() == [True, False, True]


def test_exchanged_sides_are_seen() -> None:
    truth = random_joints(2)
    assert SET.mirror is not None
    predicted = truth.copy()
    predicted[1] = truth[1, list(SET.mirror)]
    assert measured(predicted, truth).swapped.tolist() == [0, 1]


def test_the_middle_of_the_hips_is_the_root_without_a_pelvis() -> None:
    limbs = common_with_smpl(("left_hip", "right_hip", "left_knee", "right_knee"))
    truth = random_joints(2)[:, limbs.index_in(SMPL24)]
    predicted = truth.copy()
    predicted[:, 0] += [0.02, 0, 0]  # one hip moves the root by half of it
    assert limbs.root_title == "middle of the hips"
    np.testing.assert_allclose(measured(predicted, truth, limbs).root_mm, 10)
    np.testing.assert_allclose(measured(predicted, truth, limbs).mpjpe_mm, 10)


def test_pixels_are_relative_to_the_boxs_longer_side() -> None:
    truth = np.zeros((1, 3, 2))
    predicted = truth + np.array([3, 4])
    truth[0, 2] = np.nan
    box = np.array([[0.0, 0, 50, 100]])
    np.testing.assert_allclose(pixel_error_of_box(predicted, truth, box), 0.05)
