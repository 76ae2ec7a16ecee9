import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from dtsvibe_cli.evaluation.views import VIEWS, view_bins, view_yaw_deg
from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.smpl_files import load_body_model

ASIDE = np.array([4.0, 0, 4])
AHEAD = np.array([0.0, 0, 4])
FACING = np.diag([1.0, -1, -1])
"""From SMPL's rest pose (y up, facing z) to a person upright before the camera, facing it."""


def rest_joints() -> np.ndarray:
    body = load_body_model()
    pose = torch.eye(3).expand(1, 24, 3, 3)
    return body.pose(pose, torch.zeros(1, 10)).joints[0].double().numpy()


@pytest.mark.parametrize("turned_deg", [0, 45, 90, 135, 180, -135, -90, -45])
def test_a_person_who_turns_to_the_right_shows_the_left_side(turned_deg: float) -> None:
    """Turning clockwise as seen from above (about SMPL's y by a negative angle)."""
    turn = Rotation.from_euler("y", -turned_deg, degrees=True).as_matrix()
    joints = rest_joints() @ turn.T @ FACING.T + AHEAD
    yaw = view_yaw_deg(joints[None], SMPL24)
    assert abs((yaw[0] - turned_deg + 180) % 360 - 180) < 6  # the model's torso leans a little
    assert VIEWS[view_bins(yaw)[0]].startswith(f"{turned_deg}°")


def test_the_side_is_the_viewing_rays_not_the_image_planes() -> None:
    """Facing along the optical axis, 45 degrees to the camera's right: the left side shows."""
    joints = rest_joints() @ FACING.T
    away = view_yaw_deg((joints + ASIDE)[None], SMPL24)
    assert abs(away[0] + 45) < 6
    same = view_yaw_deg((joints + ASIDE)[None], SMPL24, absolute=False)
    assert abs(same[0]) < 6


def test_neither_lying_nor_a_tilted_camera_changes_the_side() -> None:
    joints = rest_joints() @ FACING.T
    lying = joints @ Rotation.from_euler("z", 90, degrees=True).as_matrix().T + AHEAD
    assert abs(view_yaw_deg(lying[None], SMPL24)[0]) < 6


def test_unknown_torsos_have_no_side() -> None:
    joints = rest_joints()[None].repeat(2, axis=0) + AHEAD
    joints[1, SMPL24.index("left_hip")] = np.nan
    yaw = view_yaw_deg(joints, SMPL24)
    assert view_bins(yaw)[1] == -1
    assert np.isnan(view_yaw_deg(joints[:, :2], ("pelvis", "left_hip"))).all()
