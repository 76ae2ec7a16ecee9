from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import Bool, Float
from recorded import body
from scipy.spatial.transform import Rotation
from torch import Tensor

from dtsvibe_cli.datatypes import Observations, PinholeCamera, Track
from dtsvibe_cli.geometry.cameras import translation_to_crop_camera
from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.geometry.rotations import rotvec_to_rotmat
from dtsvibe_cli.models.dts_vibe import Theta
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.stages.estimation import estimate_timelines, split_timelines
from dtsvibe_cli.training.datasets.tracks import (
    ImageFrames,
    JointLabels,
    LabelledTrack,
    SmplLabels,
)
from dtsvibe_cli.training.labels import Labels, fit_betas, make_labels, pelvis_from_torso

FRAMES = 24
CAMERA = PinholeCamera(focal_length_px=900.0, center_px=(500.0, 380.0), source="metadata")
BODY = body()


def figure(seed: int = 0) -> tuple[SmplLabels, np.ndarray]:
    """Somebody far from the picture's middle, and their joints by the pose that a camera sees."""
    rng = np.random.default_rng(seed)
    rotvec = rng.normal(size=(1, 24, 3)) * 0.6 + np.linspace(0, 0.5, FRAMES)[:, None, None] * 0.2
    betas = rng.normal(size=10)
    pelvis = np.array([1.4, -0.5, 4.0]) + np.linspace(0, 1, FRAMES)[:, None] * [0.3, 0, 0.5]
    rotmats = torch.from_numpy(Rotation.from_rotvec(rotvec.reshape(-1, 3)).as_matrix())
    posed = BODY.to("cpu", torch.float64).pose(
        rotmats.reshape(FRAMES, 24, 3, 3), torch.from_numpy(betas).expand(FRAMES, -1)
    )
    joints = (posed.joints - posed.joints[:, :1]).numpy() + pelvis[:, None]
    labels = SmplLabels(
        full_pose_rotvec=rotvec,
        betas=betas,
        valid=np.ones(FRAMES, bool),
        pelvis_m=pelvis,
        body_sha256=BODY.sha256,
    )
    return labels, joints


def pixels_of(joints: np.ndarray) -> np.ndarray:
    return joints[..., :2] / joints[..., 2:] * CAMERA.focal_length_px + CAMERA.center_px


def track(**labels: object) -> LabelledTrack:
    return LabelledTrack(
        dataset="made_up",
        name="a",
        rate_hz=30.0,
        frames=ImageFrames(()),
        boxes_xyxy=np.zeros((FRAMES, 4)),
        **labels,  # type: ignore[arg-type]
    )


def squares_around(joints: np.ndarray) -> np.ndarray:
    """Crops that are a little off."""
    pixels = pixels_of(joints)
    low, high = pixels.min(1), pixels.max(1)
    return np.concatenate([(low + high) / 2 + [9, -6], (high - low).max(1)[:, None] * 1.3], 1)


class LabelsAsAnswers:
    """A network that knows the labels; frames tell their number in a landmark's visibility."""

    window = 16
    picture_cnn = None
    flow_cnn = None

    def __init__(self, labels: Labels, camera: Float[Tensor, "frame 3"]) -> None:
        self.pose = rotvec_to_rotmat(torch.from_numpy(labels.full_pose_rotvec))
        self.betas, self.camera = torch.from_numpy(labels.betas), camera

    def __call__(
        self,
        appearance: Float[Tensor, "window time feature"],
        flow_features: Float[Tensor, "window time flow_feature"] | None,
        valid: Bool[Tensor, "window time"],
    ) -> Theta:
        frame = appearance[..., 66].round().long()
        betas = self.betas.expand(*frame.shape, -1)
        return Theta(full_pose=self.pose[frame], betas=betas, camera=self.camera[frame])


def observations(squares: np.ndarray, lean_rad: float) -> Observations:
    return Observations(
        track=Track(
            track_id=1,
            frame_index=np.arange(FRAMES),
            boxes_xyxy=np.zeros((FRAMES, 4)),
            scores=np.ones(FRAMES),
        ),
        crops_cxcysa=np.concatenate([squares, np.full((FRAMES, 1), lean_rad)], 1),
        landmarks_px=np.zeros((FRAMES, 33, 2)),
        visibility=np.repeat(np.arange(FRAMES)[:, None], 33, 1).astype(float),
        world_landmarks_m=np.zeros((FRAMES, 33, 3)),
        keypoints=np.zeros((FRAMES, 17, 3)),
        flow=np.zeros((FRAMES, 2, 8, 8), np.float16),
        time_s=np.arange(FRAMES) / 30,
    )


@pytest.mark.parametrize("lean_rad", [0.0, 0.7])
def test_a_network_that_predicts_the_labels_gives_the_pipeline_the_true_joints(
    lean_rad: float,
) -> None:
    """Labels and pipeline mean the same camera, wherever the crop lies and however it is turned."""
    smpl, joints = figure()
    squares = squares_around(joints)
    labels = make_labels(track(camera=CAMERA, smpl=smpl), squares, BODY)
    pelvis = torch.from_numpy(joints[:, 0]).float()
    weak = translation_to_crop_camera(pelvis, torch.from_numpy(squares).float(), CAMERA)
    seen = observations(squares, lean_rad)
    (timeline,) = split_timelines(seen)
    (estimate,) = estimate_timelines(LabelsAsAnswers(labels, weak), [(seen, timeline)], CAMERA)
    posed = BODY.pose(estimate.full_pose, estimate.betas.expand(FRAMES, -1)).joints
    predicted = posed - posed[:, :1] + estimate.pelvis_m[:, None]
    np.testing.assert_allclose(predicted, joints, atol=2e-5)


def test_labelled_joints_are_those_of_the_labelled_pose() -> None:
    """As the losses compare them: predicted joints are posed from a pose in the same frame."""
    smpl, joints = figure()
    labels = make_labels(track(camera=CAMERA, smpl=smpl), squares_around(joints), BODY)
    pose = rotvec_to_rotmat(torch.from_numpy(labels.full_pose_rotvec))
    posed = BODY.pose(pose, torch.from_numpy(labels.betas).expand(FRAMES, -1)).joints
    np.testing.assert_allclose(posed - posed[:, :1], labels.joints_m, atol=2e-6)
    assert labels.has_smpl.all()
    assert (labels.joints_m_weight == 1).all()


def test_joints_in_the_picture_are_in_crop_coordinates() -> None:
    smpl, joints = figure()
    squares = squares_around(joints)
    labels = make_labels(track(camera=CAMERA, smpl=smpl), squares, BODY)
    expected = (pixels_of(joints) - squares[:, None, :2]) / squares[:, None, 2:] * 2
    np.testing.assert_allclose(labels.joints_crop, expected, atol=1e-5)
    assert (labels.joints_crop_weight == 1).all()
    nowhere = track(camera=CAMERA, smpl=replace(smpl, pelvis_m=None))
    placeless = make_labels(nowhere, squares, BODY)
    assert (placeless.joints_crop_weight == 0).all()
    np.testing.assert_allclose(placeless.joints_m, labels.joints_m, atol=1e-6)


def test_joints_that_are_labelled_are_taken_instead_of_those_of_the_body() -> None:
    smpl, joints = figure()
    squares = squares_around(joints)
    weight = np.ones((FRAMES, 24))
    weight[3, 5] = 0
    moved = joints + 0.01 * np.arange(24)[:, None]
    in_space = JointLabels(names=SMPL24, points=moved, weight=weight)
    labels = make_labels(track(camera=CAMERA, smpl=smpl, joints_3d=in_space), squares, BODY)
    plain = make_labels(track(camera=CAMERA, smpl=smpl), squares, BODY)
    apart = np.linalg.norm(labels.joints_m - plain.joints_m, axis=-1)
    expected = np.tile(0.01 * np.arange(24) * np.sqrt(3), (FRAMES, 1))
    expected[3, 5] = np.linalg.norm(plain.joints_m[3, 5])  # without a label: zero
    np.testing.assert_allclose(apart, expected, atol=1e-6)
    np.testing.assert_array_equal(labels.joints_m_weight, weight)


def test_frames_without_a_pose_or_a_pelvis_have_no_labels() -> None:
    smpl, joints = figure()
    valid = np.ones(FRAMES, bool)
    valid[4] = False
    broken = smpl.full_pose_rotvec.copy()
    broken[4] = np.nan
    weight = np.ones((FRAMES, 24))
    weight[6, 0] = 0
    labels = make_labels(
        track(
            camera=CAMERA,
            smpl=replace(smpl, valid=valid, full_pose_rotvec=broken),
            joints_3d=JointLabels(names=SMPL24, points=joints, weight=weight),
        ),
        squares_around(joints),
        BODY,
    )
    np.testing.assert_array_equal(labels.has_smpl, valid)
    assert (labels.full_pose_rotvec[4] == 0).all()
    assert (labels.joints_m_weight[6] == 0).all()
    assert np.isfinite(labels.joints_m).all()


def test_two_dimensional_labels_stand_alone() -> None:
    pixels = pixels_of(figure()[1])[:, [SMPL24.index("left_knee"), 0]]
    squares = squares_around(figure()[1])
    labels = make_labels(
        track(
            joints_2d=JointLabels(
                names=("left_knee", None), points=pixels, weight=np.ones((FRAMES, 2))
            )
        ),
        squares,
        BODY,
    )
    assert not labels.has_smpl.any()
    assert (labels.joints_m_weight == 0).all()
    only = np.zeros(24)
    only[SMPL24.index("left_knee")] = 1
    np.testing.assert_array_equal(labels.joints_crop_weight, np.tile(only, (FRAMES, 1)))
    back = labels.joints_crop[:, SMPL24.index("left_knee")] * squares[:, 2:] / 2 + squares[:, :2]
    np.testing.assert_allclose(back, pixels[:, 0], atol=1e-3)


def test_the_pelvis_of_joints_without_one_is_where_the_body_has_it() -> None:
    """Of the body itself, turned, moved and as large as somebody else."""
    rest = BODY.joint_template.double().numpy()
    turn = Rotation.from_rotvec([0.5, -1.2, 0.3]).as_matrix()
    points = (rest @ turn.T * 1.15 + [1, 2, 5])[None]
    found = pelvis_from_torso(points, SMPL24, BODY)
    np.testing.assert_allclose(found, points[:, 0], atol=1e-9)
    wide = tuple(
        {"left_hip": "left_hip_wide", "right_hip": "right_hip_wide"}.get(name, name)
        for name in SMPL24
    )
    np.testing.assert_allclose(pelvis_from_torso(points, wide, BODY), found)
    points[0, SMPL24.index("left_shoulder")] = np.nan
    assert np.isnan(pelvis_from_torso(points, wide, BODY)).all()
    assert np.isnan(pelvis_from_torso(points, (*wide[:16], *[None] * 8), BODY)).all()


def test_joints_are_relative_to_that_pelvis() -> None:
    _, joints = figure()
    names = tuple(None if name == "pelvis" else name for name in SMPL24)
    in_space = JointLabels(names=names, points=joints, weight=np.ones((FRAMES, 24)))
    labels = make_labels(track(camera=CAMERA, joints_3d=in_space), squares_around(joints), BODY)
    pelvis = pelvis_from_torso(joints, names, BODY)
    np.testing.assert_allclose(
        np.linalg.norm(labels.joints_m[:, 1:], axis=-1),
        np.linalg.norm(joints - pelvis[:, None], axis=-1)[:, 1:],
        atol=1e-5,
    )
    assert (labels.joints_m_weight[:, 0] == 0).all()
    assert (labels.joints_m_weight[:, 1:] == 1).all()


def test_betas_of_another_body_are_fitted_to_the_bones() -> None:
    """With the built-in body: its own betas come back from its own bone lengths, nearly."""
    built_in = load_body_model()
    betas = np.array([1.5, -1, 0.5, 0, 0, 0, 0, 0, 0, 0])
    rest = built_in.joint_template + built_in.joint_shapedirs @ torch.from_numpy(betas).float()
    parents = [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]
    lengths = (rest[1:] - rest[parents]).norm(dim=-1).double().numpy()
    fitted = fit_betas(lengths, built_in)
    again = built_in.joint_template + built_in.joint_shapedirs @ torch.from_numpy(fitted).float()
    off = (again[1:] - again[parents]).norm(dim=-1).double().numpy() - lengths
    mean = (built_in.joint_template[1:] - built_in.joint_template[parents]).norm(dim=-1)
    before = mean.double().numpy() - lengths
    assert np.abs(off).max() < 0.003
    assert np.abs(before).max() > 0.01
    np.testing.assert_allclose(fit_betas(mean.double().numpy(), built_in), 0, atol=1e-5)


def test_labels_of_the_official_body_get_betas_of_the_body_in_use() -> None:
    smpl, joints = figure()
    squares = squares_around(joints)
    official = replace(smpl, body_sha256=None, betas=np.full(10, 3.0))
    in_space = JointLabels(names=SMPL24, points=joints, weight=np.ones((FRAMES, 24)))
    labels = make_labels(track(camera=CAMERA, smpl=official, joints_3d=in_space), squares, BODY)
    bones = joints[:, 1:] - joints[:, [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16,
                                       17, 18, 19, 20, 21]]  # fmt: skip
    expected = fit_betas(np.median(np.linalg.norm(bones, axis=-1), axis=0), BODY)
    np.testing.assert_allclose(labels.betas, expected, rtol=1e-5)
    boneless = make_labels(track(camera=CAMERA, smpl=official), squares, BODY)
    np.testing.assert_array_equal(boneless.betas, 0)
