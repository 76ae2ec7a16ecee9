"""Ground truth in our own format: a folder that says where its truth is, whatever made it.

::

    balance/
      truth.toml
      balance.npz               joints, for any number of cameras
      cameras.json              where the cameras are, when joints are in world coordinates
      cam01.mp4, cam02.mp4      videos, or folders of images

``truth.toml``::

    format = "dtsvibe-truth"
    version = 1
    title = "A man on one leg, two views"      # optional
    body_model = "built-in"                    # or "smpl": whose parameters these are, if any

    [[sequence]]
    name = "view 1"
    truth = "balance.npz"                      # or a .pkl in VIBE's layout
    video = "cam01.mp4"                        # optional: without it only --results works
    camera = "cam01"                           # a camera of cameras.json
    action = "balancing"                       # optional: for the table by action
    frame_rate = "25"                          # of a folder of images
    focal_length_px = 1669.0                   # where there is no camera

The ``.npz`` holds plain arrays; everything but the names, one kind of joints (or parameters) is
optional, and NaN means unknown:

===================================  =========================  ==================================
``joint_names``                      (joint)                    see below
``joints_world``                     (person, frame, joint, 3)  metres, the cameras' world
``joints_cam``                       (person, frame, joint, 3)  or metres, camera coordinates
``joints_relative``                  (person, frame, joint, 3)  or metres about any root: no place
``joints_px``, ``joints_px_CAMERA``  (person, frame, joint, 2)  pixels; else projected by the camera
``boxes_xyxy``, ``boxes_xyxy_CAM…``  (person, frame, 4)         pixels; else the joints' outline
``frame_index``                      (frame)                    in the video, from 0; else 0, 1, 2…
``valid``                            (person, frame, joint)     false: not known
``person_names``                     (person)
``global_orient``, ``body_pose``     (p., frame, 3, 3), 23 x    SMPL, rotation matrices, camera
``betas``, ``transl``                (person, 10), (p., f., 3)  coordinates, metres
===================================  =========================  ==================================

Joint names are SMPL's (``left_hip``, ``right_wrist``, ``pelvis``, …: ``geometry/joints.py``); those
of LSP that differ are ``neck_lsp`` and ``head_top``. BlazePose's names are allowed too: they widen
the person's box and are not measured. ``cameras.json`` maps a camera's name to ``K`` (3 x 3),
``R`` (3 x 3) and ``t`` (3) with ``x_cam = R @ x_world + t``, and optionally ``dist``, OpenCV's
distortion. Axes are OpenCV's: x right, y down, z forward.

A ``.pkl`` in VIBE's layout is a dictionary of people with ``frame_ids``, ``joints3d`` (SPIN's 49),
and optionally ``joints2d_img_coord`` and ``bboxes``; its joints are taken as relative.
"""

import json
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from dacite import Config, DaciteError, from_dict
from jaxtyping import Float

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.evaluation.ground_truth import TrueSequence, TruthBodies
from dtsvibe_cli.evaluation.joint_sets import KNOWN
from dtsvibe_cli.evaluation.readers import choose_split
from dtsvibe_cli.evaluation.readers.own_arrays import Camera, people_of_arrays
from dtsvibe_cli.evaluation.readers.vibe_pickle import VIBE_JOINTS, people_of_vibe

INDEX: Final = "truth.toml"
CAMERAS: Final = "cameras.json"
FORMAT: Final = "dtsvibe-truth"
VERSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """One ``[[sequence]]``."""

    name: str
    truth: str
    video: str | None = None
    camera: str | None = None
    action: str = ""
    frame_rate: str | None = None
    focal_length_px: float | None = None


@dataclass(frozen=True, kw_only=True)
class _Index:
    format: Literal["dtsvibe-truth"]
    version: int
    sequence: list[_Entry]
    title: str = ""
    body_model: Literal["built-in", "smpl"] = "built-in"


class OwnFormat:
    """A folder with a ``truth.toml``."""

    def __init__(self, folder: Path, bodies: TruthBodies, split: str | None = None) -> None:
        choose_split(split, (), "ours")
        self._folder, self._bodies = folder, bodies
        self._index = _read_index(folder / INDEX)
        self._cameras = _read_cameras(folder / CAMERAS)

    @property
    def protocol(self) -> str:
        """How it is measured."""
        title = self._index.title or self._folder.resolve().name
        return f"{title} (own format), every frame that the truth lists."

    def sequences(self) -> Iterator[TrueSequence]:
        """Each ``[[sequence]]`` in order."""
        for entry in self._index.sequence:
            yield self._sequence(entry)

    def _sequence(self, entry: _Entry) -> TrueSequence:
        truth = self._file(entry, entry.truth)
        camera = self._camera(entry)
        names: tuple[str, ...]
        if truth.suffix == ".pkl":
            names, people = VIBE_JOINTS, people_of_vibe(truth)
        else:
            built_in = self._index.body_model == "built-in"
            body = self._bodies.built_in if built_in else self._bodies.neutral
            names, people = people_of_arrays(
                _read_npz(truth), truth, camera_name=entry.camera, camera=camera, body=body
            )
        unknown = sorted(set(names) - KNOWN)
        if unknown:
            raise DataError(
                f"{truth} names the joint {unknown[0]!r}: joints are named as SMPL's, such as "
                "left_hip, or as neck_lsp, head_top, or BlazePose's landmarks."
            )
        focal = entry.focal_length_px
        return TrueSequence(
            name=entry.name,
            joint_names=names,
            people=people,
            action=entry.action,
            source=None if entry.video is None else self._file(entry, entry.video),
            frame_rate=_rate(entry),
            focal_length_px=camera.focal_length_px if focal is None and camera else focal,
        )

    def _file(self, entry: _Entry, name: str) -> Path:
        path = self._folder / name
        if not path.exists():
            raise DataError(f"Sequence {entry.name!r}: {path} is missing.")
        return path

    def _camera(self, entry: _Entry) -> Camera | None:
        if entry.camera is None:
            return None
        if entry.camera not in self._cameras:
            known = ", ".join(self._cameras) or "none"
            raise DataError(
                f"Sequence {entry.name!r}: {self._folder / CAMERAS} has no camera {entry.camera!r} "
                f"(it has {known})."
            )
        return self._cameras[entry.camera]


def _rate(entry: _Entry) -> Fraction | None:
    try:
        return None if entry.frame_rate is None else Fraction(entry.frame_rate)
    except (ValueError, ZeroDivisionError) as error:
        raise DataError(
            f"Sequence {entry.name!r}: {entry.frame_rate!r} is no frame rate; give 25 or "
            "30000/1001."
        ) from error


def _read_index(path: Path) -> _Index:
    if not path.is_file():
        raise DataError(f"There is no {path}: truth in our own format needs one, see the README.")
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        index = from_dict(_Index, values, Config(strict=True, cast=[float]))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, DaciteError, OSError) as error:
        raise DataError(f"{path} does not fit the format {FORMAT}: {error}.") from error
    if index.version != VERSION:
        raise DataError(f"{path} is of version {index.version}; this program reads {VERSION}.")
    names = [entry.name for entry in index.sequence]
    if not names or len(set(names)) < len(names):
        raise DataError(f"{path} must list sequences, each under a name of its own.")
    return index


def _read_cameras(path: Path) -> dict[str, Camera]:
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {name: _to_camera(camera) for name, camera in values.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} does not hold cameras ({error!r}): give each name its K, R and t."
        ) from error


def _to_camera(values: dict[str, Any]) -> Camera:
    def array(key: str, *shape: int) -> Float[np.ndarray, "..."]:
        value = np.array(values[key], dtype=np.float64)
        if value.shape != shape:
            raise ValueError(f"{key} is {value.shape}, not {shape}")
        return value

    distortion = np.array(values.get("dist", []), dtype=np.float64)
    return Camera(K=array("K", 3, 3), R=array("R", 3, 3), t=array("t", 3), distortion=distortion)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise DataError(
            f"{path} cannot be read as .npz: it is missing, damaged or of another kind."
        ) from error
