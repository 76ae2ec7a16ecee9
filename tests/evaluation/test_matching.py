from dataclasses import replace

import numpy as np
import pytest
from truth_files import person, project, result

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.evaluation.ground_truth import TruePerson, TrueSequence
from dtsvibe_cli.evaluation.matching import match_people
from dtsvibe_cli.geometry.joints import SMPL24

LEFT, RIGHT = np.array([-1.0, 0, 4]), np.array([1.0, 0, 4])


def figure(place: np.ndarray, frames: int = 6) -> np.ndarray:
    spread = np.random.default_rng(0).uniform(-0.4, 0.4, (24, 3))
    return np.tile(spread + place, (frames, 1, 1))


def true_person(joints: np.ndarray, name: str = "a", first: int = 0) -> TruePerson:
    return TruePerson(
        name=name,
        frame_index=np.arange(len(joints)) + first,
        joints_m=joints,
        joints_px=project(joints),
    )


def sequence(*people: TruePerson) -> TrueSequence:
    return TrueSequence(name="s", joint_names=SMPL24, people=people)


def test_people_are_matched_by_where_they_are() -> None:
    truth = sequence(true_person(figure(LEFT)), true_person(figure(RIGHT), "b"))
    found = result(person(figure(RIGHT), track_id=1), person(figure(LEFT), track_id=2))
    left, right = match_people(truth, found)
    assert left.person.tolist() == [1] * 6
    assert right.person.tolist() == [0] * 6
    assert left.row.tolist() == list(range(6))


def test_somebody_else_is_not_taken_for_the_one_who_was_missed() -> None:
    (match,) = match_people(sequence(true_person(figure(LEFT))), result(person(figure(RIGHT))))
    assert (match.person == -1).all()
    assert match.num_tracks == 0


def test_fragments_and_gaps() -> None:
    """Two tracks for one person, nothing in frame 3, and a track that begins before the truth."""
    joints = figure(LEFT)
    found = result(
        person(joints[:3], frame_index=np.arange(3)),
        person(joints[:3], track_id=2, frame_index=np.arange(4, 7)),
    )
    (match,) = match_people(sequence(true_person(joints, first=1)), found)
    assert match.person.tolist() == [0, 0, -1, 1, 1, 1]
    assert match.row.tolist() == [1, 2, -1, 0, 1, 2]
    assert match.num_tracks == 2


def test_nobody_is_two_people() -> None:
    joints = figure(LEFT)
    truth = sequence(true_person(joints), true_person(joints + np.array([0.05, 0, 0]), "b"))
    first, second = match_people(truth, result(person(joints)))
    assert (first.person == 0).all()
    assert (second.person == -1).all()


def test_boxes_alone_are_enough() -> None:
    found = result(person(figure(RIGHT)), person(figure(LEFT), track_id=2))
    boxes = found.people[1].track.boxes_xyxy + 3
    true = replace(true_person(figure(LEFT)), joints_px=None, boxes_xyxy=boxes)
    assert match_people(sequence(true), found)[0].person.tolist() == [1] * 6


def test_without_a_place_one_person_is_the_longest_track() -> None:
    true = replace(true_person(figure(LEFT)), joints_px=None, absolute=False)
    found = result(person(figure(LEFT, 2)), person(figure(RIGHT), track_id=2))
    assert match_people(sequence(true), found)[0].person.tolist() == [1] * 6
    with pytest.raises(DataError, match="several people"):
        match_people(sequence(true, true), found)


def test_an_empty_result_matches_nobody() -> None:
    (match,) = match_people(sequence(true_person(figure(LEFT))), result())
    assert (match.person == -1).all()
