from dataclasses import replace
from pathlib import Path

import made_results
import numpy as np
import pytest
from made_results import TRUTH, made_motion, save, shaken, true_person, truth
from PIL import Image

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.figures.acceleration import acceleration_curve, draw_acceleration

EVERY = np.arange(150)


def test_a_jump_of_one_frame_shows_in_three() -> None:
    person = true_person(EVERY)
    joints = person.joints_cam.copy()
    joints[40, 1:, 1] += 0.012  # all but the pelvis, 12 mm
    curve = acceleration_curve("jump", replace(person, joints_cam=joints), truth())
    assert curve.frame_index[0] == 1
    assert curve.frame_index[-1] == 148
    expected = np.zeros(148)
    expected[[38, 39, 40]] = np.array([12, 24, 12]) * 23 / 24
    np.testing.assert_allclose(curve.error_mm, expected, atol=1e-4)
    assert curve.mean_mm == pytest.approx(48 * 23 / 24 / 148, abs=1e-4)


def test_where_the_body_is_does_not_count() -> None:
    person = true_person(EVERY)
    moved = person.joints_cam + np.random.default_rng(0).normal(size=(150, 1, 3))
    curve = acceleration_curve("moved", replace(person, joints_cam=moved), truth())
    assert curve.error_mm.max() < 1e-6


def test_frames_without_motion_are_gaps() -> None:
    curve = acceleration_curve("gap", true_person(np.r_[0:50, 60:150]), truth())
    missing = np.isnan(curve.error_mm)
    assert list(curve.frame_index[missing]) == list(range(49, 61))
    with pytest.raises(DataError, match="no three consecutive frames"):
        acceleration_curve("odd", true_person(np.arange(0, 150, 2)), truth())


def test_the_person_of_the_truth_is_measured_and_the_figure_written(tmp_path: Path) -> None:
    person = true_person(EVERY)
    stranger = replace(
        shaken(true_person(EVERY, track_id=2), 0.05), joints_px=person.joints_px + 100
    )
    calm = save(made_motion(stranger, person), tmp_path / "calm")
    shaky = save(made_motion(shaken(person, 0.002)), tmp_path / "shaky")
    out = tmp_path / "accel.png"
    curves = draw_acceleration([calm, shaky], TRUTH, out)
    assert [curve.label for curve in curves] == ["calm", "shaky"]
    assert curves[0].mean_mm < 0.01
    # a second difference of noise on joints and pelvis: 2 mm * sqrt(6) * sqrt(2), 1.6 for the norm
    assert curves[1].mean_mm == pytest.approx(2 * 12**0.5 * 1.6 * 23 / 24, rel=0.1)
    with Image.open(out) as picture:
        assert picture.width == 2100
        assert np.asarray(picture.convert("L")).std() > 20


def test_a_truth_of_another_video_is_refused(tmp_path: Path) -> None:
    person = true_person(EVERY)
    elsewhere = replace(person, joints_px=person.joints_px + 1000)
    result = save(made_motion(elsewhere), tmp_path / "run")
    nobody = save(made_motion(), tmp_path / "empty")
    for path in (result, nobody):
        with pytest.raises(DataError, match="has nobody where the truth is"):
            draw_acceleration([path], TRUTH, tmp_path / "accel.png")
    with pytest.raises(DataError, match="not a truth file"):
        draw_acceleration([result], made_results.CLIP, tmp_path / "accel.png")
    assert not (tmp_path / "accel.png").exists()
