from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import numpy as np
import pytest
from drawn_people import as_frame

from dtsvibe_cli.datatypes import Detections, Frame
from dtsvibe_cli.geometry.boxes import crops_to_xyxy, square_crops
from dtsvibe_cli.stages.following import FollowedFrame, FollowedPerson, follow_people
from dtsvibe_cli.stages.tracking import TrackedBox, make_tracker

PICTURE = np.full((60, 80, 3), 90, dtype=np.uint8)
Path = Callable[[float], Sequence[float] | None]
"""The box of a person at a time in seconds; None when the detector misses them."""


class FakeDetector:
    """Sees people where their paths say, and notes the frames it was asked for."""

    def __init__(self, *paths: Path, with_keypoints: bool = True) -> None:
        self.paths = paths
        self.with_keypoints = with_keypoints
        self.asked: list[int] = []

    def __call__(self, frame: Frame) -> Detections:
        self.asked.append(frame.index)
        self.seen = [
            (number, box)
            for number, path in enumerate(self.paths, start=1)
            if (box := path(frame.time_s)) is not None
        ]
        count = len(self.seen)
        return Detections(
            boxes_xyxy=np.array([box for _, box in self.seen], dtype=np.float64).reshape(-1, 4),
            scores=np.full(count, 0.8),
            keypoints=np.full((count, 17, 3), 0.5) if self.with_keypoints else None,
        )


class FakeTracker:
    """Knows the people by the detector's paths."""

    def __init__(self, detector: FakeDetector) -> None:
        self.detector = detector

    def update(self, frame: Frame, detections: Detections) -> list[TrackedBox]:
        return [
            TrackedBox(track_id=number, detection_index=row, box_xyxy=detections.boxes_xyxy[row])
            for row, (number, _) in enumerate(self.detector.seen)
        ]


def _frames(count: int, start: int = 0) -> list[Frame]:
    return [as_frame(PICTURE, index) for index in range(start, start + count)]


def _follow(
    frames: Sequence[Frame], *paths: Path, detect_every: int = 4, max_gap_s: float = 0.5
) -> list[FollowedFrame]:
    detector = FakeDetector(*paths)
    followed = list(
        follow_people(
            frames,
            detector,
            FakeTracker(detector),
            detect_every=detect_every,
            max_gap_s=max_gap_s,
        )
    )
    assert [f.frame.index for f in followed] == [f.index for f in frames]
    return followed


def _one(followed: FollowedFrame) -> FollowedPerson:
    (person,) = followed.people
    return person


def _walk(time_s: float) -> list[float]:
    return [10 + 30 * time_s, 5 + 6 * time_s, 30 + 30 * time_s, 55 + 6 * time_s]


@pytest.mark.parametrize("count", [1, 2, 4, 5, 8, 9, 30])
@pytest.mark.parametrize("detect_every", [1, 4])
def test_somebody_who_walks_straight_is_followed_exactly(count: int, detect_every: int) -> None:
    for followed in _follow(_frames(count), _walk, detect_every=detect_every):
        person = _one(followed)
        expected = np.array(_walk(followed.frame.time_s))
        np.testing.assert_allclose(person.box_xyxy, expected)
        np.testing.assert_allclose(person.crop_cxcys[:2], square_crops(expected)[:2])
        assert person.score == pytest.approx(0.8)
        crop = crops_to_xyxy(person.crop_cxcys)
        assert (crop[:2] <= expected[:2]).all()
        assert (crop[2:] >= expected[2:]).all()


@pytest.mark.parametrize("with_keypoints", [True, False])
@pytest.mark.parametrize(
    "box", [[10.0, 5, 10, 55], [30.0, 5, 10, 55], [np.nan, 5, 30, 55], [10.0, 5, np.inf, 55]]
)
def test_boxes_that_hold_nothing_are_nobody(box: list[float], with_keypoints: bool) -> None:
    detector = FakeDetector(lambda _: box, _walk, with_keypoints=with_keypoints)
    tracker = make_tracker("bytetrack")
    followed = list(follow_people(_frames(9), detector, tracker))
    for each in followed:
        np.testing.assert_allclose(_one(each).box_xyxy, _walk(each.frame.time_s))


def test_crops_are_those_of_the_boxes_where_nobody_moves() -> None:
    for followed in _follow(_frames(11), lambda _: [10.0, 5, 30, 55]):
        np.testing.assert_allclose(_one(followed).crop_cxcys, [20, 30, 62.5])


def test_crops_grow_a_little_between_sightings_of_somebody_fast() -> None:
    sides = [_one(f).crop_cxcys[2] for f in _follow(_frames(9), _walk)]
    assert sides[0] == sides[4] == sides[8] == pytest.approx(62.5)
    moved = np.hypot(30, 6) * 4 / 30
    assert sides[2] == sides[6] == pytest.approx(62.5 + moved / 2)


def test_the_detector_sees_every_fourth_and_the_last_frame() -> None:
    for count, asked in ((1, [0]), (8, [0, 4, 7]), (9, [0, 4, 8])):
        detector = FakeDetector(_walk)
        frames = follow_people(_frames(count), detector, FakeTracker(detector))
        people = [_one(f) for f in frames]
        assert detector.asked == asked
        seen = [n for n, person in enumerate(people) if person.keypoints[:, 2].any()]
        assert seen == asked
        assert [n for n, person in enumerate(people) if person.colours is not None] == asked


def test_missed_detections_are_filled_with_score_0() -> None:
    followed = _follow(_frames(21), lambda t: None if 0.2 < t < 0.45 else _walk(t))
    for number, frame in enumerate(followed):
        person = _one(frame)
        np.testing.assert_allclose(person.box_xyxy, _walk(frame.frame.time_s))
        assert (person.score == 0) == (4 < number < 16)


def test_long_gaps_are_left_open_under_the_same_number() -> None:
    followed = _follow(_frames(41), lambda t: None if 0.2 < t < 0.8 else _walk(t))
    assert [len(f.people) for f in followed] == [1] * 5 + [0] * 19 + [1] * 17
    assert _one(followed[0]).track_id == _one(followed[-1]).track_id
    assert _one(followed[-1]).score > 0


def test_sparse_videos_are_followed_though_each_step_is_longer_than_the_longest_gap() -> None:
    frames = [as_frame(PICTURE, index, rate=2) for index in range(9)]
    assert all(_one(f).score > 0 for f in _follow(frames, lambda t: [10.0, 5, 30 + t, 55]))


def test_smoothing_has_no_lag() -> None:
    """A video played backwards gives the same crops, backwards."""
    boxes = np.random.default_rng(0).uniform([10, 5, 30, 55], [20, 15, 40, 65], (17, 4))

    def forth(time_s: float) -> np.ndarray:
        return boxes[round(time_s * 30)]

    def back(time_s: float) -> np.ndarray:
        return boxes[16 - round(time_s * 30)]

    crops = [[_one(f).crop_cxcys for f in _follow(_frames(17), path)] for path in (forth, back)]
    np.testing.assert_allclose(crops[0], crops[1][::-1])


def test_smoothing_calms_a_trembling_box() -> None:
    tremble = np.random.default_rng(0).normal(0, 1, (41, 4))
    followed = _follow(_frames(41), lambda t: [10, 5, 30, 55] + tremble[round(t * 30)])
    looks = [_one(f) for f in followed[::4]]
    raw = np.array([square_crops(person.box_xyxy) for person in looks])
    smooth = np.array([person.crop_cxcys for person in looks])
    assert np.diff(smooth, axis=0).std() < 0.6 * np.diff(raw, axis=0).std()


def test_uneven_frame_times_are_honoured() -> None:
    times = [0, 1, 2, 10, 11, 13, 20, 21, 22]
    frames = [
        Frame(index=n, rgb=PICTURE, pts=time, time_base=Fraction(1, 30))
        for n, time in enumerate(times)
    ]
    for followed in _follow(frames, _walk):
        np.testing.assert_allclose(_one(followed).box_xyxy, _walk(followed.frame.time_s))


def test_people_who_come_and_go() -> None:
    late: Path = lambda t: _walk(t) if t > 0.5 else None  # noqa: E731
    early: Path = lambda t: _walk(t) if t < 0.3 else None  # noqa: E731
    followed = _follow(_frames(33), late, early)
    ids = [[person.track_id for person in f.people] for f in followed]
    assert ids == [[2]] * 9 + [[]] * 7 + [[1]] * 17


def test_frames_may_begin_anywhere() -> None:
    plain = _follow(_frames(10, start=101), _walk)
    assert all(len(f.people) == 1 for f in plain)


def test_a_video_without_frames_or_people() -> None:
    assert _follow([]) == []
    assert [f.people for f in _follow(_frames(6))] == [()] * 6


def test_detectors_without_keypoints() -> None:
    detector = FakeDetector(_walk, with_keypoints=False)
    followed = list(follow_people(_frames(5), detector, FakeTracker(detector)))
    assert all(not _one(f).keypoints.any() for f in followed)


@pytest.mark.parametrize(
    "path",
    [
        _walk,
        lambda t: _walk(t) if t < 1 or t % 0.5 < 0.1 else None,
        lambda t: _walk(t) if t < 1 or t % 0.4 < 0.1 else None,
    ],
)
def test_few_frames_wait(path: Path) -> None:
    read = 0

    def frames() -> Iterator[Frame]:
        nonlocal read
        for frame in _frames(300):
            read += 1
            yield frame

    detector = FakeDetector(path)
    most = 0
    for done, _ in enumerate(follow_people(frames(), detector, FakeTracker(detector))):
        most = max(most, read - done)
    assert most <= 15 + 2 * 4 + 1, "half a second and two detector intervals"


def test_detecting_in_no_frame_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        _follow(_frames(3), _walk, detect_every=0)


class LosesLegs(FakeDetector):
    """Sees somebody who stands still, from the third look to the sixth without legs."""

    WHOLE = (20.0, 5.0, 40.0, 55.0)

    def __init__(self) -> None:
        super().__init__(lambda _: self.WHOLE)

    def __call__(self, frame: Frame) -> Detections:
        found = super().__call__(frame)
        assert found.keypoints is not None
        found.keypoints[:, :, :2] = 30, 20
        found.keypoints[:, :, 2] = 0.7
        if 3 <= len(self.asked) <= 6:
            found.keypoints[:, 13:, 2] = 0.05  # knees and ankles
            found.boxes_xyxy[:, 3] = 32
        return found


def test_crops_keep_legs_that_the_detector_loses() -> None:
    detector = LosesLegs()
    followed = list(follow_people(_frames(30), detector, FakeTracker(detector)))
    crops = [_one(frame).crop_cxcys for frame in followed]
    np.testing.assert_allclose(crops, np.tile(square_crops(np.array(LosesLegs.WHOLE)), (30, 1)))
