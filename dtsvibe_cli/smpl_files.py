"""Body model files: our own ``.npz`` and the official SMPL files of any release.

Both become one :class:`~dtsvibe_cli.smpl.BodyModel`; no other module knows what a file looks like.
"""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float

from dtsvibe_cli import smpl_pickle, weights
from dtsvibe_cli.errors import BodyModelError
from dtsvibe_cli.geometry.joints import BLAZEPOSE33, SMPL24, SMPL24_PARENTS
from dtsvibe_cli.smpl import BodyModel

SMPL_VERTEX_IDS: Final = {
    "nose": 332, "reye": 6260, "leye": 2800, "rear": 4071, "lear": 583,
    "LBigToe": 3216, "LSmallToe": 3226, "LHeel": 3387,
    "RBigToe": 6617, "RSmallToe": 6624, "RHeel": 6787,
    "lthumb": 2746, "lindex": 2319, "lmiddle": 2445, "lring": 2556, "lpinky": 2673,
    "rthumb": 6191, "rindex": 5782, "rmiddle": 5905, "rring": 6016, "rpinky": 6133,
}  # fmt: skip
"""Publicly known vertices of the official mesh; the names are those that the smplx package uses."""

SMPL_NUM_VERTICES: Final = 6890
"""Vertices of the official mesh."""

MAX_NUM_BETAS: Final = 10
"""Shape coefficients that we keep; the 300-coefficient release has the same first ten."""

_SMPL_LICENCE: Final = (
    "SMPL body model licence of the Max Planck Society, https://smpl.is.tue.mpg.de"
)
_KEYS: Final = ("v_template", "shapedirs", "J_regressor", "weights", "kintree_table", "f")
_NEED_SMPL: Final = (
    "only 24-joint SMPL bodies work here: give a SMPL .pkl or .npz, or leave the option out "
    "to use the built-in body."
)

# Where the face's unnamed landmarks lie, seen from the nose tip, in distances between the eyes
# (left side; measured on the built-in body), and the knuckles' place from wrist joint to fingertip.
_FACE_OFFSETS: Final = {
    "eye_inner": (0.29, 0.67, -0.59),
    "eye_outer": (0.73, 0.68, -0.65),
    "mouth": (0.39, -0.52, -0.48),
}
_KNUCKLE_FRACTIONS: Final = {"pinky": 0.62, "index": 0.58, "thumb": 0.52}
_KNUCKLE_RING: Final = 8


def load_body_model(path: Path | None = None) -> BodyModel:
    """Read a body model file.

    Args:
        path: our ``.npz``, or an official SMPL ``.pkl`` or ``.npz``; None for the built-in body.

    Raises:
        BodyModelError: the file is missing, damaged, refused, or not a 24-joint SMPL body.
        WeightsError: the built-in body is missing.
    """
    if path is None:
        path = weights.find("body7k")[0]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BodyModelError(
            f"Cannot read the body model {path} ({error.strerror}); check the path."
        ) from error
    arrays = _read_npz(path, content) if content[:2] == b"PK" else _read_pickle(path, content)
    missing = [key for key in _KEYS if key not in arrays]
    if missing:
        raise BodyModelError(f"{path} has no {', '.join(missing)}; {_NEED_SMPL}")
    try:
        return _to_body_model(path, content, arrays)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise BodyModelError(f"{path} is not a body model file ({error}); {_NEED_SMPL}") from error


def check_made_with(body: BodyModel, meta: Mapping[str, Any], result: str) -> None:
    """Refuse a body other than the one that a result was made with: its betas mean another figure.

    Args:
        body: The body in use.
        meta: Of the result; one that does not name its body is taken as it is.
        result: What the message calls the result.

    Raises:
        BodyModelError: They differ.
    """
    made_with = meta.get("body_model")
    if not isinstance(made_with, dict) or made_with.get("sha256") in (None, body.sha256):
        return
    raise BodyModelError(
        f"{result} was made with the body model {made_with.get('name')!r}, not with "
        f"{body.name!r}: give the same --body-model."
    )


def _to_body_model(path: Path, content: bytes, arrays: Mapping[str, Any]) -> BodyModel:
    """Check that the arrays belong together and bring them into our precision."""
    meta = json.loads(str(arrays["meta"])) if "meta" in arrays else {}
    _check_joints(path, np.asarray(arrays["kintree_table"]))
    template, shapedirs, regressor, skinning = (
        np.asarray(arrays[key], np.float64)
        for key in ("v_template", "shapedirs", "J_regressor", "weights")
    )
    posedirs = np.asarray(arrays.get("posedirs", 0.0), np.float64)
    faces = np.asarray(arrays["f"]).astype(np.int64)
    num_vertices, num_joints = len(template), len(SMPL24)
    expected = {
        "v_template": (template, (num_vertices, 3)),
        "shapedirs": (shapedirs, (num_vertices, 3, shapedirs.shape[-1])),
        "J_regressor": (regressor, (num_joints, num_vertices)),
        "weights": (skinning, (num_vertices, num_joints)),
        "f": (faces, (len(faces), 3)),
    }
    if posedirs.any():
        expected["posedirs"] = (posedirs, (num_vertices, 3, 9 * (num_joints - 1)))
    for key, (array, shape) in expected.items():
        if array.shape != shape or not np.isfinite(array).all():
            raise ValueError(f"{key} has shape {array.shape} or bad numbers, {shape} was expected")
    if not meta and num_vertices != SMPL_NUM_VERTICES:
        raise ValueError(f"it has {num_vertices} vertices where SMPL has {SMPL_NUM_VERTICES}")
    if faces.min() < 0 or faces.max() >= num_vertices:
        raise ValueError("its faces name vertices that it does not have")

    # Our file holds half floats: the rows no longer sum to one exactly.
    skinning /= skinning.sum(1, keepdims=True)
    regressor /= regressor.sum(1, keepdims=True)
    shapedirs = shapedirs[..., :MAX_NUM_BETAS]
    joints = regressor @ template
    if not meta:
        meta = {"vertex_ids": dict(SMPL_VERTEX_IDS)}
        landmark_vertices = _official_landmarks(template, joints)
    else:
        landmark_vertices = _named_landmarks(meta)
    return BodyModel(
        name=str(meta.get("name", path.stem)),
        v_template=_tensor(template),
        shapedirs=_tensor(shapedirs),
        posedirs=_tensor(posedirs) if posedirs.any() else None,
        joint_template=_tensor(joints),
        joint_shapedirs=_tensor(np.einsum("jv,vck->jck", regressor, shapedirs)),
        weights=_tensor(skinning),
        faces=torch.from_numpy(faces),
        licence=str(meta.get("licence", _SMPL_LICENCE)),
        sha256=hashlib.sha256(content).hexdigest(),
        landmark_vertices=landmark_vertices,
        meta=meta,
    )


def _tensor(array: Float[np.ndarray, "*shape"]) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32))


def _check_joints(path: Path, kintree: np.ndarray) -> None:
    if kintree.ndim != 2 or len(kintree) != 2:
        raise ValueError(f"its kintree_table has shape {kintree.shape}")
    num_joints = kintree.shape[1]
    families = {52: "SMPL+H", 55: "SMPL-X", 16: "MANO"}
    if num_joints != len(SMPL24):
        kind = f" ({families[num_joints]})" if num_joints in families else ""
        raise BodyModelError(f"{path} has {num_joints} joints{kind}; {_NEED_SMPL}")
    if tuple(int(p) for p in kintree[0, 1:]) != SMPL24_PARENTS[1:]:
        raise BodyModelError(f"{path} joins its 24 joints in another order; {_NEED_SMPL}")


def _named_landmarks(meta: Mapping[str, Any]) -> tuple[tuple[int, ...], ...]:
    """The landmark vertices that our own file lists by name."""
    vertices, rings = meta["landmarks"], meta["rings"]
    other_names = {"left_foot_index": "left_big_toe", "right_foot_index": "right_big_toe"}
    landmarks: list[tuple[int, ...]] = []
    for name in BLAZEPOSE33:
        if name in SMPL24:
            landmarks.append(())
        elif f"{name}_knuckle" in rings:
            landmarks.append(tuple(int(v) for v in rings[f"{name}_knuckle"]))
        else:
            landmarks.append((int(vertices[other_names.get(name, name)]),))
    return tuple(landmarks)


def _official_landmarks(
    template: Float[np.ndarray, "vertex 3"], joints: Float[np.ndarray, "24 3"]
) -> tuple[tuple[int, ...], ...]:
    """Landmark vertices of the official mesh: known ids, the nearest skin where none is known."""
    ids = SMPL_VERTEX_IDS
    nose = template[ids["nose"]]
    eye_distance = float(np.linalg.norm(template[ids["leye"]] - template[ids["reye"]]))

    def nearest(point: Float[np.ndarray, "3"], count: int) -> tuple[int, ...]:
        order = np.argsort(np.linalg.norm(template - point, axis=1), kind="stable")
        return tuple(int(v) for v in order[:count])

    by_name: dict[str, tuple[int, ...]] = {"nose": (ids["nose"],)}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        initial = side[0]
        by_name[f"{side}_eye"] = (ids[f"{initial}eye"],)
        by_name[f"{side}_ear"] = (ids[f"{initial}ear"],)
        by_name[f"{side}_heel"] = (ids[f"{initial.upper()}Heel"],)
        by_name[f"{side}_foot_index"] = (ids[f"{initial.upper()}BigToe"],)
        for part, offset in _FACE_OFFSETS.items():
            point = nose + np.array(offset) * (sign, 1, 1) * eye_distance
            name = f"mouth_{side}" if part == "mouth" else f"{side}_{part}"
            by_name[name] = nearest(point, 1)
        wrist = joints[SMPL24.index(f"{side}_wrist")]
        for finger, fraction in _KNUCKLE_FRACTIONS.items():
            tip = template[ids[initial + finger]]
            by_name[f"{side}_{finger}"] = nearest(wrist + fraction * (tip - wrist), _KNUCKLE_RING)
    return tuple(by_name.get(name, ()) for name in BLAZEPOSE33)


def _read_npz(path: Path, content: bytes) -> dict[str, Any]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {key: archive[key] for key in (*_KEYS, "posedirs", "meta") if key in archive}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BodyModelError(
            f"{path} cannot be read as .npz ({error}); download or convert it again."
        ) from error


def _read_pickle(path: Path, content: bytes) -> dict[str, Any]:
    try:
        return dict(smpl_pickle.read_arrays(content, (*_KEYS, "posedirs")))
    except smpl_pickle.RefusedPickleError as error:
        raise BodyModelError(
            f"{path} was refused: it asks for {error}, which no body model needs. "
            "Use the original file from the SMPL site."
        ) from error
    except ValueError as error:
        raise BodyModelError(
            f"{path} is neither a SMPL .pkl nor .npz ({error}); {_NEED_SMPL}"
        ) from error
