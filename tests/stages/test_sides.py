from dataclasses import replace

import numpy as np
import pytest

from dtsvibe_cli.datatypes import Observations, Track
from dtsvibe_cli.geometry.joints import (
    BLAZEPOSE33,
    BLAZEPOSE33_MIRROR,
    COCO17_MIRROR,
    COCO17_TO_BLAZEPOSE33,
)
from dtsvibe_cli.stages.sides import settle_sides

NUM_FRAMES = 60
LOOK_EVERY = 4
SHAPE_M = np.random.default_rng(5).uniform([0.1, -0.8, -0.2], [0.3, 0.8, 0.2], (33, 3))
"""Half a body: each landmark's distance from the middle, its height and its depth."""


def walker(seed: int = 0, num_frames: int = NUM_FRAMES) -> Observations:
    """Somebody who faces the camera and sways; the detector looks at every fourth frame."""
    rng = np.random.default_rng(seed)
    body = SHAPE_M.copy()
    for index, name in enumerate(BLAZEPOSE33):
        if "left" in name:
            body[index, 1:] = body[BLAZEPOSE33_MIRROR[index], 1:] + rng.normal(0, 0.05, 2)
        elif "right" in name:
            body[index, 0] *= -1
    time_s = np.arange(num_frames) / 30
    sway = np.stack([0.1 * np.sin(3 * time_s), 0.03 * np.cos(5 * time_s), 0 * time_s], axis=-1)
    world = body + sway[:, None] + rng.normal(0, 0.004, (num_frames, 33, 3))
    landmarks = 200 + 150 * world[..., :2]
    keypoints = np.zeros((num_frames, 17, 3))
    points = landmarks[:, list(COCO17_TO_BLAZEPOSE33)] + rng.normal(0, 2, (num_frames, 17, 2))
    keypoints[::LOOK_EVERY, :, :2] = points[::LOOK_EVERY]
    keypoints[::LOOK_EVERY, :, 2] = 0.7
    return Observations(
        track=Track(
            track_id=1,
            frame_index=np.arange(num_frames),
            boxes_xyxy=np.zeros((num_frames, 4)),
            scores=np.ones(num_frames),
        ),
        crops_cxcysa=np.zeros((num_frames, 4)),
        landmarks_px=landmarks,
        visibility=rng.uniform(0.7, 1, (num_frames, 33)),
        world_landmarks_m=world,
        keypoints=keypoints,
        flow=np.zeros((num_frames, 2, 4, 4)),
        time_s=time_s,
    )


def confused(seen: Observations, frames: slice) -> Observations:
    """What a pose network says that takes the front for the back: sides and depth exchanged."""
    mirror = list(BLAZEPOSE33_MIRROR)
    landmarks, visibility = seen.landmarks_px.copy(), seen.visibility.copy()
    world = seen.world_landmarks_m.copy()
    landmarks[frames] = landmarks[frames][:, mirror]
    visibility[frames] = visibility[frames][:, mirror]
    world[frames] = world[frames][:, mirror] * [1, 1, -1]
    return replace(seen, landmarks_px=landmarks, visibility=visibility, world_landmarks_m=world)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_invented_where_nothing_is_wrong(seed: int) -> None:
    seen = walker(seed)
    sides = settle_sides(seen)
    assert not sides.landmarks_swapped.any()
    assert not sides.keypoints_swapped.any()
    np.testing.assert_array_equal(sides.observations.landmarks_px, seen.landmarks_px)
    np.testing.assert_array_equal(sides.observations.world_landmarks_m, seen.world_landmarks_m)
    np.testing.assert_array_equal(sides.observations.keypoints, seen.keypoints)


@pytest.mark.parametrize(("start", "end"), [(20, 30), (0, 9), (45, 60), (5, 35), (22, 23)])
def test_a_spell_of_the_pose_network_is_found_and_mended(start: int, end: int) -> None:
    seen = walker()
    sides = settle_sides(confused(seen, slice(start, end)))
    assert np.flatnonzero(sides.landmarks_swapped).tolist() == list(range(start, end))
    assert not sides.keypoints_swapped.any()
    mended = sides.observations
    np.testing.assert_array_equal(mended.landmarks_px, seen.landmarks_px)
    np.testing.assert_array_equal(mended.visibility, seen.visibility)
    np.testing.assert_array_equal(mended.world_landmarks_m, seen.world_landmarks_m)


def test_a_mended_spell_has_its_depth_negated() -> None:
    seen = confused(walker(), slice(20, 30))
    mended = settle_sides(seen).observations
    mirror = list(BLAZEPOSE33_MIRROR)
    np.testing.assert_array_equal(
        mended.world_landmarks_m[20:30, :, 2], -seen.world_landmarks_m[20:30, mirror, 2]
    )
    np.testing.assert_array_equal(
        mended.world_landmarks_m[20:30, :, :2], seen.world_landmarks_m[20:30, mirror, :2]
    )


def test_the_detector_is_mended_where_it_errs() -> None:
    seen = walker()
    keypoints = seen.keypoints.copy()
    keypoints[24:40] = keypoints[24:40][:, list(COCO17_MIRROR)]
    sides = settle_sides(replace(seen, keypoints=keypoints))
    asked = np.flatnonzero((seen.keypoints[..., 2] > 0).any(1))
    swapped = [t for t in asked if sides.keypoints_swapped[t]]
    assert swapped == [24, 28, 32, 36]
    assert not sides.landmarks_swapped.any()
    np.testing.assert_array_equal(sides.observations.keypoints, seen.keypoints)


def test_both_may_err_at_different_times() -> None:
    seen = walker()
    keypoints = seen.keypoints.copy()
    keypoints[8:12] = keypoints[8:12][:, list(COCO17_MIRROR)]
    mended = settle_sides(replace(confused(seen, slice(30, 45)), keypoints=keypoints)).observations
    np.testing.assert_array_equal(mended.landmarks_px, seen.landmarks_px)
    np.testing.assert_array_equal(mended.keypoints, seen.keypoints)


def test_without_a_detector_the_jump_is_enough() -> None:
    seen = replace(walker(), keypoints=np.zeros((NUM_FRAMES, 17, 3)))
    sides = settle_sides(confused(seen, slice(30, 38)))
    assert np.flatnonzero(sides.landmarks_swapped).tolist() == list(range(30, 38))


def test_a_single_frame_is_left_alone() -> None:
    sides = settle_sides(walker(num_frames=1))
    assert not sides.landmarks_swapped.any()
