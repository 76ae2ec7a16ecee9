"""Penn Action (Zhang et al. 2013), as it is downloaded.

Expected below the root::

    frames/0001/000001.jpg ...
    labels/0001.mat ...

Labels: 13 keypoints in the picture with visibility, and boxes. Which part a video belongs to is
written in its labels; there is no validation part, so both others are the test part.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.training.datasets.joint_names import PENN13
from dtsvibe_cli.training.datasets.matlab import read_mat
from dtsvibe_cli.training.datasets.tracks import (
    JointLabels,
    LabelledTrack,
    Recording,
    image_files,
    require_folder,
)

DATASET: Final = "pennaction"
RATE_HZ: Final = 30.0
"""Assumed: the pictures come from videos of unknown rate."""


def recordings(root: Path, split: str) -> list[Recording]:
    """The videos of both parts; those of the other part turn out to be empty when they are read.

    Raises:
        DataError: The labels are missing.
    """
    folder = require_folder(root / "labels", "Penn Action keeps its .mat files there")
    return [
        Recording(name=path.stem, read=partial(_person, root, path, split))
        for path in sorted(folder.glob("*.mat"))
    ]


def _person(root: Path, path: Path, split: str) -> Iterator[LabelledTrack]:
    fields = read_mat(path, ("x", "y", "visibility", "bbox", "train"))
    if (int(fields["train"].ravel()[0]) == 1) != (split == "train"):
        return
    points = np.stack([fields["x"], fields["y"]], -1).astype(np.float64)
    boxes = np.asarray(fields["bbox"], np.float64)
    if points.ndim != 3 or points.shape[1] != len(PENN13) or boxes.shape[-1] != 4:
        raise DataError(f"{path} has no {len(PENN13)} points and a box in each frame.")
    # in a few videos the boxes end some frames early
    length = min(len(points), len(boxes))
    visible = np.asarray(fields["visibility"], np.float64)[:length]
    boxes = np.where((boxes[:, 2:] > boxes[:, :2]).all(1, keepdims=True), boxes, np.nan)
    yield LabelledTrack(
        dataset=DATASET,
        name=path.stem,
        rate_hz=RATE_HZ,
        frames=image_files(root / "frames" / path.stem, length),
        boxes_xyxy=boxes[:length],
        joints_2d=JointLabels(names=PENN13, points=points[:length], weight=visible),
    )
