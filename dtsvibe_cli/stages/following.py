"""One pass over a video: every frame with the people in it, their boxes and their crops.

The detector is asked in every k-th frame only. What lies between two sightings of a person is known
when the second one is made, so frames wait for a moment before they are handed on:

    frames in -> detect, track every k-th -> wait until the boxes around are known -> frames out

No more frames wait than ``max_gap_s`` and two detector intervals hold, whatever the video's length.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dtsvibe_cli.datatypes import Detections, Frame
from dtsvibe_cli.geometry.boxes import square_crops
from dtsvibe_cli.geometry.joints import COCO17
from dtsvibe_cli.stages.appearance import torso_histogram
from dtsvibe_cli.stages.detection import Detector
from dtsvibe_cli.stages.tracking import Tracker
from dtsvibe_cli.stages.whole_boxes import WholeBoxes
from dtsvibe_cli.timing import Stopwatch

MOVING_MARGIN = 0.25
"""Margin of a crop half-way between two sightings, relative to the distance moved between them.

Somebody who starts from rest (or comes to rest) between two sightings is, half-way, a quarter of
the distance away from the straight line.
"""

MIN_TORSO_SCORE = 0.2
"""Keypoint score from which hips and shoulders are believed to say how a person leans."""

_TORSO = tuple(
    COCO17.index(name) for name in ("left_hip", "right_hip", "left_shoulder", "right_shoulder")
)


@dataclass(frozen=True, kw_only=True)
class FollowedPerson:
    """One person in one frame."""

    track_id: int
    """Identity that the tracker gave, from 1."""
    box_xyxy: Float[np.ndarray, "4"]
    """Corners, pixels of the full image; interpolated where the detector was not asked."""
    score: float
    """Detection confidence, 0 to 1; 0 where interpolated over a missed detection."""
    keypoints: Float[np.ndarray, "17 3"]
    """COCO keypoints (x, y pixels, score); all 0 where the detector was not asked or gives none."""
    crop_cxcys: Float[np.ndarray, "3"]
    """Smoothed square around the person: centre x, y and side, pixels of the full image."""
    colours: Float[np.ndarray, "56"] | None
    """Colour histogram of the torso; None where the detector was not asked."""
    lean_rad: float | None = None
    """Angle from upright to the line from hips to shoulders, clockwise as seen; interpolated like
    the crop. None when the detector showed no torso near this frame."""


@dataclass(frozen=True, kw_only=True)
class FollowedFrame:
    """One frame and the people in it, sorted by identity."""

    frame: Frame
    people: tuple[FollowedPerson, ...]


def follow_people(
    frames: Iterable[Frame],
    detector: Detector,
    tracker: Tracker,
    *,
    detect_every: int = 4,
    max_gap_s: float = 0.5,
    watch: Stopwatch | None = None,
) -> Iterator[FollowedFrame]:
    """Every frame, in order, with the people in it.

    Between two sightings of a person boxes and crops are interpolated linearly in time. A person
    whom the detector missed is filled in as long as the sightings are not further apart than
    ``max_gap_s``; over longer gaps the person is absent.

    Args:
        frames: Frames in the order of time.
        detector: Called for the first, every ``detect_every``-th and the last frame.
        tracker: Called after the detector, in the same frames.
        detect_every: Frames from one detection to the next, at least 1.
        max_gap_s: Longest gap that is filled, seconds.
        watch: Counts the time of ``detect`` and ``track``.
    """
    watch = watch or Stopwatch()
    if detect_every < 1:
        raise ValueError(f"detect_every is {detect_every}; it must be at least 1.")
    known, whole = _KnownPaths(max_gap_s), WholeBoxes()
    waiting: deque[Frame] = deque()
    number = 0
    for number, frame in enumerate(frames):
        waiting.append(frame)
        if number % detect_every == 0:
            known.add(_look_at(frame, number // detect_every, detector, tracker, whole, watch))
            yield from _release(waiting, known, until=known.settled_until)
    if waiting:
        if number % detect_every != 0:
            number_of_look = number // detect_every + 1
            known.add(_look_at(waiting[-1], number_of_look, detector, tracker, whole, watch))
        yield from _release(waiting, known, until=waiting[-1].index)


@dataclass(frozen=True, kw_only=True)
class _Sighting:
    """One person in one frame that the detector saw."""

    box_xyxy: Float[np.ndarray, "4"]
    score: float
    keypoints: Float[np.ndarray, "17 3"]
    colours: Float[np.ndarray, "56"]
    lean: complex | None
    """Direction from hips to shoulders: real part up, imaginary part right, length 1."""


@dataclass(frozen=True, kw_only=True)
class _Look:
    """Everybody in one frame that the detector saw."""

    number: int
    """How many looks came before."""
    index: int
    """Index of the frame."""
    time_s: float
    people: dict[int, _Sighting]
    """By identity."""


def _look_at(
    frame: Frame,
    number: int,
    detector: Detector,
    tracker: Tracker,
    whole: WholeBoxes,
    watch: Stopwatch,
) -> _Look:
    with watch("detect"):
        detections = _with_area(detector(frame))
    with watch("track"):
        people = _sightings(frame, detections, tracker, whole)
    return _Look(number=number, index=frame.index, time_s=frame.time_s, people=people)


def _with_area(detections: Detections) -> Detections:
    """Without empty and endless boxes: a detector of somebody's own may say anything."""
    boxes = detections.boxes_xyxy
    good = np.isfinite(boxes).all(1) & (boxes[:, :2] < boxes[:, 2:]).all(1)
    if good.all():
        return detections
    return Detections(
        boxes_xyxy=boxes[good],
        scores=detections.scores[good],
        keypoints=None if detections.keypoints is None else detections.keypoints[good],
    )


def _sightings(
    frame: Frame, detections: Detections, tracker: Tracker, whole: WholeBoxes
) -> dict[int, _Sighting]:
    """The detections that the tracker knows, by identity."""
    people = {}
    for tracked in tracker.update(frame, detections):
        row = tracked.detection_index
        if row is None:
            continue  # the straight line to the next sighting is better than a prediction
        keypoints = None if detections.keypoints is None else detections.keypoints[row]
        box_xyxy = detections.boxes_xyxy[row].astype(np.float64)
        if keypoints is not None:
            box_xyxy = whole(tracked.track_id, frame.time_s, box_xyxy, keypoints)
        people[tracked.track_id] = _Sighting(
            box_xyxy=box_xyxy,
            score=float(detections.scores[row]),
            keypoints=np.zeros((17, 3)) if keypoints is None else keypoints.astype(np.float64),
            colours=torso_histogram(frame.rgb, detections.boxes_xyxy[row], keypoints),
            lean=None if keypoints is None else _lean(keypoints),
        )
    return people


@dataclass(frozen=True, kw_only=True)
class _Path:
    """One person's sightings without a gap that is too long: the looks that the person is in."""

    track_id: int
    looks: list[_Look]

    def at(self, frame: Frame) -> FollowedPerson | None:
        """The person in a frame; None before the first and after the last sighting."""
        after = bisect_right(self.looks, frame.index, key=lambda look: look.index)
        if after == 0:
            return None
        look = self.looks[after - 1]
        if look.index == frame.index:
            seen = look.people[self.track_id]
            return FollowedPerson(
                track_id=self.track_id,
                box_xyxy=seen.box_xyxy,
                score=seen.score,
                keypoints=seen.keypoints,
                crop_cxcys=self._smooth_crop(after - 1),
                colours=seen.colours,
                lean_rad=_angle(self._smooth_lean(after - 1)),
            )
        return None if after == len(self.looks) else self._between(after - 1, frame)

    def _between(self, before: int, frame: Frame) -> FollowedPerson:
        """The person on the straight line from one sighting to the next."""
        start, end = self.looks[before], self.looks[before + 1]
        first, second = start.people[self.track_id], end.people[self.track_id]
        share = _share(start, frame.time_s, end)
        missed = end.number > start.number + 1
        crops = self._smooth_crop(before), self._smooth_crop(before + 1)
        crop = _mix(*crops, share)
        moved = np.linalg.norm(crops[1][:2] - crops[0][:2])
        crop[2] += 2 * MOVING_MARGIN * moved * 4 * share * (1 - share)
        return FollowedPerson(
            track_id=self.track_id,
            box_xyxy=_mix(first.box_xyxy, second.box_xyxy, share),
            score=0.0 if missed else (1 - share) * first.score + share * second.score,
            keypoints=np.zeros((17, 3)),
            crop_cxcys=crop,
            colours=None,
            lean_rad=_angle(
                _mix_directions(self._smooth_lean(before), self._smooth_lean(before + 1), share)
            ),
        )

    def _crop(self, position: int) -> Float[np.ndarray, "3"]:
        return square_crops(self.looks[position].people[self.track_id].box_xyxy)

    def _smooth_crop(self, position: int) -> Float[np.ndarray, "3"]:
        """Half the crop itself, half the straight line between its neighbours: no lag.

        Where one of the two neighbouring looks missed the person, the crop stays as it is.
        """
        own = self._crop(position)
        if position in (0, len(self.looks) - 1):
            return own
        before, now, after = self.looks[position - 1 : position + 2]
        if after.number - before.number > 2:
            return own
        line = _mix(
            self._crop(position - 1), self._crop(position + 1), _share(before, now.time_s, after)
        )
        return _mix(own, line, 0.5)

    def _smooth_lean(self, position: int) -> complex | None:
        """The lean, smoothed as the crop is."""
        own = self.looks[position].people[self.track_id].lean
        if position in (0, len(self.looks) - 1):
            return own
        before, now, after = self.looks[position - 1 : position + 2]
        if after.number - before.number > 2:
            return own
        line = _mix_directions(
            before.people[self.track_id].lean,
            after.people[self.track_id].lean,
            _share(before, now.time_s, after),
        )
        return _mix_directions(own, line, 0.5)

    def settled_until(self, newest: _Look) -> int:
        """Index of the last frame that a further look would not change."""
        last_may_be_smoothed = len(self.looks) > 1 and self.looks[-1].number == newest.number
        return self.looks[-2 if last_may_be_smoothed else -1].index


class _KnownPaths:
    """The paths of all people, as far as the frames that wait need them."""

    def __init__(self, max_gap_s: float) -> None:
        self._max_gap_s = max_gap_s
        self._paths: list[_Path] = []
        self._newest: _Look | None = None

    def add(self, look: _Look) -> None:
        """Continue the paths of those who were seen, or begin new ones."""
        open_paths = {path.track_id: path for path in self._paths if self._may_continue(path, look)}
        for track_id in look.people:
            if track_id in open_paths:
                open_paths[track_id].looks.append(look)
            else:
                self._paths.append(_Path(track_id=track_id, looks=[look]))
        self._newest = look

    def _may_continue(self, path: _Path, look: _Look) -> bool:
        last = path.looks[-1]
        gap_s = look.time_s - last.time_s
        return look.number <= last.number + 1 or gap_s <= self._max_gap_s

    @property
    def settled_until(self) -> int:
        """Index of the last frame that a further look would not change."""
        assert self._newest is not None
        newest = self._newest
        unsettled = (p.settled_until(newest) for p in self._paths if self._may_continue(p, newest))
        return min([newest.index, *unsettled])

    def people_at(self, frame: Frame) -> tuple[FollowedPerson, ...]:
        """Everybody in a frame, sorted by identity."""
        people = [person for path in self._paths if (person := path.at(frame)) is not None]
        return tuple(sorted(people, key=lambda person: person.track_id))

    def forget_before(self, index: int) -> None:
        """Drop what no frame from ``index`` on needs."""
        for path in self._paths:
            # A crop between two looks depends on one more look on either side.
            while len(path.looks) > 2 and path.looks[2].index <= index:
                del path.looks[0]
        self._paths = [
            path
            for path in self._paths
            if path.looks[-1].index >= index
            or (self._newest is not None and self._may_continue(path, self._newest))
        ]


def _release(waiting: deque[Frame], known: _KnownPaths, *, until: int) -> Iterator[FollowedFrame]:
    """Hand on the frames up to an index."""
    while waiting and waiting[0].index <= until:
        frame = waiting.popleft()
        yield FollowedFrame(frame=frame, people=known.people_at(frame))
    if waiting:
        known.forget_before(waiting[0].index)


def _share(start: _Look, time_s: float, end: _Look) -> float:
    """How far a time is on the way from one look to another, 0 to 1."""
    return (time_s - start.time_s) / (end.time_s - start.time_s)


def _mix(
    first: Float[np.ndarray, " value"], second: Float[np.ndarray, " value"], share: float
) -> Float[np.ndarray, " value"]:
    mixed: Float[np.ndarray, " value"] = first + (second - first) * share
    return mixed


def _lean(keypoints: Float[np.ndarray, "17 3"]) -> complex | None:
    """Direction from hips to shoulders; None unless all four are seen."""
    torso = keypoints[list(_TORSO)]
    if not (torso[:, 2] > MIN_TORSO_SCORE).all():
        return None
    x, y = torso[2:, :2].mean(0) - torso[:2, :2].mean(0)
    length = float(np.hypot(x, y))
    return complex(-y, x) / length if length > 0 else None


def _mix_directions(first: complex | None, second: complex | None, share: float) -> complex | None:
    """A direction between two; the known one when only one is."""
    if first is None or second is None:
        return first or second
    mixed = (1 - share) * first + share * second
    return mixed / abs(mixed) if abs(mixed) > 1e-6 else first


def _angle(direction: complex | None) -> float | None:
    return None if direction is None else float(np.angle(direction))
