"""The synthetic clip: its truth is repeatable, consistent, and plausible as human motion."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.geometry.rotations import rotmat_to_rotvec
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.synthetic.clip import build_stage, draw_frame, make_clip, make_truth
from dtsvibe_cli.synthetic.render import project, rasterise
from dtsvibe_cli.synthetic.truth import Truth, load_truth
from dtsvibe_cli.video import probe, read_frames

EXAMPLES = Path(__file__).parent.parent / "examples"
CLIP = EXAMPLES / "synthetic_walk.mp4"
TRUTH = EXAMPLES / "synthetic_walk_truth.npz"
BALLS = (SMPL24.index("left_foot"), SMPL24.index("right_foot"))


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body_model()


@pytest.fixture(scope="module", params=[0, 7])
def truth(request: pytest.FixtureRequest, body: BodyModel) -> Truth:
    """Two rounds of the script, so that its repetition is seen as well."""
    return make_truth(body, seconds=12.0, seed=request.param)


def _world_joints(truth: Truth) -> np.ndarray:
    return (truth.joints_cam - truth.t_cam_world[:, None]) @ truth.R_cam_world


def test_same_seed_gives_the_same_truth_and_another_seed_another(body: BodyModel) -> None:
    first, again, other = (make_truth(body, seconds=1.0, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.joints_cam, again.joints_cam)
    assert np.abs(first.joints_cam - other.joints_cam).max() > 0.01


def test_pixels_are_the_projected_joints(truth: Truth) -> None:
    np.testing.assert_allclose(project(truth.joints_cam, truth.K), truth.joints_px, atol=1e-3)
    assert (truth.joints_px > 0).all()
    assert (truth.joints_px < [640, 480]).all()


def test_parameters_put_the_joints_where_the_truth_says(truth: Truth, body: BodyModel) -> None:
    full_pose = np.concatenate(
        [truth.global_orient_rotmat[:, None], truth.body_pose_rotmat], axis=1
    )
    betas = torch.from_numpy(truth.betas).float().expand(len(full_pose), -1)
    posed = body.pose(torch.from_numpy(full_pose).float(), betas)
    joints = posed.joints.numpy() + truth.transl[:, None]
    np.testing.assert_allclose(joints, truth.joints_cam, atol=1e-5)


def test_feet_in_contact_stay_on_the_floor_and_do_not_slide(truth: Truth) -> None:
    joints = _world_joints(truth)
    for side, ball in enumerate(BALLS):
        contact = truth.foot_contact[:, side]
        assert 0.5 < contact.mean() < 0.95
        starts = np.flatnonzero(np.diff(contact.astype(int), prepend=0) == 1)
        episodes = [
            joints[start:][: np.argmin(np.append(contact[start:], False))] for start in starts
        ]
        assert max(np.ptp(episode[:, ball], axis=0).max() for episode in episodes) < 0.02
    assert joints[..., 1].min() > 0.01


def test_somebody_walks_stops_squats_and_lifts_an_arm(truth: Truth) -> None:
    joints = _world_joints(truth)[: int(5 * truth.fps)]
    speed = np.linalg.norm(np.gradient(joints[:, 0, ::2], 1 / truth.fps, axis=0), axis=-1)
    assert speed[10:40].mean() > 0.9
    assert speed[75:90].mean() < 0.25
    pelvis, head = joints[:, 0, 1], joints[:, SMPL24.index("head"), 1]
    assert pelvis.min() < 0.72 * pelvis.max()
    for wrist in ("left_wrist", "right_wrist"):
        assert (joints[:, SMPL24.index(wrist), 1] > head).any()


def test_joint_angles_are_humanly_possible(truth: Truth) -> None:
    rotvec = np.rad2deg(rotmat_to_rotvec(torch.from_numpy(truth.body_pose_rotmat)).numpy())
    angles = dict(zip(SMPL24[1:], np.linalg.norm(rotvec, axis=-1).T, strict=True))
    limits = {"hip": 120, "knee": 140, "ankle": 50, "spine": 15, "neck": 35, "head": 40}
    limits |= {"collar": 35, "shoulder": 130, "elbow": 145, "wrist": 30, "hand": 30, "foot": 40}
    for name, angle in angles.items():
        part = name.removeprefix("left_").removeprefix("right_").rstrip("123")
        assert angle.max() < limits[part], name
    for side, sign in (("left", -1), ("right", 1)):
        knee = rotvec[:, SMPL24.index(f"{side}_knee") - 1]
        assert knee[:, 0].min() > -5  # never bent forwards
        elbow = rotvec[:, SMPL24.index(f"{side}_elbow") - 1]
        assert (sign * elbow[:, 1]).min() > -5  # never bent backwards


def test_motion_is_smooth(truth: Truth) -> None:
    acceleration = np.linalg.norm(np.diff(_world_joints(truth), n=2, axis=0), axis=-1)
    assert acceleration.max() < 0.075  # metres a frame squared; a heel strike is the hardest
    assert acceleration.mean() < 0.01


def test_rasteriser_keeps_the_nearest_surface_and_interpolates_in_perspective() -> None:
    K = np.array([[100, 0, 50], [0, 100, 50], [0, 0, 1.0]])
    # a floor-like strip from 1 m to 3 m away, and a small triangle in front of it
    points = np.array(
        [[-1, 0.4, 1], [1, 0.4, 1], [1, 0.4, 3], [-1, 0.4, 3],
         [0, 0.1, 0.9], [0.3, 0.1, 0.9], [0, 0.4, 0.9]]
    )  # fmt: skip
    faces = np.array([[0, 2, 1], [0, 3, 2], [4, 6, 5]])
    seen = rasterise(points, faces, K, (100, 100), cull=False)
    assert len(np.unique(seen.pixel)) == len(seen.pixel)
    assert set(seen.face) == {0, 1, 2}
    np.testing.assert_allclose(seen.depth[seen.face == 2], 0.9)
    rows = seen.pixel // 100
    floor = seen.face < 2
    expected = 0.4 * 100 / (rows[floor] + 0.5 - 50)
    np.testing.assert_allclose(seen.depth[floor], expected, rtol=1e-9)
    there = seen.interpolate(points, faces)
    np.testing.assert_allclose(project(there, K)[:, 1], rows + 0.5, atol=1e-9)


def test_short_clip_is_written_with_its_truth(tmp_path: Path) -> None:
    video, truth_path = make_clip(tmp_path, seconds=0.1, width=96, height=72, seed=5, name="tiny")
    frames = list(read_frames(video))
    assert [frame.rgb.shape for frame in frames] == [(72, 96, 3)] * 3
    assert len(load_truth(truth_path).transl) == 3
    with np.load(truth_path) as file:
        assert json.loads(str(file["meta"]))["licence"] == "CC0-1.0"


def test_committed_clip_is_what_the_generator_draws(body: BodyModel) -> None:
    info, truth = probe(CLIP), load_truth(TRUTH)
    assert (info.width_px, info.height_px, info.frame_rate) == (640, 480, Fraction(30))
    generated = make_truth(body)
    np.testing.assert_allclose(generated.joints_cam, truth.joints_cam, atol=1e-4)
    np.testing.assert_allclose(generated.joints_px, truth.joints_px, atol=0.05)
    frames = list(read_frames(CLIP))
    assert len(frames) == len(truth.transl) == 150
    drawn = draw_frame(build_stage(body, truth, size=(640, 480), seed=0), 75)
    error = np.mean((drawn.astype(float) - frames[75].rgb.astype(float)) ** 2)
    assert 10 * np.log10(255**2 / error) > 28


def test_committed_clip_is_small() -> None:
    assert CLIP.stat().st_size + TRUTH.stat().st_size < 2_000_000


@pytest.mark.parametrize("content", [b"not an archive", TRUTH.read_bytes()[:1000]])
def test_a_file_of_another_kind_is_no_truth(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "truth.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a truth file") as error:
        load_truth(path)
    assert "pickle" not in str(error.value)
    with pytest.raises(DataError, match=r"There is no truth file .*: give a NAME_truth"):
        load_truth(tmp_path / "nowhere.npz")
