"""All recorded motion in memory, at one rate, split into what trains and what is held out."""

import logging
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.geometry.rotations import rot6d_to_rotmat, rotmat_to_rot6d
from dtsvibe_cli.training.datasets.amass import HELD_OUT_FOLDERS
from dtsvibe_cli.training.motion_readers import motion_files, read_motion

RATE_HZ: Final = 60.0
"""Rate at which motion is kept."""

HELD_OUT: Final = frozenset({(2, 4), (3, 3), (5, 13)})
"""CMU's clips, by subject and trial, that are only validated on, with everything below a folder
named ``test`` and the parts of AMASS that its authors hold out."""

HELD_OUT_EVERY: Final = 20
"""Of a folder in which nothing is held out by name."""

_CMU_CLIP: Final = re.compile(r"(\d+)_(\d+)(_poses|_stageii)?")
"""As its own files and AMASS's name them: ``02_04``, ``005_13``, ``02_04_poses``."""

_LOG = logging.getLogger(__name__)

_ARRAYS: Final = ("names", "held_out", "starts", "rotmats", "transl_m")


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One recording at :data:`RATE_HZ`."""

    name: str
    held_out: bool
    rotmats: Float[Tensor, "frame 24 3 3"]
    transl_m: Float[Tensor, "frame 3"]


@dataclass(frozen=True, kw_only=True)
class MotionBank:
    """The clips, and how to draw windows from them."""

    clips: tuple[Clip, ...]

    def subset(self, *, held_out: bool) -> "MotionBank":
        """Only the clips that are held out, or only those that are not."""
        clips = tuple(clip for clip in self.clips if clip.held_out == held_out)
        if not clips and held_out:
            raise DataError("No motion is held out: move some files to a folder named test.")
        if not clips:
            raise DataError("All motion is held out: keep some outside the folder named test.")
        return MotionBank(clips=clips)

    @property
    def minutes(self) -> float:
        """Length of all clips together."""
        return sum(len(clip.rotmats) for clip in self.clips) / RATE_HZ / 60

    def window(
        self, rng: np.random.Generator, length: int, step: float
    ) -> tuple[Float[Tensor, "time 24 3 3"], Float[Tensor, "time 3"]]:
        """A random window: local rotations and root position, ``step`` kept frames apart.

        Clips are drawn by the square root of their length, so that short ones are seen too.
        """
        weights = np.array([len(clip.rotmats) for clip in self.clips]) ** 0.5
        clip = self.clips[rng.choice(len(self.clips), p=weights / weights.sum())]
        last = len(clip.rotmats) - 1
        start = rng.uniform(0, max(0.0, last - step * (length - 1)))
        at = np.clip(start + step * np.arange(length), 0, last)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, last)
        part = torch.from_numpy((at - low).astype(np.float32))
        mix = part[:, None, None, None]
        rotmats = (1 - mix) * clip.rotmats[low] + mix * clip.rotmats[high]
        transl = (1 - part[:, None]) * clip.transl_m[low] + part[:, None] * clip.transl_m[high]
        return rot6d_to_rotmat(rotmat_to_rot6d(rotmats)), transl


def load_bank(
    folder: Path, smpl_rest_joints: Float[np.ndarray, "24 3"], cache: Path | None = None
) -> MotionBank:
    """Read a folder of motion files, through a cache file when one is given.

    Raises:
        DataError: There is no motion, or a file cannot be read.
    """
    paths = motion_files(folder)
    if not paths:
        raise DataError(
            f"{folder} holds no .amc, .bvh or exponential-map files and none of AMASS's .npz."
        )
    source = "\n".join(f"{path.relative_to(folder)} {path.stat().st_size}" for path in paths)
    if cache is not None and cache.is_file():
        with np.load(cache) as saved:
            if "source" in saved and str(saved["source"]) == source:
                return _unpack(*(saved[key] for key in _ARRAYS))
    names, held_out, rotmats, transl = [], [], [], []
    for path in paths:
        motion = read_motion(path, smpl_rest_joints, RATE_HZ)
        names.append(motion.name)
        below = path.relative_to(folder).parts
        folders = HELD_OUT_FOLDERS | {"test"}
        held_out.append(_is_held_out(motion.name) or not folders.isdisjoint(below))
        rotmats.append(motion.rotmats.astype(np.float32))
        transl.append(motion.transl_m.astype(np.float32))
    if not any(held_out) and len(names) > 1:
        held_out = [number % HELD_OUT_EVERY == 0 for number in range(len(names))]
        _LOG.info("No motion is held out by name: every %dth file is.", HELD_OUT_EVERY)
    starts = np.cumsum([0] + [len(r) for r in rotmats])
    arrays = (np.array(names), np.array(held_out), starts, np.concatenate(rotmats),
              np.concatenate(transl))  # fmt: skip
    if cache is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        named: dict[str, Any] = dict(zip(_ARRAYS, arrays, strict=True))
        np.savez(cache, source=np.array(source), **named)
    return _unpack(*arrays)


def _is_held_out(name: str) -> bool:
    clip = _CMU_CLIP.fullmatch(name)
    return clip is not None and (int(clip[1]), int(clip[2])) in HELD_OUT


def _unpack(
    names: np.ndarray,
    held_out: np.ndarray,
    starts: np.ndarray,
    rotmats: np.ndarray,
    transl_m: np.ndarray,
) -> MotionBank:
    spans = pairwise(starts)
    return MotionBank(
        clips=tuple(
            Clip(
                name=str(name),
                held_out=bool(held),
                rotmats=torch.from_numpy(rotmats[a:b]),
                transl_m=torch.from_numpy(transl_m[a:b]),
            )
            for name, held, (a, b) in zip(names, held_out, spans, strict=True)
        )
    )
