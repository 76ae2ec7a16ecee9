import numpy as np

from dtsvibe_cli.datatypes import Observations, PinholeCamera, Track
from dtsvibe_cli.stages.estimation import split_timelines, square_around
from dtsvibe_cli.stages.evidence import EvidenceSource

CAMERA = PinholeCamera(focal_length_px=600.0, center_px=(320.0, 240.0), source="default")


def evidence_at(index: list[int], time_s: np.ndarray) -> EvidenceSource:
    """Somebody seen in these frames at these times, with flow in all of them."""
    rng = np.random.default_rng(0)
    n = len(index)
    seen = Observations(
        track=Track(
            track_id=1,
            frame_index=np.array(index),
            boxes_xyxy=np.zeros((n, 4)),
            scores=np.ones(n),
        ),
        crops_cxcysa=np.tile([320.0, 240.0, 200.0, 0.0], (n, 1)),
        landmarks_px=rng.uniform(200, 400, (n, 33, 2)),
        visibility=np.ones((n, 33)),
        world_landmarks_m=rng.normal(0, 0.4, (n, 33, 3)),
        keypoints=np.zeros((n, 17, 3)),
        flow=rng.normal(0, 0.02, (n, 2, 8, 8)).astype(np.float16),
        time_s=time_s,
    )
    timelines = split_timelines(seen)
    squares = np.concatenate([square_around(seen, timeline) for timeline in timelines])
    return EvidenceSource(seen, timelines, squares, CAMERA)


def test_frames_follow_each_other_but_for_missing_ones() -> None:
    evidence = evidence_at([*range(5), *range(50, 55)], np.array([*range(5), *range(50, 55)]) / 30)
    assert evidence.cut(range(10)).continuous.tolist() == [True] * 4 + [False] + [True] * 4


def test_a_recording_that_was_paused_is_cut() -> None:
    """Its frames are numbered without a gap, and the flow over the pause is nobody's motion."""
    time_s = np.arange(10) / 30 + 2.0 * (np.arange(10) >= 5)
    evidence = evidence_at(list(range(10)), time_s).cut(range(10))
    assert evidence.continuous.tolist() == [True] * 4 + [False] + [True] * 4
    moved = evidence.flow_weight.amax(1) > 0
    assert moved.tolist() == [False] + [True] * 4 + [False] + [True] * 4


def test_a_piece_may_begin_anywhere() -> None:
    piece = evidence_at(list(range(10)), np.arange(10) / 30).cut(range(4, 8))
    assert piece.continuous.tolist() == [True] * 3
    assert bool((piece.flow_weight.amax(1) > 0).all())
