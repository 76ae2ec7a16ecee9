"""The arrays of our own format as people: see :mod:`~dtsvibe_cli.evaluation.readers.own_format`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from jaxtyping import Float

from dtsvibe_cli.datatypes import SmplParams
from dtsvibe_cli.errors import DataError
from dtsvibe_cli.evaluation.ground_truth import TruePerson
from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.smpl import BodyModel

_KINDS: Final = ("joints_world", "joints_cam", "joints_relative")
_PARAMETERS: Final = ("global_orient", "body_pose", "betas", "transl")


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A calibrated camera that does not move: ``x_cam = R @ x_world + t``."""

    K: Float[np.ndarray, "3 3"]
    R: Float[np.ndarray, "3 3"]
    t: Float[np.ndarray, "3"]
    distortion: Float[np.ndarray, " coefficient"]
    """OpenCV's coefficients; empty for none."""

    @property
    def focal_length_px(self) -> float:
        """Mean of the two."""
        return float(self.K[0, 0] + self.K[1, 1]) / 2

    def place(
        self, world: Float[np.ndarray, "person frame joint 3"]
    ) -> Float[np.ndarray, "person frame joint 3"]:
        """World points in camera coordinates."""
        placed: Float[np.ndarray, "person frame joint 3"] = world @ self.R.T + self.t
        return placed

    def project(
        self, points: Float[np.ndarray, "person frame joint 3"]
    ) -> Float[np.ndarray, "person frame joint 2"]:
        """Pixels of points in camera coordinates; NaN for unknown ones and behind the camera."""
        flat = points.reshape(-1, 3)
        ahead = np.isfinite(flat).all(1) & (np.nan_to_num(flat[:, 2]) > 0)
        pixels = np.full((len(flat), 2), np.nan)
        if ahead.any():
            distortion = self.distortion if len(self.distortion) else None
            nothing = np.zeros(3)
            seen, _ = cv2.projectPoints(flat[ahead], nothing, nothing, self.K, distortion)
            pixels[ahead] = seen[:, 0]
        return pixels.reshape(*points.shape[:3], 2)


def people_of_arrays(
    arrays: Mapping[str, np.ndarray],
    path: Path,
    *,
    camera_name: str | None,
    camera: Camera | None,
    body: BodyModel | None,
) -> tuple[tuple[str, ...], tuple[TruePerson, ...]]:
    """Joint names and people of one ``.npz``, as one camera sees them.

    Raises:
        DataError: Arrays are missing or do not fit each other.
    """
    parameters = _parameters(arrays, path)
    names: tuple[str, ...]
    kind = next((key for key in _KINDS if key in arrays), None)
    if kind is None:
        names, joints = SMPL24, _joints_of(parameters, body, path)
    else:
        if "joint_names" not in arrays:
            raise DataError(f"{path} has no joint_names: say which joints it holds.")
        names = tuple(str(name) for name in arrays["joint_names"])
        joints = _joints(arrays, kind, names, path)
        if kind == "joints_world":
            if camera is None:
                raise DataError(
                    f"{path} has joints in world coordinates: name a camera of cameras.json."
                )
            joints = camera.place(joints)
    num_people, num_frames = joints.shape[:2]
    absolute = kind != "joints_relative"

    def of_view(key: str, *shape: int) -> np.ndarray | None:
        """An array of this camera, or of the only one."""
        found = arrays.get(f"{key}_{camera_name}", arrays.get(key))
        return (
            None if found is None else _shaped(found, key, (num_people, num_frames, *shape), path)
        )

    pixels = of_view("joints_px", len(names), 2)
    if pixels is None and camera is not None and absolute:
        pixels = camera.project(joints)
    boxes = of_view("boxes_xyxy", 4)
    frames = _frames(arrays, num_frames, path)
    titles = [str(name) for name in arrays.get("person_names", np.arange(1, num_people + 1))]
    people = []
    for k in range(num_people):
        rows = np.flatnonzero(np.isfinite(joints[k]).all(-1).any(-1))
        people.append(
            TruePerson(
                name=titles[k],
                frame_index=frames[rows],
                joints_m=joints[k][rows],
                absolute=absolute,
                joints_px=None if pixels is None else pixels[k][rows],
                boxes_xyxy=None if boxes is None else boxes[k][rows],
                smpl=None if parameters is None else _of_person(parameters, k, rows),
                body=body,
            )
        )
    return names, tuple(people)


def _shaped(
    array: np.ndarray, key: str, shape: tuple[int, ...], path: Path
) -> Float[np.ndarray, "..."]:
    if array.shape != shape:
        raise DataError(f"{path}: {key} is {array.shape}, not {shape}.")
    return array.astype(np.float64)


def _joints(
    arrays: Mapping[str, np.ndarray], kind: str, names: tuple[str, ...], path: Path
) -> Float[np.ndarray, "person frame joint 3"]:
    joints = arrays[kind].astype(np.float64)
    if joints.ndim != 4 or joints.shape[2:] != (len(names), 3):
        raise DataError(f"{path}: {kind} is {joints.shape}, not (person, frame, {len(names)}, 3).")
    if "valid" in arrays:
        valid = arrays["valid"].astype(bool)
        if valid.shape != joints.shape[:3]:
            raise DataError(f"{path}: valid is {valid.shape}, not {joints.shape[:3]}.")
        joints[~valid] = np.nan
    return joints


def _frames(arrays: Mapping[str, np.ndarray], num_frames: int, path: Path) -> np.ndarray:
    frames = np.asarray(arrays.get("frame_index", np.arange(num_frames))).astype(np.int64)
    if frames.shape != (num_frames,) or (np.diff(frames) <= 0).any() or (frames < 0).any():
        raise DataError(
            f"{path}: frame_index must rise, one number for each of {num_frames} frames."
        )
    return frames


def _parameters(arrays: Mapping[str, np.ndarray], path: Path) -> SmplParams | None:
    """All people's parameters with betas repeated; None when there are none."""
    missing = [key for key in _PARAMETERS if key not in arrays]
    if len(missing) == len(_PARAMETERS):
        return None
    if missing:
        raise DataError(f"{path} has SMPL parameters without {', '.join(missing)}.")
    people, frames = arrays["transl"].shape[:2]
    num_betas = arrays["betas"].shape[-1]
    return SmplParams(
        global_orient=_shaped(
            arrays["global_orient"], "global_orient", (people, frames, 3, 3), path
        ),
        body_pose=_shaped(arrays["body_pose"], "body_pose", (people, frames, 23, 3, 3), path),
        betas=np.repeat(
            _shaped(arrays["betas"], "betas", (people, num_betas), path)[:, None], frames, axis=1
        ),
        transl=_shaped(arrays["transl"], "transl", (people, frames, 3), path),
    )


def _of_person(parameters: SmplParams, person: int, rows: np.ndarray) -> SmplParams:
    return SmplParams(
        global_orient=parameters.global_orient[person][rows],
        body_pose=parameters.body_pose[person][rows],
        betas=parameters.betas[person][rows],
        transl=parameters.transl[person][rows],
    )


def _joints_of(
    parameters: SmplParams | None, body: BodyModel | None, path: Path
) -> Float[np.ndarray, "person frame 24 3"]:
    """SMPL's joints of bodies whose parameters alone are given."""
    if parameters is None:
        raise DataError(f"{path} has neither joints ({', '.join(_KINDS)}) nor SMPL parameters.")
    if body is None:
        raise DataError(f"{path} has parameters of SMPL's official body: give it as --body-model.")
    pose = np.concatenate([parameters.global_orient[:, :, None], parameters.body_pose], axis=2)
    people, frames = pose.shape[:2]
    flat = torch.from_numpy(pose.reshape(-1, 24, 3, 3)).to(body.v_template.dtype)
    betas = torch.from_numpy(parameters.betas.reshape(people * frames, -1)[:, : body.num_betas])
    joints = body.pose(flat, betas.to(body.v_template.dtype)).joints.double().numpy()
    placed: Float[np.ndarray, "person frame 24 3"] = (
        joints.reshape(people, frames, 24, 3) + parameters.transl[:, :, None]
    )
    return placed
