from dataclasses import replace

import numpy as np
import pytest

from dtsvibe_cli.datatypes import Observations, Track
from dtsvibe_cli.geometry.joints import BLAZEPOSE33
from dtsvibe_cli.stages.jumps import UNSURE, mend_jumps

LEG = [BLAZEPOSE33.index(f"left_{joint}") for joint in ("knee", "ankle", "heel", "foot_index")]
OTHERS = [k for k in range(33) if k not in LEG]


def standing(num_frames: int = 30, frame_s: float = 1 / 30) -> Observations:
    """Somebody 200 px tall who drifts slowly."""
    rng = np.random.default_rng(2)
    body_px = rng.uniform(0, 200, (33, 2))
    drift_px = np.arange(num_frames)[:, None, None] * np.array([1.5, 0.2])
    return Observations(
        track=Track(
            track_id=1,
            frame_index=np.arange(num_frames),
            boxes_xyxy=np.zeros((num_frames, 4)),
            scores=np.ones(num_frames),
        ),
        crops_cxcysa=np.zeros((num_frames, 4)),
        landmarks_px=body_px + drift_px,
        visibility=np.full((num_frames, 33), 0.9),
        world_landmarks_m=np.tile(rng.normal(0, 0.4, (33, 3)), (num_frames, 1, 1)),
        keypoints=np.zeros((num_frames, 17, 3)),
        flow=np.zeros((num_frames, 2, 4, 4)),
        time_s=np.arange(num_frames) * frame_s,
    )


def kicked(seen: Observations, frames: slice, px: float = 90.0) -> Observations:
    """The left leg elsewhere in some frames."""
    landmarks, world = seen.landmarks_px.copy(), seen.world_landmarks_m.copy()
    landmarks[frames, LEG] += np.array([px, -px])
    world[frames, LEG] += 0.5
    return replace(seen, landmarks_px=landmarks, world_landmarks_m=world)


def test_leg_that_jumps_for_a_moment_stays_where_it_was() -> None:
    truth = standing()
    mended = mend_jumps(kicked(truth, slice(12, 18)))
    assert np.flatnonzero(mended.mended).tolist() == [12, 13, 14, 15, 16, 17]
    seen = mended.observations
    np.testing.assert_allclose(seen.landmarks_px, truth.landmarks_px, atol=1e-6)
    np.testing.assert_allclose(seen.world_landmarks_m, truth.world_landmarks_m)
    assert (seen.visibility[12:18, LEG] == UNSURE).all()
    assert (seen.visibility[:, OTHERS] == 0.9).all()
    assert (np.delete(seen.visibility, np.s_[12:18], 0) == 0.9).all()


def test_input_is_not_changed() -> None:
    seen = kicked(standing(), slice(12, 18))
    before = seen.landmarks_px.copy()
    mend_jumps(seen)
    np.testing.assert_array_equal(seen.landmarks_px, before)
    assert (seen.visibility == 0.9).all()


def test_leg_that_stays_where_it_went_is_believed() -> None:
    assert not mend_jumps(kicked(standing(), slice(12, 30))).mended.any()
    assert not mend_jumps(kicked(standing(60), slice(12, 40))).mended.any()


def test_fast_kick_is_believed_when_it_is_seen_on_its_way() -> None:
    seen = standing()
    landmarks = seen.landmarks_px.copy()
    kick_px = 40.0 * np.array([1, 2, 3, 3, 2, 1])  # 40 of 200 px a frame: 10 m/s
    landmarks[10:16, LEG] += kick_px[:, None, None] * np.array([1.0, 0.0])
    assert not mend_jumps(replace(seen, landmarks_px=landmarks)).mended.any()


@pytest.mark.parametrize("frame_s", [1 / 60, 1 / 30, 1 / 12])
def test_spell_counts_in_seconds(frame_s: float) -> None:
    short = max(1, round(0.2 / frame_s))
    long = round(0.7 / frame_s)
    start = round(0.5 / frame_s)
    seen = standing(round(2 / frame_s), frame_s)
    px = 170.0
    assert mend_jumps(kicked(seen, slice(start, start + short), px)).mended.sum() == short
    assert not mend_jumps(kicked(seen, slice(start, start + long), px)).mended.any()


def test_short_sight_between_absences_is_believed() -> None:
    seen = kicked(standing(24), slice(10, 14))
    time_s = seen.time_s.copy()
    time_s[10:] += 1.0
    time_s[14:] += 1.0
    assert not mend_jumps(replace(seen, time_s=time_s)).mended.any()


@pytest.mark.parametrize("num_frames", [1, 2])
def test_hardly_any_frames(num_frames: int) -> None:
    seen = standing(num_frames)
    assert mend_jumps(seen).observations is seen
