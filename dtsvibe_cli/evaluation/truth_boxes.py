"""A detector and a tracker that know the true boxes, for protocols that hand them out.

The keypoints stay those of a real detector: what it saw nearest to each true box.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from dtsvibe_cli.datatypes import Detections, Frame
from dtsvibe_cli.errors import DataError
from dtsvibe_cli.evaluation.ground_truth import TrueSequence
from dtsvibe_cli.geometry.boxes import areas, clip, iou
from dtsvibe_cli.stages.detection import Detector
from dtsvibe_cli.stages.tracking import TrackedBox

MIN_IOU: Final = 0.2
"""Overlap from which the real detector's keypoints are those of a true box."""


@dataclass(frozen=True, kw_only=True)
class KnownBoxes:
    """Everybody in one frame."""

    track_ids: Int[np.ndarray, " person"]
    boxes_xyxy: Float[np.ndarray, "person 4"]


_NOBODY: Final = KnownBoxes(track_ids=np.zeros(0, np.int64), boxes_xyxy=np.zeros((0, 4)))


def known_boxes(sequence: TrueSequence) -> dict[int, KnownBoxes]:
    """True boxes by frame; people are numbered from 1 in the order of the sequence.

    Raises:
        DataError: The truth does not say where somebody is in the picture.
    """
    by_frame: dict[int, list[tuple[int, np.ndarray]]] = {}
    for number, person in enumerate(sequence.people, start=1):
        boxes = person.padded_boxes()
        if boxes is None:
            raise DataError(
                f"{sequence.name}: the truth has no boxes and no 2D joints; use --boxes tracked."
            )
        for frame, box in zip(person.frame_index, boxes, strict=True):
            if np.isfinite(box).all():
                by_frame.setdefault(int(frame), []).append((number, box))
    return {
        frame: KnownBoxes(
            track_ids=np.array([number for number, _ in people]),
            boxes_xyxy=np.stack([box for _, box in people]),
        )
        for frame, people in by_frame.items()
    }


class TrueBoxDetector:
    """Detections at the true boxes, with the inner detector's keypoints."""

    def __init__(self, boxes: Mapping[int, KnownBoxes], inner: Detector) -> None:
        self._boxes, self._inner = boxes, inner

    def __call__(self, frame: Frame) -> Detections:
        """Everybody in the frame, in the order of :func:`known_boxes`."""
        seen = self._inner(frame)
        true = _in_picture(self._boxes, frame)
        keypoints = np.zeros((len(true.track_ids), 17, 3))
        if seen.keypoints is not None and len(seen.boxes_xyxy) and len(true.track_ids):
            overlap = iou(true.boxes_xyxy, seen.boxes_xyxy)
            nearest = overlap.argmax(1)
            sure = overlap.max(1) >= MIN_IOU
            keypoints[sure] = seen.keypoints[nearest[sure]]
        return Detections(
            boxes_xyxy=true.boxes_xyxy,
            scores=np.ones(len(true.track_ids)),
            keypoints=keypoints,
        )


class TrueBoxTracker:
    """Says who is who among the detections of :class:`TrueBoxDetector`."""

    def __init__(self, boxes: Mapping[int, KnownBoxes]) -> None:
        self._boxes = boxes

    def update(self, frame: Frame, detections: Detections) -> list[TrackedBox]:
        """Each detection with its person's number."""
        true = _in_picture(self._boxes, frame)
        return [
            TrackedBox(track_id=int(number), detection_index=row, box_xyxy=box)
            for row, (number, box) in enumerate(zip(true.track_ids, true.boxes_xyxy, strict=True))
        ]


def _in_picture(boxes: Mapping[int, KnownBoxes], frame: Frame) -> KnownBoxes:
    """The parts of a frame's true boxes that lie in the picture; people outside are left out."""
    true = boxes.get(frame.index, _NOBODY)
    height, width = frame.rgb.shape[:2]
    inside = clip(true.boxes_xyxy, width, height)
    rows = np.flatnonzero(areas(inside) > 0)
    return KnownBoxes(track_ids=true.track_ids[rows], boxes_xyxy=inside[rows])
