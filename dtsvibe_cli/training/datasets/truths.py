"""Data sets that evaluation reads too: our own documented format, and our synthetic clips.

The layouts are described in :mod:`~dtsvibe_cli.evaluation.readers.own_format` and
:mod:`~dtsvibe_cli.evaluation.readers.synthetic`. Here their people become labelled tracks. The
whole set is of the part ``train``; keep what shall be held out in another folder.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from dtsvibe_cli.datatypes import PinholeCamera, SmplParams
from dtsvibe_cli.errors import DataError
from dtsvibe_cli.evaluation.ground_truth import TruePerson, TrueSequence, TruthBodies
from dtsvibe_cli.evaluation.readers import open_truth
from dtsvibe_cli.geometry.cameras import choose_camera
from dtsvibe_cli.geometry.fitted_camera import fitted_camera
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.training.datasets.joint_names import JointNames
from dtsvibe_cli.training.datasets.tracks import (
    FrameSource,
    ImageFrames,
    JointLabels,
    LabelledTrack,
    Recording,
    SmplLabels,
    VideoFrames,
    boxes_around,
)
from dtsvibe_cli.video import probe
from dtsvibe_cli.video.images import list_images

UNKNOWN_BODY: Final = "unknown"


def recordings(format: str, root: Path, split: str) -> list[Recording]:
    """The sequences of a truth.

    Args:
        format: ``ours`` or ``synthetic``.
        root: Its folder.
        split: ``train``.

    Raises:
        DataError: It is missing or malformed.
    """
    if split != "train":
        raise DataError(f"A set of the format '{format}' has no parts: leave --split out.")
    truth = open_truth(root, format, TruthBodies(built_in=load_body_model()))
    return [
        Recording(name=sequence.name, read=partial(_people, format, sequence))
        for sequence in truth.sequences()
    ]


def _people(format: str, sequence: TrueSequence) -> Iterator[LabelledTrack]:
    if sequence.source is None:
        raise DataError(f"{sequence.name} has no video, which training needs.")
    images = list_images(sequence.source)
    frames = VideoFrames(sequence.source) if images is None else ImageFrames(tuple(images))
    for number, person in enumerate(sequence.people):
        if len(person.frame_index):
            name = f"{sequence.file_stem}/person{number}"
            yield _track(format, name, sequence, sequence.source, person, frames)


def _track(
    format: str,
    name: str,
    sequence: TrueSequence,
    source: Path,
    person: TruePerson,
    frames: FrameSource,
) -> LabelledTrack:
    video = probe(source, frame_rate=sequence.frame_rate)
    names: JointNames = sequence.joint_names
    length = int(person.frame_index[-1]) + 1
    space = _at(person.joints_m, person, length)
    picture = None if person.joints_px is None else _at(person.joints_px, person, length)
    boxes = person.boxes_xyxy
    if boxes is not None:
        boxes = _at(boxes, person, length)
    elif picture is not None:
        boxes = boxes_around(picture)
    else:
        raise DataError(f"{sequence.name} says neither where joints are in the picture nor boxes.")
    everywhere = np.ones(space.shape[:2])
    if person.absolute and picture is not None:
        camera = fitted_camera(space, picture)
    else:
        camera = choose_camera(video, None)
        focal = sequence.focal_length_px
        camera = camera if focal is None else replace(camera, focal_length_px=focal)
    return LabelledTrack(
        dataset=format,
        name=name,
        rate_hz=float(video.frame_rate),
        frames=frames,
        boxes_xyxy=boxes,
        camera=PinholeCamera(
            focal_length_px=camera.focal_length_px, center_px=camera.center_px, source="metadata"
        ),
        smpl=None if person.smpl is None else _smpl(person, person.smpl, names, space, length),
        joints_3d=JointLabels(names=names, points=space, weight=everywhere),
        joints_2d=None
        if picture is None
        else JointLabels(names=names, points=picture, weight=everywhere),
    )


def _smpl(
    person: TruePerson,
    params: SmplParams,
    names: JointNames,
    space: Float[np.ndarray, "frame joint 3"],
    length: int,
) -> SmplLabels:
    rotmats = np.concatenate([params.global_orient[:, None], params.body_pose], 1)
    rotvec = Rotation.from_matrix(rotmats.reshape(-1, 3, 3)).as_rotvec().reshape(-1, 24, 3)
    betas = np.zeros(10)
    given = params.betas[0, :10]
    betas[: len(given)] = given
    placed = _at(rotvec, person, length)
    valid = np.isfinite(placed).all((1, 2))
    known = "pelvis" in names and person.absolute
    return SmplLabels(
        full_pose_rotvec=np.nan_to_num(placed),
        betas=betas,
        valid=valid,
        pelvis_m=space[:, names.index("pelvis")] if known else None,
        body_sha256=UNKNOWN_BODY if person.body is None else person.body.sha256,
    )


def _at(
    rows: Float[np.ndarray, "row ..."], person: TruePerson, length: int
) -> Float[np.ndarray, "frame ..."]:
    """Rows at the frames that they are of, and unknown between them."""
    placed = np.full((length, *rows.shape[1:]), np.nan)
    placed[person.frame_index] = rows
    return placed
