import resource
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from recorded import body
from sequence_examples import random_sequence

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.geometry.joints import SMPL24_MIRROR
from dtsvibe_cli.geometry.rotations import rotvec_to_rotmat
from dtsvibe_cli.models.backbone import LANDMARK_FEATURES, landmark_features
from dtsvibe_cli.training.batches import TrainingBatch
from dtsvibe_cli.training.sequence_bank import SequenceBank, flow_across, mirrored
from dtsvibe_cli.training.sequences import TrainingSequence, write_sequence


def numbered(frames: int, **changes: object) -> TrainingSequence:
    """A sequence whose betas say its length, and whose first joint says the frame."""
    sequence = random_sequence(frames, name=str(frames))
    joints = sequence.joints_m.copy()
    joints[:, 0] = np.arange(frames, dtype=np.float32)[:, None]
    return replace(sequence, joints_m=joints, **changes)  # type: ignore[arg-type]


def frames_of(batch: TrainingBatch) -> np.ndarray:
    """Which frames the windows show; mirrored ones show them negated."""
    return batch.joints_m[:, :, 0, 0].abs().numpy()


def bank(tmp_path: Path, *sequences: TrainingSequence, window: int = 8) -> SequenceBank:
    return SequenceBank([write_sequence(tmp_path, s) for s in sequences], window=window)


def test_a_batch_is_a_function_of_its_seed(tmp_path: Path) -> None:
    two = bank(tmp_path, random_sequence(name="a"), random_sequence(60, name="b", seed=1))
    first, again, other = (two.batch(5, seed) for seed in (3, 3, 4))
    for field in fields(TrainingBatch):
        assert torch.equal(getattr(first, field.name), getattr(again, field.name))
    assert not torch.equal(first.full_pose, other.full_pose)
    assert first.appearance.shape == (5, 8, LANDMARK_FEATURES)
    assert first.flow.shape == (5, 8, 2, 8, 8)


@pytest.mark.parametrize(
    ("rate_hz", "strides"), [(30.0, {1, 2}), (25.0, {1, 2}), (120.0, set(range(2, 11))), (8.0, {1})]
)
def test_windows_have_rates_of_real_videos(
    tmp_path: Path, rate_hz: float, strides: set[int]
) -> None:
    long = bank(tmp_path, numbered(300, rate_hz=rate_hz))
    steps = np.diff(frames_of(long.batch(80, 0)))
    assert (steps == steps[:, :1]).all()
    assert set(steps[:, 0]) == strides
    assert long.minutes == pytest.approx(300 / rate_hz / 60)


def test_without_variation_windows_have_the_usual_rate_and_are_not_mirrored(
    tmp_path: Path,
) -> None:
    long = bank(tmp_path, numbered(300, rate_hz=60.0))
    batch = long.batch(10, 0, vary=False)
    assert (np.diff(batch.joints_m[:, :, 0, 0].numpy()) == 2).all()


def test_windows_lie_inside_and_reach_both_ends(tmp_path: Path) -> None:
    batch = bank(tmp_path, numbered(12)).batch(60, 0)
    shown = frames_of(batch)
    assert shown.min() == 0
    assert shown.max() == 11
    assert batch.valid.all()
    assert (batch.joints_m_weight == 1).all()


def test_what_is_too_short_is_padded_without_labels(tmp_path: Path) -> None:
    batch = bank(tmp_path, numbered(5)).batch(20, 0)
    real = torch.arange(8) < 5
    assert torch.equal(batch.valid, real.expand(20, 8))
    assert torch.equal(batch.has_smpl, real.expand(20, 8))
    assert (batch.joints_m_weight[:, ~real] == 0).all()
    assert (batch.joints_crop_weight[:, ~real] == 0).all()
    assert (batch.joints_m_weight[:, real] == 1).all()
    assert (batch.appearance[:, ~real] == 0).all()
    assert (batch.flow[:, ~real] == 0).all()
    assert (frames_of(batch)[:, 5:] == 4).all()  # as the pipeline pads


def test_every_window_shows_the_person_and_hides_what_was_not_seen(tmp_path: Path) -> None:
    seen = np.zeros(200, bool)
    seen[150:153] = True
    batch = bank(tmp_path, numbered(200, seen=seen)).batch(40, 0)
    assert batch.valid.any(1).all()
    shown = frames_of(batch).astype(int)
    np.testing.assert_array_equal(batch.valid.numpy(), seen[shown])
    assert (batch.appearance[~batch.valid] == 0).all()
    assert (batch.has_smpl).all()  # a label is one, whether or not the person was seen


def test_features_are_those_of_the_pipeline(tmp_path: Path) -> None:
    sequence = numbered(30)
    batch = bank(tmp_path, sequence).batch(4, 0, vary=False)
    for k, shown in enumerate(frames_of(batch).astype(int)):
        row = sequence.rows(shown)
        features = landmark_features(
            torch.from_numpy(row.landmarks_crop),
            torch.from_numpy(row.visibility),
            torch.from_numpy(row.world_landmarks_m),
            torch.from_numpy(row.keypoints_crop),
        )
        assert torch.equal(batch.appearance[k], features)
        assert torch.equal(batch.flow[k], torch.from_numpy(row.flow).float())


def test_features_of_pictures_are_taken_as_they_are(tmp_path: Path) -> None:
    sequence = numbered(30, appearance=np.arange(90, dtype=np.float16).reshape(30, 3))
    batch = bank(tmp_path, sequence).batch(4, 0)
    first = batch.appearance[:, :, 0].numpy() / 3
    np.testing.assert_array_equal(first, batch.joints_m[:, :, 0, 0].numpy())  # never mirrored
    with pytest.raises(ValueError, match="cannot be mirrored"):
        mirrored(sequence)


def test_mirroring_twice_is_no_change_and_once_is(tmp_path: Path) -> None:
    sequence = random_sequence()
    once, twice = mirrored(sequence), mirrored(mirrored(sequence))
    for name, array in sequence.arrays().items():
        np.testing.assert_array_equal(twice.arrays()[name], array)
    unchanged = {"seen", "betas", "has_smpl", "joints_m_weight", "joints_crop_weight"}
    for name in sequence.arrays().keys() - unchanged:
        assert not np.array_equal(once.arrays()[name], sequence.arrays()[name]), name


def test_a_mirrored_pose_has_the_mirrored_joints() -> None:
    """On a body that is its own mirror image."""
    flip, other = torch.tensor([-1.0, 1.0, 1.0]), list(SMPL24_MIRROR)
    whole = body()
    rest = (whole.joint_template + whole.joint_template[other] * flip) / 2
    symmetric = replace(
        whole, joint_template=rest, joint_shapedirs=torch.zeros_like(whole.joint_shapedirs)
    )

    def joints(sequence: TrainingSequence) -> torch.Tensor:
        pose = rotvec_to_rotmat(torch.from_numpy(sequence.full_pose_rotvec))
        return symmetric.pose(pose, torch.zeros(len(pose), 10)).joints

    sequence = random_sequence(6)
    expected = joints(sequence)[:, other] * flip
    torch.testing.assert_close(joints(mirrored(sequence)), expected)


def test_mirrored_flow_is_the_flow_of_mirrored_pictures() -> None:
    """A point in the left half that goes right becomes one in the right half that goes left."""
    flow = np.zeros((1, 2, 4, 4), np.float16)
    flow[0, :, 1, 0] = 0.25, 0.5
    turned = mirrored(replace(random_sequence(1), flow=flow)).flow
    np.testing.assert_array_equal(turned[0, :, 1, 3], [-0.25, 0.5])
    assert np.count_nonzero(turned) == 2


def moving(frames: int = 12, side: int = 16) -> TrainingSequence:
    """A picture that moves by (2, 1) px a frame, in crops that wander and grow."""
    crops = np.zeros((frames, 4), np.float32)
    crops[:, 0] = 50 + 1.5 * np.arange(frames)
    crops[:, 1] = 60
    crops[:, 2] = 100 + 2 * np.arange(frames)
    flow = np.empty((frames, 2, side, side), np.float16)
    flow[:] = (np.array([2, 1]) / crops[:, 2:3])[..., None, None]
    return replace(random_sequence(frames, side=side), crops_cxcysa=crops, flow=flow)


def test_flow_over_several_frames_adds_up() -> None:
    sequence = moving()
    index = np.array([4, 7, 10])
    across = flow_across(sequence, index, 3)
    expected = np.array([6, 3]) / sequence.crops_cxcysa[index, 2:3]
    np.testing.assert_allclose(across.mean((2, 3)), expected, rtol=2e-3)
    np.testing.assert_array_equal(flow_across(sequence, index, 1), sequence.flow[index])


def test_flow_follows_what_moves_not_the_place() -> None:
    """A spot that runs through the picture: only where it is now, all of its way is seen."""
    side, cell = 16, 100 / 16
    flow = np.zeros((4, 2, side, side), np.float16)
    for frame in range(1, 4):
        flow[frame, 0, 5:8, 2 + 3 * frame : 5 + 3 * frame] = 3 / side
    crops = np.tile(np.float32([50, 50, 100, 0]), (4, 1))
    sequence = replace(random_sequence(4, side=side), flow=flow, crops_cxcysa=crops)
    across = flow_across(sequence, np.array([3]), 2)[0] * 100 / cell
    assert across[0, 6, 12] == pytest.approx(6)
    assert across[0, 6, 6] == pytest.approx(0)  # where it was before both


@pytest.mark.parametrize("vary", [False, True])
def test_places_are_carried_to_the_crop_before(tmp_path: Path, vary: bool) -> None:
    """Of a place of the picture that does not move, mirrored and at any rate."""
    sequence = moving(30)
    joints = sequence.joints_crop.copy()
    centre, side = sequence.crops_cxcysa[:, :2], sequence.crops_cxcysa[:, 2:3]
    joints[:, 0] = (np.array([70, 55]) - centre) / (side / 2)
    batch = bank(tmp_path, replace(sequence, joints_crop=joints)).batch(20, 0, vary=vary)
    assert torch.equal(batch.to_crop_before[:, 0], torch.eye(2, 3).expand(20, -1, -1))
    step, place = batch.to_crop_before[:, 1:], batch.joints_crop[:, :, 0, :, None]
    before = step[..., :2] @ place[:, 1:] + step[..., 2:]
    torch.testing.assert_close(before, place[:, :-1])


def test_no_flow_comes_from_before_the_start_or_over_a_gap() -> None:
    sequence = moving()
    seen = sequence.seen.copy()
    seen[6] = False
    across = flow_across(replace(sequence, seen=seen), np.array([1, 3, 5, 7, 9]), 2)
    has_flow = np.abs(across).max((1, 2, 3)) > 0
    np.testing.assert_array_equal(has_flow, [False, True, True, False, True])


def test_any_number_of_sequences_is_drawn_from(tmp_path: Path) -> None:
    """Each that is open holds a file, and a process may have a thousand or fewer."""
    path = write_sequence(tmp_path, numbered(20))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 20, hard))
    try:
        many = SequenceBank([path] * 60, window=8)
        assert frames_of(many.batch(40, seed=0)).shape == (40, 8)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_sequences_must_be_of_one_kind(tmp_path: Path) -> None:
    files = [
        write_sequence(tmp_path, random_sequence(name="a")),
        write_sequence(tmp_path, random_sequence(name="b", appearance=4)),
    ]
    with pytest.raises(DataError, match=r"landmarks.*; 4 features.*same --config|4 features.*; "):
        SequenceBank(files, window=4)
    unseen = replace(random_sequence(name="c"), seen=np.zeros(40, bool))
    with pytest.raises(DataError, match="anybody is seen"):
        SequenceBank([write_sequence(tmp_path, unseen)], window=4)
