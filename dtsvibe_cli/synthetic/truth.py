"""What is exactly true of a synthetic clip, and its file."""

import json
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.synthetic.motion import WorldMotion, shaped_joints
from dtsvibe_cli.synthetic.render import project
from dtsvibe_cli.synthetic.scene import CameraPath

_FORMAT = "dtsvibe synthetic truth"
_VERSION = 1
_LICENCE = "CC0-1.0"


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Motion and camera; metres, camera coordinates (x right, y down, z forward)."""

    global_orient_rotmat: Float[np.ndarray, "frame 3 3"]
    body_pose_rotmat: Float[np.ndarray, "frame 23 3 3"]
    betas: Float[np.ndarray, " shape"]
    transl: Float[np.ndarray, "frame 3"]
    joints_cam: Float[np.ndarray, "frame 24 3"]
    joints_px: Float[np.ndarray, "frame 24 2"]
    """The same joints in the picture; the centre of the top-left pixel is (0.5, 0.5)."""
    focal_length_px: float
    center_px: tuple[float, float]
    fps: float
    foot_contact: Bool[np.ndarray, "frame 2"]
    """Whether the ball of the left and the right foot bears on the floor."""
    R_cam_world: Float[np.ndarray, "frame 3 3"]
    t_cam_world: Float[np.ndarray, "frame 3"]
    """``x_cam = R_cam_world @ x_world + t_cam_world``; y is up in the world, the floor is at 0."""

    @property
    def K(self) -> Float[np.ndarray, "3 3"]:
        """Intrinsics."""
        f, (cx, cy) = self.focal_length_px, self.center_px
        return np.array([[f, 0, cx], [0, f, cy], [0, 0, 1]], dtype=np.float64)


def see_motion(
    body: BodyModel,
    motion: WorldMotion,
    camera: CameraPath,
    *,
    focal_length_px: float,
    center_px: tuple[float, float],
    fps: float,
) -> Truth:
    """A motion in world coordinates as a moving camera sees it."""
    root = shaped_joints(body, motion.betas)[0]
    orient = camera.R_cam_world @ motion.global_orient_rotmat
    # SMPL turns the body about its pelvis, which is not at the origin; transl takes up the rest
    pelvis = (camera.R_cam_world @ (motion.transl + root)[..., None])[..., 0] + camera.t_cam_world
    transl = pelvis - root
    full_pose = torch.from_numpy(np.concatenate([orient[:, None], motion.body_pose_rotmat], axis=1))
    betas = torch.from_numpy(motion.betas).expand(len(transl), -1)
    posed = body.to("cpu", torch.float64).pose(full_pose, betas)
    joints_cam = posed.joints.numpy() + transl[:, None]
    (cx, cy), f = center_px, focal_length_px
    return Truth(
        global_orient_rotmat=orient,
        body_pose_rotmat=motion.body_pose_rotmat,
        betas=motion.betas,
        transl=transl,
        joints_cam=joints_cam,
        joints_px=project(joints_cam, np.array([[f, 0, cx], [0, f, cy], [0, 0, 1.0]])),
        focal_length_px=focal_length_px,
        center_px=center_px,
        fps=fps,
        foot_contact=motion.foot_contact,
        R_cam_world=camera.R_cam_world,
        t_cam_world=camera.t_cam_world,
    )


def save_truth(path: Path, truth: Truth, body: BodyModel, *, seed: int) -> None:
    """Writes a truth file: arrays named as in :class:`Truth` and a JSON ``meta`` block."""
    meta = {
        "format": _FORMAT,
        "version": _VERSION,
        "units": "metres, pixels, rotation matrices; camera axes x right, y down, z forward",
        "body_model": body.name,
        "body_model_sha256": body.sha256,
        "licence": _LICENCE,
        "seed": seed,
    }
    arrays: dict[str, Any] = {"meta": np.array(json.dumps(meta))}
    for field in fields(Truth):
        value = np.asarray(getattr(truth, field.name))
        arrays[field.name] = value if value.dtype == np.bool_ else value.astype(np.float32)
    np.savez_compressed(path, **arrays)


def load_truth(path: Path) -> Truth:
    """Reads what :func:`save_truth` wrote.

    Raises:
        DataError: The file is missing or is no truth file.
    """
    if not path.is_file():
        raise DataError(f"There is no truth file {path}: give a NAME_truth.npz.")
    if not zipfile.is_zipfile(path):  # numpy would take it for a pickle, and advise to run it
        raise DataError(f"{path} is not a truth file of a synthetic clip: it is no whole .npz.")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {field.name: file[field.name] for field in fields(Truth)}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a truth file of a synthetic clip ({error}).") from error
    arrays = {
        name: array if array.dtype == np.bool_ else array.astype(np.float64)
        for name, array in arrays.items()
    }
    focal, fps = float(arrays.pop("focal_length_px")), float(arrays.pop("fps"))
    cx, cy = (float(value) for value in arrays.pop("center_px"))
    return Truth(focal_length_px=focal, fps=fps, center_px=(cx, cy), **arrays)
