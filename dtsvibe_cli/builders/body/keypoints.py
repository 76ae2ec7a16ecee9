"""Named points of the thin mesh: face, hand and foot landmarks, knuckle rings, COCO keypoints."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import nnls

from dtsvibe_cli.builders.body.assets import BodyAssets
from dtsvibe_cli.builders.body.mesh import ClosedMesh, ThinMesh
from dtsvibe_cli.builders.body.samples import ShapeSamples
from dtsvibe_cli.builders.body.shape_space import ShapeSpace
from dtsvibe_cli.geometry.joints import SMPL24

_NUM_SAMPLES = 300
"""Samples that the COCO keypoints are measured on; the first 220 of them are fitted."""
_NUM_FITTED = 220
_LID_RIM = 30
"""Vertices on the rim of the lids."""
_SOLE_M = 0.056
"""Height of the ankle joint above the heel's most backward point."""
_SIDES = (("left", "L", 1.0), ("right", "R", -1.0))


@dataclass(frozen=True, kw_only=True)
class MeanBody:
    """The thin mesh's mean body: what landmarks are looked for on."""

    vertices: Float[np.ndarray, "vertex 3"]
    weights: Float[np.ndarray, "vertex 24"]
    """Skinning weights of the 24 joints."""
    fine_weights: Float[np.ndarray, "vertex bone"]
    """Skinning weights of the fine rig: they tell fingers and toes apart."""
    joints: Float[np.ndarray, "24 3"]
    mirror: Int[np.ndarray, " vertex"]
    base_vertex: Int[np.ndarray, " vertex"]
    """Vertex of the base mesh, -1 for the virtual ones."""

    def nearest(
        self, point: Float[np.ndarray, "3"], among: Bool[np.ndarray, " vertex"] | None = None
    ) -> int:
        """The vertex nearest to a point."""
        distance = np.linalg.norm(self.vertices - point, axis=1)
        return int(np.argmin(distance if among is None else np.where(among, distance, np.inf)))

    def farthest(
        self, among: Bool[np.ndarray, " vertex"], score: Float[np.ndarray, " vertex"]
    ) -> int:
        """The vertex with the highest score."""
        return int(np.argmax(np.where(among, score, -np.inf)))


def coco_positions(
    assets: BodyAssets, samples: ShapeSamples, space: ShapeSpace
) -> dict[str, Float[np.ndarray, "sample 3"]]:
    """Anny's COCO keypoints (17 and six of the feet) on the first samples, made symmetric."""
    vertices = samples.vertices[:_NUM_SAMPLES].astype(np.float64)
    positions = {}
    for name, row in assets.coco_weights().items():
        kept = row[samples.kept] / row[samples.kept].sum()
        positions[name] = np.einsum("v,nvc->nc", kept, vertices) - space.shifts[:_NUM_SAMPLES]
    for name in [name for name in positions if name.startswith("left")]:
        other = name.replace("left", "right", 1)
        positions[name] = 0.5 * (positions[name] + positions[other] * [-1, 1, 1])
        positions[other] = positions[name] * [-1, 1, 1]
    return positions


def landmark_vertices(
    assets: BodyAssets,
    body: MeanBody,
    mesh: ClosedMesh,
    space: ShapeSpace,
    coco: dict[str, Float[np.ndarray, "sample 3"]],
) -> dict[str, int]:
    """Vertices of named points: found on the left side, mirrored to the right."""
    points = body.vertices
    head = body.weights[:, SMPL24.index("head")] > 0.9
    found: dict[str, int] = {}
    for side, letter, sign in _SIDES:
        eye_vertices = assets.groups[f"helper-{letter.lower()}-eye"].quads
        eye = np.isin(body.base_vertex, eye_vertices)
        found[f"{side}_eye"] = body.farthest(eye, points[:, 2])
        ear = coco[f"{side}_ear"].mean(0)
        found[f"{side}_ear"] = body.nearest(ear, head & (points[:, 0] * sign > 0))
        foot = body.weights[:, SMPL24.index(f"{side}_ankle")] > 0.6
        sole = body.joints[SMPL24.index("left_ankle"), 1] - _SOLE_M
        backward = -(points[:, 2] + 0.5 * np.abs(points[:, 1] - sole))
        found[f"{side}_heel"] = body.farthest(foot, backward)
        found |= _tips(assets, body, side, letter)
    eye_height = points[found["left_eye"], 1]
    middle = head & (np.abs(points[:, 0]) < 0.008)
    below_eyes = (points[:, 1] < eye_height - 0.01) & (points[:, 1] > eye_height - 0.07)
    found["nose"] = body.farthest(middle & below_eyes, points[:, 2])
    found["head_top"] = int(np.argmax(points[:, 1]))
    found |= _face_corners(assets, body, mesh, space)
    for name in [name for name in found if name.startswith("left_")]:
        found[name.replace("left", "right", 1)] = int(body.mirror[found[name]])
    return found


def _tips(assets: BodyAssets, body: MeanBody, side: str, letter: str) -> dict[str, int]:
    """Ends of the big and small toe and of the five fingers."""

    def moved_by(bone: str) -> Bool[np.ndarray, " vertex"]:
        chosen: Bool[np.ndarray, " vertex"] = (
            body.fine_weights[:, assets.rig.index[f"{bone}.{letter}"]] > 0.5
        )
        return chosen

    wrist = body.joints[SMPL24.index(f"{side}_wrist")]
    reach = np.linalg.norm(body.vertices - wrist, axis=1)
    toes = {"big_toe": "toe1-2", "small_toe": "toe5-3"}
    fingers = enumerate(("thumb", "index", "middle", "ring", "pinky"), start=1)
    return {
        **{
            f"{side}_{toe}": body.farthest(moved_by(bone), body.vertices[:, 2])
            for toe, bone in toes.items()
        },
        **{
            f"{side}_{finger}_tip": body.farthest(moved_by(f"finger{i}-3"), reach)
            for i, finger in fingers
        },
    }


def _face_corners(
    assets: BodyAssets, body: MeanBody, mesh: ClosedMesh, space: ShapeSpace
) -> dict[str, int]:
    """Corners of mouth and left eye, from the rims of the closed holes."""
    not_eye = ~np.isin(body.base_vertex, assets.groups["helper-l-eye"].quads)
    found: dict[str, int] = {}
    for row in mesh.hole_means:
        rim = space.mean[row > 0]
        centre = rim.mean(0)
        outer, inner = rim[np.argmax(rim[:, 0])], rim[np.argmin(rim[:, 0])]
        if abs(centre[0]) < 0.01:
            found["mouth_left"] = body.nearest(outer)
            found["mouth_right"] = int(body.mirror[found["mouth_left"]])
        elif len(rim) == _LID_RIM and centre[0] > 0:
            found["left_eye_outer"] = body.nearest(outer, not_eye)
            found["left_eye_inner"] = body.nearest(inner, not_eye)
    return found


def knuckle_rings(assets: BodyAssets, body: MeanBody) -> dict[str, list[int]]:
    """Eight vertices around the knuckles that BlazePose calls pinky, index and thumb."""
    bones = {
        "pinky": ("finger5-1", "metacarpal4"),
        "index": ("finger2-1", "metacarpal1"),
        "thumb": ("finger1-2", "finger1-1"),
    }
    rings = {}
    for side, letter, _ in _SIDES:
        for finger, names in bones.items():
            columns = [assets.rig.index[f"{name}.{letter}"] for name in names]
            shared = body.fine_weights[:, columns].min(1)
            rings[f"{side}_{finger}_knuckle"] = [int(v) for v in np.argsort(-shared)[:8]]
    return rings


def coco_regressor(
    body: MeanBody,
    mesh: ClosedMesh,
    thin: ThinMesh,
    space: ShapeSpace,
    coco: dict[str, Float[np.ndarray, "sample 3"]],
) -> Float[np.ndarray, "keypoint vertex"]:
    """Non-negative weights over the thin mesh that give the COCO keypoints of every shape."""
    shapes = np.stack(
        [mesh.extend(x.astype(np.float64))[thin.kept] for x in space.samples[:_NUM_FITTED]]
    )
    names = list(coco)
    regressor = np.zeros((len(names), len(body.vertices)))
    for row, name in zip(regressor, names, strict=True):
        if not name.startswith("right"):
            row[:] = _fit_row(body, shapes, coco[name], central=not name.startswith("left"))
    for name in names:
        if name.startswith("left"):
            other = names.index(name.replace("left", "right", 1))
            np.add.at(regressor[other], body.mirror, regressor[names.index(name)])
    regressor[regressor < 1e-4] = 0
    return np.asarray(regressor / regressor.sum(1, keepdims=True))


def _fit_row(
    body: MeanBody,
    shapes: Float[np.ndarray, "fitted vertex 3"],
    positions: Float[np.ndarray, "sample 3"],
    *,
    central: bool,
) -> Float[np.ndarray, " vertex"]:
    """Least squares over the vertices around a keypoint."""
    distance = np.linalg.norm(body.vertices - positions.mean(0), axis=1)
    if central:
        distance = np.where(body.vertices[:, 0] >= -1e-6, distance, np.inf)
    near = np.argsort(distance)[:350]
    design = shapes[:, near]
    if central:
        design = 0.5 * (design + shapes[:, body.mirror[near]] * [-1, 1, 1])
    equations = design.transpose(0, 2, 1).reshape(-1, len(near))
    wanted = positions[: len(shapes)].reshape(-1)
    unity = 30.0 * np.sqrt(len(wanted)) * 0.05  # asks softly for weights that sum to one
    share, _ = nnls(
        np.concatenate([equations, np.full((1, len(near)), unity)]),
        np.concatenate([wanted, [unity]]),
        maxiter=8000,
    )
    share /= share.sum()
    row = np.zeros(len(body.vertices))
    if central:
        np.add.at(row, near, 0.5 * share)
        np.add.at(row, body.mirror[near], 0.5 * share)
    else:
        row[near] = share
    return row
