import math

import pytest
import roma
import torch
from scipy.spatial.transform import Rotation
from synthetic import random_rotations
from torch import Tensor

from dtsvibe_cli.geometry.rotations import (
    project_to_rotmat,
    rot6d_to_rotmat,
    rotation_between,
    rotmat_to_rot6d,
    rotmat_to_rotvec,
    rotvec_to_rotmat,
)

ANGLES = (0.0, 1e-9, 1e-6, 1e-4, 1.0001e-4, 0.01, 1.0, 3.0, math.pi - 1e-3, math.pi - 1e-6)


def directions(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=-1)


def assert_rotations(rotmat: Tensor) -> None:
    eye = torch.eye(3, dtype=rotmat.dtype).expand_as(rotmat)
    torch.testing.assert_close(rotmat @ rotmat.transpose(-1, -2), eye)
    torch.testing.assert_close(torch.linalg.det(rotmat), torch.ones_like(rotmat[..., 0, 0]))


@pytest.mark.parametrize("angle", ANGLES)
def test_rotation_vectors_there_and_back(angle: float) -> None:
    rotvec = directions(20) * angle
    rotmat = rotvec_to_rotmat(rotvec)
    assert_rotations(rotmat)
    torch.testing.assert_close(
        rotmat, torch.from_numpy(Rotation.from_rotvec(rotvec.numpy()).as_matrix())
    )
    torch.testing.assert_close(rotmat_to_rotvec(rotmat), rotvec, atol=1e-7, rtol=1e-6)


def test_half_a_turn_comes_back_as_the_same_rotation() -> None:
    rotmat = rotvec_to_rotmat(directions(20) * math.pi)
    again = rotmat_to_rotvec(rotmat)
    torch.testing.assert_close(torch.linalg.vector_norm(again, dim=-1),
                               torch.full((20,), math.pi, dtype=torch.float64))  # fmt: skip
    torch.testing.assert_close(rotvec_to_rotmat(again), rotmat)


@pytest.mark.parametrize("angle", [0.0, 1e-7, 2e-4, 1.0])
def test_the_gradient_of_a_rotation_vector_is_right_near_zero(angle: float) -> None:
    rotvec = (directions(3) * angle).requires_grad_()
    assert torch.autograd.gradcheck(rotvec_to_rotmat, rotvec, atol=1e-6)


def test_six_numbers_are_the_first_two_columns() -> None:
    """A quarter turn about z carries x to y and y to -x."""
    rotmat = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    rot6d = torch.tensor([0.0, 1, 0, -1, 0, 0])
    torch.testing.assert_close(rotmat_to_rot6d(rotmat), rot6d)
    torch.testing.assert_close(rot6d_to_rotmat(rot6d), rotmat)


def test_six_numbers_there_and_back() -> None:
    rotmat = random_rotations(4, 5)
    torch.testing.assert_close(rot6d_to_rotmat(rotmat_to_rot6d(rotmat)), rotmat)


def test_any_six_numbers_give_a_rotation_whose_first_column_points_along_the_first_three() -> None:
    generator = torch.Generator().manual_seed(0)
    rot6d = torch.randn(50, 6, generator=generator, dtype=torch.float64) * 3
    rotmat = rot6d_to_rotmat(rot6d)
    assert_rotations(rotmat)
    torch.testing.assert_close(rotmat[..., 0], torch.nn.functional.normalize(rot6d[:, :3], dim=-1))


def test_projection_gives_the_nearest_rotation() -> None:
    rotmat = random_rotations(30)
    torch.testing.assert_close(project_to_rotmat(rotmat * 0.4), rotmat)
    generator = torch.Generator().manual_seed(1)
    noisy = rotmat + 0.6 * torch.randn(30, 3, 3, generator=generator, dtype=torch.float64)
    nearest = project_to_rotmat(noisy)
    assert_rotations(nearest)
    distance = (nearest - noisy).square().sum((-1, -2))
    for seed in range(2, 6):
        other = nearest @ rotvec_to_rotmat(directions(30, seed) * 0.05)
        assert (distance <= (other - noisy).square().sum((-1, -2))).all()


def test_projection_of_a_reflection_is_still_a_rotation() -> None:
    assert_rotations(project_to_rotmat(torch.diag(torch.tensor([1.0, 1.0, -0.5]))[None]))


def test_the_rotation_between_directions_carries_one_to_the_other_the_short_way() -> None:
    start, end = directions(40), directions(40, seed=1)
    rotmat = rotation_between(start * 3, end * 0.2)
    assert_rotations(rotmat)
    torch.testing.assert_close((rotmat @ start[..., None])[..., 0], end)
    angle = torch.linalg.vector_norm(rotmat_to_rotvec(rotmat), dim=-1)
    torch.testing.assert_close(angle, (start * end).sum(-1).acos())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_rotation_between_equal_and_opposite_directions(axis: int, dtype: torch.dtype) -> None:
    start = torch.eye(3, dtype=dtype)[axis]
    torch.testing.assert_close(rotation_between(start, start), torch.eye(3, dtype=dtype))
    back = rotation_between(start, -start)
    assert_rotations(back)
    torch.testing.assert_close(back @ start, -start)


def test_rotation_vectors_are_those_of_the_roma_library() -> None:
    rotmat = random_rotations(50, 3)
    torch.testing.assert_close(rotmat_to_rotvec(rotmat), roma.rotmat_to_rotvec(rotmat))
