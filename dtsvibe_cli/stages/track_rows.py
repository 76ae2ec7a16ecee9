"""The growing rows of a person who is followed, and what they become when the video has ended."""

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from jaxtyping import Float

from dtsvibe_cli.datatypes import Frame, Observations, Track
from dtsvibe_cli.geometry.joints import COCO17_TO_BLAZEPOSE33
from dtsvibe_cli.stages.following import FollowedPerson
from dtsvibe_cli.stored_rows import ChosenRows, RowFile, StoredRows


@dataclass(frozen=True, kw_only=True)
class PoseReading:
    """What the pose network says of one crop, in the full image's coordinates."""

    crop_cxcysa: Float[np.ndarray, "4"]
    landmarks_px: Float[np.ndarray, "33 2"]
    visibility: Float[np.ndarray, " 33"]
    world_m: Float[np.ndarray, "33 3"]

    def keypoints(self) -> Float[np.ndarray, "17 3"]:
        """COCO's keypoints among the landmarks, with their visibility."""
        coco = list(COCO17_TO_BLAZEPOSE33)
        return np.concatenate([self.landmarks_px[coco], self.visibility[coco, None]], axis=1)


_NUMBERS: Final = {
    "boxes_xyxy": (4,),
    "crops_cxcysa": (4,),
    "landmarks_px": (33, 2),
    "visibility": (33,),
    "world_landmarks_m": (33, 3),
    "keypoints": (17, 3),
}
"""What is kept of a person in every frame besides features and flow, and the shape of each."""


@dataclass
class TrackRows:
    """The growing rows of one track."""

    frame_index: list[int] = field(default_factory=list)
    time_s: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    numbers: RowFile = field(
        default_factory=lambda: RowFile((sum(map(math.prod, _NUMBERS.values())),), np.float32)
    )
    """The values of :data:`_NUMBERS` one after the other."""
    flow: RowFile | None = None
    appearance: RowFile | None = None
    flow_features: RowFile | None = None
    colours: Float[np.ndarray, "56"] | None = None
    """Their sum."""
    num_colours: int = 0
    newest: PoseReading | None = None

    def add(self, frame: Frame, person: FollowedPerson, pose: PoseReading) -> None:
        """What was seen in one more frame."""
        self.frame_index.append(frame.index)
        self.time_s.append(frame.time_s)
        self.scores.append(person.score)
        values = (
            person.box_xyxy,
            pose.crop_cxcysa,
            pose.landmarks_px,
            pose.visibility,
            pose.world_m,
            person.keypoints,
        )
        self.numbers.append(np.concatenate([value.ravel() for value in values]))
        self.newest = pose
        if person.colours is not None:
            self.colours = person.colours if self.colours is None else self.colours + person.colours
            self.num_colours += 1


def added(rows: RowFile | None, row: Float[np.ndarray, "..."]) -> RowFile:
    """The same rows with one more, in half precision."""
    rows = RowFile(row.shape, np.float16) if rows is None else rows
    rows.append(row)
    return rows


@dataclass(frozen=True, kw_only=True)
class SeenTrack:
    """One tracker identity: what was observed, and its mean colours for stitching."""

    observations: Observations
    colours: Float[np.ndarray, "56"] | None


def seen_track(track_id: int, rows: TrackRows) -> SeenTrack:
    """What the rows say, under the tracker's identity."""
    assert rows.flow is not None
    num_rows = len(rows.frame_index)
    ends = np.cumsum([math.prod(shape) for shape in _NUMBERS.values()])
    columns = np.split(rows.numbers[:], ends[:-1], axis=1)
    values = {
        name: column.reshape(num_rows, *shape)
        for (name, shape), column in zip(_NUMBERS.items(), columns, strict=True)
    }
    track = Track(
        track_id=track_id,
        frame_index=np.array(rows.frame_index),
        boxes_xyxy=values.pop("boxes_xyxy"),
        scores=np.array(rows.scores),
    )
    observations = Observations(
        track=track,
        flow=rows.flow,
        time_s=np.array(rows.time_s),
        appearance=rows.appearance,
        flow_features=rows.flow_features,
        **values,
    )
    colours = None if rows.colours is None else rows.colours / rows.num_colours
    return SeenTrack(observations=observations, colours=colours)


def join(parts: list[Observations], track_id: int) -> Observations:
    """Several tracks of one person as one, frames in order; of a frame seen twice the surer row."""
    index = np.concatenate([part.track.frame_index for part in parts])
    scores = np.concatenate([part.track.scores for part in parts])
    order = np.lexsort((-scores, index))
    keep = order[np.append(True, np.diff(index[order]) > 0)]

    def rows(name: str, of_track: bool = False) -> np.ndarray:
        columns = [getattr(part.track if of_track else part, name) for part in parts]
        return np.asarray(np.concatenate(columns)[keep])

    def stored(name: str) -> StoredRows | None:
        columns = [getattr(part, name) for part in parts]
        return None if any(column is None for column in columns) else ChosenRows(columns, keep)

    flow = stored("flow")
    assert flow is not None
    return Observations(
        track=Track(
            track_id=track_id,
            frame_index=rows("frame_index", of_track=True),
            boxes_xyxy=rows("boxes_xyxy", of_track=True),
            scores=rows("scores", of_track=True),
        ),
        crops_cxcysa=rows("crops_cxcysa"),
        landmarks_px=rows("landmarks_px"),
        visibility=rows("visibility"),
        world_landmarks_m=rows("world_landmarks_m"),
        keypoints=rows("keypoints"),
        flow=flow,
        time_s=rows("time_s"),
        appearance=stored("appearance"),
        flow_features=stored("flow_features"),
    )
