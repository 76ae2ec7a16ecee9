from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from truth_files import person, project

from dtsvibe_cli.datatypes import Detections, Frame
from dtsvibe_cli.errors import DataError
from dtsvibe_cli.evaluation.ground_truth import BOX_MARGIN, TruePerson, TrueSequence
from dtsvibe_cli.evaluation.truth_boxes import TrueBoxDetector, TrueBoxTracker, known_boxes
from dtsvibe_cli.geometry.joints import SMPL24


def true_person(x_m: float, first: int) -> TruePerson:
    spread = np.random.default_rng(0).uniform(-0.4, 0.4, (24, 3))
    joints = np.tile(spread + np.array([x_m, 0, 4]), (4, 1, 1))
    return TruePerson(
        name=str(x_m),
        frame_index=np.arange(4) + first,
        joints_m=joints,
        joints_px=project(joints),
    )


def frame(index: int) -> Frame:
    rgb = np.zeros((480, 640, 3), np.uint8)
    return Frame(index=index, rgb=rgb, pts=index, time_base=Fraction(1, 25))


class OnePerson:
    """Always sees somebody on the left, with keypoints that are all 7."""

    def __call__(self, frame: Frame) -> Detections:
        joints = true_person(-1, 0).joints_m
        return Detections(
            boxes_xyxy=person(joints).track.boxes_xyxy[:1] + 4,
            scores=np.array([0.6]),
            keypoints=np.full((1, 17, 3), 7.0),
        )


def sequence(*people: TruePerson) -> TrueSequence:
    return TrueSequence(name="s", joint_names=SMPL24, people=people)


def test_people_and_boxes_are_those_of_the_truth() -> None:
    left, right = true_person(-1, 0), true_person(1, 2)
    boxes = known_boxes(sequence(left, right))
    detector, tracker = TrueBoxDetector(boxes, OnePerson()), TrueBoxTracker(boxes)
    seen = detector(frame(3))
    tracked = tracker.update(frame(3), seen)
    assert [(one.track_id, one.detection_index) for one in tracked] == [(1, 0), (2, 1)]
    outline = left.outlines()
    assert outline is not None
    size = outline[3, 2:] - outline[3, :2]
    np.testing.assert_allclose(seen.boxes_xyxy[0, :2], outline[3, :2] - BOX_MARGIN * size)
    assert seen.keypoints is not None
    # what the real detector saw is the left one's; nothing is made up for the other
    assert (seen.keypoints[0] == 7).all()
    assert (seen.keypoints[1] == 0).all()
    assert [one.track_id for one in tracker.update(frame(0), detector(frame(0)))] == [1]
    assert len(detector(frame(9)).boxes_xyxy) == 0


def test_people_outside_of_the_picture_are_not_there() -> None:
    boxes = known_boxes(sequence(true_person(9, 0)))
    detector, tracker = TrueBoxDetector(boxes, OnePerson()), TrueBoxTracker(boxes)
    seen = detector(frame(0))
    assert len(seen.boxes_xyxy) == 0
    assert tracker.update(frame(0), seen) == []


def test_a_truth_without_a_place_has_no_boxes() -> None:
    with pytest.raises(DataError, match="--boxes tracked"):
        known_boxes(sequence(replace(true_person(0, 0), joints_px=None)))
