"""InstaVariety (Kanazawa et al. 2019), as the tfrecords that its authors give away.

Expected below the root::

    train/*.tfrecord
    test/*.tfrecord

They are read without TensorFlow. Each record is one tracked person: JPEG pictures already cut
around the person (``image/encoded``), and 14 + 6 detected keypoints in them (``image/xys``,
``image/visibilities``, ``image/toe_pts``), in [-1, 1] when the record carries features
(``image/phis``), else in pixels. Because the pictures follow the person, so does the flow between
them. There are no labels in space.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.training.datasets.joint_names import HMMR14, HMMR_TOES6
from dtsvibe_cli.training.datasets.tfrecords import Feature, read_examples
from dtsvibe_cli.training.datasets.tracks import (
    EncodedFrames,
    JointLabels,
    LabelledTrack,
    Recording,
    boxes_around,
)

DATASET: Final = "instavariety"
RATE_HZ: Final = 25.0
"""Assumed: the pictures come from videos of unknown rate."""

_FOLDERS: Final = {"train": "train", "validation": "test", "test": "test"}


def recordings(root: Path, split: str) -> list[Recording]:
    """The record files of a part; its validation part is its test part.

    Raises:
        DataError: There are none.
    """
    folder = root / _FOLDERS[split]
    paths = sorted(folder.glob("*.tfrecord*"))
    if not paths:
        raise DataError(f"{folder} holds no *.tfrecord of InstaVariety.")
    return [Recording(name=path.name, read=partial(_people, path)) for path in paths]


def _people(path: Path) -> Iterator[LabelledTrack]:
    for number, fields in enumerate(read_examples(path)):
        contents = fields.get("image/encoded")
        if not isinstance(contents, list) or not contents:
            raise DataError(f"{path} holds a record without pictures (image/encoded).")
        frames = EncodedFrames(tuple(contents))
        try:
            points, weight = _keypoints(fields, len(contents))
        except ValueError as error:
            raise DataError(f"{path}: the keypoints of record {number} are {error}.") from error
        if len(fields.get("image/phis", ())):
            height, width, _ = next(iter(frames)).shape
            points = (points + 1) / 2 * np.array([width, height])
        yield LabelledTrack(
            dataset=DATASET,
            name=f"{path.name.replace('.tfrecord', '')}/{number:04d}",
            rate_hz=RATE_HZ,
            frames=frames,
            boxes_xyxy=boxes_around(points, weight),
            joints_2d=JointLabels(names=HMMR14 + HMMR_TOES6, points=points, weight=weight),
        )


def _keypoints(
    fields: dict[str, Feature], frames: int
) -> tuple[Float[np.ndarray, "frame 20 2"], Float[np.ndarray, "frame 20"]]:
    """Places and visibility; coordinates are stored as all x, then all y, of each frame."""

    def rows(name: str, *shape: int) -> Float[np.ndarray, "frame ..."]:
        values = np.asarray(fields.get(name, ()), np.float64)
        if len(values) == 0 and name == "image/toe_pts":
            return np.zeros((frames, *shape))
        return values.reshape(frames, *shape)

    body, toes = rows("image/xys", 2, len(HMMR14)), rows("image/toe_pts", 3, len(HMMR_TOES6))
    seen = rows("image/visibilities", len(HMMR14))
    points = np.concatenate([body, toes[:, :2]], 2).transpose(0, 2, 1)
    return points, (np.concatenate([seen, toes[:, 2]], 1) > 0).astype(float)
