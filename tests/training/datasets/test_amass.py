from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.training.datasets.amass import read_amass
from dtsvibe_cli.training.motion_bank import load_bank
from dtsvibe_cli.training.motion_readers import motion_files, read_motion

REST = np.zeros((24, 3))


def write_amass(path: Path, frames: int = 40, rate_hz: float = 120.0, **changes: object) -> None:
    rng = np.random.default_rng(frames)
    fields: dict[str, object] = {
        "poses": rng.normal(size=(frames, 156)) * 0.3,
        "trans": np.arange(frames * 3.0).reshape(frames, 3),
        "betas": rng.normal(size=16),
        "dmpls": np.zeros((frames, 8)),
        "gender": "female",
        "mocap_framerate": rate_hz,
    } | changes
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{k: v for k, v in fields.items() if v is not None})  # type: ignore[arg-type]


def test_smplh_poses_become_24_joints_with_y_up(tmp_path: Path) -> None:
    path = tmp_path / "KIT" / "3" / "walk_poses.npz"
    write_amass(path)
    with np.load(path) as file:
        poses, trans = file["poses"][::2], file["trans"][::2]
    motion = read_motion(path, REST)
    assert (motion.name, motion.rate_hz) == ("walk_poses", 60)
    assert motion.rotmats.shape == (20, 24, 3, 3)
    local = Rotation.from_matrix(motion.rotmats[:, 21]).as_rotvec()
    np.testing.assert_allclose(local, poses[:, 63:66], atol=1e-9)
    np.testing.assert_array_equal(motion.rotmats[:, 22:], np.tile(np.eye(3), (20, 2, 1, 1)))
    # z was up: what pointed there points along y now, and forward stays forward
    np.testing.assert_array_equal(motion.transl_m, trans[:, [0, 2, 1]] * [1, 1, -1])
    up = Rotation.from_rotvec(poses[:, :3]).as_matrix()[:, 2]
    np.testing.assert_allclose(motion.rotmats[:, 0, 1], up, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(motion.rotmats[:, 0]), 1)


def test_the_newer_release_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "a_stageii.npz"
    poses = np.zeros((3, 165))
    write_amass(path, 3, poses=poses, mocap_framerate=None, mocap_frame_rate=30.0)
    assert read_amass(path).rate_hz == 30


def test_shapes_of_subjects_are_no_motion(tmp_path: Path) -> None:
    write_amass(tmp_path / "s" / "b_poses.npz")
    np.savez(tmp_path / "s" / "shape.npz", betas=np.zeros(16))
    np.savez(tmp_path / "s" / "neutral_stagei.npz", betas=np.zeros(16))
    assert [path.name for path in motion_files(tmp_path)] == ["b_poses.npz"]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"poses": None}, "has no poses"),
        ({"mocap_framerate": None}, "has no mocap_frame_rate"),
        ({"poses": np.zeros((40, 60))}, r"poses \(40, 60\)"),
        ({"trans": np.zeros((39, 3))}, r"trans \(39, 3\)"),
        ({"mocap_framerate": 0.0}, "no motion"),
    ],
)
def test_other_files_are_one_clear_error(
    tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    path = tmp_path / "a_poses.npz"
    write_amass(path, **changes)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=complaint):
        read_motion(path, REST)
    path.write_bytes(b"no zip")
    with pytest.raises(DataError, match="cannot be read as motion of AMASS"):
        read_motion(path, REST)


def test_a_bank_of_amass_holds_out_its_test_part(tmp_path: Path) -> None:
    write_amass(tmp_path / "amass" / "CMU" / "01" / "01_01_poses.npz")
    write_amass(tmp_path / "amass" / "SSM_synced" / "p" / "jump_poses.npz", 60)
    bank = load_bank(tmp_path / "amass", REST, tmp_path / "cache.npz")
    assert [(clip.name, clip.held_out) for clip in bank.clips] == [
        ("01_01_poses", False),
        ("jump_poses", True),
    ]
    again = load_bank(tmp_path / "amass", REST, tmp_path / "cache.npz")
    assert torch.equal(again.clips[1].rotmats, bank.clips[1].rotmats)
