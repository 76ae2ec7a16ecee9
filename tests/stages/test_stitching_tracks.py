from dataclasses import replace

import numpy as np
import pytest

from dtsvibe_cli.datatypes import Track
from dtsvibe_cli.stages.appearance import likeness, torso_histogram
from dtsvibe_cli.stages.stitching_tracks import StitchedTracks, stitch_tracks

TIMES_S = {index: index / 30 for index in range(300)}


def _track(
    track_id: int,
    frames: range,
    start: tuple[float, float] = (100.0, 200.0),
    velocity: tuple[float, float] = (0.0, 0.0),
    size: float = 100.0,
) -> Track:
    """Somebody who is at ``start`` in frame 0 and moves by ``velocity`` a frame."""
    index = np.arange(frames.start, frames.stop)
    center = np.array(start) + index[:, None] * np.array(velocity)
    half = np.array([size / 4, size / 2])
    return Track(
        track_id=track_id,
        frame_index=index,
        boxes_xyxy=np.concatenate([center - half, center + half], axis=1),
        scores=np.full(len(index), 0.7),
    )


def _kinds(stitched: StitchedTracks) -> list[tuple[str, int]]:
    return [(decision.kind, decision.tracker_id) for decision in stitched.decisions]


def test_somebody_who_walks_on_behind_a_tree_is_one_person() -> None:
    walk = {"start": (50.0, 200.0), "velocity": (5.0, 0.0)}
    tracks = [_track(1, range(40), **walk), _track(7, range(70, 120), **walk)]  # type: ignore[arg-type]
    stitched = stitch_tracks(tracks, times_s=TIMES_S)
    assert stitched.groups == ((1, 7),)
    assert _kinds(stitched) == [("merged", 7), ("kept", 1)]
    merged, kept = stitched.decisions
    assert merged.frames == (39, 70)
    assert "track 1 after 1.03 s" in merged.reason
    assert kept.frames == (0, 119)
    assert "90 frames" in kept.reason


def test_somebody_who_stops_out_of_sight_is_one_person() -> None:
    tracks = [
        _track(1, range(40), start=(50, 200), velocity=(5, 0)),
        _track(2, range(60, 100), start=(260, 200)),
    ]
    assert stitch_tracks(tracks, times_s=TIMES_S).groups == ((1, 2),)


def test_the_order_of_tracks_does_not_matter() -> None:
    tracks = [_track(n, range(50 * n, 50 * n + 30), velocity=(2, 0)) for n in range(1, 5)]
    expected = stitch_tracks(tracks, times_s=TIMES_S)
    assert expected.groups == ((1, 2, 3, 4),)
    assert stitch_tracks(tracks[::-1], times_s=TIMES_S) == expected


@pytest.mark.parametrize(
    "second",
    [
        _track(2, range(60, 100), start=(400, 200)),  # elsewhere
        _track(2, range(60, 100), size=250),  # much larger
        _track(2, range(110, 150)),  # too late
        _track(2, range(20, 60)),  # at the same time
    ],
    ids=["elsewhere", "larger", "late", "simultaneous"],
)
def test_different_people_stay_apart(second: Track) -> None:
    stitched = stitch_tracks([_track(1, range(40)), second], times_s=TIMES_S)
    assert stitched.groups == ((1,), (2,))
    assert _kinds(stitched) == [("kept", 1), ("kept", 2)]


def test_colours_keep_two_people_in_one_place_apart() -> None:
    red, green = (
        torso_histogram(
            np.full((40, 40, 3), color, dtype=np.uint8), np.array([0.0, 0, 40, 40]), None
        )
        for color in ((200, 20, 20), (20, 200, 20))
    )
    tracks = [_track(1, range(40)), _track(2, range(60, 100))]
    both_red = stitch_tracks(tracks, times_s=TIMES_S, appearance={1: red, 2: red})
    assert both_red.groups == ((1, 2),)
    unlike = stitch_tracks(tracks, times_s=TIMES_S, appearance={1: red, 2: green})
    assert unlike.groups == ((1,), (2,))


def test_each_track_goes_on_as_one_other_at_most() -> None:
    """Two people vanish and one comes back: the nearer one goes on."""
    tracks = [
        _track(1, range(40), start=(100, 200)),
        _track(2, range(40), start=(160, 200)),
        _track(3, range(50, 90), start=(150, 200)),
    ]
    assert stitch_tracks(tracks, times_s=TIMES_S).groups == ((1,), (2, 3))


def test_short_tracks_are_dropped_and_reported() -> None:
    tracks = [_track(1, range(40)), _track(2, range(100, 107), start=(600, 200))]
    stitched = stitch_tracks(tracks, times_s=TIMES_S)
    assert stitched.groups == ((1,),)
    assert _kinds(stitched) == [("kept", 1), ("dropped", 2)]
    assert stitched.decisions[1].frames == (100, 106)
    assert stitched.decisions[1].reason == "seen in 7 frames, fewer than 8"
    assert stitch_tracks(tracks, times_s=TIMES_S, min_frames=7).groups == ((1,), (2,))


def test_the_shortest_track_is_a_quarter_of_a_second_at_high_frame_rates() -> None:
    times = {index: index / 120 for index in range(240)}
    tracks = [_track(1, range(29)), _track(2, range(100, 130), start=(600, 200))]
    assert stitch_tracks(tracks, times_s=times).groups == ((2,),)


def test_fragments_count_together_when_short_ones_are_dropped() -> None:
    tracks = [_track(1, range(5)), _track(2, range(9, 14))]
    assert stitch_tracks(tracks, times_s=TIMES_S).groups == ((1, 2),)


def test_only_the_largest_and_longest_people_are_kept() -> None:
    tracks = [
        _track(1, range(100), start=(100, 200), size=50),
        _track(2, range(90), start=(400, 200), size=200),
        _track(3, range(30), start=(700, 200), size=210),
    ]
    stitched = stitch_tracks(tracks, times_s=TIMES_S, max_people=2)
    assert stitched.groups == ((2,), (3,))
    assert _kinds(stitched) == [("dropped", 1), ("kept", 2), ("kept", 3)]
    assert "not among the 2 largest" in stitched.decisions[0].reason


def test_no_tracks_no_people() -> None:
    assert stitch_tracks([], times_s={}) == StitchedTracks(groups=(), decisions=())
    single = stitch_tracks([_track(1, range(1))], times_s={0: 0.0}, min_frames=1)
    assert single.groups == ((1,),)


def test_filled_gaps_are_reported() -> None:
    track = _track(3, range(2, 20))
    scores = track.scores.copy()
    scores[3:7] = 0
    scores[-1] = 0
    stitched = stitch_tracks([replace(track, scores=scores)], times_s=TIMES_S)
    assert _kinds(stitched) == [("gap_filled", 3), ("gap_filled", 3), ("kept", 3)]
    assert [decision.frames for decision in stitched.decisions] == [(5, 8), (19, 19), (2, 19)]
    assert "4 frames" in stitched.decisions[0].reason


def test_histograms_tell_shirts_apart() -> None:
    rgb = np.zeros((100, 120, 3), dtype=np.uint8)
    rgb[:, :40], rgb[:, 40:80], rgb[:, 80:] = (200, 20, 20), (180, 30, 25), (30, 30, 200)
    boxes = [np.array([x, 0.0, x + 40, 100]) for x in (0, 40, 80)]
    red, also_red, blue = (torso_histogram(rgb, box, None) for box in boxes)
    assert red.sum() == pytest.approx(1)
    assert likeness(red, red) == pytest.approx(1)
    assert likeness(red, also_red) > likeness(red, blue)
    outside = torso_histogram(rgb, np.array([500.0, 0, 540, 100]), None)
    assert outside.sum() == 0


def test_the_torso_is_where_shoulders_and_hips_are() -> None:
    rgb = np.zeros((100, 100, 3), dtype=np.uint8)
    rgb[60:80, 10:30] = (0, 0, 250)
    keypoints = np.zeros((17, 3))
    keypoints[[5, 6, 11, 12]] = [[30, 60, 0.9], [10, 60, 0.9], [30, 80, 0.9], [10, 80, 0.9]]
    box = np.array([0.0, 0, 100, 100])
    blue = torso_histogram(np.full_like(rgb, (0, 0, 250)), box, None)
    np.testing.assert_array_equal(torso_histogram(rgb, box, keypoints), blue)
    keypoints[5, 2] = 0.1
    assert likeness(torso_histogram(rgb, box, keypoints), blue) == 0
