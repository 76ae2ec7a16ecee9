import dataclasses
import io
import json
import pickle
import pickletools
import zipfile
from fractions import Fraction
from pathlib import Path

import joblib
import numpy as np
import pytest
import roma
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dtsvibe_cli.datatypes import (
    PersonMotion,
    PinholeCamera,
    SmplParams,
    Track,
    VideoInfo,
    VideoMotion,
    WeakPerspectiveCamera,
)
from dtsvibe_cli.errors import ResultsError
from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.results import (
    SPIN49_TO_SMPL24,
    ResultPaths,
    atomic_path,
    load_results,
    save_results,
    save_vibe_pickle,
)

WIDTH, HEIGHT = 640, 360


def make_person(
    track_id: int, num_frames: int, seed: int, dtype: type = np.float32
) -> PersonMotion:
    rng = np.random.default_rng(seed)

    def floats(*shape: int) -> np.ndarray:
        return rng.uniform(0.5, 2, (num_frames, *shape)).astype(dtype)

    frame_index = np.cumsum(rng.integers(1, 4, num_frames))
    rotmats = roma.random_rotmat((num_frames, 24)).numpy().astype(dtype)
    return PersonMotion(
        track=Track(
            track_id=track_id, frame_index=frame_index, boxes_xyxy=floats(4), scores=floats()
        ),
        smpl=SmplParams(
            global_orient=rotmats[:, 0],
            body_pose=rotmats[:, 1:],
            betas=floats(10),
            transl=floats(3),
        ),
        camera=WeakPerspectiveCamera(scale=floats(), tx=floats() - 1, ty=floats() - 1),
        crops_cxcys=floats(3) * 100,
        joints_cam=floats(24, 3),
        joints_px=floats(24, 2),
        observed=rng.random(num_frames) > 0.5,
    )


def make_motion(*people: PersonMotion, frame_rate: Fraction = Fraction(30000, 1001)) -> VideoMotion:
    return VideoMotion(
        video=VideoInfo(
            path=Path("clips/walk.mp4"),
            width_px=WIDTH,
            height_px=HEIGHT,
            frame_rate=frame_rate,
            rotation_deg=90,
            has_audio=True,
        ),
        camera=PinholeCamera(focal_length_px=700.5, center_px=(320.0, 180.0), source="default"),
        people=people,
        time_s=np.arange(7) / 30,
        first_frame=12,
        meta={"weights": {"name": "lite", "sha256": "abc"}, "body_model": "free"},
    )


def assert_same(a: object, b: object) -> None:
    """Equal values, dtypes and types, all the way down."""
    assert type(a) is type(b)
    if dataclasses.is_dataclass(a):
        for field in dataclasses.fields(a):
            assert_same(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, tuple):
        assert isinstance(b, tuple)
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, np.ndarray):
        assert isinstance(b, np.ndarray)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.lists(st.integers(0, 5), max_size=3),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from([np.float32, np.float64]),
    rate=st.fractions(min_value=1, max_value=240, max_denominator=1001),
)
def test_loading_gives_back_what_was_saved(
    tmp_path: Path, sizes: list[int], seed: int, dtype: type, rate: Fraction
) -> None:
    ids = np.random.default_rng(seed).permutation(50)[: len(sizes)] + 1
    people = (make_person(int(i), n, seed, dtype) for i, n in zip(ids, sizes, strict=True))
    motion = make_motion(*people, frame_rate=rate)
    save_results(motion, tmp_path / "walk_smpl.npz")
    loaded = load_results(tmp_path / "walk_smpl.npz")
    if not any(sizes):  # nobody has a row, so nothing says which precision they would have had
        assert [p.track.track_id for p in loaded.people] == list(ids)
    else:
        assert_same(loaded, motion)


def test_a_newcomer_can_read_the_file_with_numpy_alone(tmp_path: Path) -> None:
    first, second = make_person(1, 3, 0), make_person(2, 4, 1)
    save_results(make_motion(first, second), tmp_path / "walk_smpl.npz")
    with np.load(tmp_path / "walk_smpl.npz") as data:
        np.testing.assert_array_equal(data["joints_cam"][data["track_id"] == 2], second.joints_cam)
        meta = json.loads(str(data["meta"]))
    assert meta["video"]["frame_rate"] == "30000/1001"
    assert meta["software"].startswith("dtsvibe ")
    assert meta["run"]["weights"]["sha256"] == "abc"
    assert "metres" in meta["conventions"]["units"]


def test_a_folder_stands_for_the_only_result_in_it(tmp_path: Path) -> None:
    motion = make_motion(make_person(1, 3, 0))
    with pytest.raises(ResultsError, match="found none"):
        load_results(tmp_path)
    save_results(motion, tmp_path / "walk_smpl.npz")
    assert_same(load_results(tmp_path), motion)
    save_results(motion, tmp_path / "run_smpl.npz")
    with pytest.raises(ResultsError, match=r"run_smpl\.npz, walk_smpl\.npz"):
        load_results(str(tmp_path))


def test_two_people_cannot_share_an_id(tmp_path: Path) -> None:
    twins = make_motion(make_person(1, 3, 0), make_person(1, 2, 1))
    with pytest.raises(ValueError, match="share"):
        save_results(twins, tmp_path / "walk_smpl.npz")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="There is no"):
        load_results(tmp_path / "none_smpl.npz")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x_smpl.npz"
    path.write_text("not a result")
    with pytest.raises(ResultsError, match="damaged, or not a result"):
        load_results(path)
    np.savez(path, something=np.zeros(3))
    with pytest.raises(ResultsError, match="damaged, or not a result"):
        load_results(path)
    np.savez(path, meta=np.array(json.dumps({"format": "other", "schema_version": 1})))
    with pytest.raises(ResultsError, match="'other'"):
        load_results(path)


def _rewrite(path: Path, **changes: object) -> None:
    """Save the file again with some arrays changed, or left out when None."""
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    arrays |= {name: np.asarray(value) for name, value in changes.items()}
    np.savez(path, **{name: a for name, a in arrays.items() if changes.get(name, a) is not None})


def test_a_newer_schema_asks_for_an_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "x_smpl.npz"
    save_results(make_motion(make_person(1, 3, 0)), path)
    with np.load(path) as data:
        meta = json.loads(str(data["meta"]))
    _rewrite(path, meta=json.dumps({**meta, "schema_version": 99, "software": "dtsvibe 9"}))
    with pytest.raises(ResultsError, match=r"dtsvibe 9 in schema 99.*Upgrade"):
        load_results(path)


@pytest.mark.parametrize(
    "changes", [{"betas": None}, {"betas": np.zeros((3, 9))}, {"track_id": 1}, {"time_s": None}]
)
def test_missing_or_misshapen_arrays_are_reported(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    path = tmp_path / "x_smpl.npz"
    save_results(make_motion(make_person(1, 3, 0)), path)
    _rewrite(path, **changes)
    with pytest.raises(ResultsError, match="damaged"):
        load_results(path)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(position=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255), truncate=st.booleans())
def test_damage_anywhere_is_reported_or_harmless(
    tmp_path: Path, position: float, flip: int, truncate: bool
) -> None:
    path = tmp_path / "x_smpl.npz"
    if not path.exists():
        save_results(make_motion(make_person(1, 3, 0)), path)
    data = bytearray(path.read_bytes())
    at = int(position * len(data))
    damaged = tmp_path / "damaged.npz"
    if truncate:
        damaged.write_bytes(data[:at])
        with pytest.raises(ResultsError):
            load_results(damaged)
        return
    data[at] ^= flip
    damaged.write_bytes(data)
    try:
        loaded = load_results(damaged)
    except ResultsError:
        return
    assert_same(loaded, load_results(path))  # a date in the archive may change without harm


def test_results_hold_no_pickle(tmp_path: Path) -> None:
    path = tmp_path / "x_smpl.npz"
    save_results(make_motion(make_person(1, 3, 0)), path)
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            np.load(io.BytesIO(archive.read(name)), allow_pickle=False)


def test_names_follow_the_input(tmp_path: Path) -> None:
    (tmp_path / "frames.d").mkdir()
    assert ResultPaths.of(Path("o"), "a/b.c.mp4").overlay == Path("o/b.c_overlay.mp4")
    assert ResultPaths.of(Path("o"), tmp_path / "frames.d").vibe == Path("o/frames.d_smpl.pkl")
    assert ResultPaths.of(Path("o"), "webcam:0").report == Path("o/webcam_0_report.json")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "x.txt"
    with atomic_path(path) as part:
        part.write_text("old")

    def fail() -> None:
        with atomic_path(path) as part:
            part.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    motion = make_motion(make_person(1, 3, 0))
    with pytest.raises(ResultsError, match="Cannot write"):
        save_results(motion, tmp_path / "file" / "x_smpl.npz")
    with pytest.raises(ResultsError, match="Cannot write"):
        save_vibe_pickle(motion, tmp_path / "file" / "x_smpl.pkl")


def test_vibe_layout(tmp_path: Path) -> None:
    person = make_person(7, 4, 0)
    path = tmp_path / "x_smpl.pkl"
    save_vibe_pickle(make_motion(person, make_person(2, 3, 1)), path)
    output = joblib.load(path)
    assert list(output) == [7, 2]
    assert all(type(track_id) is int for track_id in output)
    got = output[7]
    assert {name: array.shape for name, array in got.items()} == {
        "pred_cam": (4, 3),
        "orig_cam": (4, 4),
        "pose": (4, 72),
        "betas": (4, 10),
        "joints3d": (4, 49, 3),
        "joints2d_img_coord": (4, 49, 2),
        "bboxes": (4, 4),
        "frame_ids": (4,),
    }
    np.testing.assert_array_equal(got["frame_ids"], person.track.frame_index)
    np.testing.assert_array_equal(got["bboxes"][:, 2], got["bboxes"][:, 3])
    rotmats = roma.rotvec_to_rotmat(torch.from_numpy(got["pose"].reshape(4, 24, 3))).numpy()
    np.testing.assert_allclose(rotmats[:, 0], person.smpl.global_orient, atol=1e-5)
    np.testing.assert_allclose(rotmats[:, 1:], person.smpl.body_pose, atol=1e-5)
    with path.open("rb") as file:
        plain = pickle.load(file)
    np.testing.assert_array_equal(plain[7]["pose"], got["pose"])
    got["pose"][0] = 0  # as scripts do: the arrays are not read-only


def test_vibe_cameras_of_crop_and_image_put_a_point_at_the_same_pixel(tmp_path: Path) -> None:
    person = make_person(1, 5, 3)
    save_vibe_pickle(make_motion(person), tmp_path / "x.pkl")
    got = joblib.load(tmp_path / "x.pkl")[1]
    point = np.array([0.3, -0.4])
    s, tx, ty = got["pred_cam"].T
    cx, cy, side, _ = got["bboxes"].T
    from_crop = np.stack([cx + s * (point[0] + tx) * side / 2, cy + s * (point[1] + ty) * side / 2])
    sx, sy, tx, ty = got["orig_cam"].T
    ndc = np.stack([sx * (point[0] + tx), sy * (point[1] + ty)])
    from_image = (ndc + 1) / 2 * np.array([[WIDTH], [HEIGHT]])
    np.testing.assert_allclose(from_image, from_crop, rtol=1e-4)


def test_vibe_joints_are_in_spin_order_and_leave_the_translation_out(tmp_path: Path) -> None:
    person = make_person(1, 2, 4)
    save_vibe_pickle(make_motion(person), tmp_path / "x.pkl")
    got = joblib.load(tmp_path / "x.pkl")[1]
    left_ankle = SMPL24.index("left_ankle")
    expected = person.joints_cam[:, left_ankle] - person.smpl.transl
    for row in (14, 30):  # OpenPose's and LSP's left ankle
        np.testing.assert_allclose(got["joints3d"][:, row], expected, rtol=1e-6)
        np.testing.assert_allclose(
            got["joints2d_img_coord"][:, row], person.joints_px[:, left_ankle]
        )
    unknown = np.isnan(got["joints3d"]).all(axis=(0, 2))
    np.testing.assert_array_equal(unknown, np.array(SPIN49_TO_SMPL24) < 0)
    assert unknown.sum() == 25


def test_vertices_are_written_on_request_without_translation(tmp_path: Path) -> None:
    person = make_person(1, 2, 5)
    save_vibe_pickle(
        make_motion(person),
        tmp_path / "x.pkl",
        vertices=lambda smpl: smpl.transl[:, None] + np.ones((1, 6, 1), dtype=np.float32),
    )
    np.testing.assert_array_equal(joblib.load(tmp_path / "x.pkl")[1]["verts"], np.ones((2, 6, 3)))


def test_any_numpy_and_python_3_7_can_read_the_pickle(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    save_vibe_pickle(make_motion(make_person(1, 2, 6)), path)
    names, protocol, strings = set(), 0, []
    for opcode, value, _ in pickletools.genops(path.read_bytes()):
        protocol = max(protocol, opcode.proto)
        if isinstance(value, str):
            strings.append(value)
        if opcode.name == "STACK_GLOBAL":
            names.add(tuple(strings[-2:]))
    assert protocol <= 4
    assert names == {("numpy", "ndarray"), ("builtins", "bytearray")}
