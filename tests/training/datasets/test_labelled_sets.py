import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dataset_files as made
import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dtsvibe_cli.errors import ConfigError, DataError, VideoError
from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.training.datasets import DATASETS, open_dataset, read_tracks
from dtsvibe_cli.training.datasets.joint_names import to_smpl24
from dtsvibe_cli.training.datasets.matlab import read_mat
from dtsvibe_cli.training.datasets.tracks import JointLabels, LabelledTrack


def only(dataset: str, root: Path, split: str = "train") -> LabelledTrack:
    (track,) = read_tracks(dataset, root, split)
    return track


def joint(labels: JointLabels | None, name: str) -> np.ndarray:
    """A joint of SMPL as a data set labels it."""
    assert labels is not None
    points, weight = to_smpl24(labels.points, labels.weight, labels.names)
    column = SMPL24.index(name)
    assert weight[:, column].all()
    return points[:, column]


def check_camera(track: LabelledTrack, tolerance: float = 1e-6) -> None:
    assert track.camera is not None
    assert track.camera.focal_length_px == pytest.approx(made.FOCAL_PX, rel=tolerance)
    assert track.camera.center_px == pytest.approx(made.CENTER_PX, rel=tolerance)


def levels(track: LabelledTrack) -> list[int]:
    """Brightness of the pictures, which says which ones they are."""
    return [round(float(rgb.mean())) for rgb in track.frames]


def test_3dpw_gives_both_actors_before_the_camera(tmp_path: Path) -> None:
    actors = made.write_3dpw(tmp_path, "train", "yard_00")
    made.write_3dpw(tmp_path, "test", "other_00")
    tracks = list(read_tracks("3dpw", tmp_path))
    assert [track.name for track in tracks] == ["yard_00/person0", "yard_00/person1"]
    for track, actor in zip(tracks, actors, strict=True):
        check_camera(track)
        assert track.rate_hz == 30
        assert levels(track) == [5, 15, 25, 35, 45]
        assert track.smpl is not None
        assert track.joints_3d is not None
        assert track.joints_2d is not None
        root = Rotation.from_rotvec(track.smpl.full_pose_rotvec[:, 0]).as_matrix()
        np.testing.assert_allclose(root, actor.root_cam, atol=1e-9)
        rest = track.smpl.full_pose_rotvec[:, 1:]
        np.testing.assert_array_equal(rest, actor.poses.reshape(5, 24, 3)[:, 1:])
        np.testing.assert_array_equal(track.smpl.betas, actor.betas)
        np.testing.assert_array_equal(track.smpl.valid, actor.valid > 0)
        assert track.smpl.body_sha256 is None
        np.testing.assert_allclose(track.joints_3d.points, actor.joints_cam, atol=1e-9)
        np.testing.assert_allclose(
            track.joints_2d.points, made.project(actor.joints_cam), atol=1e-9
        )
        np.testing.assert_array_equal(track.joints_3d.weight[:, 0], actor.valid)
        known = np.isfinite(track.boxes_xyxy).all(1)
        np.testing.assert_array_equal(known, actor.valid > 0)
        inside = track.joints_2d.points[known]
        assert (inside > track.boxes_xyxy[known, None, :2]).all()
        assert (inside < track.boxes_xyxy[known, None, 2:]).all()


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("run!",))


def test_3dpw_pickles_run_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made.write_3dpw(tmp_path, "train", "yard_00")
    path = tmp_path / "sequenceFiles" / "train" / "yard_00.pkl"
    path.write_bytes(pickle.dumps({"poses": Evil()}))
    with pytest.raises(DataError, match=r"is refused: it asks for builtins\.print"):
        list(read_tracks("3dpw", tmp_path))
    assert capsys.readouterr().out == ""
    path.write_bytes(pickle.dumps({"poses": 1}))
    with pytest.raises(DataError, match="has no betas, jointPositions"):
        list(read_tracks("3dpw", tmp_path))
    path.write_bytes(b"no pickle")
    with pytest.raises(DataError, match="cannot be read as a 3DPW sequence"):
        list(read_tracks("3dpw", tmp_path))


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_3dpw_frames_without_a_camera_have_no_labels(tmp_path: Path, value: float) -> None:
    made.write_3dpw(tmp_path, "train", "yard_00")
    path = tmp_path / "sequenceFiles" / "train" / "yard_00.pkl"
    content = pickle.loads(path.read_bytes())
    content["cam_poses"][3] = value
    path.write_bytes(pickle.dumps(content, protocol=2))
    for track in read_tracks("3dpw", tmp_path):
        assert track.smpl is not None
        assert track.joints_3d is not None
        assert track.smpl.valid.tolist() == [True, False, True, False, True]
        assert not track.joints_3d.weight[3].any()
        assert np.isfinite(track.joints_3d.points).all()


def test_human36m_joins_video_picture_and_space(tmp_path: Path) -> None:
    for subject in ("S1", "S5", "S6", "S7", "S8"):
        (tmp_path / subject / "MyPoseFeatures" / "D3_Positions_mono").mkdir(parents=True)
    cam = made.write_human36m(tmp_path, "S5", "Walking 1.54138969")
    track = only("h36m", tmp_path)
    assert (track.name, track.rate_hz) == ("S5/Walking_1.54138969", 50)
    check_camera(track, 1e-4)
    # Hips, right hip, knee, foot: places in the order of the 32
    places = {2: "right_knee", 8: "left_ankle", 17: "left_shoulder", 18: "left_elbow",
              25: "right_shoulder", 27: "right_wrist"}  # fmt: skip
    for place, name in places.items():
        np.testing.assert_allclose(joint(track.joints_3d, name), cam[:, place], atol=1e-5)
        seen = made.project(cam[:, place])
        np.testing.assert_allclose(joint(track.joints_2d, name), seen, atol=1e-4)
    assert len(levels(track)) == 6
    assert track.smpl is None
    (tmp_path / "S5" / "MyPoseFeatures" / "D2_Positions" / "Walking 1.54138969.cdf").unlink()
    with pytest.raises(DataError, match=r"cannot be read as Human3\.6M's poses"):
        only("h36m", tmp_path)
    with pytest.raises(DataError, match=r"S9.*D3_Positions_mono is missing"):
        open_dataset("h36m", tmp_path, "validation")


def test_3dhp_gives_a_track_for_each_video(tmp_path: Path) -> None:
    views = made.write_3dhp(tmp_path, "S3")
    tracks = list(read_tracks("3dhp", tmp_path))
    assert [track.name for track in tracks] == ["S3/Seq1/video_0", "S3/Seq1/video_2"]
    for track, cam in zip(tracks, (views[0], views[2]), strict=True):
        check_camera(track)
        assert track.rate_hz == 50  # the video's own
        for place, name in ((9, "left_shoulder"), (16, "right_wrist"), (19, "left_knee"),
                            (25, "right_ankle")):  # fmt: skip
            np.testing.assert_allclose(joint(track.joints_3d, name), cam[:, place], atol=1e-9)
    made.write_3dhp(tmp_path, "S3", cameras=1)
    with pytest.raises(DataError, match="no 28 joints of camera 2"):
        list(read_tracks("3dhp", tmp_path))
    with pytest.raises(DataError, match="test part is for evaluation"):
        open_dataset("3dhp", tmp_path, "test")


def test_penn_action_keeps_to_its_own_parts(tmp_path: Path) -> None:
    pixels = made.write_penn(tmp_path, "0001")
    made.write_penn(tmp_path, "0002", train=False)
    track = only("pennaction", tmp_path)
    assert track.name == "0001"
    assert track.camera is None
    assert levels(track) == [5, 15, 25, 35]  # boxes end a frame early
    np.testing.assert_allclose(joint(track.joints_2d, "right_shoulder"), pixels[:4, 2])
    np.testing.assert_allclose(joint(track.joints_2d, "left_ankle"), pixels[:4, 11])
    assert track.joints_2d is not None
    assert track.joints_2d.weight[2, 3] == 0
    assert only("pennaction", tmp_path, "test").name == "0002"
    (tmp_path / "labels" / "0001.mat").write_bytes(b"MATLAB? no")
    with pytest.raises(DataError, match=r"0001.mat cannot be read as a .mat file"):
        only("pennaction", tmp_path)


def test_posetrack_gives_everybody_while_they_are_labelled(tmp_path: Path) -> None:
    pixels = made.write_posetrack(tmp_path, "000001_bonn_train")
    first, second = read_tracks("posetrack", tmp_path)
    assert (first.name, second.name) == (
        "000001_bonn_train/person0",
        "000001_bonn_train/person3",
    )
    assert levels(first) == [25, 35, 45, 55, 65]  # frames 2 to 6
    assert first.joints_2d is not None
    labelled = first.joints_2d.weight.max(1) > 0
    np.testing.assert_array_equal(labelled, [True, True, False, False, True])
    np.testing.assert_allclose(first.joints_2d.points[0, 5], pixels[2, 5])
    assert (first.joints_2d.weight[:, 4] == 0).all()
    # boxes go on between labels, keypoints do not
    np.testing.assert_allclose(first.boxes_xyxy[:, 0], [12, 13, 14, 15, 16])
    np.testing.assert_allclose(joint(second.joints_2d, "right_wrist"), pixels[:, 10] + 3)
    assert np.isfinite(second.boxes_xyxy).all()  # around the keypoints
    path = tmp_path / "annotations" / "train" / "000001_bonn_train.json"
    path.write_text(json.dumps({"images": []}))
    with pytest.raises(DataError, match="cannot be read as labels of PoseTrack"):
        list(read_tracks("posetrack", tmp_path))


@pytest.mark.parametrize("features", [False, True])
def test_instavariety_is_read_without_tensorflow(tmp_path: Path, features: bool) -> None:
    pixels = made.write_instavariety(tmp_path / "train" / "insta_00.tfrecord", features=features)
    first, second = read_tracks("instavariety", tmp_path)
    assert (first.name, second.name) == ("insta_00/0000", "insta_00/0001")
    assert levels(first) == [0, 40, 80, 120]
    np.testing.assert_allclose(joint(first.joints_2d, "left_shoulder"), pixels[:, 9], atol=1e-4)
    np.testing.assert_allclose(joint(first.joints_2d, "right_knee"), pixels[:, 1], atol=1e-4)
    np.testing.assert_allclose(joint(first.joints_2d, "right_ankle"), pixels[:, 19], atol=1e-4)
    assert np.isfinite(first.boxes_xyxy).all()


def spoil_pictures(root: Path) -> None:
    content = made.example({"image/encoded": [b"no jpeg"], "image/xys": [0.5] * 28,
                            "image/visibilities": [1] * 14})  # fmt: skip
    made.write_records(root / "train" / "a.tfrecord", [content])


def spoil_keypoints(root: Path) -> None:
    content = made.example({"image/encoded": [made.jpeg(1)], "image/xys": [0.5] * 9})
    made.write_records(root / "train" / "a.tfrecord", [content])


def spoil_length(root: Path) -> None:
    path = root / "train" / "a.tfrecord"
    made.write_instavariety(path, features=False)
    path.write_bytes(path.read_bytes()[:-20])


def spoil_all(root: Path) -> None:
    (root / "train").mkdir()
    (root / "train" / "a.tfrecord").write_bytes(b"something else that is long enough")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (spoil_keypoints, "keypoints of record 0"),
        (spoil_length, "is cut off"),
        (spoil_all, "no file of TensorFlow's records"),
    ],
)
def test_spoilt_records_are_one_clear_error(
    tmp_path: Path, spoil: Callable[[Path], None], complaint: str
) -> None:
    spoil(tmp_path)
    with pytest.raises(DataError, match=complaint):
        list(read_tracks("instavariety", tmp_path))


def test_a_spoilt_picture_is_found_when_it_is_looked_at(tmp_path: Path) -> None:
    spoil_pictures(tmp_path)
    with pytest.raises(VideoError, match="stored picture"):
        list(only("instavariety", tmp_path).frames)


def test_new_mat_files_have_the_same_variables(tmp_path: Path) -> None:
    """Version 7.3 is HDF5 with axes turned round and cells as references."""
    path = tmp_path / "new.mat"
    wanted = np.arange(6.0).reshape(2, 3)
    with h5py.File(path, "w", userblock_size=512) as file:
        file["x"] = wanted.T
        file["inside"] = wanted.T
        file.create_dataset("cells", (1, 1), dtype=h5py.ref_dtype)[0, 0] = file["inside"].ref
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(124, b" ") + b"\x00\x02IM")
    fields = read_mat(path, ("x", "cells"))
    np.testing.assert_array_equal(fields["x"], wanted)
    np.testing.assert_array_equal(fields["cells"][0, 0], wanted)
    with pytest.raises(DataError, match="has no y"):
        read_mat(path, ("y",))


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_folder_without_the_set_says_what_is_missing(tmp_path: Path, dataset: str) -> None:
    with pytest.raises(DataError, match=str(tmp_path)):
        open_dataset(dataset, tmp_path)
    with pytest.raises(DataError, match="There is no folder"):
        open_dataset(dataset, tmp_path / "none")


def test_unknown_sets_and_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no data set 'coco': choose from 3dpw, h36m"):
        open_dataset("coco", tmp_path)
    with pytest.raises(ConfigError, match="no part 'val': choose from train"):
        open_dataset("3dpw", tmp_path, "val")
    with pytest.raises(DataError, match="has no parts"):
        open_dataset("synthetic", tmp_path, "test")
