from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from recorded import bank, body, simulator
from torch import Tensor

from dtsvibe_cli.geometry.joints import BLAZEPOSE33, BLAZEPOSE33_MIRROR, SMPL24, SMPL24_MIRROR
from dtsvibe_cli.landmarks import LandmarkRegressor
from dtsvibe_cli.models.backbone import LANDMARK_FEATURES
from dtsvibe_cli.training.batches import TrainingBatch
from dtsvibe_cli.training.flow_loss import flow_error
from dtsvibe_cli.training.flow_simulation import CameraMotion, draw_camera_motion, splat_flow
from dtsvibe_cli.training.motion_bank import Clip, MotionBank
from dtsvibe_cli.training.observation_noise import HIPS, NoisyLandmarks, add_noise
from dtsvibe_cli.training.simulation import Simulator
from dtsvibe_cli.training.windows import draw_windows, looseness

LABELLED = ("has_smpl", "joints_m_weight", "joints_crop_weight")
MIRROR = list(BLAZEPOSE33_MIRROR)


def tensors(batch: TrainingBatch) -> dict[str, Tensor]:
    return {f.name: getattr(batch, f.name) for f in fields(batch)}


@pytest.mark.parametrize("vary", [True, False])
def test_a_batch_is_a_function_of_its_seed(vary: bool) -> None:
    first = tensors(simulator().batch(3, 5, vary=vary))
    torch.rand(7)  # randomness of others must not matter
    again = tensors(simulator().batch(3, 5, vary=vary))
    other = tensors(simulator().batch(3, 6, vary=vary))
    for name, value in first.items():
        assert torch.equal(value, again[name]), name
        may_agree = name in ("valid", *LABELLED)
        assert may_agree or not torch.equal(value, other[name]), name


@pytest.mark.parametrize("vary", [True, False])
def test_a_batch_has_the_shapes_the_network_takes(vary: bool) -> None:
    batch = simulator(window=7, flow_side=12).batch(4, 0, vary=vary)
    shapes = {name: tuple(value.shape) for name, value in tensors(batch).items()}
    assert shapes == {
        "appearance": (4, 7, LANDMARK_FEATURES), "flow": (4, 7, 2, 12, 12), "valid": (4, 7),
        "to_crop_before": (4, 7, 2, 3),
        "full_pose": (4, 7, 24, 3, 3), "betas": (4, 10), "has_smpl": (4, 7),
        "joints_m": (4, 7, 24, 3), "joints_m_weight": (4, 7, 24),
        "joints_crop": (4, 7, 24, 2), "joints_crop_weight": (4, 7, 24),
    }  # fmt: skip
    assert all(value.isfinite().all() for value in tensors(batch).values())
    assert all(tensors(batch)[name].all() for name in LABELLED)  # all labels are simulated


def test_windows_of_one_frame_are_possible() -> None:
    batch = simulator(window=1).batch(3, 0)
    assert batch.flow.shape == (3, 1, 2, 16, 16)
    assert batch.valid.all()


def test_targets_agree_with_each_other() -> None:
    sim = simulator()
    batch = sim.batch(6, 1)
    eye = torch.eye(3).expand_as(batch.full_pose)
    torch.testing.assert_close(
        batch.full_pose @ batch.full_pose.transpose(-1, -2), eye, atol=1e-4, rtol=0
    )
    assert not batch.joints_m[:, :, 0].any()
    betas = batch.betas.repeat_interleave(16, 0)
    posed = sim.body.pose(batch.full_pose.flatten(0, 1), betas)
    torch.testing.assert_close(
        batch.joints_m.flatten(0, 1), posed.joints - posed.joints[:, :1], atol=1e-5, rtol=0
    )


def test_frames_in_which_the_person_is_lost_are_empty() -> None:
    batch = simulator().batch(96, 2)
    assert batch.valid.any(1).all()
    assert 0.02 < float((~batch.valid).float().mean()) < 0.2
    assert not batch.appearance[~batch.valid].any()
    assert not batch.flow[~batch.valid].any()
    assert batch.appearance[batch.valid].any(-1).all()


def test_the_person_is_mostly_inside_the_crop() -> None:
    batch = simulator().batch(32, 3)
    inside = (batch.joints_crop.abs() < 1).all(-1).float().mean()
    assert float(inside) > 0.9
    extent = batch.joints_crop.amax(2) - batch.joints_crop.amin(2)
    assert 0.5 < float(extent.amax(-1).mean()) < 1.9


def test_recorded_motion_is_left_as_it_is_when_not_varied() -> None:
    clips = bank()
    rng = np.random.default_rng(0)
    clean = draw_windows(clips, 4, 5, rng, vary=False)
    again = np.random.default_rng(0)
    again.integers(2**62)
    for k in range(4):
        pose, transl = clips.window(again, 5, 2.0)
        torch.testing.assert_close(clean.full_pose[k, :, 1:], pose[:, 1:])
        camera = clean.full_pose[k, 0, 0] @ pose[0, 0].T
        torch.testing.assert_close(clean.full_pose[k, :, 0], camera @ pose[:, 0])
        step = torch.diff(transl, dim=0, prepend=transl[:1])
        torch.testing.assert_close(clean.root_step_m[k], step @ camera.T)


def test_the_camera_sees_most_people_upright_and_from_all_sides() -> None:
    still = Clip(
        name="still",
        held_out=False,
        rotmats=torch.eye(3).expand(9, 24, 3, 3).contiguous(),
        transl_m=torch.zeros(9, 3),
    )
    clean = draw_windows(MotionBank(clips=(still,)), 400, 1, np.random.default_rng(0), vary=False)
    camera = clean.full_pose[:, 0, 0]
    torch.testing.assert_close(torch.linalg.det(camera), torch.ones(400))
    up, front = camera[:, :, 1], camera[:, :, 2]  # camera axes: y down, z away
    assert float((up[:, 1] < -0.7).float().mean()) > 0.8
    for side in (front[:, 2] < -0.5, front[:, 2] > 0.5, front[:, 0] < -0.5, front[:, 0] > 0.5):
        assert float(side.float().mean()) > 0.2
    assert 1.79 < float(clean.distance_m.min()) < 2.2
    assert 12 < float(clean.distance_m.max()) < 15.01


def test_varied_poses_are_loose_alike_on_both_sides() -> None:
    loose = looseness()[:, 0]
    assert torch.equal(loose, loose[list(SMPL24_MIRROR)])
    assert loose[SMPL24.index("left_shoulder")] > loose[SMPL24.index("left_elbow")]


def noisy(windows: int = 300, time: int = 16) -> tuple[Tensor, Tensor, NoisyLandmarks]:
    """Clean landmarks that are unlike their mirror images, clean world landmarks, and the noise."""
    generator = torch.Generator().manual_seed(0)
    clean = (torch.rand(1, 1, 33, 2, generator=generator) * 1.6 - 0.8).expand(windows, time, 33, 2)
    world = torch.randn(1, 1, 33, 3, generator=generator)
    world = (world - world[:, :, [23, 24]].mean(2, keepdim=True)).expand(windows, time, 33, 3)
    return clean, world, add_noise(clean, world, generator)


def test_left_and_right_are_swapped_for_a_while_with_front_and_back() -> None:
    clean, world, noise = noisy()
    as_is = (noise.landmarks - clean).norm(dim=-1).median(-1).values
    mirrored = (noise.landmarks - clean[:, :, MIRROR]).norm(dim=-1).median(-1).values
    swapped = mirrored < as_is
    assert 0.1 < float(swapped.any(1).float().mean()) < 0.3
    changes = torch.diff(swapped.int(), dim=1).abs().sum(1)
    assert float(changes[swapped.any(1)].float().mean()) < 3  # spells, not single frames
    for frames, expected in (
        (swapped, world[:, :, MIRROR] * torch.tensor([1.0, 1.0, -1.0])),
        (~swapped, world),
    ):
        error = (noise.world_m - expected)[frames].abs()
        assert float(error.median(1).values.median(0).values.max()) < 0.35


def test_landmarks_are_off_by_a_hundredth_of_the_person_and_hidden_ones_by_more() -> None:
    clean, _, noise = noisy()
    size = (clean.amax(2) - clean.amin(2)).amax(-1)[..., None]
    error = (noise.landmarks - clean).norm(dim=-1) / size
    assert 0.005 < float(error.median()) < 0.03
    doubted = noise.visibility < 0.5
    assert 0.05 < float(doubted.float().mean()) < 0.4
    assert error[doubted].median() > 1.4 * error[~doubted].median()  # hidden ones are believed too
    assert 0 <= float(noise.visibility.min()) <= float(noise.visibility.max()) <= 1


def test_backs_are_seen_worse_and_turned_round_more_often() -> None:
    mean = torch.zeros(1, 10)
    posed = body().pose(torch.eye(3).expand(1, 24, 3, 3), mean)
    world = LandmarkRegressor(body())(posed, mean)
    world = world - world[:, HIPS].mean(1, keepdim=True)
    error, turned = {}, {}
    for view, facing in (("front", [1.0, -1, -1]), ("back", [-1.0, -1, 1])):
        seen = (world * torch.tensor(facing)).expand(2000, 16, 33, 3)
        noise = add_noise(seen[..., :2], seen, torch.Generator().manual_seed(0))
        off = (noise.landmarks - seen[..., :2]).norm(dim=-1).median(-1).values
        mirrored = (noise.landmarks - seen[:, :, MIRROR, :2]).norm(dim=-1).median(-1).values
        error[view], turned[view] = float(off.median()), float((mirrored < off).float().mean())
    assert 1.3 < error["back"] / error["front"] < 2.2
    assert 1.3 < turned["back"] / turned["front"] < 3.5


def test_noise_lasts_from_frame_to_frame() -> None:
    clean, _, noise = noisy()
    error = (noise.landmarks - clean)[:, :, BLAZEPOSE33.index("nose")]
    near = (error[:, 1:] - error[:, :-1]).norm(dim=-1).median()
    far = (error[:, 8:] - error[:, :-8]).norm(dim=-1).median()
    assert far > 1.3 * near


def test_world_landmarks_stay_centred_on_the_hips() -> None:
    _, _, noise = noisy(20)
    middle = noise.world_m[:, :, [23, 24]].mean(2)
    torch.testing.assert_close(middle, torch.zeros_like(middle), atol=1e-6, rtol=0)


def test_the_detector_is_asked_now_and_then() -> None:
    _, _, noise = noisy()
    asked = noise.keypoints[..., 2].amax(-1) > 0
    assert not noise.keypoints[~asked].any()
    assert 0.2 < float(asked.float().mean()) < 0.6
    assert 0.05 < float((~asked.any(1)).float().mean()) < 0.3  # another detector: no keypoints


def person_flow(moved: Tensor, seed: int = 0, windows: int = 64) -> Tensor:
    """Flow of a patch of points in the middle of the crop that all move alike."""
    line = torch.linspace(0.3, 0.7, 40)
    at = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).view(1, 1, -1, 2)
    at = at.expand(windows, 2, -1, 2)
    depth = torch.ones(windows, 2, 1600)
    generator = torch.Generator().manual_seed(seed)
    camera = draw_camera_motion(windows, 2, generator)
    return splat_flow(at, depth, moved.expand_as(at).contiguous(), camera, 20, generator)


def test_the_flow_of_somebody_moving_sideways_is_that_motion() -> None:
    flow = person_flow(torch.tensor([0.05, -0.03]))
    on_person = flow[..., 8:12, 8:12].median(0).values  # over windows with unlike cameras
    torch.testing.assert_close(on_person[:, 0].mean(), torch.tensor(0.05), atol=0.005, rtol=0)
    torch.testing.assert_close(on_person[:, 1].mean(), torch.tensor(-0.03), atol=0.005, rtol=0)


def test_the_cameras_motion_is_everywhere_and_the_persons_on_the_person_only() -> None:
    moved = torch.tensor([0.05, 0.0])
    own = person_flow(moved) - person_flow(moved * 0)  # the same camera and noise in both
    assert not own[..., :4, :].any()
    assert not own[..., 17:].any()
    torch.testing.assert_close(own[..., 8:12, 8:12].amax(), torch.tensor(0.05))
    camera = person_flow(moved * 0)
    assert 0.002 < float(camera[..., :4, :].abs().mean()) < 0.02


def test_the_nearest_point_hides_the_others() -> None:
    at = torch.rand(1, 1, 2000, 2, generator=torch.Generator().manual_seed(0))
    at = torch.cat([at, at], 2)
    depth = torch.cat([torch.full((1, 1, 2000), 2.0), torch.full((1, 1, 2000), 3.0)], -1)
    near, far = torch.tensor([0.05, 0.0]), torch.tensor([-0.05, 0.0])
    moved = torch.cat([near.expand(1, 1, 2000, 2), far.expand(1, 1, 2000, 2)], 2)

    still = CameraMotion(pan=torch.zeros(1, 1, 2), zoom=torch.zeros(1))

    def flow(depth: Tensor, moved: Tensor) -> Tensor:
        return splat_flow(at, depth, moved, still, 16, torch.Generator().manual_seed(1))

    hidden = flow(depth, moved) - flow(depth, moved * 0)
    assert float(hidden[:, :, 0].min()) >= 0
    torch.testing.assert_close(hidden[:, :, 0].amax(), torch.tensor(0.05))
    turned_round = flow(5 - depth, moved) - flow(depth, moved * 0)
    assert float(turned_round[:, :, 0].max()) <= 0


def walking_and_standing() -> tuple[TrainingBatch, TrainingBatch, Tensor]:
    """The same stiff body, camera and noise; the first moves 3 cm a frame along ``direction``."""
    direction = torch.tensor([0.6, 0.8, 0.0])
    frames = torch.arange(120)[:, None]
    stiff = torch.eye(3).expand(120, 24, 3, 3).contiguous()
    clips = [
        Clip(name="a", held_out=False, rotmats=stiff, transl_m=frames * speed * direction)
        for speed in (0.015, 0.0)  # frames of the bank are at 60 Hz, those of a window at 30
    ]
    model = body()
    walking, standing = (
        Simulator(MotionBank(clips=(c,)), model, window=6, flow_side=24).batch(40, 3, vary=False)
        for c in clips
    )
    return walking, standing, direction


def test_simulated_flow_is_the_persons_translation_as_the_camera_sees_it() -> None:
    """In crop units: step over depth, times the crop's zoom, which the targets let us solve for."""
    walking, standing, direction = walking_and_standing()
    own = walking.flow - standing.flow
    measured, expected = [], []
    for k in range(40):
        frame = 3
        joints, crop = walking.joints_m[k, frame].double(), walking.joints_crop[k, frame].double()
        offset = crop[1:] - crop[:1]
        # offset * (z + distance) = zoom * (x, y): linear in zoom and distance
        rows = torch.stack([joints[1:, :2], -offset], -1).flatten(0, 1)
        zoom, distance = torch.linalg.lstsq(
            rows, (offset * joints[1:, 2:]).flatten()[:, None]
        ).solution.flatten()
        step = walking.full_pose[k, frame, 0].double() @ direction.double() * 0.03
        if not walking.valid[k, frame] or not own[k, frame].any() or abs(step[2]) > 0.01:
            continue  # lost, hidden by noise, or mostly towards the camera
        field = own[k, frame].flatten(1)
        strength, order = field.norm(dim=0).sort(descending=True)
        measured.append(field[:, order[: max(1, int((strength > 0).sum()) // 4)]].mean(1))
        expected.append((zoom / 2 * step[:2] / distance).float())
    got, truth = torch.stack(measured), torch.stack(expected)
    assert len(got) > 10
    aligned = torch.nn.functional.cosine_similarity(got, truth)
    assert float(aligned.min()) > 0.97
    ratio = (got.norm(dim=1) / truth.norm(dim=1)).median()
    assert 0.8 < float(ratio) < 1.25


def test_a_joint_that_is_carried_back_along_the_flow_is_where_it_was() -> None:
    """Through the camera's motion, the person's, and that of the crop."""
    walking, _, _ = walking_and_standing()
    carried, there = flow_error(walking.joints_crop, walking)
    identity = torch.eye(2, 3).expand_as(walking.to_crop_before)
    without, _ = flow_error(walking.joints_crop, replace(walking, to_crop_before=identity))
    right, wrong = (error[there].norm(dim=-1).median() for error in (carried, without))
    assert float(right) < 0.02, float(right)
    assert float(right) < 0.5 * float(wrong), float(wrong)
