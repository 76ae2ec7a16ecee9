import numpy as np
import torch
from synthetic import random_rotations, small_body

from dtsvibe_cli.geometry.joints import SMPL24, SMPL24_PARENTS
from dtsvibe_cli.training.retargeting import AIMED_AT, retarget

BODY = small_body()
REST = BODY.joint_template.numpy()
FRAMES = 5


def source(seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Global rotations of all joints and rest directions of the bones that are aimed."""
    rotations = random_rotations(FRAMES, 24, seed=seed).numpy()
    rng = np.random.default_rng(seed)
    directions = {name: rng.normal(size=3) for name in AIMED_AT}
    return {name: rotations[:, k] for k, name in enumerate(SMPL24)}, directions


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def posed(local: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joints and global rotations of the SMPL body in these poses."""
    result = BODY.pose(torch.from_numpy(local), torch.zeros(len(local), 10, dtype=torch.float64))
    return result.joints.numpy(), result.global_rotmat.numpy()


def test_the_posed_smpl_bodys_bones_point_where_the_sources_do() -> None:
    rotations, directions = source()
    joints, _ = posed(retarget(rotations, directions, REST))
    for name, tip in AIMED_AT.items():
        bone = unit(joints[:, SMPL24.index(tip)] - joints[:, SMPL24.index(name)])
        expected = unit(rotations[name] @ directions[name])
        np.testing.assert_allclose(bone, expected, atol=1e-6, err_msg=name)


def test_the_spine_keeps_the_sources_rotations() -> None:
    rotations, directions = source()
    _, global_rotmats = posed(retarget(rotations, directions, REST))
    for name in ("pelvis", "spine1", "spine3", "neck", "head"):
        np.testing.assert_allclose(
            global_rotmats[:, SMPL24.index(name)], rotations[name], atol=1e-9
        )


def test_a_joint_the_source_lacks_follows_its_parent() -> None:
    rotations, directions = source()
    for name in ("spine2", "left_hand"):
        del rotations[name]
    local = retarget(rotations, directions, REST)
    for name in ("spine2", "left_hand"):
        np.testing.assert_allclose(
            local[:, SMPL24.index(name)], np.tile(np.eye(3), (FRAMES, 1, 1)), atol=1e-9
        )
    np.testing.assert_allclose(
        posed(local)[1][:, SMPL24.index("spine3")], rotations["spine3"], atol=1e-9
    )


def test_a_source_in_smpls_own_rest_pose_gives_no_rotation() -> None:
    still = {name: np.tile(np.eye(3), (2, 1, 1)) for name in SMPL24}
    directions = {
        name: 7 * (REST[SMPL24.index(tip)] - REST[SMPL24.index(name)])
        for name, tip in AIMED_AT.items()
    }
    local = retarget(still, directions, REST)
    np.testing.assert_allclose(local, np.tile(np.eye(3), (2, 24, 1, 1)), atol=1e-7)


def test_every_bone_that_is_aimed_is_a_bone() -> None:
    for name, tip in AIMED_AT.items():
        assert SMPL24[SMPL24_PARENTS[SMPL24.index(tip)]] == name
