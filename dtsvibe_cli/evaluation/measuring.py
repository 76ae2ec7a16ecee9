"""A result against a sequence's truth: frame errors of each true person."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dtsvibe_cli.datatypes import SmplParams, VideoMotion
from dtsvibe_cli.errors import DataError
from dtsvibe_cli.evaluation.frame_errors import (
    MIN_JOINTS,
    FrameErrors,
    measure_joints,
    no_measures,
    pixel_error_of_box,
)
from dtsvibe_cli.evaluation.ground_truth import TruePerson, TrueSequence
from dtsvibe_cli.evaluation.joint_sets import LSP_SET, JointSet, common_with_smpl
from dtsvibe_cli.evaluation.matching import Match, match_people
from dtsvibe_cli.evaluation.views import view_yaw_deg
from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.smpl import BodyModel

_CHUNK: Final = 64
"""Frames whose meshes are in memory at once."""


@dataclass(frozen=True, kw_only=True)
class Ruler:
    """What results are measured with."""

    body: BodyModel
    """The body that the result's parameters refer to."""
    regressor: Float[Tensor, "14 vertex"] | None = None
    """LSP's joints from the mesh; None to compare joints of SMPL's tree."""

    def joint_set(self, sequence: TrueSequence) -> JointSet:
        """The joints that this ruler compares on a sequence."""
        return common_with_smpl(sequence.joint_names) if self.regressor is None else LSP_SET


def measure(sequence: TrueSequence, motion: VideoMotion, ruler: Ruler) -> tuple[FrameErrors, ...]:
    """Errors of every person of the sequence.

    Raises:
        DataError: The truth lacks what the comparison needs.
    """
    matches = match_people(sequence, motion)
    return tuple(
        _measure_person(sequence, true, match, motion, ruler)
        for true, match in zip(sequence.people, matches, strict=True)
    )


def _measure_person(
    sequence: TrueSequence, true: TruePerson, match: Match, motion: VideoMotion, ruler: Ruler
) -> FrameErrors:
    joints = ruler.joint_set(sequence)
    truth = _true_joints(sequence, true, ruler, joints)
    roots_known = np.isfinite(truth[:, list(joints.roots)]).all((1, 2))
    enough = np.isfinite(truth).all(-1).sum(1) >= MIN_JOINTS
    found = match.person >= 0
    predicted = np.full(truth.shape, np.nan)
    measures = no_measures(len(truth))
    if found.any():
        smpl, predicted_px = _gathered(motion, match, found)
        predicted[found] = _predicted_joints(motion, match, found, smpl, ruler, joints)
        measures = measure_joints(
            predicted, truth, true.frame_index, joints, absolute=true.absolute
        )
        measures = replace(
            measures,
            of_box=_pixel_errors(sequence, true, found, predicted_px),
            pve_mm=_vertex_errors(true, found, smpl, ruler.body),
        )
    return FrameErrors(
        sequence=sequence.name,
        person=true.name,
        actions=np.full(len(found), sequence.action) if true.actions is None else true.actions,
        scored=roots_known & enough,
        found=found,
        yaw_deg=view_yaw_deg(true.joints_m, sequence.joint_names, absolute=true.absolute),
        num_tracks=match.num_tracks,
        measures=measures,
    )


def _true_joints(
    sequence: TrueSequence, true: TruePerson, ruler: Ruler, joints: JointSet
) -> Float[np.ndarray, "frame joint 3"]:
    """The truth of the set's joints: as given, else regressed from the true mesh."""
    if set(joints.names) <= set(sequence.joint_names):
        return true.joints_m[:, joints.index_in(sequence.joint_names)].astype(np.float64)
    assert ruler.regressor is not None  # other sets are made of the truth's own joints
    if true.smpl is None or true.body is None:
        raise DataError(
            f"{sequence.name}: the truth has neither the 14 LSP joints nor a mesh to regress them "
            "from; leave --regressor out to compare SMPL's own joints."
        )
    if len(true.body.v_template) != ruler.regressor.shape[1]:
        raise DataError(f"{sequence.name}: the H36M regressor does not fit the true body's mesh.")
    return _regressed(true.body, true.smpl, ruler.regressor)


def _gathered(
    motion: VideoMotion, match: Match, found: Bool[np.ndarray, " frame"]
) -> tuple[SmplParams, Float[np.ndarray, "seen 24 2"]]:
    """The result's parameters and pixels in the frames in which the person was found."""
    people, rows = match.person[found], match.row[found]

    def rows_of(name: str) -> np.ndarray:
        return np.stack(
            [getattr(motion.people[k].smpl, name)[row] for k, row in zip(people, rows, strict=True)]
        )

    pixels = [motion.people[k].joints_px[row] for k, row in zip(people, rows, strict=True)]
    params = {name: rows_of(name) for name in ("global_orient", "body_pose", "betas", "transl")}
    return SmplParams(**params), np.stack(pixels)


def _predicted_joints(
    motion: VideoMotion,
    match: Match,
    found: Bool[np.ndarray, " frame"],
    smpl: SmplParams,
    ruler: Ruler,
    joints: JointSet,
) -> Float[np.ndarray, "seen joint 3"]:
    if ruler.regressor is not None:
        return _regressed(ruler.body, smpl, ruler.regressor)
    pairs = zip(match.person[found], match.row[found], strict=True)
    own = np.stack([motion.people[k].joints_cam[row] for k, row in pairs])
    return own[:, joints.index_in(SMPL24)].astype(np.float64)


def _pixel_errors(
    sequence: TrueSequence,
    true: TruePerson,
    found: Bool[np.ndarray, " frame"],
    predicted_px: Float[np.ndarray, "seen 24 2"],
) -> Float[np.ndarray, " frame"]:
    """2D error of the joints that are SMPL's own, whatever set is compared in space."""
    errors = np.full(len(found), np.nan)
    boxes = true.outlines()
    common = [name for name in sequence.joint_names if name in SMPL24]
    if true.joints_px is None or boxes is None or not common:
        return errors
    errors[found] = pixel_error_of_box(
        predicted_px[:, [SMPL24.index(name) for name in common]],
        true.joints_px[found][:, [sequence.joint_names.index(name) for name in common]],
        boxes[found],
    )
    return errors


def same_mesh(one: BodyModel, other: BodyModel) -> bool:
    """Whether vertices of the two bodies are the same points of the skin."""
    return one.faces.shape == other.faces.shape and torch.equal(one.faces, other.faces)


def _vertex_errors(
    true: TruePerson, found: Bool[np.ndarray, " frame"], smpl: SmplParams, body: BodyModel
) -> Float[np.ndarray, " frame"]:
    """PVE in millimetres, pelvis joints aligned; NaN where the two have no common mesh."""
    errors = np.full(len(found), np.nan)
    if true.smpl is None or true.body is None or not same_mesh(true.body, body):
        return errors
    rows = np.flatnonzero(found)
    mine = _meshes(body, smpl)
    theirs = _meshes(true.body, _rows(true.smpl, rows))
    apart = [
        torch.linalg.vector_norm(one - other, dim=-1).mean(-1).numpy()
        for one, other in zip(mine, theirs, strict=True)
    ]
    errors[rows] = 1000 * np.concatenate(apart)
    return errors


def _rows(smpl: SmplParams, rows: Int[np.ndarray, " row"]) -> SmplParams:
    return SmplParams(
        global_orient=smpl.global_orient[rows],
        body_pose=smpl.body_pose[rows],
        betas=smpl.betas[rows],
        transl=smpl.transl[rows],
    )


def _meshes(body: BodyModel, smpl: SmplParams) -> Iterator[Float[Tensor, "frame vertex 3"]]:
    """Vertices about the pelvis joint, some frames at a time."""
    for part in _parts(smpl):
        pose, betas = _tensors(body, part)
        posed = body.pose(pose, betas)
        yield body.skin(posed, betas, pose) - posed.joints[:, :1]


def _regressed(
    body: BodyModel, smpl: SmplParams, regressor: Float[Tensor, "14 vertex"]
) -> Float[np.ndarray, "frame 14 3"]:
    """LSP's joints of a body in camera coordinates; only the vertices they need are posed."""
    chosen = regressor.abs().sum(0).nonzero()[:, 0]
    rows = regressor[:, chosen].to(body.v_template.dtype)
    joints = []
    for part in _parts(smpl):
        pose, betas = _tensors(body, part)
        vertices = body.skin(body.pose(pose, betas), betas, pose, vertex_ids=chosen)
        joints.append((rows @ vertices).double().numpy())
    return np.concatenate(joints) + smpl.transl[:, None].astype(np.float64)


def _parts(smpl: SmplParams) -> Iterator[SmplParams]:
    for rows in np.array_split(np.arange(len(smpl.betas)), len(smpl.betas) // _CHUNK + 1):
        yield _rows(smpl, rows)


def _tensors(body: BodyModel, smpl: SmplParams) -> tuple[Tensor, Tensor]:
    dtype = body.v_template.dtype
    pose = np.concatenate([smpl.global_orient[:, None], smpl.body_pose], axis=1)
    betas = torch.from_numpy(np.asarray(smpl.betas)[:, : body.num_betas]).to(dtype)
    return torch.from_numpy(pose).to(dtype), betas
