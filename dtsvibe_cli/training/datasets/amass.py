"""AMASS (Mahmood et al. 2019): motion capture as SMPL-H parameters, for the cheap stage.

Expected: any folder with the downloaded ``.npz`` files below it. The SMPL+H release has ``poses``
(frame, 156), ``trans`` and ``mocap_framerate``; in the SMPL-X release ``poses`` has 165 numbers and
the rate is called ``mocap_frame_rate``. Of both the first 22 joints are SMPL's; the hands are left
at rest, as SMPL's last two joints are.
"""

import zipfile
from pathlib import Path
from typing import Final

import numpy as np
from scipy.spatial.transform import Rotation

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.training.retargeting import Motion

HELD_OUT_FOLDERS: Final = frozenset({
    "HumanEva", "MPI_HDM05", "HDM05", "SFU", "MPI_mosh", "MoSh",
    "Transitions_mocap", "Transitions", "SSM_synced", "SSM",
})  # fmt: skip
"""Parts that its authors keep for validation and testing, by their names in both releases."""

NUM_JOINTS: Final = 22
"""Joints that SMPL, SMPL-H and SMPL-X share."""

Y_UP: Final = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""From AMASS's world, where z is up, to ours."""


def is_amass(path: Path) -> bool:
    """Whether a file's name is one of AMASS's recordings; shapes of subjects lie among them."""
    return path.suffix == ".npz" and path.stem != "shape" and not path.stem.endswith("_stagei")


def read_amass(path: Path, rate_hz: float = 60.0) -> Motion:
    """One recording, thinned to about the given rate.

    Raises:
        DataError: It cannot be read, or lacks poses or their rate.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            keys = set(file.files)
            rate_key = "mocap_framerate" if "mocap_framerate" in keys else "mocap_frame_rate"
            missing = {"poses", "trans", rate_key} - keys
            if missing:
                raise DataError(f"{path} has no {', '.join(sorted(missing))}; AMASS's files do.")
            recorded_hz = float(file[rate_key])
            poses, trans = file["poses"], file["trans"]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read as motion of AMASS: it is missing, damaged or of another kind."
        ) from error
    if poses.ndim != 2 or poses.shape[1] < 3 * NUM_JOINTS or trans.shape != (len(poses), 3):
        raise DataError(f"{path} has poses {poses.shape} and trans {trans.shape}, not AMASS's.")
    if recorded_hz <= 0 or len(poses) == 0:
        raise DataError(f"{path} holds no motion.")
    every = max(1, round(recorded_hz / rate_hz))
    rotvec = poses[::every, : 3 * NUM_JOINTS].astype(np.float64).reshape(-1, 3)
    rotmats = np.tile(np.eye(3), (len(poses[::every]), 24, 1, 1))
    rotmats[:, :NUM_JOINTS] = Rotation.from_rotvec(rotvec).as_matrix().reshape(-1, NUM_JOINTS, 3, 3)
    rotmats[:, 0] = Y_UP @ rotmats[:, 0]
    return Motion(
        name=path.stem,
        rate_hz=recorded_hz / every,
        rotmats=rotmats,
        transl_m=trans[::every].astype(np.float64) @ Y_UP.T,
    )
