"""What a run tells about itself, in its report and in its results: plain values, ready for JSON."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dtsvibe_cli import __version__
from dtsvibe_cli.models.checkpoint import built_in_name
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.stages.estimation import MotionModel
from dtsvibe_cli.stages.motion import MadeMotion, MotionSettings
from dtsvibe_cli.stages.stitching_tracks import StitchedTracks
from dtsvibe_cli.weights import files_of, sha256_of


@dataclass(frozen=True, kw_only=True)
class PersonReport:
    """What happened to one person."""

    track_id: int
    """The person's number in the results."""
    frames: tuple[int, int]
    """First and last frame."""
    num_frames: int
    """Frames with motion, long absences left out."""
    num_filled_frames: int
    """Frames in which the person was not seen and the motion was made up."""
    swapped_landmarks: int
    """Frames in which the pose network had left and right confused, mended."""
    swapped_keypoints: int
    """Frames in which the detector had."""
    swapped_limbs: int
    """Frames in which either had only arms or legs confused."""
    jumping_limbs: int
    """Frames in which an arm or leg had jumped away, mended."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """How a run went."""

    num_frames: int
    """Frames of the video that were looked at."""
    people: tuple[PersonReport, ...]
    """Everybody in the results; empty when nobody was found."""
    tracks: tuple[dict[str, Any], ...]
    """What was done to each of the tracker's tracks (``kept``, ``dropped``, ``merged`` or
    ``gap_filled``) and why; ``person`` is its number in the results, None when it is in none."""
    seconds: dict[str, float]
    """Time of each stage, added up over threads.

    ``observe`` is the first pass as a whole, in which ``decode``, ``detect``, ``track``, ``crop``,
    ``blazepose`` and ``flow`` overlap; ``motion`` holds ``network`` and ``refine``, ``render``
    holds ``body``, ``draw`` and ``encode``."""
    versions: dict[str, str]
    """Of this program and of what it computes with."""
    renderer: str | None = None
    """What drew the overlay; None when nothing was drawn."""


def make_report(
    made: Sequence[MadeMotion],
    stitched: StitchedTracks,
    *,
    num_frames: int,
    seconds: Mapping[str, float],
) -> Report:
    """The report of a pass over ``num_frames`` frames, before anything is drawn."""
    person_of = {old: new for new, group in enumerate(stitched.groups, 1) for old in group}
    return Report(
        num_frames=num_frames,
        people=tuple(_person_report(each) for each in made),
        tracks=tuple(
            {**asdict(decision), "person": person_of.get(decision.tracker_id)}
            for decision in stitched.decisions
        ),
        seconds=dict(seconds),
        versions={
            "dtsvibe": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    )


def _person_report(made: MadeMotion) -> PersonReport:
    track = made.person.track
    return PersonReport(
        track_id=track.track_id,
        frames=(int(track.frame_index[0]), int(track.frame_index[-1])),
        num_frames=len(track.frame_index),
        num_filled_frames=int((~made.person.observed).sum()),
        **asdict(made.mended),
    )


def make_meta(
    weights: str | Path | MotionModel, body: BodyModel, settings: MotionSettings
) -> dict[str, Any]:
    """What the results were made with, for whoever opens them later."""
    return {
        "software": f"dtsvibe {__version__}",
        "weights": describe_weights(weights),
        "body_model": {"name": body.name, "sha256": body.sha256, "licence": body.licence},
        "settings": asdict(settings),
    }


def describe_weights(weights: str | Path | MotionModel) -> dict[str, Any]:
    """Name and checksums; somebody's own model has the name of its class, and no file."""
    if not isinstance(weights, str | Path):
        return {"name": type(weights).__name__, "sha256": []}
    files = files_of(built_in_name(weights))
    return {"name": str(weights), "sha256": [sha256_of(path) for path in files]}
