"""Who in a result is who in the truth, frame by frame, from where they are in the picture."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from dtsvibe_cli.datatypes import PersonMotion, VideoMotion
from dtsvibe_cli.errors import DataError
from dtsvibe_cli.evaluation.ground_truth import TruePerson, TrueSequence
from dtsvibe_cli.geometry.boxes import iou, sizes
from dtsvibe_cli.geometry.joints import SMPL24

MAX_DISTANCE = 0.5
"""Mean joint distance, relative to the true box's longer side, beyond which it is someone else."""

MIN_IOU = 0.1
"""Overlap below which it is someone else, where only the true box is known."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """For each frame of one true person: whose row of the result it is."""

    person: Int[np.ndarray, " frame"]
    """Index into the result's people; -1 where nobody is there."""
    row: Int[np.ndarray, " frame"]
    """Row of that person; -1 where nobody is there."""

    @property
    def num_tracks(self) -> int:
        """How many of the result's people stand for this one."""
        return len(np.unique(self.person[self.person >= 0]))


def match_people(sequence: TrueSequence, motion: VideoMotion) -> tuple[Match, ...]:
    """The result's person for each true person and frame, nobody twice in a frame.

    Where the truth says where the people are, the assignment of the least distance is taken: mean
    distance of the joints in the picture relative to the box, else one minus the boxes' overlap.
    Where it does not, the sequence must show one person, who is taken to be the longest track.

    Raises:
        DataError: Several people of whom nobody knows where they are in the picture.
    """
    frames = sorted({int(k) for person in sequence.people for k in person.frame_index})
    matches = [
        Match(person=np.full(len(true.frame_index), -1), row=np.full(len(true.frame_index), -1))
        for true in sequence.people
    ]
    costs = [
        np.stack([_costs(true, sequence.joint_names, found) for found in motion.people])
        for true in sequence.people
        if motion.people
    ]
    if any(not _is_placed(true) for true in sequence.people) and len(sequence.people) > 1:
        raise DataError(
            f"{sequence.name}: several people, and the truth does not say where they are in the "
            "picture; give their pixels, boxes or camera."
        )
    if not costs:
        return tuple(matches)
    for frame in frames:
        here = [
            k for k, true in enumerate(sequence.people) if _row_of(true.frame_index, frame) >= 0
        ]
        rows = [_row_of(sequence.people[k].frame_index, frame) for k in here]
        cost = np.stack([costs[k][:, row] for k, row in zip(here, rows, strict=True)])
        for i, j in zip(
            *linear_sum_assignment(np.where(np.isfinite(cost), cost, 1e6)), strict=True
        ):
            if np.isfinite(cost[i, j]):
                matches[here[i]].person[rows[i]] = j
                matches[here[i]].row[rows[i]] = _row_of(motion.people[j].track.frame_index, frame)
    return tuple(matches)


def _is_placed(true: TruePerson) -> bool:
    return true.joints_px is not None or true.boxes_xyxy is not None


def _row_of(frame_index: Int[np.ndarray, " frame"], frame: int) -> int:
    row = int(np.searchsorted(frame_index, frame))
    return row if row < len(frame_index) and frame_index[row] == frame else -1


def _costs(
    true: TruePerson, names: tuple[str, ...], found: PersonMotion
) -> Float[np.ndarray, " frame"]:
    """Cost of taking ``found`` for ``true`` in each of the truth's frames; inf where impossible."""
    costs = np.full(len(true.frame_index), np.inf)
    _, mine, theirs = np.intersect1d(true.frame_index, found.track.frame_index, return_indices=True)
    boxes = true.outlines()
    if boxes is None:
        costs[mine] = 1 / len(found.track.frame_index)
        return costs
    common = [name for name in names if name in SMPL24]
    if true.joints_px is not None and common:
        truth_px = true.joints_px[mine][:, [names.index(name) for name in common]]
        found_px = found.joints_px[theirs][:, [SMPL24.index(name) for name in common]]
        distance = np.linalg.norm(truth_px - found_px, axis=-1) / sizes(boxes[mine])[:, None]
        known = ~np.isnan(distance)
        mean = np.where(known, distance, 0).sum(1) / np.maximum(known.sum(1), 1)
        costs[mine] = np.where(known.any(1) & (mean < MAX_DISTANCE), mean, np.inf)
        return costs
    overlap = np.array(
        [
            iou(one[None], other[None])[0, 0]
            for one, other in zip(boxes[mine], found.track.boxes_xyxy[theirs], strict=True)
        ]
    )
    costs[mine] = np.where(overlap > MIN_IOU, 1 - overlap, np.inf)
    return costs
