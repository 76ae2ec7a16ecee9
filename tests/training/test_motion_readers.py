import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from motion_files import (
    Bvh,
    asf_directions,
    still_amc_frame,
    write_amc,
    write_asf,
    write_expmap,
    write_random_amc,
)
from scipy.spatial.transform import Rotation
from synthetic import small_body

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.training.motion_readers import (
    CMU_TO_METRES,
    motion_files,
    read_amc,
    read_bvh,
    read_expmap,
    read_motion,
)
from dtsvibe_cli.training.retargeting import AIMED_AT, Motion

BODY = small_body()
REST = BODY.joint_template.numpy()


def bones(motion: Motion) -> dict[str, np.ndarray]:
    """Direction of each aimed bone of the SMPL body that makes the motion, one row a frame."""
    rotmats = torch.from_numpy(motion.rotmats)
    joints = BODY.pose(rotmats, torch.zeros(len(rotmats), 10, dtype=torch.float64)).joints.numpy()
    found = {
        name: joints[:, SMPL24.index(tip)] - joints[:, SMPL24.index(name)]
        for name, tip in AIMED_AT.items()
    }
    return {name: b / np.linalg.norm(b, axis=-1, keepdims=True) for name, b in found.items()}


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


def read_asf_amc(
    folder: Path, frames: list[dict[str, list[float]]], every: int = 1, **skeleton: object
) -> Motion:
    write_asf(folder / "s.asf", **skeleton)  # type: ignore[arg-type]
    write_amc(folder / "s_01.amc", frames)
    return read_amc(folder / "s.asf", folder / "s_01.amc", REST, every)


def test_an_amc_at_rest_has_the_skeletons_directions(tmp_path: Path) -> None:
    motion = read_asf_amc(tmp_path, [still_amc_frame()])
    found, rest = bones(motion), asf_directions()
    for name, bone in {
        "left_hip": "lfemur",
        "right_elbow": "rradius",
        "left_ankle": "lfoot",
    }.items():
        np.testing.assert_allclose(found[name][0], unit(rest[bone]), atol=1e-6)
    assert motion.name == "s_01"
    assert motion.rate_hz == 120


def test_an_amc_root_is_turned_about_fixed_axes_x_first(tmp_path: Path) -> None:
    frame = still_amc_frame() | {"root": [1.0, 2.0, 3.0, 90.0, 0.0, 90.0]}
    motion = read_asf_amc(tmp_path, [frame])
    # about x: y to z, z to -y; then about z: x to y, y to -x
    np.testing.assert_allclose(motion.rotmats[0, 0], [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-12)
    np.testing.assert_allclose(motion.transl_m[0], np.array([1, 2, 3]) * CMU_TO_METRES)
    assert pytest.approx(0.0564, abs=1e-4) == CMU_TO_METRES


def test_an_amc_joint_turns_about_its_own_axes(tmp_path: Path) -> None:
    """The shoulder's x axis is turned by 90 degrees about z: it is the world's y axis."""
    directions = asf_directions() | {
        "lhumerus": np.array([1.0, 0, 0]),
        "lradius": np.array([1.0, 0, 0]),
    }
    frame = still_amc_frame() | {"lhumerus": [90.0]}
    motion = read_asf_amc(
        tmp_path, [frame], directions=directions, axes={"lhumerus": (0, 0, 90)},
        dofs={"lhumerus": "rx"},
    )  # fmt: skip
    found = bones(motion)
    np.testing.assert_allclose(found["left_shoulder"][0], [0, 0, -1], atol=1e-6)
    np.testing.assert_allclose(found["left_elbow"][0], [0, 0, -1], atol=1e-6)
    np.testing.assert_allclose(found["right_shoulder"][0], unit(directions["rhumerus"]), atol=1e-6)


def test_each_subject_has_its_own_skeleton_in_a_folder_of_several(tmp_path: Path) -> None:
    spread = asf_directions() | {"lfemur": np.array([1.0, 0, 0])}
    write_asf(tmp_path / "07.asf")
    write_asf(tmp_path / "08.asf", directions=spread)
    for name in ("07_01", "08_01", "09_01"):
        write_amc(tmp_path / f"{name}.amc", [still_amc_frame()])
    for name, directions in (("07_01", asf_directions()), ("08_01", spread)):
        motion = read_motion(tmp_path / f"{name}.amc", REST)
        hip = bones(motion)["left_hip"][0]
        np.testing.assert_allclose(hip, unit(directions["lfemur"]), atol=1e-6)
    with pytest.raises(DataError, match=r"none is named 09\.asf"):
        read_motion(tmp_path / "09_01.amc", REST)


def test_an_amc_joint_names_which_angles_it_has(tmp_path: Path) -> None:
    directions = asf_directions() | {"rtibia": np.array([0.0, -1, 0])}
    frame = still_amc_frame() | {"rtibia": [0.0, 90.0], "lfoot": [0.0, 9.0]}
    dofs = {"rtibia": "ry rz", "lfoot": "rx l"}
    found = bones(read_asf_amc(tmp_path, [frame], directions=directions, dofs=dofs))
    np.testing.assert_allclose(found["right_knee"][0], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found["left_ankle"][0], unit(directions["lfoot"]), atol=1e-6)


def test_every_nth_frame_of_an_amc(tmp_path: Path) -> None:
    frames = [still_amc_frame() | {"root": [float(k), 0, 0, 0, 0, 0]} for k in range(7)]
    motion = read_asf_amc(tmp_path, frames, every=3)
    np.testing.assert_allclose(motion.transl_m[:, 0] / CMU_TO_METRES, [0, 3, 6])
    assert motion.rate_hz == 40


def test_bvh_bones_point_from_joint_to_joint(tmp_path: Path) -> None:
    bvh = Bvh()
    bvh.write(tmp_path / "c.bvh", frame_time_s=1 / 50)
    motion = read_bvh(tmp_path / "c.bvh", REST)
    found, at = bones(motion), bvh.positions_cm()
    for name, (start, tip) in {
        "left_hip": ("L_Thigh", "L_Calf"), "right_knee": ("R_Calf", "R_Foot"),
        "left_ankle": ("L_Foot", "L_ToeBase"), "right_collar": ("R_Clavicle", "R_Upperarm"),
        "left_elbow": ("L_Forearm", "L_Hand"), "right_wrist": ("R_Hand", "R_Mid1"),
    }.items():  # fmt: skip
        np.testing.assert_allclose(found[name], unit(at[tip] - at[start]), atol=1e-4, err_msg=name)
    np.testing.assert_allclose(motion.transl_m, bvh.root_cm / 100)
    assert motion.rate_hz == pytest.approx(50, rel=1e-3)


def test_bvh_legs_hang_when_turned_half_about_z(tmp_path: Path) -> None:
    """The rig's leg bones point up their own y axis; at rest the pose turns them over."""
    bvh = Bvh(frames=1)
    bvh.angles_zxy[:] = 0
    for leg in ("L_Thigh", "R_Thigh"):
        bvh.offsets_cm[leg.replace("Thigh", "Calf")] = np.array([0.0, 40.0, 0.0])
        bvh.angles_zxy[0, bvh.names.index(leg)] = (180, 0, 0)
    bvh.write(tmp_path / "c.bvh")
    found = bones(read_bvh(tmp_path / "c.bvh", REST))
    np.testing.assert_allclose(found["left_hip"][0], [0, -1, 0], atol=1e-6)
    np.testing.assert_allclose(found["right_hip"][0], [0, -1, 0], atol=1e-6)


def test_expmap_rotations_act_on_rows(tmp_path: Path) -> None:
    rows = np.zeros((3, 117))
    rows[:, :3] = [[1, 2, 3]] * 3
    rows[1, 3 + 3 * 21 + 2] = np.pi / 2  # the left shoulder, about z
    rows[2, 3 + 2] = np.pi / 2  # the root
    write_expmap(tmp_path / "expmap" / "a.txt", rows)
    motion = read_expmap(tmp_path / "expmap" / "a.txt", REST)
    found = bones(motion)
    np.testing.assert_allclose(found["left_elbow"], [[1, 0, 0], [0, -1, 0], [0, -1, 0]], atol=1e-6)
    np.testing.assert_allclose(found["right_elbow"], [[-1, 0, 0], [-1, 0, 0], [0, 1, 0]], atol=1e-6)
    np.testing.assert_allclose(
        motion.rotmats[2, 0], Rotation.from_rotvec([0, 0, -np.pi / 2]).as_matrix(), atol=1e-7
    )
    np.testing.assert_allclose(motion.transl_m, rows[:, :3] * CMU_TO_METRES)


def test_a_folder_may_hold_all_kinds_also_compressed(tmp_path: Path) -> None:
    write_random_amc(tmp_path / "cmu", "01_01", frames=9, seed=0)
    Bvh(frames=6).write(tmp_path / "dance.bvh", frame_time_s=1 / 120)
    write_expmap(tmp_path / "expmap" / "walk.txt", np.zeros((8, 117)))
    (tmp_path / "notes.txt").write_text("not motion")
    plain = tmp_path / "cmu" / "01_01.amc"
    (tmp_path / "cmu" / "01_02.amc.gz").write_bytes(gzip.compress(plain.read_bytes()))
    paths = motion_files(tmp_path)
    assert [path.name for path in paths] == ["01_01.amc", "01_02.amc.gz", "dance.bvh", "walk.txt"]
    motions = [read_motion(path, REST, 60.0) for path in paths]
    assert [motion.name for motion in motions] == ["01_01", "01_02", "dance", "walk"]
    assert [len(motion.rotmats) for motion in motions] == [5, 5, 3, 4]
    assert [motion.rate_hz for motion in motions] == pytest.approx([60] * 4, rel=1e-3)
    np.testing.assert_array_equal(motions[0].rotmats, motions[1].rotmats)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder of motion files"):
        motion_files(tmp_path / "none")


def test_an_amc_without_its_skeleton_is_refused(tmp_path: Path) -> None:
    write_amc(tmp_path / "a.amc", [still_amc_frame()])
    with pytest.raises(DataError, match=r"no \.asf skeleton beside it"):
        read_motion(tmp_path / "a.amc", REST)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.amc", "1\nroot 0 0 0 0 0 0\n"),  # bones are missing
        ("a.amc", "1\nroot 0 0 zero 0 0 0\n"),
        ("a.amc", ":DEGREES\n"),
        ("a.bvh", "HIERARCHY\nROOT Hip\n{\n}\n"),
        ("a.bvh", "MOTION\nFrames: 1\nFrame Time: 0.01\n0\n"),
        ("a.bvh.gz", "not compressed"),
        ("expmap/a.txt", "1,2,3\n"),
        ("expmap/a.txt", "a,b\n"),
        ("expmap/a.txt", ""),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, text: str) -> None:
    write_asf(tmp_path / "s.asf")
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(DataError, match=path.name):
        read_motion(path, REST)


def test_a_damaged_skeleton_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.asf").write_text(":version 1.10\n")
    write_amc(tmp_path / "a.amc", [still_amc_frame()])
    with pytest.raises(DataError, match=r"s\.asf is not an ASF skeleton"):
        read_motion(tmp_path / "a.amc", REST)


def test_a_bvh_of_another_rig_is_refused(tmp_path: Path) -> None:
    Bvh().write(tmp_path / "a.bvh")
    text = (tmp_path / "a.bvh").read_text().replace("CC_Base_L_Thigh", "LeftUpLeg")
    (tmp_path / "a.bvh").write_text(text)
    with pytest.raises(DataError, match="no bone L_Thigh"):
        read_motion(tmp_path / "a.bvh", REST)
