"""3DPW (von Marcard et al. 2018) as it is downloaded.

::

    3DPW/
      sequenceFiles/test/downtown_walking_00.pkl     (also train, validation)
      imageFiles/downtown_walking_00/image_00000.jpg

Of a ``.pkl`` these entries are read, lists having one item an actor: ``poses`` (N x 72 axis-angle),
``betas``, ``trans`` (world), ``jointPositions`` (N x 72, world, SMPL's 24 joints), ``genders``,
``poses2d`` (N x 3 x 18, detections), ``campose_valid`` (N), and ``cam_poses`` (N x 4 x 4, world to
camera), ``cam_intrinsics``. The unpickler runs nothing that the file asks for.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float

from dtsvibe_cli.datatypes import SmplParams
from dtsvibe_cli.errors import DataError
from dtsvibe_cli.evaluation.ground_truth import TruePerson, TrueSequence, TruthBodies
from dtsvibe_cli.evaluation.readers import choose_split
from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.geometry.rotations import rotvec_to_rotmat
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.smpl_pickle import RefusedPickleError, read_arrays

RATE_HZ: Final = 30
MIN_DETECTED: Final = 6
"""2D detections that a frame needs, as 3DPW's readme has it; others do not count."""

_NEEDED: Final = ("jointPositions", "campose_valid", "cam_poses", "cam_intrinsics")
_PARAMETERS: Final = ("poses", "betas", "trans", "genders")


class ThreeDpw:
    """One split of 3DPW; the paper measures ``test``."""

    def __init__(self, folder: Path, bodies: TruthBodies, split: str | None = None) -> None:
        self._split = choose_split(split, ("test", "validation", "train"), "3dpw")
        self._folder, self._bodies = folder, bodies
        self._files = sorted((folder / "sequenceFiles" / self._split).glob("*.pkl"))
        if not self._files:
            raise DataError(
                f"{folder} holds no sequenceFiles/{self._split}/*.pkl: give the folder with 3DPW's "
                "sequenceFiles and imageFiles."
            )

    @property
    def protocol(self) -> str:
        """How it is measured."""
        return (
            f"3DPW, split {self._split}, every actor, frames with a valid camera and at least "
            f"{MIN_DETECTED} 2D detections, {RATE_HZ} frames a second, the true focal length given."
        )

    def sequences(self) -> Iterator[TrueSequence]:
        """Each sequence with one or two actors."""
        for path in self._files:
            yield self._sequence(path)

    def _sequence(self, path: Path) -> TrueSequence:
        arrays = _read(path)
        images = self._folder / "imageFiles" / path.stem
        K = arrays["cam_intrinsics"].astype(np.float64)
        try:
            people = tuple(
                _person(arrays, k, K, self._bodies) for k in range(len(arrays["jointPositions"]))
            )
        except (ValueError, IndexError) as error:
            raise DataError(f"{path} is not laid out as a sequence of 3DPW: {error}.") from error
        return TrueSequence(
            name=path.stem,
            joint_names=SMPL24,
            source=images if images.is_dir() else None,
            frame_rate=Fraction(RATE_HZ),
            focal_length_px=float(K[0, 0] + K[1, 1]) / 2,
            people=people,
        )


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        arrays = read_arrays(path.read_bytes(), (*_NEEDED, *_PARAMETERS, "poses2d"))
    except RefusedPickleError as error:
        raise DataError(
            f"{path} was refused: it asks for {error}, which 3DPW's never do."
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a sequence of 3DPW: {error}.") from error
    missing = [key for key in _NEEDED if key not in arrays]
    if missing:
        raise DataError(f"{path} has no {', '.join(missing)}: it is no sequence of 3DPW.")
    return arrays


def _person(
    arrays: dict[str, np.ndarray], actor: int, K: Float[np.ndarray, "3 3"], bodies: TruthBodies
) -> TruePerson:
    world = arrays["jointPositions"][actor].astype(np.float64).reshape(-1, 24, 3)
    pose = arrays["cam_poses"].astype(np.float64)
    R, t = pose[:, :3, :3], pose[:, :3, 3]
    joints = np.einsum("fab,fjb->fja", R, world) + t[:, None]
    counts = np.asarray(arrays["campose_valid"][actor]).astype(bool)
    if "poses2d" in arrays:
        counts = counts & ((arrays["poses2d"][actor][:, 2] > 0).sum(-1) >= MIN_DETECTED)
    rows = np.flatnonzero(counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = joints @ K.T
        pixels = np.where(pixels[..., 2:] > 0, pixels[..., :2] / pixels[..., 2:], np.nan)
    letter = str(arrays["genders"][actor]) if "genders" in arrays else ""
    body = bodies.of_gender(letter)
    complete = all(key in arrays for key in ("poses", "betas", "trans"))
    smpl = _parameters(arrays, actor, R, t, body, rows) if body is not None and complete else None
    return TruePerson(
        name=f"actor {actor}",
        frame_index=rows,
        joints_m=joints[rows],
        joints_px=pixels[rows],
        smpl=smpl,
        body=body,
    )


def _parameters(
    arrays: dict[str, np.ndarray],
    actor: int,
    R: Float[np.ndarray, "frame 3 3"],
    t: Float[np.ndarray, "frame 3"],
    body: BodyModel,
    rows: np.ndarray,
) -> SmplParams:
    """The actor's parameters turned from world to camera coordinates.

    SMPL turns about its pelvis joint, which is not at the origin: ``transl`` takes up the rest.
    """
    rotvec = torch.from_numpy(arrays["poses"][actor].astype(np.float64).reshape(-1, 24, 3))
    rotmat = rotvec_to_rotmat(rotvec).numpy()
    betas = np.tile(arrays["betas"][actor].ravel()[:10].astype(np.float64), (len(rotmat), 1))
    shaped = body.joint_template[0] + body.joint_shapedirs[0] @ torch.from_numpy(
        betas[0, : body.num_betas]
    ).to(body.joint_shapedirs.dtype)
    pelvis = shaped.double().numpy()
    transl = arrays["trans"][actor].astype(np.float64)
    return SmplParams(
        global_orient=(R @ rotmat[:, 0])[rows],
        body_pose=rotmat[rows, 1:],
        betas=betas[rows],
        transl=(np.einsum("fab,fb->fa", R, transl + pelvis) + t - pelvis)[rows],
    )
