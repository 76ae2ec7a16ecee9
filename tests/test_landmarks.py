import dataclasses

import pytest
import torch
from synthetic import random_rotations, small_body

from dtsvibe_cli.errors import BodyModelError
from dtsvibe_cli.geometry.joints import BLAZEPOSE33, COCO17, SMPL24
from dtsvibe_cli.landmarks import LandmarkRegressor, coco17


@pytest.mark.parametrize("posedirs", [False, True])
def test_landmarks_are_joints_or_means_of_skin(posedirs: bool) -> None:
    body = small_body(posedirs=posedirs)
    pose = random_rotations(3, 24)
    betas = torch.randn(3, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    posed = body.pose(pose, betas)
    landmarks = LandmarkRegressor(body)(posed, betas)
    whole = body.skin(posed, betas, pose)
    for index, (name, ring) in enumerate(zip(BLAZEPOSE33, body.landmark_vertices, strict=True)):
        expected = whole[:, list(ring)].mean(1) if ring else posed.joints[:, SMPL24.index(name)]
        torch.testing.assert_close(landmarks[:, index], expected)


@pytest.mark.parametrize("posedirs", [False, True])
def test_one_figure_in_many_poses_is_many_figures_that_are_alike(posedirs: bool) -> None:
    body = small_body(posedirs=posedirs)
    pose = random_rotations(5, 24)
    betas = torch.randn(1, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    one, many = (body.pose(pose, each) for each in (betas, betas.expand(5, -1)))
    torch.testing.assert_close(one.joints, many.joints)
    landmarks_of = LandmarkRegressor(body)
    torch.testing.assert_close(landmarks_of(one, betas), landmarks_of(many, betas.expand(5, -1)))
    torch.testing.assert_close(
        body.skin(one, betas, pose), body.skin(many, betas.expand(5, -1), pose)
    )


def test_gradients_reach_pose_and_shape() -> None:
    body = small_body(posedirs=True)
    pose = random_rotations(1, 24).requires_grad_()
    betas = torch.zeros(1, 10, dtype=torch.float64, requires_grad=True)
    LandmarkRegressor(body)(body.pose(pose, betas), betas).square().sum().backward()
    for value in (pose, betas):
        assert value.grad is not None
        assert value.grad.abs().max() > 0


def test_coco_keypoints_are_the_landmarks_of_the_same_name() -> None:
    landmarks = torch.arange(33 * 3, dtype=torch.float32).reshape(1, 33, 3)
    keypoints = coco17(landmarks)
    for index, name in enumerate(COCO17):
        assert torch.equal(keypoints[:, index], landmarks[:, BLAZEPOSE33.index(name)])


def test_body_without_landmarks_is_named() -> None:
    body = dataclasses.replace(small_body(), landmark_vertices=())
    with pytest.raises(BodyModelError, match="'small' does not say where"):
        LandmarkRegressor(body)
    empty = dataclasses.replace(small_body(), landmark_vertices=((),) * 33)
    with pytest.raises(BodyModelError, match="no landmark 'nose'"):
        LandmarkRegressor(empty)
