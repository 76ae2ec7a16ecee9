"""What is true of a sequence, whatever data set it is from, and what a data set has to give."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Shaped

from dtsvibe_cli.datatypes import SmplParams
from dtsvibe_cli.geometry.boxes import pad
from dtsvibe_cli.smpl import BodyModel

BOX_MARGIN = 0.1
"""How much larger than the outline of its joints a person is taken to be, on every side."""


@dataclass(frozen=True, kw_only=True)
class TruePerson:
    """One person of a sequence, in the frames that count; NaN where a joint is not known."""

    name: str
    frame_index: Int[np.ndarray, " frame"]
    """Rising; 0-based index in the decoded video."""
    joints_m: Float[np.ndarray, "frame joint 3"]
    """Camera coordinates (OpenCV axes), metres."""
    absolute: bool = True
    """Whether ``joints_m`` says where the person is; otherwise only the pose, about some root."""
    joints_px: Float[np.ndarray, "frame joint 2"] | None = None
    """The same joints in the picture; the centre of its top-left pixel is (0.5, 0.5)."""
    boxes_xyxy: Float[np.ndarray, "frame 4"] | None = None
    smpl: SmplParams | None = None
    """Parameters in camera coordinates, a row a frame."""
    body: BodyModel | None = None
    """The body that ``smpl`` refers to; None when it is not at hand."""
    actions: Shaped[np.ndarray, " frame"] | None = None
    """What is done in each frame, where that changes within the sequence."""

    def outlines(self) -> Float[np.ndarray, "frame 4"] | None:
        """The box around the person in the picture: as given, else around the known joints."""
        if self.boxes_xyxy is not None:
            return self.boxes_xyxy
        if self.joints_px is None:
            return None
        low = np.where(np.isnan(self.joints_px), np.inf, self.joints_px).min(1)
        high = np.where(np.isnan(self.joints_px), -np.inf, self.joints_px).max(1)
        boxes = np.concatenate([low, high], axis=1)
        return np.where(np.isfinite(boxes), boxes, np.nan)

    def padded_boxes(self) -> Float[np.ndarray, "frame 4"] | None:
        """The box with a margin where it is only the joints' outline."""
        boxes = self.outlines()
        return boxes if boxes is None or self.boxes_xyxy is not None else pad(boxes, BOX_MARGIN)


@dataclass(frozen=True, kw_only=True)
class TrueSequence:
    """One camera's view of some people."""

    name: str
    """Unique in its set; results are looked for under it."""
    joint_names: tuple[str, ...]
    """Of every person's joints, out of :data:`~dtsvibe_cli.evaluation.joint_sets.KNOWN`."""
    people: tuple[TruePerson, ...]
    action: str = ""
    """What is done in it, for the table by action; empty where the set does not say."""
    source: Path | None = None
    """Video or folder of images; None when only saved results can be measured."""
    frame_rate: Fraction | None = None
    """Of a folder of images, frames a second; a video says it itself."""
    focal_length_px: float | None = None

    @property
    def file_stem(self) -> str:
        """The name of the sequence as part of a file name."""
        return "".join(c if c.isalnum() or c in "-_." else "_" for c in self.name)


@runtime_checkable
class GroundTruth(Protocol):
    """A data set: its sequences, and under which protocol they are measured."""

    @property
    def protocol(self) -> str:
        """One or two sentences for the head of the tables: split, frames, people, rate."""
        ...

    def sequences(self) -> Iterator[TrueSequence]:
        """Every sequence of the split, read when it is asked for.

        Raises:
            DataError: A file is missing or is not laid out as the set is.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class TruthBodies:
    """Body models that a truth's parameters may refer to."""

    built_in: BodyModel
    neutral: BodyModel | None = None
    """SMPL's official files, where the user has them."""
    male: BodyModel | None = None
    female: BodyModel | None = None

    def of_gender(self, letter: str) -> BodyModel | None:
        """SMPL's body for ``m`` or ``f``: the gendered file, else the neutral one."""
        gendered = {"m": self.male, "f": self.female}.get(letter[:1].lower())
        return gendered or self.neutral
