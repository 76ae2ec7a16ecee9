from dataclasses import replace

import numpy as np
import pytest

from dtsvibe_cli.datatypes import Observations, Track
from dtsvibe_cli.geometry.joints import (
    BLAZEPOSE33,
    BLAZEPOSE33_MIRROR,
    COCO17,
    COCO17_MIRROR,
    COCO17_TO_BLAZEPOSE33,
    SMPL24,
)
from dtsvibe_cli.stages.limb_sides import settle_limbs

NUM_FRAMES = 40
LEGS = ("knee", "ankle", "heel", "foot_index")
ARMS = ("elbow", "wrist", "pinky", "index", "thumb")


def somebody() -> tuple[Observations, np.ndarray]:
    """A person with apart limbs who drifts to the right, and the joints of the expected body."""
    rng = np.random.default_rng(3)
    body_px = rng.uniform(100, 400, (33, 2))
    drift_px = np.stack([2.0 * np.arange(NUM_FRAMES), np.zeros(NUM_FRAMES)], axis=-1)
    landmarks = body_px + drift_px[:, None] + rng.normal(0, 3, (NUM_FRAMES, 33, 2))
    points = landmarks[:, list(COCO17_TO_BLAZEPOSE33)] + rng.normal(0, 3, (NUM_FRAMES, 17, 2))
    keypoints = np.concatenate([points, np.full((NUM_FRAMES, 17, 1), 0.6)], axis=-1)
    keypoints[np.arange(NUM_FRAMES) % 3 > 0] = 0
    expected = np.zeros((NUM_FRAMES, 24, 2))
    for index, name in enumerate(SMPL24):
        if name in BLAZEPOSE33:
            expected[:, index] = landmarks[:, BLAZEPOSE33.index(name)] + rng.normal(0, 5, 2)
    seen = Observations(
        track=Track(
            track_id=1,
            frame_index=np.arange(NUM_FRAMES),
            boxes_xyxy=np.zeros((NUM_FRAMES, 4)),
            scores=np.ones(NUM_FRAMES),
        ),
        crops_cxcysa=np.zeros((NUM_FRAMES, 4)),
        landmarks_px=landmarks,
        visibility=rng.uniform(0.6, 1, (NUM_FRAMES, 33)),
        world_landmarks_m=rng.normal(0, 0.4, (NUM_FRAMES, 33, 3)),
        keypoints=keypoints,
        flow=np.zeros((NUM_FRAMES, 2, 4, 4)),
        time_s=np.arange(NUM_FRAMES) / 30,
    )
    return seen, expected


def confused(seen: Observations, limbs: tuple[str, ...], frames: slice) -> Observations:
    """Both networks exchange the named joints in some frames."""
    moved = {f"{side}_{limb}" for side in ("left", "right") for limb in limbs}
    order = [BLAZEPOSE33_MIRROR[k] if n in moved else k for k, n in enumerate(BLAZEPOSE33)]
    coco = [COCO17_MIRROR[k] if n in moved else k for k, n in enumerate(COCO17)]
    changes = {}
    for name, by in (
        ("landmarks_px", order), ("visibility", order), ("world_landmarks_m", order),
        ("keypoints", coco),
    ):  # fmt: skip
        changes[name] = getattr(seen, name).copy()
        changes[name][frames] = changes[name][frames][:, by]
    return replace(seen, **changes)


def assert_same(first: Observations, second: Observations) -> None:
    for name in ("landmarks_px", "visibility", "world_landmarks_m", "keypoints"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), name)


def test_nothing_is_exchanged_where_the_expected_body_agrees() -> None:
    seen, expected = somebody()
    settled = settle_limbs(seen, expected)
    assert settled.num_mended == 0
    assert_same(settled.observations, seen)


@pytest.mark.parametrize("limbs", [LEGS, ARMS], ids=["legs", "arms"])
@pytest.mark.parametrize(("start", "end"), [(10, 25), (0, 6), (30, 40), (0, 40)])
def test_limbs_that_both_networks_exchanged_are_put_right(
    limbs: tuple[str, ...], start: int, end: int
) -> None:
    seen, expected = somebody()
    settled = settle_limbs(confused(seen, limbs, slice(start, end)), expected)
    frames = np.zeros(NUM_FRAMES, dtype=bool)
    frames[start:end] = True
    np.testing.assert_array_equal(settled.landmarks_swapped, frames)
    asked = seen.keypoints[:, 0, 2] > 0
    np.testing.assert_array_equal(settled.keypoints_swapped[asked], frames[asked])
    asked_only = replace(settled.observations, keypoints=seen.keypoints)
    assert_same(asked_only, seen)
    np.testing.assert_array_equal(settled.observations.keypoints[asked], seen.keypoints[asked])


def test_an_expected_body_far_from_everything_exchanges_nothing() -> None:
    seen, expected = somebody()
    settled = settle_limbs(seen, expected + 900)
    assert settled.num_mended == 0
