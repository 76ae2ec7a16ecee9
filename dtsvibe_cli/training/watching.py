"""The product's own eyes on frames with known people: what its networks say of each of them.

Only the finding of people is helped: MoveNet is shown each known person's surroundings, so that
nobody is lost. What it says there, and all that follows, is what ``dtsvibe run`` would see.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, UInt8

from dtsvibe_cli.datatypes import Detections, Frame, Observations
from dtsvibe_cli.geometry import boxes
from dtsvibe_cli.models.blazepose import load_blazepose
from dtsvibe_cli.models.movenet import MoveNet, load_movenet, prepare_image
from dtsvibe_cli.stages.detection import MoveNetDetector
from dtsvibe_cli.stages.flow import make_flow
from dtsvibe_cli.stages.following import follow_people
from dtsvibe_cli.stages.observation import Observer
from dtsvibe_cli.stages.tracking import TrackedBox

_MIN_SCORE: Final = 0.04
"""MoveNet's people surer than this count: it is asked about somebody who is there."""

_SAME_PERSON_IOU: Final = 0.35
_MISSED: Final = 0.4
"""How often somebody whom MoveNet does not find is missed; else the box is about right."""

_BOX_ERROR: Final = 0.04


class Watcher:
    """Runs detector, pose network and flow on known people."""

    def __init__(self, device: str = "cpu") -> None:
        self._pose_network = load_blazepose(device)
        self._movenet = load_movenet(device)
        self._flow = make_flow("auto", device)
        self._device = device

    def watch(
        self,
        pictures: Iterable[UInt8[np.ndarray, "height width 3"]],
        rate_hz: float,
        people_boxes: Sequence[Float[np.ndarray, "frame 4"]],
        rng: np.random.Generator,
        *,
        detect_every: int = 4,
    ) -> list[Observations | None]:
        """What is seen of each of the known people; None of those who are not there.

        Args:
            pictures: The frames.
            rate_hz: Frames a second.
            people_boxes: Where each person is in every frame (corners, pixels); NaN where nobody
                could tell.
            rng: Decides what happens where the detector does not find them.
            detect_every: Frames from one look of the detector to the next.
        """
        observer = Observer(self._pose_network, self._flow, device=self._device)
        escort = _Escort(self._movenet, people_boxes, rng, self._device)
        followed = follow_people(
            _frames(pictures, rate_hz), escort.detect, escort, detect_every=detect_every
        )
        for frame in followed:
            observer.look(frame)
        tracks = observer.tracks()
        return [
            tracks[number].observations if number in tracks else None
            for number in range(1, len(people_boxes) + 1)
        ]


class _Escort:
    """Detector and tracker in one: it knows who is where, and asks MoveNet about each."""

    def __init__(
        self,
        network: MoveNet,
        people_boxes: Sequence[Float[np.ndarray, "frame 4"]],
        rng: np.random.Generator,
        device: str,
    ) -> None:
        self._network = network
        self._people_boxes = people_boxes
        self._rng = rng
        self._device = device
        self._found: list[int] = []

    def detect(self, frame: Frame) -> Detections:
        """The known people of a frame."""
        rows: list[tuple[np.ndarray, float, np.ndarray]] = []
        self._found = []
        for number, known in enumerate(self._people_boxes, start=1):
            box = known[frame.index]
            if np.isnan(box).any():
                continue
            seen = self._ask(frame.rgb, box)
            if seen is None and self._rng.random() > _MISSED:
                error = self._rng.normal(0, _BOX_ERROR, 4) * boxes.sizes(box[None])[0]
                seen = (box + error, 0.1, np.zeros((17, 3)))
            if seen is not None:
                self._found.append(number)
                rows.append(seen)
        if not rows:
            return Detections(
                boxes_xyxy=np.zeros((0, 4)), scores=np.zeros(0), keypoints=np.zeros((0, 17, 3))
            )
        return Detections(
            boxes_xyxy=np.stack([row[0] for row in rows]),
            scores=np.array([row[1] for row in rows]),
            keypoints=np.stack([row[2] for row in rows]),
        )

    def update(self, frame: Frame, detections: Detections) -> list[TrackedBox]:
        """Who was detected."""
        return [
            TrackedBox(track_id=number, detection_index=row, box_xyxy=detections.boxes_xyxy[row])
            for row, number in enumerate(self._found)
        ]

    def _ask(
        self, rgb: UInt8[np.ndarray, "height width 3"], box: Float[np.ndarray, "4"]
    ) -> tuple[np.ndarray, float, np.ndarray] | None:
        """Box, score and keypoints that MoveNet gives to the person in the box, if any."""
        height, width = rgb.shape[:2]
        grown = boxes.square_crops(box, MoveNetDetector.CLOSER_LOOK_SCALE)
        square = boxes.clip(boxes.crops_to_xyxy(grown), width, height)
        left, top, right, bottom = np.rint(square).astype(int)
        if right - left < 8 or bottom - top < 8:
            return None
        image, scale = prepare_image(rgb[top:bottom, left:right], MoveNetDetector.SMALL_SIDE_PX)
        with torch.inference_mode():
            people = self._network(image.to(self._device), min_score=_MIN_SCORE)
        corner = np.array([left, top])
        keypoints = people.keypoints.double().cpu().numpy()
        keypoints[..., :2] = keypoints[..., :2] / scale + corner
        outlines = boxes.around_points(
            people.boxes_xyxy.double().cpu().numpy() / scale + np.tile(corner, 2),
            keypoints,
            MoveNetDetector.MIN_KEYPOINT_SCORE,
        )
        outlines = boxes.clip(outlines, width, height)
        overlap = boxes.iou(box[None], outlines)[0] if len(outlines) else np.zeros(0)
        scores = people.scores.double().cpu().numpy()
        likely = np.where(overlap > _SAME_PERSON_IOU, overlap + scores, 0)
        if not likely.any():
            return None
        best = int(likely.argmax())
        return outlines[best], float(scores[best]), keypoints[best]


def _frames(
    pictures: Iterable[UInt8[np.ndarray, "height width 3"]], rate_hz: float
) -> Iterator[Frame]:
    time_base = 1 / Fraction(rate_hz).limit_denominator(1000)
    for index, rgb in enumerate(pictures):
        yield Frame(index=index, rgb=rgb, pts=index, time_base=time_base)
