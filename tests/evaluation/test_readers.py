import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from truth_files import (
    EXAMPLES,
    K,
    params_of,
    person,
    project,
    result,
    walking_truth,
    world_of,
    write_3dhp,
    write_3dpw,
    write_cdf,
    write_official_body,
    write_own,
)

from dtsvibe_cli.errors import ConfigError, DataError
from dtsvibe_cli.evaluation.ground_truth import GroundTruth, TrueSequence, TruthBodies
from dtsvibe_cli.evaluation.joint_sets import H36M17
from dtsvibe_cli.evaluation.readers import FORMATS, open_truth
from dtsvibe_cli.evaluation.readers.mpi_inf_3dhp import JOINTS
from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.results import save_vibe_pickle
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.smpl_files import load_body_model


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> TruthBodies:
    official = load_body_model(write_official_body(tmp_path_factory.mktemp("smpl") / "body.npz"))
    return TruthBodies(built_in=load_body_model(), neutral=official)


def only(folder: Path, format: str, bodies: TruthBodies, split: str | None = None) -> TrueSequence:
    truth = open_truth(folder, format, bodies, split)
    assert isinstance(truth, GroundTruth)
    assert truth.protocol
    (sequence,) = truth.sequences()
    return sequence


def smpl_joints(sequence: TrueSequence, body: BodyModel, number: int = 0) -> np.ndarray:
    """Where a person's parameters put SMPL's joints, camera coordinates."""
    smpl = sequence.people[number].smpl
    assert smpl is not None
    pose = np.concatenate([smpl.global_orient[:, None], smpl.body_pose], axis=1)
    posed = body.pose(torch.from_numpy(pose).float(), torch.from_numpy(smpl.betas).float())
    return posed.joints.double().numpy() + smpl.transl[:, None]


@pytest.mark.parametrize("format", FORMATS)
def test_a_folder_of_something_else_is_one_sentence(
    tmp_path: Path, format: str, bodies: TruthBodies
) -> None:
    with pytest.raises(DataError, match=str(tmp_path)):
        open_truth(tmp_path, format, bodies)


@pytest.mark.parametrize("format", FORMATS)
def test_an_unknown_split_is_one_sentence(tmp_path: Path, format: str, bodies: TruthBodies) -> None:
    with pytest.raises(ConfigError, match=f"{format} has no split 'all'"):
        open_truth(tmp_path, format, bodies, "all")


def test_an_unknown_format_is_one_sentence(tmp_path: Path, bodies: TruthBodies) -> None:
    with pytest.raises(ConfigError, match="choose from ours, 3dpw"):
        open_truth(tmp_path, "coco", bodies)


def test_the_synthetic_clip(bodies: TruthBodies) -> None:
    sequence = only(EXAMPLES, "synthetic", bodies)
    assert (sequence.name, sequence.source) == ("synthetic_walk", EXAMPLES / "synthetic_walk.mp4")
    assert sequence.people[0].body is bodies.built_in
    joints = sequence.people[0].joints_m
    np.testing.assert_allclose(smpl_joints(sequence, bodies.built_in), joints, atol=1e-4)
    assert only(EXAMPLES / "synthetic_walk_truth.npz", "synthetic", bodies).name == sequence.name


def test_3dpw(tmp_path: Path, bodies: TruthBodies) -> None:
    body = bodies.neutral
    assert body is not None
    _, joints = write_3dpw(tmp_path, body)
    (tmp_path / "imageFiles" / "downtown_test_00").mkdir(parents=True)
    sequence = only(tmp_path, "3dpw", bodies)
    assert sequence.name == "downtown_test_00"
    assert sequence.source == tmp_path / "imageFiles" / "downtown_test_00"
    assert (sequence.focal_length_px, sequence.frame_rate) == (500, Fraction(30))
    first, second = sequence.people
    # frame 1 has no valid camera, frame 2 too few detections
    assert first.frame_index.tolist() == [0, 3, 4, 5]
    assert second.frame_index.tolist() == [0, 1, 2, 3, 4, 5]
    rows = first.frame_index
    np.testing.assert_allclose(first.joints_m, joints[rows], atol=1e-5)
    assert first.joints_px is not None
    np.testing.assert_allclose(first.joints_px, project(joints[rows]), atol=1e-2)
    # the parameters, turned into the camera, put the body's joints in the same places
    np.testing.assert_allclose(smpl_joints(sequence, body), joints[rows], atol=1e-4)


def test_3dpw_without_an_official_body_has_joints_only(tmp_path: Path, bodies: TruthBodies) -> None:
    assert bodies.neutral is not None
    write_3dpw(tmp_path, bodies.neutral)
    sequence = only(tmp_path, "3dpw", TruthBodies(built_in=bodies.built_in))
    assert sequence.people[0].smpl is None
    assert sequence.source is None  # no pictures here


def test_3dpw_takes_the_body_of_the_gender(bodies: TruthBodies) -> None:
    gendered = TruthBodies(built_in=bodies.built_in, neutral=bodies.neutral, female=bodies.built_in)
    assert gendered.of_gender("f") is bodies.built_in
    assert gendered.of_gender("m") is bodies.neutral


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1 / 0",)


def test_3dpw_runs_nothing_that_a_file_asks_for(tmp_path: Path, bodies: TruthBodies) -> None:
    folder = tmp_path / "sequenceFiles" / "test"
    folder.mkdir(parents=True)
    (folder / "bad.pkl").write_bytes(pickle.dumps({"poses": _Evil()}))
    with pytest.raises(DataError, match="was refused"):
        only(tmp_path, "3dpw", bodies)
    (folder / "bad.pkl").write_bytes(pickle.dumps({"poses": [1]}))
    with pytest.raises(DataError, match="has no jointPositions"):
        only(tmp_path, "3dpw", bodies)
    (folder / "bad.pkl").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read"):
        only(tmp_path, "3dpw", bodies)


def h36m_pose(frames: int = 5) -> np.ndarray:
    return np.random.default_rng(1).uniform((-0.5, -0.8, 3), (0.5, 0.8, 4), (frames, 32, 3))


def test_human36m(tmp_path: Path, bodies: TruthBodies) -> None:
    pose = h36m_pose()
    name = "Walking 1.60457274"
    features = tmp_path / "S9" / "MyPoseFeatures"
    write_cdf(features / "D3_Positions_mono" / f"{name}.cdf", 1000 * pose)
    write_cdf(features / "D2_Positions" / f"{name}.cdf", project(pose))
    video = tmp_path / "S9" / "Videos" / f"{name}.mp4"
    video.parent.mkdir()
    video.touch()
    sequence = only(tmp_path, "h36m", bodies)
    assert (sequence.name, sequence.action, sequence.source) == (f"S9 {name}", "Walking", video)
    assert sequence.focal_length_px == pytest.approx(500)
    assert sequence.people[0].frame_index.tolist() == [0, 2, 4]
    # Human3.6M's own order: hips, right leg (1 to 5), left leg (6 to 10), ..., left arm from 17
    joints = dict(zip(H36M17, sequence.people[0].joints_m[1], strict=True))
    for joint, row in {"right_knee": 2, "left_ankle": 8, "left_wrist": 19, "head_top": 15}.items():
        np.testing.assert_allclose(joints[joint], pose[2, row])


def test_human36m_splits_are_cameras(tmp_path: Path, bodies: TruthBodies) -> None:
    features = tmp_path / "S11" / "MyPoseFeatures" / "D3_Positions_mono"
    for camera in ("60457274", "54138969"):
        write_cdf(features / f"Sitting.{camera}.cdf", 1000 * h36m_pose())
    assert only(tmp_path, "h36m", bodies).name == "S11 Sitting.60457274"
    everything = list(open_truth(tmp_path, "h36m", bodies, "p1").sequences())
    assert [one.action for one in everything] == ["Sitting", "Sitting"]
    assert everything[0].people[0].joints_px is None  # there is no D2_Positions


def test_human36m_files_of_another_kind(tmp_path: Path, bodies: TruthBodies) -> None:
    path = tmp_path / "S9/MyPoseFeatures/D3_Positions_mono/Walking.60457274.cdf"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no CDF" * 100)
    with pytest.raises(DataError, match=r"cannot be read as poses of Human3\.6M"):
        only(tmp_path, "h36m", bodies)


def test_mpi_inf_3dhp(tmp_path: Path, bodies: TruthBodies) -> None:
    rng = np.random.default_rng(2)
    joints = rng.uniform((-0.5, -0.8, 3), (0.5, 0.8, 4), (4, 17, 3))
    valid = np.array([[1.0], [0], [1], [1]])
    activity = np.array([[1.0], [1], [5], [7]])
    write_3dhp(tmp_path, "TS5", joints, valid_frame=valid, activity_annotation=activity)
    sequence = only(tmp_path, "3dhp", bodies)
    (true,) = sequence.people
    assert sequence.name == "TS5"
    assert sequence.joint_names == JOINTS
    assert true.frame_index.tolist() == [0, 2, 3]
    np.testing.assert_allclose(true.joints_m, joints[[0, 2, 3]])
    assert true.actions is not None
    assert true.actions.tolist() == ["stand or walk", "on the floor", "miscellaneous"]
    assert sequence.focal_length_px == pytest.approx(500)
    with pytest.raises(DataError, match=r"TS1/annot_data\.mat"):
        open_truth(tmp_path, "3dhp", bodies, "indoor")
    (tmp_path / "TS6").mkdir()
    (tmp_path / "TS6" / "annot_data.mat").write_bytes(b"MATLAB 5.0")
    with pytest.raises(DataError, match="not laid out as 3DHP"):
        list(open_truth(tmp_path, "3dhp", bodies, "outdoor").sequences())


R = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
T = np.array([0.1, 0.2, 3.0])


def test_own_format_with_cameras(tmp_path: Path, bodies: TruthBodies) -> None:
    """Two people of three joints, one joint unknown once, seen by a calibrated camera."""
    cam = np.random.default_rng(0).uniform((-1, -1, 3), (1, 1, 4), (2, 4, 3, 3))
    valid = np.ones((2, 4, 3), bool)
    valid[0, 1, 2] = False
    arrays = {
        "joint_names": np.array(["left_hip", "right_hip", "nose"]),
        "joints_world": np.stack([world_of(one, R, T) for one in cam]),
        "valid": valid,
        "frame_index": np.array([3, 5, 7, 9]),
        "person_names": np.array(["ann", "ben"]),
    }
    cameras = {"west": {"K": K.tolist(), "R": R.tolist(), "t": T.tolist()}}
    write_own(tmp_path, arrays, cameras, camera="west", action="waving", frame_rate="30000/1001")
    sequence = only(tmp_path, "ours", bodies)
    ann, ben = sequence.people
    assert (ann.name, ben.name, sequence.action) == ("ann", "ben", "waving")
    assert sequence.frame_rate == Fraction(30000, 1001)
    assert sequence.focal_length_px == 500
    assert ann.frame_index.tolist() == [3, 5, 7, 9]
    np.testing.assert_allclose(ben.joints_m, cam[1], atol=1e-12)
    assert np.isnan(ann.joints_m[1, 2]).all()
    assert ann.joints_px is not None
    assert np.isnan(ann.joints_px[1, 2]).all()
    np.testing.assert_allclose(ann.joints_px[0], project(cam[0, 0]), atol=1e-9)
    outline = ann.outlines()
    assert outline is not None
    np.testing.assert_allclose(outline[1, :2], ann.joints_px[1, :2].min(0))


def test_own_format_with_a_lens(tmp_path: Path, bodies: TruthBodies) -> None:
    """A point at (0.5, 0): with k1 = 0.1 it is 2.5 % further out."""
    cameras = {
        "a": {"K": K.tolist(), "R": np.eye(3).tolist(), "t": [0, 0, 0], "dist": [0.1, 0, 0, 0]}
    }
    arrays = {"joint_names": np.array(["pelvis"]), "joints_world": np.array([[[[1.0, 0, 2]]]])}
    true = only(write_own(tmp_path, arrays, cameras, camera="a"), "ours", bodies).people[0]
    assert true.joints_px is not None
    np.testing.assert_allclose(true.joints_px[0, 0], [320 + 500 * 0.5 * 1.025, 240])


def test_own_format_with_parameters_alone(tmp_path: Path, bodies: TruthBodies) -> None:
    truth = walking_truth()
    smpl = params_of(truth)
    arrays = {
        "global_orient": smpl.global_orient[None],
        "body_pose": smpl.body_pose[None],
        "betas": truth.betas[None],
        "transl": smpl.transl[None],
    }
    sequence = only(write_own(tmp_path, arrays), "ours", bodies)
    assert sequence.joint_names == SMPL24
    np.testing.assert_allclose(sequence.people[0].joints_m, truth.joints_cam, atol=1e-4)
    del arrays["transl"]
    with pytest.raises(DataError, match="parameters without transl"):
        only(write_own(tmp_path, arrays), "ours", bodies)


def test_own_format_leaves_out_frames_without_a_person(tmp_path: Path, bodies: TruthBodies) -> None:
    joints = np.ones((1, 4, 4, 3))
    joints[0, 2] = np.nan
    names = np.array(["pelvis", "left_hip", "right_hip", "neck"])
    arrays = {"joint_names": names, "joints_relative": joints}
    true = only(write_own(tmp_path, arrays), "ours", bodies).people[0]
    assert true.frame_index.tolist() == [0, 1, 3]
    assert not true.absolute
    assert true.outlines() is None


NAMES = np.array(["pelvis", "neck"])
JOINTS_CAM = np.ones((1, 2, 2, 3))


@pytest.mark.parametrize(
    ("arrays", "entry", "message"),
    [
        ({"joints_cam": JOINTS_CAM}, {}, "has no joint_names"),
        ({"joint_names": NAMES}, {}, "neither joints .* nor SMPL parameters"),
        ({"joint_names": NAMES, "joints_cam": JOINTS_CAM[0]}, {}, r"not \(person, frame, 2, 3\)"),
        (
            {"joint_names": np.array(["pelvis", "tail"]), "joints_cam": JOINTS_CAM},
            {},
            "names the joint 'tail'",
        ),
        ({"joint_names": NAMES, "joints_world": JOINTS_CAM}, {}, "name a camera"),
        (
            {"joint_names": NAMES, "joints_cam": JOINTS_CAM, "frame_index": np.array([2, 1])},
            {},
            "must rise",
        ),
        ({"joint_names": NAMES, "joints_cam": JOINTS_CAM}, {"camera": "east"}, "no camera 'east'"),
        ({"joint_names": NAMES, "joints_cam": JOINTS_CAM}, {"video": "no.mp4"}, "is missing"),
        ({"joint_names": NAMES, "joints_cam": JOINTS_CAM}, {"frame_rate": "x"}, "no frame rate"),
        (
            {"joint_names": NAMES, "joints_cam": JOINTS_CAM, "valid": np.ones((1, 2))},
            {},
            "valid is",
        ),
        (
            {"joint_names": NAMES, "joints_cam": JOINTS_CAM, "boxes_xyxy": np.ones((2, 4))},
            {},
            "boxes_xyxy is",
        ),
    ],
)
def test_own_format_says_what_does_not_fit(
    tmp_path: Path,
    bodies: TruthBodies,
    arrays: dict[str, np.ndarray],
    entry: dict[str, str],
    message: str,
) -> None:
    with pytest.raises(DataError, match=message):
        only(write_own(tmp_path, arrays, **entry), "ours", bodies)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("format = ", "does not fit the format"),
        ('format = "coco"\nversion = 1\nsequence = []', "does not fit the format"),
        ('format = "dtsvibe-truth"\nversion = 2\nsequence = []', "of version 2"),
        ('format = "dtsvibe-truth"\nversion = 1\nsequence = []', "must list sequences"),
        (
            'format = "dtsvibe-truth"\nversion = 1\n[[sequence]]\nname = "a"\nturth = "a.npz"',
            "does not fit the format",
        ),
    ],
)
def test_own_index_says_what_does_not_fit(
    tmp_path: Path, bodies: TruthBodies, text: str, message: str
) -> None:
    (tmp_path / "truth.toml").write_text(text)
    with pytest.raises(DataError, match=message):
        open_truth(tmp_path, "ours", bodies)


def test_own_cameras_say_what_does_not_fit(tmp_path: Path, bodies: TruthBodies) -> None:
    write_own(tmp_path, {}, {"a": {"K": [[1, 2], [3, 4]]}})
    with pytest.raises(DataError, match="does not hold cameras"):
        open_truth(tmp_path, "ours", bodies)


def test_a_pickle_in_vibes_layout_is_truth(tmp_path: Path, bodies: TruthBodies) -> None:
    truth = walking_truth()
    found = person(truth.joints_cam, K=truth.K, frame_index=np.arange(8) + 4)
    save_vibe_pickle(result(found), tmp_path / "vibe.pkl")
    sequence = only(write_own(tmp_path, {}, truth="vibe.pkl"), "ours", bodies)
    (true,) = sequence.people
    assert true.frame_index.tolist() == list(range(4, 12))
    assert not true.absolute
    own = truth.joints_cam[:, [SMPL24.index(name) for name in sequence.joint_names]]
    np.testing.assert_allclose(true.joints_m + found.smpl.transl[:, None], own, atol=1e-5)
    assert {"left_wrist", "right_ankle", "pelvis"} <= set(sequence.joint_names)


@pytest.mark.parametrize(
    ("content", "message"),
    [({1: {"joints3d": 3}}, "not in VIBE's layout"), ({1: _Evil()}, "was refused"), ([], "cannot")],
)
def test_other_pickles_are_no_truth(
    tmp_path: Path, bodies: TruthBodies, content: object, message: str
) -> None:
    write_own(tmp_path, {}, truth="vibe.pkl")
    (tmp_path / "vibe.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=message):
        only(tmp_path, "ours", bodies)
