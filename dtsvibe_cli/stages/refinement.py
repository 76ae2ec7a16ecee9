"""Fit to the picture at test time: the paper's 2D, smoothness and flow terms over a whole track.

Starts from the network's answer and moves joint rotations, body and position by gradient descent.
Only joints and landmarks are posed, never the mesh, so an iteration costs milliseconds.
"""

import itertools
import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from dtsvibe_cli.datatypes import PinholeCamera
from dtsvibe_cli.geometry.cameras import project
from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.geometry.rotations import rot6d_to_rotmat, rotmat_to_rot6d
from dtsvibe_cli.landmarks import LandmarkRegressor, coco17
from dtsvibe_cli.smpl import BodyModel, take
from dtsvibe_cli.stages.descent import REFERENCE_STEP_S, Adam, share_of_rate, togetherness
from dtsvibe_cli.stages.estimation import Estimate
from dtsvibe_cli.stages.evidence import BONES, Evidence, EvidenceSource
from dtsvibe_cli.streaming import map_in_threads, stop_if_told

MAX_FRAMES: Final = 300
"""Longer tracks are refined piece by piece, with the body found on the best seen piece."""

MARGIN_FRAMES: Final = 8
"""Frames beyond its ends that a piece is refined with, so that pieces meet."""

MAX_THREADS: Final = 4
"""Pieces in work at once: each holds tens of MiB."""

_STIFF: Final = ("spine", "neck", "collar", "head", "wrist", "hand", "foot")
_STIFFNESS: Final = torch.tensor(
    [4.0 if any(part in name for part in _STIFF) else 1.0 for name in SMPL24]
)
"""How firmly a joint keeps to the network's rotation: few points tell of the stiff ones, and they
would bend the trunk to meet a nose that is a little off."""


@dataclass(frozen=True, kw_only=True)
class RefineSettings:
    """Weights of the terms and length of the descent."""

    iterations: int = 100
    learning_rate: float = 0.04
    landmarks_2d: float = 2.0
    bone_directions: float = 0.5
    smoothness: float = 8.0
    flow: float = 0.1
    pose_prior: float = 4.0
    shape_prior: float = 0.1
    robust_scale: float = 0.05
    """Reprojection errors far beyond this fraction of the body's size count as outliers."""


@dataclass
class _Unknowns:
    """What the descent moves."""

    pose6d: Float[Tensor, "frame 24 6"]
    betas: Float[Tensor, " 10"]
    ray: Float[Tensor, "frame 2"]
    """Viewing ray of the pelvis: x / z and y / z."""
    log_depth: Float[Tensor, " frame"]

    @property
    def pelvis_m(self) -> Float[Tensor, "frame 3"]:
        depth = self.log_depth.exp()[:, None]
        return torch.cat([self.ray * depth, depth], 1)


@dataclass(frozen=True, kw_only=True)
class _Body:
    """The posed body of one iteration."""

    rotmat: Float[Tensor, "frame 24 3 3"]
    joints: Float[Tensor, "frame 24 3"]
    landmarks: Float[Tensor, "frame 33 3"]
    landmarks_px: Float[Tensor, "frame 33 2"]


def refine(
    start: Estimate,
    evidence: Evidence | EvidenceSource,
    body: BodyModel,
    camera: PinholeCamera,
    settings: RefineSettings | None = None,
) -> Estimate:
    """The estimate moved towards the evidence.

    Pieces of a long one are refined by several threads, one core each.

    Args:
        start: The network's answer for the frames of ``evidence``.
        evidence: What was seen, one row a frame.
        body: Body model whose landmarks are compared.
        camera: The full image's camera.
        settings: Weights; None for the defaults.
    """
    settings = settings or RefineSettings()
    num_frames = len(start.full_pose)
    whole = range(num_frames)
    num_pieces = math.ceil(num_frames / MAX_FRAMES)
    edges = [num_frames * k // num_pieces for k in range(num_pieces + 1)]
    pieces = [whole[first:last] for first, last in itertools.pairwise(edges)]

    def refined(piece: range, betas: Float[Tensor, " 10"] | None = None) -> Estimate:
        wide = whole[max(0, piece.start - MARGIN_FRAMES) : piece.stop + MARGIN_FRAMES]
        part, seen = _cut(start, wide), evidence.cut(wide)
        if betas is not None:
            part = replace(part, betas=betas)
        part = _refine_piece(part, seen, body, camera, settings, fix_body=betas is not None)
        return _cut(part, range(piece.start - wide.start, piece.stop - wide.start))

    best = max(pieces, key=evidence.trust)
    (first,) = map_in_threads(refined, [best], most=1)
    others = [piece for piece in pieces if piece is not best]
    parts = map_in_threads(partial(refined, betas=first.betas), others, most=MAX_THREADS)
    pose, pelvis_m = torch.empty_like(start.full_pose), torch.empty_like(start.pelvis_m)
    for piece, part in zip([best, *others], itertools.chain([first], parts), strict=True):
        pose[piece.start : piece.stop] = part.full_pose
        pelvis_m[piece.start : piece.stop] = part.pelvis_m
    return replace(start, full_pose=pose, betas=first.betas, pelvis_m=pelvis_m)


def _cut(estimate: Estimate, rows: range) -> Estimate:
    part = slice(rows.start, rows.stop)
    return replace(
        estimate,
        full_pose=estimate.full_pose[part],
        pelvis_m=estimate.pelvis_m[part],
        crops_cxcys=estimate.crops_cxcys[part],
    )


def _refine_piece(
    start: Estimate,
    evidence: Evidence,
    body: BodyModel,
    camera: PinholeCamera,
    settings: RefineSettings,
    *,
    fix_body: bool,
) -> Estimate:
    landmarks_of = LandmarkRegressor(body)
    start = replace(start, pelvis_m=place(start, evidence, body, landmarks_of, camera))
    depth = start.pelvis_m[:, 2].clamp_min(0.3)
    unknowns = _Unknowns(
        pose6d=rotmat_to_rot6d(start.full_pose).clone().requires_grad_(True),
        betas=start.betas.clone().requires_grad_(not fix_body),
        ray=(start.pelvis_m[:, :2] / depth[:, None]).clone().requires_grad_(True),
        log_depth=depth.log().clone().requires_grad_(True),
    )
    rate = settings.learning_rate
    together = togetherness(evidence.continuous, evidence.step_s)
    moved = [
        Adam(unknowns.pose6d, rate, together),
        Adam(unknowns.ray, 0.15 * rate, together),
        Adam(unknowns.log_depth, 0.5 * rate, together),
    ]
    if not fix_body:
        moved.append(Adam(unknowns.betas, rate))
    for step in range(settings.iterations):
        stop_if_told()
        posed = _pose(unknowns, body, landmarks_of, camera)
        loss = _loss(posed, unknowns, start, evidence, settings)
        gradients = torch.autograd.grad(loss, [each.values for each in moved])
        share = share_of_rate(step, settings.iterations)
        for each, gradient in zip(moved, gradients, strict=True):
            each.step(gradient, share)
    return replace(
        start,
        full_pose=rot6d_to_rotmat(unknowns.pose6d.detach()),
        betas=unknowns.betas.detach(),
        pelvis_m=unknowns.pelvis_m.detach(),
    )


def place(
    start: Estimate,
    evidence: Evidence,
    body: BodyModel,
    landmarks_of: LandmarkRegressor,
    camera: PinholeCamera,
) -> Float[Tensor, "frame 3"]:
    """Where the pelvis has to be for the posed landmarks to meet the seen ones: least squares.

    A landmark at X from the pelvis is seen at ray r when ``X_xy + t_xy = r * (X_z + t_z)``, which
    is linear in the position t. Frames in which too little is seen are moved as those around them
    were.
    """
    betas = start.betas[None]
    with torch.no_grad():
        posed = body.pose(start.full_pose, betas)
        points = landmarks_of(posed, betas) - posed.joints[:, :1]
    center = torch.tensor(camera.center_px)
    ray = (evidence.landmarks_px - center) / camera.focal_length_px
    weight = evidence.landmark_weight
    one, zero = torch.ones_like(weight), torch.zeros_like(weight)
    rows_x = torch.stack([one, zero, -ray[..., 0]], -1)
    rows_y = torch.stack([zero, one, -ray[..., 1]], -1)
    matrix = torch.cat([rows_x, rows_y], 1)
    target = (ray * points[..., 2:] - points[..., :2]).transpose(1, 2).flatten(1)
    weights = torch.cat([weight, weight], 1)[..., None]
    normal = matrix.transpose(1, 2) @ (weights * matrix) + 1e-6 * torch.eye(3)
    right = matrix.transpose(1, 2) @ (weights * target[..., None])
    placed = torch.linalg.solve(normal, right)[..., 0]
    believable = (weight.sum(1) > 4) & (placed[:, 2] > 0.3) & placed.isfinite().all(1)
    moved = _filled((placed - start.pelvis_m).numpy(), believable.numpy())
    return start.pelvis_m + torch.from_numpy(moved)


def _filled(
    rows: Float[np.ndarray, "frame axis"], known: Bool[np.ndarray, " frame"]
) -> Float32[np.ndarray, "frame axis"]:
    """Unknown rows interpolated between known ones; zeros when none is."""
    if not known.any():
        return np.zeros(rows.shape, np.float32)
    frame = np.arange(len(rows))
    columns = [np.interp(frame, frame[known], column[known]) for column in rows.T]
    return np.stack(columns, axis=1).astype(np.float32)


def _pose(
    unknowns: _Unknowns, body: BodyModel, landmarks_of: LandmarkRegressor, camera: PinholeCamera
) -> _Body:
    rotmat = rot6d_to_rotmat(unknowns.pose6d)
    betas = unknowns.betas[None]
    posed = body.pose(rotmat, betas)
    place = (unknowns.pelvis_m - posed.joints[:, 0])[:, None]
    landmarks = landmarks_of(posed, betas) + place
    return _Body(
        rotmat=rotmat,
        joints=posed.joints + place,
        landmarks=landmarks,
        landmarks_px=project(landmarks, camera.focal_length_px, camera.center_px),
    )


def _loss(
    posed: _Body, unknowns: _Unknowns, start: Estimate, evidence: Evidence, settings: RefineSettings
) -> Float[Tensor, ""]:
    turned = (posed.rotmat - start.full_pose).square().mean((0, 2, 3))
    prior = (_STIFFNESS[1:] * turned[1:]).mean()
    shape = unknowns.betas.square().mean() + (unknowns.betas - start.betas).square().mean()
    return (
        settings.landmarks_2d * _reprojection(posed, evidence, settings.robust_scale)
        + settings.bone_directions * _bone_directions(posed, evidence)
        + settings.smoothness * _unsmoothness(posed, evidence)
        + settings.flow * _flow_mismatch(posed, evidence, settings.robust_scale)
        + settings.pose_prior * prior
        + settings.shape_prior * shape
    )


def _robust(squared: Float[Tensor, "..."], scale: float) -> Float[Tensor, "..."]:
    """Geman-McClure: quadratic near zero, one far away."""
    return squared / (squared + scale**2)


def _reprojection(posed: _Body, evidence: Evidence, scale: float) -> Float[Tensor, ""]:
    """Landmarks against both networks' 2D points (paper, equation 5), over the body's size."""
    size = evidence.size_px[:, None, None]
    pose = ((posed.landmarks_px - evidence.landmarks_px) / size).square().sum(-1)
    detector = ((coco17(posed.landmarks_px) - evidence.keypoints_px) / size).square().sum(-1)
    return (evidence.landmark_weight * _robust(pose, scale)).mean() + (
        evidence.keypoint_weight * _robust(detector, scale)
    ).mean()


def _bone_directions(posed: _Body, evidence: Evidence) -> Float[Tensor, ""]:
    """Directions of bones against the world landmarks', which carry the depth."""
    first, second = zip(*BONES, strict=True)
    bones = take(posed.landmarks, second) - take(posed.landmarks, first)
    bones = torch.nn.functional.normalize(bones, dim=-1)
    return (evidence.bone_weight * (1 - (bones * evidence.bones).sum(-1))).mean()


def _unsmoothness(posed: _Body, evidence: Evidence) -> Float[Tensor, ""]:
    """Acceleration of the joints, scaled so that frame rates weigh alike; not over cuts."""
    if len(posed.joints) < 3:
        return posed.joints.new_zeros(())
    size = torch.linalg.vector_norm(torch.diff(posed.joints, n=2, dim=0), dim=-1).mean(-1)
    scale = (REFERENCE_STEP_S / evidence.step_s) ** 2
    whole = evidence.continuous[1:] & evidence.continuous[:-1]
    mean: Float[Tensor, ""] = (size * whole).mean()
    return mean * scale


def _flow_mismatch(posed: _Body, evidence: Evidence, scale: float) -> Float[Tensor, ""]:
    """Equation 9: a joint taken back along the flow should be where it was in the frame before."""
    if len(posed.joints) < 2:
        return posed.joints.new_zeros(())
    now = posed.landmarks_px[1:]
    square = evidence.squares[1:]
    at = (now.detach() - square[:, None, :2]) / (square[:, None, 2:] / 2)
    moved = torch.nn.functional.grid_sample(
        evidence.flow[1:], at[:, None], align_corners=False, padding_mode="border"
    )[:, :, 0].transpose(1, 2)
    back = now - moved * square[:, None, 2:]
    size = evidence.size_px[1:, None, None]
    error = ((back - posed.landmarks_px[:-1]) / size).square().sum(-1)
    inside = (at.abs() < 1).all(-1)
    weight = evidence.flow_weight[1:] * inside
    return (weight * _robust(error, scale / 2)).mean()
