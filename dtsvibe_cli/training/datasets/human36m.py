"""Human3.6M (Ionescu et al. 2014), as its site gives it, subject by subject.

Expected below the root, for S1, S5, S6, S7, S8 (train) and S9, S11 (validation and test)::

    S1/Videos/Directions 1.54138969.mp4 ...
    S1/MyPoseFeatures/D2_Positions/Directions 1.54138969.cdf ...
    S1/MyPoseFeatures/D3_Positions_mono/Directions 1.54138969.cdf ...

which are the downloads "Videos", "Poses D2 Positions" and "Poses D3 Positions mono". The CDF files
are read with the package ``cdflib``. Labels: joints in the picture and, in millimetres of each
camera, in space; the camera is worked out from both. The site gives no SMPL parameters.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float

from dtsvibe_cli.errors import ConfigError, DataError
from dtsvibe_cli.geometry.fitted_camera import fitted_camera
from dtsvibe_cli.training.datasets.joint_names import H36M32
from dtsvibe_cli.training.datasets.tracks import (
    JointLabels,
    LabelledTrack,
    Recording,
    VideoFrames,
    boxes_around,
    require_folder,
)

DATASET: Final = "h36m"
RATE_HZ: Final = 50.0

SUBJECTS: Final = {
    "train": ("S1", "S5", "S6", "S7", "S8"),
    "validation": ("S9", "S11"),
    "test": ("S9", "S11"),
}
"""The paper's: trained on five people, tested on two."""

_NUM_JOINTS: Final = 32


def recordings(root: Path, split: str) -> list[Recording]:
    """The videos of a part's subjects that have labels.

    Raises:
        DataError: A subject's folder is missing.
    """
    found = []
    for subject in SUBJECTS[split]:
        labels = require_folder(
            root / subject / "MyPoseFeatures" / "D3_Positions_mono",
            "Human3.6M's 'Poses D3 Positions mono' belong there",
        )
        for path in sorted(labels.glob("*.cdf")):
            name = f"{subject}/{path.stem.replace(' ', '_')}"
            found.append(Recording(name=name, read=partial(_person, root / subject, path, name)))
    return found


def _person(subject: Path, labels: Path, name: str) -> Iterator[LabelledTrack]:
    space = _read_poses(labels, 3) / 1000
    picture = _read_poses(subject / "MyPoseFeatures" / "D2_Positions" / labels.name, 2)
    length = min(len(space), len(picture))
    space, picture = space[:length], picture[:length]
    everywhere = np.ones((length, _NUM_JOINTS))
    yield LabelledTrack(
        dataset=DATASET,
        name=name,
        rate_hz=RATE_HZ,
        frames=VideoFrames(subject / "Videos" / f"{labels.stem}.mp4"),
        boxes_xyxy=boxes_around(picture),
        camera=fitted_camera(space, picture),
        joints_3d=JointLabels(names=H36M32, points=space, weight=everywhere),
        joints_2d=JointLabels(names=H36M32, points=picture, weight=everywhere),
    )


def _read_poses(path: Path, axes: int) -> Float[np.ndarray, "frame 32 axis"]:
    """The variable ``Pose`` of a CDF file."""
    try:
        import cdflib
    except ImportError as error:
        raise ConfigError(
            "Human3.6M's labels are CDF files: pip install 'dtsvibe[train]' for cdflib."
        ) from error
    try:
        pose = np.asarray(cdflib.CDF(path).varget("Pose"), np.float64)
        return pose.reshape(-1, _NUM_JOINTS, axes)
    except (OSError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise DataError(f"{path} cannot be read as Human3.6M's poses ({error}).") from error
