"""Who is who: detections joined by identity, with ultralytics' ByteTrack or BoT-SORT.

Both are made for a detector that looks at every frame at 25 to 30 frames a second. Here it looks at
every k-th frame, so a person moves k times as far between two looks. Three things follow:

* the Kalman filter's velocity terms, written per frame, are scaled to the time between two looks;
* boxes are compared after growing them, so that a fast person still overlaps where they were
  (C-BIoU: Yang et al. 2023, "Hard to Track Objects with Irregular Motions and Similar
  Appearances?");
* somebody who changes direction is not where the filter expects them: a new track that begins where
  another was last seen goes on with its number (observation-centric recovery of OC-SORT: Cao et al.
  2023).

How long somebody may be lost is given in seconds.
"""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from dtsvibe_cli.datatypes import Detections, Frame
from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.geometry.boxes import iou, pad
from dtsvibe_cli.stages.ultralytics_offline import import_ultralytics

TRACKERS: Final = ("bytetrack", "botsort")
"""Names that :func:`make_tracker` knows."""

_BOX_GROWTH: Final = 0.3
"""Growth of boxes before they are compared: the smaller buffer of C-BIoU."""

_RECOVERY_GROWTH: Final = 0.5
"""Growth of boxes when a new track is compared with lost ones: the larger buffer of C-BIoU."""

_RECOVERY_MIN_IOU: Final = 0.2
"""Least overlap of those boxes, as the trackers' ``match_thresh`` has it."""

_DESIGN_RATE_HZ: Final = 30.0
"""Looks a second that the trackers' own settings are meant for."""

_SETTINGS: Final = {
    # ultralytics' defaults, but without fusing scores into the distance: the scores of different
    # detectors are not comparable, and MoveNet's are low.
    "track_high_thresh": 0.25,
    "track_low_thresh": 0.1,
    "new_track_thresh": 0.25,
    "match_thresh": 0.8,
    "fuse_score": False,
    "gmc_method": "sparseOptFlow",
    "proximity_thresh": 0.5,
    "appearance_thresh": 0.8,
    "with_reid": False,
    "model": "auto",
}


@dataclass(frozen=True, kw_only=True)
class TrackedBox:
    """One person in one frame that the detector saw."""

    track_id: int
    """Identity, from 1."""
    detection_index: int | None
    """Row of the detections that it was matched with; None when the tracker only predicted it."""
    box_xyxy: Float[np.ndarray, "4"]
    """The detection's own box, or the predicted one; pixels of the full image."""


@runtime_checkable
class Tracker(Protocol):
    """Gives detections identities. Called in order, once for each frame that the detector saw."""

    def update(self, frame: Frame, detections: Detections) -> list[TrackedBox]:
        """The people of this frame, sorted by identity."""
        ...


class _UltralyticsTracker:
    """What ByteTrack and BoT-SORT have in common."""

    def __init__(self, class_name: str, looks_per_second: float, max_lost_s: float) -> None:
        settings = _SETTINGS | {"track_buffer": max(1, round(max_lost_s * looks_per_second))}
        trackers = import_ultralytics("ultralytics.trackers")
        self._boxes_class = import_ultralytics("ultralytics.engine.results").Boxes
        self._inner: Any = getattr(trackers, class_name)(SimpleNamespace(**settings))
        self._needs_picture = hasattr(self._inner, "gmc")  # to estimate the camera's motion
        # Ultralytics predicts all tracks with one filter that the whole process shares; each
        # track's own filter is the same but for the scale that is set here.
        slowness = max(1.0, _DESIGN_RATE_HZ / looks_per_second)
        self._inner.kalman_filter._std_weight_velocity *= slowness
        self._inner.multi_predict = lambda tracks: [track.predict() for track in tracks]
        self._ids: dict[int, int] = {}
        """Our identity of each of the tracker's; several may be one after a recovery."""
        self._last_boxes: dict[int, Float[np.ndarray, " 4"]] = {}
        """Where each of the tracker's people was last seen."""

    def update(self, frame: Frame, detections: Detections) -> list[TrackedBox]:
        """The people of this frame, sorted by identity; each was matched with a detection.

        A person seen for the first time is reported at once, not only after a second sighting
        confirms them: what turns out to be a single sighting is dropped later for its length.
        """
        # The order of the detections must not decide who gets which number.
        order = np.lexsort([*detections.boxes_xyxy.T, -detections.scores])
        rows = np.zeros((len(order), 6), dtype=np.float32)
        rows[:, :4] = pad(detections.boxes_xyxy[order], _BOX_GROWTH)
        rows[:, 4] = detections.scores[order]
        bgr = np.ascontiguousarray(frame.rgb[..., ::-1]) if self._needs_picture else None
        self._inner.update(self._boxes_class(rows, frame.rgb.shape[:2]), bgr)
        seen = {
            int(track.track_id): int(order[int(track.idx)])
            for track in self._inner.tracked_stracks
            if track.frame_id == self._inner.frame_id
        }
        boxes = {inner_id: detections.boxes_xyxy[row] for inner_id, row in seen.items()}
        self._name(boxes)
        people = [
            TrackedBox(track_id=self._ids[inner_id], detection_index=row, box_xyxy=boxes[inner_id])
            for inner_id, row in seen.items()
        ]
        return sorted(people, key=lambda person: person.track_id)

    def _name(self, boxes: dict[int, Float[np.ndarray, "4"]]) -> None:
        """Give the tracker's new people a number: that of somebody lost there, or a new one."""
        new = sorted(set(boxes) - set(self._ids))
        lost = sorted({int(track.track_id) for track in self._inner.lost_stracks} - set(boxes))
        for inner_id, old_id in self._recovered(new, lost, boxes).items():
            self._ids[inner_id] = self._ids[old_id]
            self._inner.lost_stracks = [
                track for track in self._inner.lost_stracks if track.track_id != old_id
            ]
        for inner_id in new:
            self._ids.setdefault(inner_id, max(self._ids.values(), default=0) + 1)
        self._last_boxes |= boxes

    def _recovered(
        self, new: list[int], lost: list[int], boxes: dict[int, Float[np.ndarray, "4"]]
    ) -> dict[int, int]:
        """Which of the new people is which of the lost ones, by the place last seen."""
        if not new or not lost:
            return {}
        overlaps = iou(
            pad(np.stack([boxes[inner_id] for inner_id in new]), _RECOVERY_GROWTH),
            pad(np.stack([self._last_boxes[inner_id] for inner_id in lost]), _RECOVERY_GROWTH),
        )
        from scipy.optimize import linear_sum_assignment  # half a second, and seldom needed

        pairs = zip(*linear_sum_assignment(-overlaps), strict=True)
        return {new[i]: lost[j] for i, j in pairs if overlaps[i, j] > _RECOVERY_MIN_IOU}


class ByteTracker(_UltralyticsTracker):
    """ByteTrack (Zhang et al. 2022): motion only, high scores matched first, then low ones.

    Args:
        looks_per_second: Frames a second that the detector sees.
        max_lost_s: How long a person may be out of sight and keep the number, seconds.
    """

    def __init__(self, *, looks_per_second: float, max_lost_s: float = 1.0) -> None:
        super().__init__("BYTETracker", looks_per_second, max_lost_s)


class BotSortTracker(_UltralyticsTracker):
    """BoT-SORT (Aharon et al. 2022): as ByteTrack, with the camera's motion taken out.

    Args:
        looks_per_second: Frames a second that the detector sees.
        max_lost_s: How long a person may be out of sight and keep the number, seconds.
    """

    def __init__(self, *, looks_per_second: float, max_lost_s: float = 1.0) -> None:
        super().__init__("BOTSORT", looks_per_second, max_lost_s)


def make_tracker(name: str, *, looks_per_second: float = 7.5, max_lost_s: float = 1.0) -> Tracker:
    """A new tracker, for one video.

    Args:
        name: ``bytetrack`` or ``botsort``.
        looks_per_second: Frames a second that the detector sees: frame rate / ``detect_every``.
        max_lost_s: How long a person may be out of sight and keep the number, seconds.

    Raises:
        ConfigError: There is no tracker of that name.
    """
    if name == "bytetrack":
        return ByteTracker(looks_per_second=looks_per_second, max_lost_s=max_lost_s)
    if name == "botsort":
        return BotSortTracker(looks_per_second=looks_per_second, max_lost_s=max_lost_s)
    raise ConfigError(f"There is no tracker {name!r}; choose one of {', '.join(TRACKERS)}.")
