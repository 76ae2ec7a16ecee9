"""Results on disk: our ``.npz``, and a ``.pkl`` in VIBE's layout. No network and no video here.

``NAME_smpl.npz`` holds one row for each person and frame; ``track_id`` says whose row it is and
``frame_index`` which frame's:

>>> data = np.load("out/walk_smpl.npz")  # doctest: +SKIP
>>> data["joints_cam"][data["track_id"] == 1]  # doctest: +SKIP

The arrays are named after the fields of :mod:`dtsvibe_cli.datatypes`, with the same units. ``meta``
is one JSON text with all the rest: frame rate, size, focal length, axes, weights, licence. Nothing
is pickled.
"""

import json
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from dtsvibe_cli import __version__
from dtsvibe_cli.datatypes import (
    PersonMotion,
    PinholeCamera,
    SmplParams,
    Track,
    VideoInfo,
    VideoMotion,
    WeakPerspectiveCamera,
)
from dtsvibe_cli.errors import ResultsError

FORMAT: Final = "dtsvibe-smpl"
"""What ``meta["format"]`` says in each of our files."""

SCHEMA_VERSION: Final = 1
"""Rises when an older reader would misread the file."""

CONVENTIONS: Final = {
    "rows": "one for each person and frame: track_id is the person, frame_index the frame, from 0",
    "axes": "OpenCV camera: x right, y down, z forward",
    "units": "metres; seconds; pixels of the upright image, centre of its first pixel (0.5, 0.5)",
    "rotations": "matrices on column vectors; body_pose relative to the parent joint",
    "weak_perspective": "scale, tx, ty in the square crops_cxcys mapped to [-1, 1]: "
    "x = scale * (X + tx), X of the body before transl",
}
"""Stands in every file, for whoever opens one without this program."""

_ROW_SHAPES: Final[dict[str, tuple[int, ...]]] = {
    "track_id": (), "frame_index": (), "boxes_xyxy": (4,), "scores": (), "global_orient": (3, 3),
    "body_pose": (23, 3, 3), "betas": (10,), "transl": (3,), "weak_perspective": (3,),
    "crops_cxcys": (3,), "joints_cam": (24, 3), "joints_px": (24, 2), "observed": (),
}  # fmt: skip
"""Arrays with a row for each person and frame, and the shape of a row."""

_DAMAGED: Final = (
    KeyError, TypeError, ValueError, ArithmeticError, EOFError, OSError, RuntimeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What numpy, zipfile and json raise on a file that is not what it should be."""

SPIN49_TO_SMPL24: Final = (
    # OpenPose's 25: nose, neck, right arm, left arm, mid-hip, right leg, left leg, eyes, ears, feet
    -1, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
    # the data sets' 24: right ankle, knee, hip, left hip, knee, ankle, right wrist,
    # elbow, shoulder, left shoulder, elbow, wrist, neck, crown, pelvis, thorax, spine, jaw, head,
    # nose, eyes, ears
    8, 5, -1, -1, 4, 7, 21, 19, 17, 16, 18, 20, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
)  # fmt: skip
"""SMPL joint that is each of SPIN's 49 joints; -1 where SPIN takes another point of the body.

SPIN takes those others (face, feet, the data sets' hips, neck, head, pelvis and spine) from
vertices or from regressors made for SMPL's own mesh.
"""


@dataclass(frozen=True, kw_only=True)
class ResultPaths:
    """Names of the files that ``dtsvibe run`` writes."""

    motion: Path
    """All people, as :func:`load_results` reads them."""
    vibe: Path
    """The same in VIBE's layout."""
    overlay: Path
    """The video with bodies drawn on it."""
    report: Path
    """Timings, tracks kept and dropped, versions."""

    @classmethod
    def of(cls, out: Path, source: str | Path) -> "ResultPaths":
        """The four names in folder ``out`` for an input, which may be ``webcam:0``.

        >>> ResultPaths.of(Path("out"), "clips/walk.mp4").motion.name
        'walk_smpl.npz'
        """
        path = Path(source)
        name = (path.resolve().name if path.is_dir() else path.stem).replace(":", "_") or "video"
        return cls(
            motion=out / f"{name}_smpl.npz",
            vibe=out / f"{name}_smpl.pkl",
            overlay=out / f"{name}_overlay.mp4",
            report=out / f"{name}_report.json",
        )


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to; it becomes ``path`` when all went well.

    Raises:
        ResultsError: The folder cannot be created or written.
    """
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResultsError(f"Cannot write {path}: {reason}. Choose another folder.") from error
    finally:
        with suppress(OSError):  # nothing was written where nothing can be
            part.unlink(missing_ok=True)


def save_results(motion: VideoMotion, path: str | Path) -> None:
    """Write a result as one ``.npz``; :func:`load_results` gives the same values back.

    Raises:
        ResultsError: The file cannot be written.
    """
    ids = [person.track.track_id for person in motion.people]
    if len(set(ids)) != len(ids):
        raise ValueError(f"people share a track_id: {ids}")
    rows = [_person_rows(person) for person in motion.people]
    meta = json.dumps(_header(motion), indent=1, allow_nan=False)
    with atomic_path(Path(path)) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as file:
        _write(file, "meta", np.array(meta))
        _write(file, "time_s", motion.time_s)
        for name in _ROW_SHAPES:
            _write(file, name, _column(name, rows))


def _write(file: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    """As np.savez_compressed, which wants all arrays in memory at once."""
    with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
        np.lib.format.write_array(entry, array, allow_pickle=False)


def load_results(path: str | Path) -> VideoMotion:
    """Read a result back, from the ``.npz`` or from the folder ``dtsvibe run`` wrote it to.

    Raises:
        ResultsError: There is no such file, or it is damaged, or a newer version wrote it.
    """
    file = _find(Path(path))
    if not zipfile.is_zipfile(file):
        raise ResultsError(f"{file} is damaged, or not a result of dtsvibe. Give a NAME_smpl.npz.")
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        header = json.loads(str(arrays["meta"]))
        foreign = header["format"] != FORMAT
        schema = int(header["schema_version"])
    except _DAMAGED as error:
        raise ResultsError(f"{file} is damaged, or not a result of dtsvibe: {error}.") from error
    if foreign:
        raise ResultsError(f"{file} is not a result of dtsvibe, but {header['format']!r}.")
    if schema > SCHEMA_VERSION:
        raise ResultsError(
            f"{file} was written by {header.get('software', 'a newer dtsvibe')} in schema {schema};"
            f" this version reads up to {SCHEMA_VERSION}. Upgrade dtsvibe."
        )
    try:
        _check_shapes(arrays)
        return _motion(header, arrays)
    except _DAMAGED as error:
        raise ResultsError(
            f"{file} is damaged: {error}. Run dtsvibe again to rewrite it."
        ) from error


def save_vibe_pickle(
    motion: VideoMotion,
    path: str | Path,
    *,
    vertices: Callable[[SmplParams], Float[np.ndarray, "frame vertex 3"]] | None = None,
) -> None:
    """Write a result as VIBE's ``vibe_output.pkl``: ``{track_id: {name: array}}``.

    Each person has ``pred_cam``, ``orig_cam``, ``pose``, ``betas``, ``joints3d``,
    ``joints2d_img_coord``, ``bboxes`` and ``frame_ids`` as VIBE has them; ``verts`` only when
    ``vertices`` (from parameters to vertices) is given. As in VIBE, 3D values leave ``transl`` out
    and joints come in SPIN's order of 49; those that are no SMPL joint (:data:`SPIN49_TO_SMPL24`)
    are NaN. ``joblib.load`` and ``pickle.load`` read it, under any numpy.

    Raises:
        ResultsError: The file cannot be written.
    """
    size_px = (motion.video.width_px, motion.video.height_px)
    output = {
        person.track.track_id: _vibe_person(person, size_px, vertices) for person in motion.people
    }
    with atomic_path(Path(path)) as part, part.open("wb") as file:
        _PortablePickler(file, protocol=4).dump(output)  # 4: VIBE lives on Python 3.7


class _PortablePickler(pickle.Pickler):
    """Writes arrays so that every numpy reads them: numpy 2's own way needs numpy 1.26 or newer."""

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return NotImplemented
        # a bytearray, for arrays over bytes would come back read-only
        return np.ndarray, (value.shape, value.dtype.str, bytearray(np.ascontiguousarray(value)))


def _vibe_person(
    person: PersonMotion,
    size_px: tuple[int, int],
    vertices: Callable[[SmplParams], Float[np.ndarray, "frame vertex 3"]] | None,
) -> dict[str, NDArray[Any]]:
    centered = replace(person.smpl, transl=np.zeros_like(person.smpl.transl))
    cx, cy, side = person.crops_cxcys.T
    camera = person.camera
    fields: dict[str, NDArray[Any]] = {
        "pred_cam": np.stack([camera.scale, camera.tx, camera.ty], axis=-1),
        "orig_cam": _full_image_camera(person, size_px),
        "pose": _rotvecs(person.smpl),
        "betas": person.smpl.betas,
        "joints3d": _spin49(person.joints_cam - person.smpl.transl[:, None]),
        "joints2d_img_coord": _spin49(person.joints_px),
        "bboxes": np.stack([cx, cy, side, side], axis=-1),
    }
    if vertices is not None:
        fields["verts"] = vertices(centered)
    fields = {name: array.astype(np.float32, copy=False) for name, array in fields.items()}
    return fields | {"frame_ids": person.track.frame_index.astype(np.int64)}


def _full_image_camera(
    person: PersonMotion, size_px: tuple[int, int]
) -> Float[np.ndarray, "frame 4"]:
    """VIBE's ``orig_cam``: ``[sx, sy, tx, ty]``, the weak-perspective camera of the whole image."""
    cx, cy, side = person.crops_cxcys.T
    camera, (width, height) = person.camera, size_px
    sx, sy = camera.scale * side / width, camera.scale * side / height
    tx = camera.tx + (2 * cx / width - 1) / sx
    ty = camera.ty + (2 * cy / height - 1) / sy
    return np.stack([sx, sy, tx, ty], axis=-1)


def _rotvecs(smpl: SmplParams) -> Float[np.ndarray, "frame 72"]:
    import torch

    from dtsvibe_cli.geometry.rotations import rotmat_to_rotvec

    rotvecs = np.empty((len(smpl.body_pose), 72), np.float32)
    for start in range(0, len(rotvecs), 1024):
        some = slice(start, start + 1024)
        rotmat = np.concatenate([smpl.global_orient[some, None], smpl.body_pose[some]], axis=1)
        rotvecs[some] = rotmat_to_rotvec(torch.from_numpy(rotmat)).flatten(1).numpy()
    return rotvecs


def _spin49(joints: Float[np.ndarray, "frame 24 axis"]) -> Float[np.ndarray, "frame 49 axis"]:
    chosen = joints[:, np.array(SPIN49_TO_SMPL24)]
    chosen[:, np.array(SPIN49_TO_SMPL24) < 0] = np.nan
    return chosen


def _find(path: Path) -> Path:
    """The ``.npz`` that a path names: itself, or the only one in the folder."""
    if not path.is_dir():
        if not path.exists():
            raise ResultsError(f"There is no {path}. Give a NAME_smpl.npz, or the folder it is in.")
        return path
    found = sorted(path.glob("*_smpl.npz"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise ResultsError(
            f"{path} must hold one NAME_smpl.npz, found {names}. Give the file itself."
        )
    return found[0]


def _column(name: str, rows: list[dict[str, NDArray[Any]]]) -> NDArray[Any]:
    """One array of all people."""
    dtypes = {"track_id": np.int64, "frame_index": np.int64, "observed": np.bool_}
    none: NDArray[Any] = np.zeros((0, *_ROW_SHAPES[name]), dtype=dtypes.get(name, np.float32))
    return np.concatenate([row[name] for row in rows]) if rows else none


def _person_rows(person: PersonMotion) -> dict[str, NDArray[Any]]:
    track, smpl, camera = person.track, person.smpl, person.camera
    return {
        "track_id": np.full(len(track.frame_index), track.track_id, dtype=np.int64),
        "frame_index": track.frame_index,
        "boxes_xyxy": track.boxes_xyxy,
        "scores": track.scores,
        "global_orient": smpl.global_orient,
        "body_pose": smpl.body_pose,
        "betas": smpl.betas,
        "transl": smpl.transl,
        "weak_perspective": np.stack([camera.scale, camera.tx, camera.ty], axis=-1),
        "crops_cxcys": person.crops_cxcys,
        "joints_cam": person.joints_cam,
        "joints_px": person.joints_px,
        "observed": person.observed,
    }


def _header(motion: VideoMotion) -> dict[str, Any]:
    video, camera = motion.video, motion.camera
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "software": f"dtsvibe {__version__}",
        "people": [person.track.track_id for person in motion.people],
        "first_frame": motion.first_frame,
        "video": {
            "path": str(video.path),
            "width_px": video.width_px,
            "height_px": video.height_px,
            "frame_rate": str(video.frame_rate),
            "num_frames": video.num_frames,
            "rotation_deg": video.rotation_deg,
            "has_audio": video.has_audio,
            "focal_length_px": video.focal_length_px,
        },
        "camera": {
            "focal_length_px": camera.focal_length_px,
            "center_px": list(camera.center_px),
            "source": camera.source,
        },
        "conventions": CONVENTIONS,
        "run": motion.meta,
    }


def _check_shapes(arrays: dict[str, NDArray[Any]]) -> None:
    num_rows = len(arrays["track_id"])
    for name, shape in _ROW_SHAPES.items():
        if arrays[name].shape != (num_rows, *shape):
            raise ValueError(f"{name} is {arrays[name].shape}, not {(num_rows, *shape)}")


def _motion(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> VideoMotion:
    video, camera = header["video"], header["camera"]
    x, y = camera["center_px"]
    return VideoMotion(
        video=VideoInfo(
            **{
                **video,
                "path": Path(video["path"]),
                "frame_rate": Fraction(video["frame_rate"]),
            }
        ),
        camera=PinholeCamera(**{**camera, "center_px": (x, y)}),
        people=tuple(_person(track_id, arrays) for track_id in header["people"]),
        time_s=arrays["time_s"],
        first_frame=header["first_frame"],
        meta=header["run"],
    )


def _person(track_id: int, arrays: dict[str, NDArray[Any]]) -> PersonMotion:
    mine = arrays["track_id"] == track_id
    rows = {name: arrays[name][mine] for name in _ROW_SHAPES}
    scale, tx, ty = rows["weak_perspective"].T
    return PersonMotion(
        track=Track(
            track_id=track_id,
            frame_index=rows["frame_index"],
            boxes_xyxy=rows["boxes_xyxy"],
            scores=rows["scores"],
        ),
        smpl=SmplParams(
            global_orient=rows["global_orient"],
            body_pose=rows["body_pose"],
            betas=rows["betas"],
            transl=rows["transl"],
        ),
        camera=WeakPerspectiveCamera(scale=scale, tx=tx, ty=ty),
        crops_cxcys=rows["crops_cxcys"],
        joints_cam=rows["joints_cam"],
        joints_px=rows["joints_px"],
        observed=rows["observed"],
    )
