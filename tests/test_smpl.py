import numpy as np
import pytest
import torch
from synthetic import random_rotations, small_body, smpl_arrays

from dtsvibe_cli import weights
from dtsvibe_cli.geometry.rotations import rotvec_to_rotmat
from dtsvibe_cli.smpl_files import SMPL_VERTEX_IDS, load_body_model


def _betas(batch: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 10, generator=generator, dtype=torch.float64)


def _no_rotation(batch: int) -> torch.Tensor:
    return torch.eye(3, dtype=torch.float64).expand(batch, 24, 3, 3)


@pytest.mark.parametrize("posedirs", [False, True])
def test_zero_pose_is_the_template_plus_shapes(posedirs: bool) -> None:
    body, betas = small_body(posedirs=posedirs), _betas(2)
    transl = torch.tensor([[0.0, 0, 0], [1, 2, 3]], dtype=torch.float64)
    vertices = body.vertices(_no_rotation(2), betas, transl)
    shaped = body.v_template + torch.einsum("bk,vck->bvc", betas, body.shapedirs)
    torch.testing.assert_close(vertices, shaped + transl[:, None])


def test_rest_joints_follow_the_shape() -> None:
    body, betas = small_body(), _betas(3)
    regressor = torch.from_numpy(smpl_arrays()["J_regressor"])
    shaped = body.vertices(_no_rotation(3), betas, torch.zeros(3, 3, dtype=torch.float64))
    posed = body.pose(_no_rotation(3), betas)
    torch.testing.assert_close(posed.joints, regressor @ shaped)
    torch.testing.assert_close(posed.rest_joints, posed.joints)


def test_turning_the_root_turns_the_body_about_the_pelvis() -> None:
    body, betas = small_body(posedirs=True), _betas(4)
    pose, turn = random_rotations(4, 24), random_rotations(4, seed=7)
    turned = pose.clone()
    turned[:, 0] = turn @ pose[:, 0]
    origin = torch.zeros(4, 3, dtype=torch.float64)
    pelvis = body.pose(pose, betas).joints[:, :1]
    expected = (body.vertices(pose, betas, origin) - pelvis) @ turn.transpose(1, 2) + pelvis
    torch.testing.assert_close(body.vertices(turned, betas, origin), expected)


def test_bones_keep_their_lengths_in_any_pose() -> None:
    body, betas = small_body(), _betas(5)
    posed = body.pose(random_rotations(5, 24), betas)
    for child, parent in ((4, 1), (15, 12), (23, 21)):
        length = (posed.joints[:, child] - posed.joints[:, parent]).norm(dim=-1)
        rest = (posed.rest_joints[:, child] - posed.rest_joints[:, parent]).norm(dim=-1)
        torch.testing.assert_close(length, rest)


def test_a_joint_moves_only_what_hangs_on_it() -> None:
    body, betas = small_body(), _betas(1)
    bent = _no_rotation(1).clone()
    bent[:, 18] = random_rotations(1)  # left elbow
    moved = (body.pose(bent, betas).joints - body.pose(_no_rotation(1), betas).joints).norm(dim=-1)
    assert sorted(torch.where(moved[0] > 1e-9)[0].tolist()) == [20, 22]


def test_batch_rows_do_not_mix() -> None:
    body, betas, pose = small_body(posedirs=True), _betas(3), random_rotations(3, 24)
    transl = torch.arange(9, dtype=torch.float64).reshape(3, 3)
    together = body.vertices(pose, betas, transl)
    for row in range(3):
        one = slice(row, row + 1)
        torch.testing.assert_close(together[one], body.vertices(pose[one], betas[one], transl[one]))


@pytest.mark.parametrize("posedirs", [False, True])
def test_chosen_vertices_are_those_of_the_whole_body(posedirs: bool) -> None:
    body, betas, pose = small_body(posedirs=posedirs), _betas(2), random_rotations(2, 24)
    posed, chosen = body.pose(pose, betas), torch.tensor([5, 100, 7])
    whole = body.skin(posed, betas, pose)
    torch.testing.assert_close(body.skin(posed, betas, pose, chosen), whole[:, chosen])


def test_gradients_of_pose_and_shape_are_right() -> None:
    body = small_body(posedirs=True)
    rotvec = torch.randn(1, 24, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    chosen = torch.tensor([0, 50])

    def forward(rotvec: torch.Tensor, betas: torch.Tensor) -> torch.Tensor:
        pose = rotvec_to_rotmat(rotvec)
        return body.skin(body.pose(pose, betas), betas, pose, chosen)

    inputs = (0.5 * rotvec).requires_grad_(), _betas(1).requires_grad_()
    assert torch.autograd.gradcheck(forward, inputs)


def test_pose_gradient_is_finite_at_rest() -> None:
    body = small_body()
    rotvec = torch.zeros(1, 24, 3, dtype=torch.float64, requires_grad=True)
    body.pose(rotvec_to_rotmat(rotvec), _betas(1)).joints.sum().backward()
    assert rotvec.grad is not None
    assert torch.isfinite(rotvec.grad).all()
    assert rotvec.grad.abs().max() > 0


def test_gradients_of_many_poses_are_the_same_in_every_run() -> None:
    """Several threads must not add up what a joint gets in an order of their own."""
    body = small_body().to("cpu")
    pose = random_rotations(225, 24).float().requires_grad_(True)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first, *others = (
            torch.autograd.grad(body.pose(pose, torch.zeros(1, 10)).joints.square().sum(), pose)[0]
            for _ in range(100)
        )
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(first, other) for other in others)


def test_precision_and_device_move_together() -> None:
    body = small_body(posedirs=True).to("cpu", torch.float32)
    assert body.posedirs is not None
    assert body.v_template.dtype == body.posedirs.dtype == body.weights.dtype == torch.float32
    assert body.faces.dtype == torch.int64


def _free_arrays() -> dict[str, np.ndarray]:
    with np.load(weights.find("body7k")[0]) as file:
        arrays = {name: file[name] for name in smpl_arrays()}
    for name, array in arrays.items():
        arrays[name] = array.astype(np.float64 if array.dtype.kind == "f" else array.dtype)
    for name in ("weights", "J_regressor"):
        arrays[name] /= arrays[name].sum(1, keepdims=True)
    return arrays


@pytest.mark.parametrize("which", ["free body", "synthetic body with pose blend shapes"])
def test_agrees_with_the_smplx_package(which: str) -> None:
    smplx = pytest.importorskip("smplx", reason="the reference implementation is not installed")
    from smplx.utils import Struct

    if which == "free body":
        body, arrays = load_body_model().to("cpu", torch.float64), _free_arrays()
        vertex_ids = body.meta["vertex_ids"]
    else:
        body, arrays = small_body(posedirs=True), smpl_arrays()
        vertex_ids = dict.fromkeys(SMPL_VERTEX_IDS, 0)
    arrays["kintree_table"] = arrays["kintree_table"].astype(np.int64)
    reference = smplx.SMPL(
        model_path=None,
        data_struct=Struct(**arrays),
        vertex_ids=vertex_ids,
        dtype=torch.float64,
    )
    generator = torch.Generator().manual_seed(3)
    rotvec = torch.randn(3, 24, 3, generator=generator, dtype=torch.float64)
    betas, transl = _betas(3), torch.tensor([[0.5, -1, 4]], dtype=torch.float64).expand(3, 3)
    expected = reference(
        betas=betas,
        global_orient=rotvec[:, 0],
        body_pose=rotvec[:, 1:].flatten(1),
        transl=transl.clone(),
    )
    rotmat = rotvec_to_rotmat(rotvec)
    vertices = body.vertices(rotmat, betas, transl)
    joints = body.pose(rotmat, betas).joints + transl[:, None]
    assert (vertices - expected.vertices).norm(dim=-1).max() < 1e-5
    assert (joints - expected.joints[:, :24]).norm(dim=-1).max() < 1e-5
