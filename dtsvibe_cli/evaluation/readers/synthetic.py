"""Our synthetic clips: ``NAME.mp4`` beside ``NAME_truth.npz``, as ``synthetic/clip.py`` writes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from dtsvibe_cli.datatypes import SmplParams
from dtsvibe_cli.errors import DataError
from dtsvibe_cli.evaluation.ground_truth import TruePerson, TrueSequence, TruthBodies
from dtsvibe_cli.evaluation.readers import choose_split
from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.synthetic.truth import load_truth

_SUFFIX: Final = "_truth.npz"


class Synthetic:
    """A folder of synthetic clips, or one truth file."""

    protocol = "Synthetic clips with exact truth; every frame, the true focal length given."

    def __init__(self, folder: Path, bodies: TruthBodies, split: str | None = None) -> None:
        choose_split(split, (), "synthetic")
        self._files = [folder] if folder.is_file() else sorted(folder.glob(f"*{_SUFFIX}"))
        self._bodies = bodies
        if not self._files:
            raise DataError(f"{folder} holds no NAME{_SUFFIX}: give a folder of synthetic clips.")

    def sequences(self) -> Iterator[TrueSequence]:
        """Each clip, one person in it."""
        for path in self._files:
            yield _sequence(path, self._bodies.built_in)


def _sequence(path: Path, built_in: BodyModel) -> TrueSequence:
    truth = load_truth(path)
    name = path.name.removesuffix(_SUFFIX)
    video = path.with_name(f"{name}.mp4")
    num_frames = len(truth.transl)
    return TrueSequence(
        name=name,
        joint_names=SMPL24,
        source=video if video.is_file() else None,
        focal_length_px=truth.focal_length_px,
        people=(
            TruePerson(
                name="person",
                frame_index=np.arange(num_frames),
                joints_m=truth.joints_cam,
                joints_px=truth.joints_px,
                smpl=SmplParams(
                    global_orient=truth.global_orient_rotmat,
                    body_pose=truth.body_pose_rotmat,
                    betas=np.tile(truth.betas, (num_frames, 1)),
                    transl=truth.transl,
                ),
                body=built_in if _body_sha256(path) == built_in.sha256 else None,
            ),
        ),
    )


def _body_sha256(path: Path) -> str | None:
    """Checksum of the body that the clip was made with."""
    with np.load(path, allow_pickle=False) as file:
        meta = json.loads(str(file["meta"])) if "meta" in file else {}
    sha256 = meta.get("body_model_sha256")
    return sha256 if isinstance(sha256, str) else None
