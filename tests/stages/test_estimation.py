from dataclasses import replace

import numpy as np
import pytest
import torch

from dtsvibe_cli.datatypes import Observations, PinholeCamera, Track
from dtsvibe_cli.geometry.cameras import translation_to_crop_camera
from dtsvibe_cli.models.config import TINY
from dtsvibe_cli.models.dts_vibe import DtsVibe, build
from dtsvibe_cli.stages.estimation import (
    Features,
    MotionModel,
    Stretch,
    appearance_of,
    estimate_timelines,
    flow_features_of,
    run_windows,
    split_timelines,
    square_around,
)

RATE_HZ = 30
CAMERA = PinholeCamera(focal_length_px=600.0, center_px=(320.0, 240.0), source="default")


@pytest.fixture(scope="module")
def network() -> DtsVibe:
    return build(TINY, seed=3).eval()


def observations(frames: list[int], seed: int = 0) -> Observations:
    """Somebody who was seen in these frames only, walking to the right."""
    rng = np.random.default_rng(seed)
    n, index = len(frames), np.array(frames)
    centre = np.stack([200.0 + 2 * index, np.full(n, 220.0)], axis=-1)
    crops = np.concatenate([centre, 180.0 + 0.5 * index[:, None], np.zeros((n, 1))], axis=-1)
    return Observations(
        track=Track(track_id=1, frame_index=index, boxes_xyxy=np.zeros((n, 4)), scores=np.ones(n)),
        crops_cxcysa=crops,
        landmarks_px=centre[:, None] + rng.normal(0, 40, (n, 33, 2)),
        visibility=rng.uniform(0.5, 1, (n, 33)),
        world_landmarks_m=rng.normal(0, 0.4, (n, 33, 3)),
        keypoints=np.concatenate(
            [centre[:, None] + rng.normal(0, 40, (n, 17, 2)), np.full((n, 17, 1), 0.6)], axis=-1
        ),
        flow=rng.normal(0, 0.02, (n, 2, TINY.flow_side, TINY.flow_side)).astype(np.float16),
        time_s=index / RATE_HZ,
    )


def test_short_absences_are_filled_and_long_ones_cut() -> None:
    seen = observations([3, 4, 5, 9, 10, 50, 52])
    first, second = split_timelines(seen)
    assert first.frame_index.tolist() == [3, 4, 5, 6, 7, 8, 9, 10]
    assert first.observed.tolist() == [True] * 3 + [False] * 3 + [True] * 2
    assert first.source_row.tolist() == [0, 1, 2, 2, 2, 2, 3, 4]
    np.testing.assert_allclose(first.time_s, first.frame_index / RATE_HZ)
    assert second.frame_index.tolist() == [50, 51, 52]
    assert second.source_row.tolist() == [5, 5, 6]
    assert second.observed.tolist() == [True, False, True]


def test_absences_are_measured_in_seconds() -> None:
    seen = observations([0, 1, 26, 27])
    assert len(split_timelines(seen)) == 1
    assert len(split_timelines(seen, max_gap_s=25.5 / RATE_HZ)) == 1
    assert len(split_timelines(seen, max_gap_s=24.5 / RATE_HZ)) == 2


def test_a_single_sighting_is_a_timeline() -> None:
    (timeline,) = split_timelines(observations([7]))
    assert timeline.frame_index.tolist() == [7]
    assert timeline.observed.all()


def test_squares_go_straight_over_absences() -> None:
    seen = observations([0, 1, 8, 9])
    (timeline,) = split_timelines(seen)
    frames = np.arange(10)
    expected = np.stack([200.0 + 2 * frames, np.full(10, 220.0), 180 + 0.5 * frames], axis=-1)
    np.testing.assert_allclose(square_around(seen, timeline), expected)


def with_features(seen: Observations, network: DtsVibe) -> Observations:
    """As if the network's convolutions had been run while the person was followed."""
    assert network.o_cnn is not None
    flow = network.o_cnn.extract(torch.from_numpy(seen.flow).float()).detach()
    appearance = np.random.default_rng(1).uniform(1, 2, (len(seen.flow), 9))
    return replace(seen, appearance=appearance.astype(np.float16), flow_features=flow.numpy())


@pytest.mark.parametrize("in_passing", [False, True])
def test_the_network_is_given_nothing_where_nobody_was_seen(
    network: DtsVibe, in_passing: bool
) -> None:
    seen = observations([0, 1, 5, 6])
    seen = with_features(seen, network) if in_passing else seen
    (timeline,) = split_timelines(seen)
    appearance = appearance_of(seen, timeline, square_around(seen, timeline))
    given = torch.tensor([True, True, False, False, False, True, True])
    assert (appearance.abs().sum(1) > 0).equal(given)
    assert network.o_cnn is not None
    nothing = network.o_cnn.extract(torch.zeros(1, 2, TINY.flow_side, TINY.flow_side))
    features = flow_features_of(network.o_cnn, seen, timeline)
    assert features is not None
    assert ((features - nothing).abs().amax(1) > 1e-4).equal(given)


def test_features_found_in_passing_are_those_found_afterwards(network: DtsVibe) -> None:
    seen = observations([0, 1, 5, 6])
    early = with_features(seen, network)
    (timeline,) = split_timelines(seen)
    late = flow_features_of(network.o_cnn, seen, timeline)
    assert late is not None
    torch.testing.assert_close(flow_features_of(network.o_cnn, early, timeline), late)
    appearance = appearance_of(early, timeline, square_around(early, timeline))
    assert early.appearance is not None
    np.testing.assert_array_equal(appearance[timeline.observed], early.appearance)


def test_a_network_without_a_flow_stream_is_given_none() -> None:
    network = build(replace(TINY, o_cnn="none")).eval()
    seen = observations([0, 1, 2])
    (timeline,) = split_timelines(seen)
    assert flow_features_of(network.flow_cnn, seen, timeline) is None
    still = replace(seen, flow=np.zeros_like(seen.flow))
    estimate, other = estimate_timelines(network, [(seen, timeline), (still, timeline)], CAMERA)
    assert estimate.full_pose.equal(other.full_pose)


def test_landmarks_are_given_relative_to_the_square() -> None:
    seen = observations([0])
    x, y, side = seen.crops_cxcysa[0, :3]
    seen.landmarks_px[0, :3] = [[x, y], [x + side / 2, y], [x, y - side / 2]]
    (timeline,) = split_timelines(seen)
    appearance = appearance_of(seen, timeline, square_around(seen, timeline))
    expected = torch.tensor([0.0, 0, 1, 0, 0, -1])
    torch.testing.assert_close(appearance[0, :6], expected, atol=1e-6, rtol=0)


def test_a_whole_window_without_a_sighting_is_no_number_trouble(network: DtsVibe) -> None:
    seen = observations([*range(10), *range(39, 50)])
    (timeline,) = split_timelines(seen)
    (estimate,) = estimate_timelines(network, [(seen, timeline)], CAMERA, stride=4)
    for values in (estimate.full_pose, estimate.betas, estimate.pelvis_m):
        assert values.isfinite().all()
    assert len(estimate.full_pose) == len(estimate.pelvis_m) == 50
    assert estimate.betas.shape == (10,)


def test_over_an_absence_the_body_goes_straight_on(network: DtsVibe) -> None:
    """The network is told nothing of these frames; what it makes up fits neither side."""
    seen = observations([*range(12), *range(22, 30)])
    (timeline,) = split_timelines(seen)
    (estimate,) = estimate_timelines(network, [(seen, timeline)], CAMERA)
    pelvis, pose = estimate.pelvis_m[11:23], estimate.full_pose[11:23]
    share = torch.linspace(0, 1, 12)[:, None]
    torch.testing.assert_close(pelvis, torch.lerp(pelvis[:1], pelvis[-1:], share))
    steps = pose[:-1].mT @ pose[1:]
    torch.testing.assert_close(steps, steps[:1].expand(11, -1, -1, -1), atol=1e-5, rtol=0)
    assert not steps[0].allclose(torch.eye(3).expand(24, 3, 3), atol=1e-3)


@pytest.mark.parametrize("num_frames", [1, 7, 40])
def test_estimates_are_bodies_before_the_real_camera(network: DtsVibe, num_frames: int) -> None:
    seen = observations(list(range(num_frames)))
    (timeline,) = split_timelines(seen)
    squares = square_around(seen, timeline)
    appearance = appearance_of(seen, timeline, squares)
    features = flow_features_of(network.flow_cnn, seen, timeline)
    observed = torch.from_numpy(timeline.observed)

    def some(rows: slice) -> Features:
        return Features(appearance[rows], None if features is None else features[rows])

    stretch = Stretch(observed=observed, features=some)
    (stitched,) = run_windows(network, [stretch], stride=8)
    (estimate,) = estimate_timelines(network, [(seen, timeline)], CAMERA)
    eye = torch.eye(3).expand(num_frames, 24, 3, 3)
    torch.testing.assert_close(estimate.full_pose @ estimate.full_pose.mT, eye, atol=1e-5, rtol=0)
    assert estimate.betas.abs().max() <= 3
    assert estimate.full_pose[:, 1:].equal(stitched.full_pose[:, 1:])  # only the root is turned
    assert not estimate.full_pose[:, 0].allclose(stitched.full_pose[:, 0], atol=1e-3)
    camera = translation_to_crop_camera(estimate.pelvis_m, estimate.crops_cxcys, CAMERA)
    scale = stitched.camera[:, :1].clamp_min(0.1)
    torch.testing.assert_close(camera[:, :1], scale, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(camera[:, 1:], stitched.camera[:, 1:], atol=1e-4, rtol=1e-3)


def test_people_seen_together_get_the_answers_they_get_alone(network: DtsVibe) -> None:
    people = [observations(list(range(count))) for count in (30, 5, 17)]
    seen = [(person, split_timelines(person)[0]) for person in people]
    together = estimate_timelines(network, seen, CAMERA)
    alone = [estimate_timelines(network, [each], CAMERA)[0] for each in seen]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.full_pose, other.full_pose, atol=1e-5, rtol=0)
        torch.testing.assert_close(one.betas, other.betas, atol=1e-5, rtol=0)
        torch.testing.assert_close(one.pelvis_m, other.pelvis_m, atol=1e-3, rtol=1e-4)


def test_the_built_in_network_is_a_motion_model(network: DtsVibe) -> None:
    assert isinstance(network, MotionModel)
