"""PoseTrack 2018 (Andriluka et al.), as it is downloaded.

Expected below the root::

    annotations/{train,val}/000001_bonn_train.json ...
    images/{train,val}/000001_bonn_train/000000.jpg ...

``posetrack_data/annotations`` is found too. Labels: 17 keypoints in the picture and boxes of
everybody, in 30 frames in a row of each training video and every fourth frame elsewhere. Boxes are
interpolated between labelled frames that are near; keypoints are not.
"""

import json
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.training.datasets.joint_names import POSETRACK17
from dtsvibe_cli.training.datasets.tracks import (
    ImageFrames,
    JointLabels,
    LabelledTrack,
    Recording,
    boxes_around,
    require_folder,
)

DATASET: Final = "posetrack"
RATE_HZ: Final = 30.0
"""Assumed: the pictures come from videos of unknown rate."""

MAX_GAP_FRAMES: Final = 8
"""Boxes are interpolated between labels that are at most so far apart."""

_FOLDERS: Final = {"train": "train", "validation": "val", "test": "test"}


def recordings(root: Path, split: str) -> list[Recording]:
    """The labelled videos of a part.

    Raises:
        DataError: The part is missing.
    """
    places = [root / "annotations", root / "posetrack_data" / "annotations"]
    folder = next((place for place in places if place.is_dir()), places[0]) / _FOLDERS[split]
    require_folder(folder, "PoseTrack 2018 keeps its .json files there")
    return [
        Recording(name=path.stem, read=partial(_people, root, path))
        for path in sorted(folder.glob("*.json"))
    ]


def _people(root: Path, path: Path) -> Iterator[LabelledTrack]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        images = sorted(content["images"], key=lambda image: str(image["file_name"]))
        row_of = {image["id"]: row for row, image in enumerate(images)}
        people: dict[int, list[tuple[int, dict[str, Any]]]] = {}
        for label in content["annotations"]:
            if len(label.get("keypoints", ())) == 3 * len(POSETRACK17):
                people.setdefault(int(label["track_id"]), []).append(
                    (row_of[label["image_id"]], label)
                )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read as labels of PoseTrack 2018 ({error}).") from error
    for person, labels in sorted(people.items()):
        labels.sort(key=lambda pair: pair[0])
        rows = np.array([row for row, _ in labels])
        names = [image["file_name"] for image in images[rows[0] : rows[-1] + 1]]
        keypoints = np.array([label["keypoints"] for _, label in labels], np.float64)
        boxes = [label.get("bbox") or [0, 0, 0, 0] for _, label in labels]
        yield _track(
            f"{path.stem}/person{person}",
            ImageFrames(tuple(root / name for name in names)),
            rows - rows[0],
            keypoints.reshape(len(rows), -1, 3),
            np.array(boxes, np.float64),
        )


def _track(
    name: str,
    frames: ImageFrames,
    rows: Int[np.ndarray, " label"],
    keypoints: Float[np.ndarray, "label 17 3"],
    boxes_xywh: Float[np.ndarray, "label 4"],
) -> LabelledTrack:
    length = len(frames.paths)
    points, weight = np.zeros((length, 17, 2)), np.zeros((length, 17))
    points[rows], weight[rows] = keypoints[..., :2], keypoints[..., 2] > 0
    boxes = np.full((length, 4), np.nan)
    corners = np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], 1)
    given = (boxes_xywh[:, 2:] > 0).all(1, keepdims=True)
    boxes[rows] = np.where(given, corners, boxes_around(points[rows], weight[rows]))
    return LabelledTrack(
        dataset=DATASET,
        name=name,
        rate_hz=RATE_HZ,
        frames=frames,
        boxes_xyxy=_filled(boxes),
        joints_2d=JointLabels(names=POSETRACK17, points=points, weight=weight),
    )


def _filled(boxes: Float[np.ndarray, "frame 4"]) -> Float[np.ndarray, "frame 4"]:
    """Short gaps filled in."""
    rows = np.flatnonzero(np.isfinite(boxes).all(1))
    filled = boxes.copy()
    for first, last in pairwise(rows):
        if 1 < last - first <= MAX_GAP_FRAMES:
            share = (np.arange(first + 1, last) - first)[:, None] / (last - first)
            filled[first + 1 : last] = (1 - share) * boxes[first] + share * boxes[last]
    return filled
