"""3DPW (von Marcard et al. 2018), as it is downloaded.

Expected below the root::

    sequenceFiles/{train,validation,test}/NAME.pkl
    imageFiles/NAME/image_00000.jpg ...

Labels: SMPL parameters and SMPL's 24 joints, carried from the world into the camera by
``cam_poses``, where ``campose_valid`` says that the camera is right. The betas are those of the
official body of the person's gender.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from dtsvibe_cli.datatypes import PinholeCamera
from dtsvibe_cli.errors import DataError
from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.smpl_pickle import RefusedPickleError, read_arrays
from dtsvibe_cli.training.datasets.tracks import (
    JointLabels,
    LabelledTrack,
    Recording,
    SmplLabels,
    boxes_around,
    image_files,
    require_folder,
)

DATASET: Final = "3dpw"
RATE_HZ: Final = 30.0

_KEYS: Final = ("poses", "betas", "jointPositions", "cam_poses", "cam_intrinsics", "campose_valid")


def recordings(root: Path, split: str) -> list[Recording]:
    """The sequences of a part: ``train``, ``validation`` or ``test``.

    Raises:
        DataError: The part is missing.
    """
    folder = require_folder(root / "sequenceFiles" / split, "3DPW keeps its .pkl files there")
    return [
        Recording(name=path.stem, read=partial(_people, root, path))
        for path in sorted(folder.glob("*.pkl"))
    ]


def _people(root: Path, path: Path) -> Iterator[LabelledTrack]:
    fields = _read(path)
    camera_world = fields["cam_poses"].astype(np.float64)
    intrinsics = fields["cam_intrinsics"].astype(np.float64)
    frames = image_files(root / "imageFiles" / path.stem, len(camera_world))
    for person in range(len(fields["poses"])):
        smpl, joints = _in_camera(
            fields["poses"][person].astype(np.float64),
            fields["jointPositions"][person].astype(np.float64),
            fields["betas"][person].astype(np.float64).reshape(-1)[:10],
            camera_world,
            fields["campose_valid"][person].reshape(-1).astype(bool),
        )
        pixels = _project(joints.points, intrinsics)
        weight = joints.weight * (joints.points[..., 2] > 0.1)
        yield LabelledTrack(
            dataset=DATASET,
            name=f"{path.stem}/person{person}",
            rate_hz=RATE_HZ,
            frames=frames,
            boxes_xyxy=boxes_around(pixels, weight),
            camera=PinholeCamera(
                focal_length_px=float(intrinsics[0, 0] + intrinsics[1, 1]) / 2,
                center_px=(float(intrinsics[0, 2]), float(intrinsics[1, 2])),
                source="metadata",
            ),
            smpl=smpl,
            joints_3d=joints,
            joints_2d=JointLabels(names=SMPL24, points=pixels, weight=weight),
        )


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        fields = read_arrays(path.read_bytes(), _KEYS)
    except RefusedPickleError as error:
        raise DataError(f"{path} is refused: it asks for {error}.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a 3DPW sequence ({error}).") from error
    missing = [key for key in _KEYS if key not in fields]
    if missing:
        raise DataError(f"{path} has no {', '.join(missing)}; 3DPW's sequence files do.")
    return fields


def _in_camera(
    poses: Float[np.ndarray, "frame 72"],
    joints_world: Float[np.ndarray, "frame 72"],
    betas: Float[np.ndarray, "10"],
    camera_world: Float[np.ndarray, "frame 4 4"],
    valid: Bool[np.ndarray, " frame"],
) -> tuple[SmplLabels, JointLabels]:
    # where it was not found, a camera may be anything, and no rotation at all
    found = np.isfinite(camera_world).all((1, 2))
    found &= np.abs(np.linalg.det(np.nan_to_num(camera_world[:, :3, :3])) - 1) < 0.1
    camera = np.where(found[:, None, None], camera_world, np.eye(4))
    valid = valid & found
    turn, shift = camera[:, :3, :3], camera[:, :3, 3]
    rotvec = poses.reshape(-1, 24, 3).copy()
    root = turn @ Rotation.from_rotvec(rotvec[:, 0]).as_matrix()
    rotvec[:, 0] = Rotation.from_matrix(root).as_rotvec()
    joints = joints_world.reshape(-1, 24, 3) @ turn.transpose(0, 2, 1) + shift[:, None]
    smpl = SmplLabels(
        full_pose_rotvec=rotvec, betas=betas, valid=valid, pelvis_m=np.array(joints[:, 0])
    )
    weight = np.repeat(valid[:, None], 24, axis=1).astype(float)
    return smpl, JointLabels(names=SMPL24, points=joints, weight=weight)


def _project(
    points: Float[np.ndarray, "frame joint 3"], intrinsics: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "frame joint 2"]:
    depth = np.maximum(points[..., 2:], 0.1)
    focal = np.array([intrinsics[0, 0], intrinsics[1, 1]])
    return np.asarray(points[..., :2] / depth * focal + intrinsics[:2, 2])
