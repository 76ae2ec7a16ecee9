"""MPI-INF-3DHP (Mehta et al. 2017), the training part as its scripts download it.

Expected below the root, for S1 to S8::

    S1/Seq1/annot.mat
    S1/Seq1/imageSequence/video_0.avi ... video_13.avi

Videos that are not there are passed over: most people take the eight cameras at chest height (0, 1,
2, 4, 5, 6, 7, 8). Labels: joints in the picture and, in millimetres of each camera, in space; the
camera is worked out from both. There are no SMPL parameters.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.geometry.fitted_camera import fitted_camera
from dtsvibe_cli.training.datasets.joint_names import MPI_INF_3DHP28
from dtsvibe_cli.training.datasets.matlab import read_mat
from dtsvibe_cli.training.datasets.tracks import (
    JointLabels,
    LabelledTrack,
    Recording,
    VideoFrames,
    boxes_around,
)
from dtsvibe_cli.video import probe

DATASET: Final = "3dhp"

SUBJECTS: Final = {
    "train": ("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8"),
    "validation": ("S8",),
}
"""All train, as in the paper; the last is there for a look while trying things out."""

_NUM_JOINTS: Final = 28


def recordings(root: Path, split: str) -> list[Recording]:
    """The videos of a part's subjects.

    Raises:
        DataError: There are none, or the part is ``test``, whose layout is another.
    """
    if split not in SUBJECTS:
        raise DataError("MPI-INF-3DHP's test part is for evaluation: --split train or validation.")
    videos = [
        video
        for subject in SUBJECTS[split]
        for video in sorted((root / subject).glob("Seq*/imageSequence/video_*.avi"))
    ]
    if not videos:
        raise DataError(f"{root} holds no S*/Seq*/imageSequence/video_*.avi of MPI-INF-3DHP.")
    return [Recording(name=_name(video), read=partial(_person, video)) for video in videos]


def _name(video: Path) -> str:
    sequence = video.parent.parent
    return f"{sequence.parent.name}/{sequence.name}/{video.stem}"


def _person(video: Path) -> Iterator[LabelledTrack]:
    path = video.parent.parent / "annot.mat"
    fields = read_mat(path, ("annot2", "annot3"))
    camera = int(re.findall(r"\d+", video.stem)[-1])
    space = _of_camera(fields["annot3"], camera, 3, path) / 1000
    picture = _of_camera(fields["annot2"], camera, 2, path)
    everywhere = np.ones((len(space), _NUM_JOINTS))
    yield LabelledTrack(
        dataset=DATASET,
        name=_name(video),
        rate_hz=float(probe(video).frame_rate),
        frames=VideoFrames(video),
        boxes_xyxy=boxes_around(picture),
        camera=fitted_camera(space, picture),
        joints_3d=JointLabels(names=MPI_INF_3DHP28, points=space, weight=everywhere),
        joints_2d=JointLabels(names=MPI_INF_3DHP28, points=picture, weight=everywhere),
    )


def _of_camera(
    cells: Any, camera: int, axes: int, path: Path
) -> Float[np.ndarray, "frame 28 axis"]:
    try:
        rows = np.asarray(np.ravel(cells)[camera], np.float64)
        return rows.reshape(len(rows), _NUM_JOINTS, axes)
    except (ValueError, IndexError, TypeError) as error:
        raise DataError(f"{path} has no {_NUM_JOINTS} joints of camera {camera}.") from error
