from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from dtsvibe_cli.datatypes import Observations, PinholeCamera, Track
from dtsvibe_cli.geometry.cameras import project, ray_rotation
from dtsvibe_cli.geometry.rotations import rotvec_to_rotmat
from dtsvibe_cli.landmarks import LandmarkRegressor, coco17
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.stages import refinement
from dtsvibe_cli.stages.estimation import Estimate, split_timelines
from dtsvibe_cli.stages.evidence import BONES, Evidence, EvidenceSource
from dtsvibe_cli.stages.refinement import RefineSettings, refine

NUM_FRAMES = 20
CAMERA = PinholeCamera(focal_length_px=900.0, center_px=(480.0, 270.0), source="option")
SHORT = RefineSettings(iterations=8)
TRUSTING = RefineSettings(pose_prior=2.0)
"""The evidence made here has no errors, and deserves more trust than that of real networks."""


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body_model()


@pytest.fixture(scope="module")
def truth() -> Estimate:
    """Somebody who moves all joints a little and walks to the right, seen from the front."""
    generator = torch.Generator().manual_seed(4)
    time_s = torch.arange(NUM_FRAMES) / 30
    size = 0.25 * torch.randn(24, 3, generator=generator)
    phase = 2 * torch.pi * torch.rand(24, 3, generator=generator)
    rotvec = size * (1 + torch.sin(4 * time_s[:, None, None] + phase)) / 2
    pose = rotvec_to_rotmat(rotvec)
    upright = rotvec_to_rotmat(torch.tensor([torch.pi, 0.0, 0.0]))  # the camera's y points down
    pose[:, 0] = upright @ pose[:, 0]
    ones = torch.ones(NUM_FRAMES)
    pelvis = torch.stack([-0.4 + time_s, 0.1 * ones, 4 + 0.2 * time_s], dim=-1)
    crops = torch.cat([project(pelvis, 900.0, CAMERA.center_px), 460 * ones[:, None]], dim=-1)
    betas = torch.zeros(10)
    betas[:2] = torch.tensor([0.8, -0.6])
    return Estimate(full_pose=pose, betas=betas, pelvis_m=pelvis, crops_cxcys=crops)


def joints_of(estimate: Estimate, body: BodyModel) -> torch.Tensor:
    """Joint positions before the camera, metres."""
    posed = body.pose(estimate.full_pose, estimate.betas.expand(len(estimate.full_pose), -1))
    return posed.joints + (estimate.pelvis_m - posed.joints[:, 0])[:, None]


def error_mm(estimate: Estimate, truth: Estimate, body: BodyModel) -> float:
    """Mean error of the joints relative to the pelvis."""
    found, true = joints_of(estimate, body), joints_of(truth, body)
    apart = (found - found[:, :1]) - (true - true[:, :1])
    return 1000 * float(apart.norm(dim=-1).mean())


def part_of(estimate: Estimate, rows: slice) -> Estimate:
    """Some frames of it."""
    return replace(
        estimate,
        full_pose=estimate.full_pose[rows],
        pelvis_m=estimate.pelvis_m[rows],
        crops_cxcys=estimate.crops_cxcys[rows],
    )


@pytest.fixture(scope="module")
def landmarks(truth: Estimate, body: BodyModel) -> torch.Tensor:
    """The body's 33 landmarks before the camera, metres."""
    betas = truth.betas.expand(NUM_FRAMES, -1)
    posed = body.pose(truth.full_pose, betas)
    move = (truth.pelvis_m - posed.joints[:, 0])[:, None]
    return LandmarkRegressor(body)(posed, betas) + move


@pytest.fixture(scope="module")
def evidence(truth: Estimate, landmarks: torch.Tensor) -> Evidence:
    """What both networks would see if they never erred."""
    pixels = project(landmarks, 900.0, CAMERA.center_px)
    hips = landmarks[:, 23:25].mean(1, keepdim=True)
    turn = ray_rotation(truth.crops_cxcys[:, :2], CAMERA)
    world = (landmarks - hips) @ turn  # as a camera sees it that looks straight at the crop
    frames = np.arange(NUM_FRAMES)
    squares = truth.crops_cxcys.double().numpy()
    seen = Observations(
        track=Track(
            track_id=1,
            frame_index=frames,
            boxes_xyxy=np.zeros((NUM_FRAMES, 4)),
            scores=np.ones(NUM_FRAMES),
        ),
        crops_cxcysa=np.concatenate([squares, np.zeros((NUM_FRAMES, 1))], axis=-1),
        landmarks_px=pixels.double().numpy(),
        visibility=np.ones((NUM_FRAMES, 33)),
        world_landmarks_m=world.double().numpy(),
        keypoints=np.concatenate(
            [coco17(pixels).double().numpy(), np.full((NUM_FRAMES, 17, 1), 0.8)], axis=-1
        ),
        flow=np.zeros((NUM_FRAMES, 2, 16, 16), np.float16),
        time_s=frames / 30,
    )
    source = EvidenceSource(seen, split_timelines(seen), squares, CAMERA)
    return source.cut(range(len(source)))


@pytest.fixture(scope="module")
def start(truth: Estimate) -> Estimate:
    """A network's answer that is off by about ten degrees in every joint, and 15 % in distance."""
    generator = torch.Generator().manual_seed(1)
    wrong = 0.12 * torch.randn(24, 3, generator=generator)
    jitter = 0.04 * torch.randn(NUM_FRAMES, 24, 3, generator=generator)
    return replace(
        truth,
        full_pose=truth.full_pose @ rotvec_to_rotmat(wrong + jitter),
        pelvis_m=truth.pelvis_m * torch.tensor([1.0, 1.0, 1.15]),
    )


def test_bones_are_compared_in_the_real_cameras_axes(
    evidence: Evidence, landmarks: torch.Tensor
) -> None:
    """The pose network sees a person at the picture's edge as if straight ahead."""
    first, second = (list(ends) for ends in zip(*BONES, strict=True))
    bones = torch.nn.functional.normalize(landmarks[:, second] - landmarks[:, first], dim=-1)
    torch.testing.assert_close(evidence.bones, bones, atol=1e-4, rtol=0)


def test_it_goes_most_of_the_way_to_the_truth(
    start: Estimate, truth: Estimate, evidence: Evidence, body: BodyModel
) -> None:
    refined = refine(start, evidence, body, CAMERA, TRUSTING)
    before, after = error_mm(start, truth, body), error_mm(refined, truth, body)
    assert before > 60
    assert after < 0.5 * before
    pixels = project(joints_of(refined, body), 900.0, CAMERA.center_px)
    true_pixels = project(joints_of(truth, body), 900.0, CAMERA.center_px)
    assert (pixels - true_pixels).norm(dim=-1).mean() < 5
    eye = torch.eye(3).expand(NUM_FRAMES, 24, 3, 3)
    torch.testing.assert_close(refined.full_pose @ refined.full_pose.mT, eye, atol=1e-5, rtol=0)
    assert refined.betas.shape == (10,)
    assert refined.crops_cxcys.equal(start.crops_cxcys)


def test_the_truth_is_left_where_it_is(
    truth: Estimate, evidence: Evidence, body: BodyModel
) -> None:
    assert error_mm(refine(truth, evidence, body, CAMERA), truth, body) < 20


def test_it_is_repeatable_and_leaves_its_input_alone(
    start: Estimate, evidence: Evidence, body: BodyModel
) -> None:
    pose, betas = start.full_pose.clone(), start.betas.clone()
    first, second = (refine(start, evidence, body, CAMERA, SHORT) for _ in range(2))
    assert first.full_pose.equal(second.full_pose)
    assert first.betas.equal(second.betas)
    assert first.pelvis_m.equal(second.pelvis_m)
    assert not first.full_pose.requires_grad
    assert start.full_pose.equal(pose)
    assert start.betas.equal(betas)


def test_long_tracks_are_refined_in_pieces_with_one_body(
    start: Estimate,
    truth: Estimate,
    evidence: Evidence,
    body: BodyModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refinement, "MAX_FRAMES", 8)
    refined = refine(start, evidence, body, CAMERA, replace(TRUSTING, iterations=100))
    assert refined.full_pose.shape == (NUM_FRAMES, 24, 3, 3)
    assert refined.betas.shape == (10,)
    assert not refined.betas.equal(start.betas)
    assert refined.crops_cxcys.equal(start.crops_cxcys)
    for piece in np.array_split(np.arange(NUM_FRAMES), 3):
        rows = slice(piece[0], piece[-1] + 1)
        before = error_mm(part_of(start, rows), part_of(truth, rows), body)
        after = error_mm(part_of(refined, rows), part_of(truth, rows), body)
        assert after < 0.8 * before


def test_pieces_meet(
    start: Estimate, evidence: Evidence, body: BodyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refined with a few frames of its neighbours, a piece ends where the next one begins."""
    whole = refine(start, evidence, body, CAMERA, SHORT)
    middle = slice(NUM_FRAMES // 2 - 1, NUM_FRAMES // 2 + 1)
    apart_mm = []
    for margin in (0, 8):
        monkeypatch.setattr(refinement, "MAX_FRAMES", (NUM_FRAMES + 1) // 2)
        monkeypatch.setattr(refinement, "MARGIN_FRAMES", margin)
        pieces = refine(start, evidence, body, CAMERA, SHORT)
        apart_mm.append(error_mm(part_of(pieces, middle), part_of(whole, middle), body))
    assert apart_mm[1] < 0.6 * apart_mm[0]


@pytest.mark.parametrize("num_frames", [1, 2, 3])
def test_very_short_tracks(
    num_frames: int, start: Estimate, evidence: Evidence, body: BodyModel
) -> None:
    refined = refine(
        part_of(start, slice(num_frames)), evidence.cut(range(num_frames)), body, CAMERA, SHORT
    )
    assert refined.full_pose.shape == (num_frames, 24, 3, 3)
    assert refined.full_pose.isfinite().all()


def test_nothing_is_smoothed_over_a_cut(
    truth: Estimate, evidence: Evidence, body: BodyModel
) -> None:
    """Two stretches, the second seen backwards: it begins where the first one is not."""
    order = [*range(10), *reversed(range(10, NUM_FRAMES))]
    per_frame = {
        field.name: getattr(evidence, field.name)[order]
        for field in fields(evidence)
        if field.name not in ("continuous", "step_s")
    }
    joined = replace(evidence, **per_frame)
    joined = replace(joined, flow_weight=0 * joined.flow_weight)
    continuous = evidence.continuous.clone()
    continuous[9] = False
    cut = replace(joined, continuous=continuous)
    jumping = replace(
        truth,
        full_pose=truth.full_pose[order],
        pelvis_m=truth.pelvis_m[order],
        crops_cxcys=truth.crops_cxcys[order],
    )
    beside = slice(9, 11)
    moved = [
        error_mm(part_of(refine(jumping, seen, body, CAMERA, TRUSTING), beside),
                 part_of(jumping, beside), body)
        for seen in (cut, joined)
    ]  # fmt: skip
    assert moved[0] < 0.7 * moved[1]


def test_unseen_frames_are_moved_as_those_around_them(
    start: Estimate, truth: Estimate, evidence: Evidence, body: BodyModel
) -> None:
    """The network is 15 % off in distance; some frames must not stay there, others not."""
    weight = evidence.landmark_weight.clone()
    weight[8:13] = 0
    weight[-2:] = 0
    partly = replace(evidence, landmark_weight=weight)
    landmarks_of = LandmarkRegressor(body)
    placed = refinement.place(start, partly, body, landmarks_of, CAMERA)
    everywhere = refinement.place(start, evidence, body, landmarks_of, CAMERA)
    assert (start.pelvis_m - everywhere).norm(dim=-1).min() > 0.3
    assert (placed - everywhere).norm(dim=-1).max() < 0.2
    nothing = replace(evidence, landmark_weight=0 * weight)
    kept = refinement.place(start, nothing, body, landmarks_of, CAMERA)
    assert kept.equal(start.pelvis_m)


def test_nothing_seen_changes_the_pose_little(
    start: Estimate, evidence: Evidence, body: BodyModel
) -> None:
    """Where nobody was observed only smoothness and the network's answer have a say."""
    blind = replace(
        evidence,
        landmark_weight=torch.zeros_like(evidence.landmark_weight),
        keypoint_weight=torch.zeros_like(evidence.keypoint_weight),
        bone_weight=torch.zeros_like(evidence.bone_weight),
    )
    refined = refine(start, blind, body, CAMERA, SHORT)
    assert refined.full_pose.isfinite().all()
    assert refined.pelvis_m.isfinite().all()
    assert error_mm(refined, start, body) < 60
