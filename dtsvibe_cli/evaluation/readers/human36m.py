"""Human3.6M (Ionescu et al. 2014) as its site distributes it.

::

    h36m/
      S9/MyPoseFeatures/D3_Positions_mono/Directions 1.60457274.cdf   (archive Poses_D3_Positions_mono_S9)
      S9/MyPoseFeatures/D2_Positions/Directions 1.60457274.cdf        (Poses_D2_Positions_S9, optional)
      S9/Videos/Directions 1.60457274.mp4                             (Videos_S9)

``Pose`` in ``D3_Positions_mono`` holds 32 joints in millimetres in the camera's coordinates,
``D2_Positions`` the same in pixels. Reading them needs ``cdflib`` (``pip install
'dtsvibe[train]'``).
"""  # noqa: E501 (paths)

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.evaluation.ground_truth import TruePerson, TrueSequence, TruthBodies
from dtsvibe_cli.evaluation.joint_sets import H36M17
from dtsvibe_cli.evaluation.readers import choose_split
from dtsvibe_cli.geometry.fitted_camera import fitted_camera

SUBJECTS: Final = ("S9", "S11")
FRONTAL_CAMERA: Final = "60457274"
EVERY: Final = 2
"""Videos have 50 frames a second; the field measures 25."""

_ROWS: Final = (0, 6, 7, 8, 1, 2, 3, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""Which of the 32 joints :data:`H36M17` is, which names the left leg first."""

_D3: Final = "MyPoseFeatures/D3_Positions_mono"
_D2: Final = "MyPoseFeatures/D2_Positions"


class Human36m:
    """Subjects 9 and 11; ``p2`` is the frontal camera alone, ``p1`` all four."""

    def __init__(self, folder: Path, bodies: TruthBodies, split: str | None = None) -> None:
        self._split = choose_split(split, ("p2", "p1"), "h36m")
        camera = FRONTAL_CAMERA if self._split == "p2" else "*"
        self._files = [
            path
            for subject in SUBJECTS
            for path in sorted((folder / subject / _D3).glob(f"*.{camera}.cdf"))
            if not path.name.startswith("_ALL")  # a calibration take that is not part of the set
        ]
        if not self._files:
            raise DataError(
                f"{folder} holds no S9/{_D3}/*.cdf: unpack Human3.6M's Poses_D3_Positions_mono and "
                "Videos of S9 and S11 there."
            )

    @property
    def protocol(self) -> str:
        """How it is measured."""
        cameras = f"camera {FRONTAL_CAMERA}" if self._split == "p2" else "all four cameras"
        return (
            f"Human3.6M, subjects S9 and S11, {cameras} (split {self._split}), every second frame: "
            "25 a second, the focal length fitted to the true 3D and 2D where 2D is there."
        )

    def sequences(self) -> Iterator[TrueSequence]:
        """Each take of each camera."""
        for path in self._files:
            yield _sequence(path)


def _sequence(path: Path) -> TrueSequence:
    subject = path.parents[2]
    flat = subject / _D2 / path.name
    joints = _read_pose(path, 3) / 1000
    pixels = _read_pose(flat, 2) if flat.is_file() else None
    focal = None if pixels is None else fitted_camera(joints, pixels).focal_length_px
    rows = np.arange(0, len(joints), EVERY)
    video = subject / "Videos" / path.with_suffix(".mp4").name
    return TrueSequence(
        name=f"{subject.name} {path.stem}",
        joint_names=H36M17,
        # takes are numbered: "Directions 1", or plain "Directions"
        action=path.stem.split(".")[0].split(" ")[0],
        source=video if video.is_file() else None,
        focal_length_px=focal,
        people=(
            TruePerson(
                name=subject.name,
                frame_index=rows,
                joints_m=joints[rows],
                joints_px=None if pixels is None else pixels[rows],
            ),
        ),
    )


def _read_pose(path: Path, axes: int) -> Float[np.ndarray, "frame 17 axis"]:
    try:
        import cdflib
    except ImportError as error:
        raise DataError(
            "Human3.6M's .cdf files need cdflib: pip install 'dtsvibe[train]'."
        ) from error
    try:
        pose = np.asarray(cdflib.CDF(path).varget("Pose"), dtype=np.float64)
        return pose.reshape(-1, 32, axes)[:, list(_ROWS)]
    except (ValueError, OSError, KeyError, IndexError) as error:
        raise DataError(f"{path} cannot be read as poses of Human3.6M: {error}.") from error
