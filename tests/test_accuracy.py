"""The whole program against exact truth: the bundled synthetic clip, with the shipped network.

The bounds are the measured errors (README, "Accuracy") with a margin of a fifth.
"""

from pathlib import Path

import numpy as np
import pytest

from dtsvibe_cli import VideoMotion, estimate_video
from dtsvibe_cli.evaluation.compare import Errors, compare
from dtsvibe_cli.synthetic.truth import Truth, load_truth

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def truth() -> Truth:
    return load_truth(EXAMPLES / "synthetic_walk_truth.npz")


@pytest.fixture(scope="module")
def motion(truth: Truth) -> VideoMotion:
    motion, _ = estimate_video(
        EXAMPLES / "synthetic_walk.mp4", focal=f"{truth.focal_length_px}px", device="cpu"
    )
    return motion


@pytest.fixture(scope="module")
def errors(motion: VideoMotion, truth: Truth) -> Errors:
    frames = np.arange(len(truth.joints_cam))
    return compare(motion.people[0], frames, truth.joints_cam, truth.joints_px)


def test_one_person_in_every_frame(motion: VideoMotion, truth: Truth) -> None:
    assert len(motion.people) == 1
    assert len(motion.people[0].track.frame_index) == len(truth.joints_cam)


def test_joints_are_where_they_are(errors: Errors) -> None:
    assert errors.mpjpe_mm < 79
    assert errors.pa_mpjpe_mm < 60


def test_the_motion_is_smooth_and_not_frozen(errors: Errors) -> None:
    assert errors.accel_mm < 4.9


def test_the_body_sits_on_the_person(errors: Errors) -> None:
    assert errors.pixels_of_box < 0.023


def test_left_is_left_and_the_body_faces_as_it_should(motion: VideoMotion, truth: Truth) -> None:
    orient = motion.people[0].smpl.global_orient
    turned = np.einsum("fij,fij->f", orient, truth.global_orient_rotmat)  # trace of the difference
    angle_deg = np.rad2deg(np.arccos(np.clip((turned - 1) / 2, -1, 1)))
    assert np.median(angle_deg) < 15
    assert (angle_deg < 60).mean() > 0.95
