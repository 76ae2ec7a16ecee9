"""Prepared training sequences: what the stages before the network saw of a person, with labels.

``dtsvibe prepare`` writes one file a tracked person. The arrays of a file are stored as they are,
uncompressed, so that a window of a long sequence is read without the rest of it.
"""

import json
import mmap
import re
import zipfile
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float16, Float32

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.results import atomic_path

_FORMAT: Final = "dtsvibe training sequence"
_VERSION: Final = 1
_NAME: Final = re.compile(r"[^/\\\0:]+(/[^/\\\0:]+)*")


@dataclass(frozen=True, kw_only=True)
class TrainingSequence:
    """One tracked person: inputs and labels, frame by frame.

    Crop coordinates are [-1, 1] over the upright square ``crops_cxcysa[:, :3]``. Three-dimensional
    labels are those of a camera that looks straight at that square's centre (OpenCV axes), which is
    what the network predicts: the real camera's, turned back by the viewing ray. The crop's lean
    turns only what the pose network is shown; landmarks and labels are upright again.
    """

    name: str
    """Unique inside its data set, such as ``courtyard_arguing_00/person0``."""
    dataset: str
    """Such as ``3dpw``."""
    rate_hz: float
    crops_cxcysa: Float32[np.ndarray, "frame 4"]
    """Centre x, y and side in pixels, lean in radians, as in ``Observations``; interpolated where
    the person was not observed."""
    seen: Bool[np.ndarray, " frame"]
    """False where the person was not observed; then the inputs but ``crops_cxcysa`` are zero."""
    landmarks_crop: Float32[np.ndarray, "frame 33 2"]
    visibility: Float32[np.ndarray, "frame 33"]
    world_landmarks_m: Float32[np.ndarray, "frame 33 3"]
    keypoints_crop: Float32[np.ndarray, "frame 17 3"]
    """x, y in crop coordinates, and the score; score 0 is not given."""
    flow: Float16[np.ndarray, "frame 2 side side"]
    """Into this frame, in crop sides; zeros in the first frame."""
    appearance: Float16[np.ndarray, "frame feature"] | None = None
    """Features of an image network (``paper``: 2048); None where landmarks are the appearance."""
    full_pose_rotvec: Float32[np.ndarray, "frame 24 3"]
    betas: Float32[np.ndarray, "10"]
    has_smpl: Bool[np.ndarray, " frame"]
    joints_m: Float32[np.ndarray, "frame 24 3"]
    """Relative to the pelvis."""
    joints_m_weight: Float32[np.ndarray, "frame 24"]
    """0: no label."""
    joints_crop: Float32[np.ndarray, "frame 24 2"]
    """Where the picture shows the joints."""
    joints_crop_weight: Float32[np.ndarray, "frame 24"]
    """0: no label."""

    @property
    def num_frames(self) -> int:
        """Length of the sequence."""
        return len(self.seen)

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays that there are, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    def rows(self, index: np.ndarray | slice) -> "TrainingSequence":
        """Some of the frames, copied into memory: nothing holds the file open."""
        changes: dict[str, Any] = {
            name: np.array(value if name == "betas" else value[index])
            for name, value in self.arrays().items()
        }
        return replace(self, **changes)


_SHAPES: Final[dict[str, tuple[str, tuple[int | str, ...]]]] = {
    "crops_cxcysa": ("float32", ("frame", 4)),
    "seen": ("bool", ("frame",)),
    "landmarks_crop": ("float32", ("frame", 33, 2)),
    "visibility": ("float32", ("frame", 33)),
    "world_landmarks_m": ("float32", ("frame", 33, 3)),
    "keypoints_crop": ("float32", ("frame", 17, 3)),
    "flow": ("float16", ("frame", 2, "side", "side")),
    "appearance": ("float16", ("frame", "feature")),
    "full_pose_rotvec": ("float32", ("frame", 24, 3)),
    "betas": ("float32", (10,)),
    "has_smpl": ("bool", ("frame",)),
    "joints_m": ("float32", ("frame", 24, 3)),
    "joints_m_weight": ("float32", ("frame", 24)),
    "joints_crop": ("float32", ("frame", 24, 2)),
    "joints_crop_weight": ("float32", ("frame", 24)),
}
"""Type and shape of each array; the same word is the same length everywhere."""


def sequence_path(folder: Path, dataset: str, name: str) -> Path:
    """Where the sequence of that name is kept."""
    if not _NAME.fullmatch(f"{dataset}/{name}") or ".." in name.split("/"):
        raise ValueError(f"{dataset}/{name} cannot be the name of a sequence.")
    path = folder / dataset / name
    return path.with_name(path.name + ".npz")


def write_sequence(folder: Path, sequence: TrainingSequence) -> Path:
    """Write a sequence below a folder, under its data set and name; returns the file.

    Raises:
        ResultsError: The folder cannot be written.
        ValueError: An array has another shape or type than it says, or is not finite.
    """
    arrays = sequence.arrays()
    _check(arrays)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{name} of {sequence.name} is not finite")
    meta = {
        "format": _FORMAT,
        "version": _VERSION,
        "name": sequence.name,
        "dataset": sequence.dataset,
        "rate_hz": sequence.rate_hz,
    }
    path = sequence_path(folder, sequence.dataset, sequence.name)
    content: dict[str, Any] = {"meta": np.array(json.dumps(meta)), **arrays}
    with atomic_path(path) as part:
        np.savez(part, **content)
    return path


def read_sequence(path: Path) -> TrainingSequence:
    """A sequence whose arrays are read from the file when they are touched, and cannot be changed.

    Raises:
        DataError: The file is missing, damaged, or not one of :func:`write_sequence`.
    """
    try:
        arrays = _map_arrays(path)
        meta = _read_meta(arrays.pop("meta"))
        _check(arrays)
        named: dict[str, Any] = {name: arrays.get(name) for name in _SHAPES}
        return TrainingSequence(
            name=str(meta["name"]),
            dataset=str(meta["dataset"]),
            rate_hz=float(meta["rate_hz"]),
            **named,
        )
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{path} is no prepared training sequence ({reason}): make it with `dtsvibe prepare`."
        ) from error


def sequence_files(folder: Path) -> list[Path]:
    """Every prepared sequence below a folder, in the order of their names.

    Raises:
        DataError: There is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder of prepared sequences at {folder}.")
    paths = sorted(path for path in folder.rglob("*.npz") if not path.name.startswith("."))
    if not paths:
        raise DataError(
            f"{folder} holds no prepared sequences (.npz): make them with `dtsvibe prepare`."
        )
    return paths


def _read_meta(stored: np.ndarray) -> dict[str, Any]:
    """What the file says of itself.

    Raises:
        ValueError: It is of another format or version.
    """
    meta: dict[str, Any] = json.loads(str(stored))
    if meta["format"] != _FORMAT:
        raise ValueError(f"it holds {meta['format']!r}")
    if meta["version"] != _VERSION:
        raise ValueError(f"it is of version {meta['version']}, this reads {_VERSION}")
    return meta


def _check(arrays: dict[str, np.ndarray]) -> None:
    """Types and shapes.

    Raises:
        ValueError: One does not fit, or is missing.
    """
    sizes: dict[str, int] = {}
    for name, (kind, shape) in _SHAPES.items():
        if name not in arrays:
            if name == "appearance":
                continue
            raise ValueError(f"it has no {name}")
        array = arrays[name]
        for axis, length in zip(shape, array.shape, strict=False):
            if isinstance(axis, str):
                sizes.setdefault(axis, length)
        wanted = tuple(sizes.get(a, -1) if isinstance(a, str) else a for a in shape)
        if array.dtype != kind or array.shape != wanted:
            raise ValueError(
                f"{name} is {array.dtype} of shape {array.shape}, not {kind} of {wanted}"
            )
    if sizes["frame"] == 0:
        raise ValueError("it has no frames")


def _map_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an uncompressed .npz, mapped into memory.

    Raises:
        ValueError: It is damaged or compressed.
    """
    arrays = {}
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError("its arrays are compressed")
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                if version != (1, 0):
                    raise ValueError(f"its arrays are of version {version}")
                shape, column_major, kind = np.lib.format.read_array_header_1_0(stream)
                header = stream.tell()
            start = _data_start(content, member.header_offset) + header
            array = np.ndarray(
                shape, kind, buffer=content, offset=start, order="F" if column_major else "C"
            )
            arrays[member.filename.removesuffix(".npy")] = array
    return arrays


def _data_start(content: mmap.mmap, offset: int) -> int:
    """Where a zip member's bytes begin: after its local header, a name and an extra field."""
    name, extra = (int.from_bytes(content[offset + k : offset + k + 2], "little") for k in (26, 28))
    return offset + 30 + name + extra
