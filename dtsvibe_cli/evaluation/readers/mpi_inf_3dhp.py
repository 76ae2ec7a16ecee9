"""The test set of MPI-INF-3DHP (Mehta et al. 2017) as it is downloaded.

::

    mpi_inf_3dhp_test_set/
      TS1/annot_data.mat                       (TS1 to TS6)
      TS1/imageSequence/img_000001.jpg

``annot_data.mat`` is HDF5: ``annot3`` (frames x 1 x 17 x 3, millimetres, camera coordinates),
``annot2`` (pixels), ``valid_frame``, ``activity_annotation``. Reading it needs ``h5py``
(``pip install 'dtsvibe[train]'``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Shaped

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.evaluation.ground_truth import TruePerson, TrueSequence, TruthBodies
from dtsvibe_cli.evaluation.readers import choose_split
from dtsvibe_cli.geometry.fitted_camera import fitted_camera

JOINTS: Final = (
    "head_top", "neck_lsp", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder",
    "left_elbow", "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee",
    "left_ankle", "pelvis_h36m", "spine_h36m", "head_h36m",
)  # fmt: skip
"""The 17 joints of ``annot3`` in order."""

ACTIVITIES: Final = (
    "stand or walk", "exercise", "sit on a chair", "crouch or reach", "on the floor", "sports",
    "miscellaneous",
)  # fmt: skip
"""Of ``activity_annotation``, which counts from 1."""

RATE_HZ: Final = 25


class MpiInf3dhp:
    """The six test sequences; ``indoor`` are TS1 to TS4, ``outdoor`` TS5 and TS6."""

    def __init__(self, folder: Path, bodies: TruthBodies, split: str | None = None) -> None:
        self._split = choose_split(split, ("test", "indoor", "outdoor"), "3dhp")
        numbers = {"test": range(1, 7), "indoor": range(1, 5), "outdoor": range(5, 7)}
        wanted = [folder / f"TS{number}" for number in numbers[self._split]]
        self._folders = [path for path in wanted if (path / "annot_data.mat").is_file()]
        if not self._folders:
            raise DataError(
                f"{folder} holds no {wanted[0].name}/annot_data.mat: give the folder with "
                "MPI-INF-3DHP's TS1 to TS6."
            )

    @property
    def protocol(self) -> str:
        """How it is measured."""
        here = ", ".join(path.name for path in self._folders)
        return (
            f"MPI-INF-3DHP test set ({here}), valid frames, {RATE_HZ} a second as assumed by the "
            "field, the focal length fitted to the true 3D and 2D."
        )

    def sequences(self) -> Iterator[TrueSequence]:
        """Each of the test sequences."""
        for path in self._folders:
            yield _sequence(path)


def _sequence(folder: Path) -> TrueSequence:
    annotations = _read(folder / "annot_data.mat")
    joints, pixels = annotations.joints_mm / 1000, annotations.joints_px
    rows = np.flatnonzero(annotations.valid)
    images = folder / "imageSequence"
    return TrueSequence(
        name=folder.name,
        joint_names=JOINTS,
        source=images if images.is_dir() else None,
        frame_rate=Fraction(RATE_HZ),
        focal_length_px=fitted_camera(joints[rows], pixels[rows]).focal_length_px,
        people=(
            TruePerson(
                name=folder.name,
                frame_index=rows,
                joints_m=joints[rows],
                joints_px=pixels[rows],
                actions=annotations.actions[rows],
            ),
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Annotations:
    joints_mm: Float[np.ndarray, "frame 17 3"]
    joints_px: Float[np.ndarray, "frame 17 2"]
    valid: Bool[np.ndarray, " frame"]
    actions: Shaped[np.ndarray, " frame"]


def _read(path: Path) -> _Annotations:
    try:
        import h5py
    except ImportError as error:
        raise DataError(
            "MPI-INF-3DHP's annotations need h5py: pip install 'dtsvibe[train]'."
        ) from error
    try:
        with h5py.File(path, "r") as file:
            joints = np.asarray(file["annot3"], dtype=np.float64).reshape(-1, 17, 3)
            pixels = np.asarray(file["annot2"], dtype=np.float64).reshape(-1, 17, 2)
            valid = np.asarray(file["valid_frame"]).ravel() > 0
            activity = np.asarray(file.get("activity_annotation", np.zeros(len(valid)))).ravel()
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path} is not laid out as 3DHP's annotations: {error}.") from error
    if not len(joints) == len(pixels) == len(valid) == len(activity):
        raise DataError(f"{path} has annotations of unlike length.")
    names = np.array(("", *ACTIVITIES))
    known = (activity >= 1) & (activity <= len(ACTIVITIES))
    return _Annotations(
        joints_mm=joints,
        joints_px=pixels,
        valid=valid,
        actions=names[np.where(known, activity, 0).astype(np.int64)],
    )
