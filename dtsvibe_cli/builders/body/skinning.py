"""Skinning weights of the 24 joints, summed up from the fine rig's 163 bones."""

from typing import Final

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix, diags

from dtsvibe_cli.builders.body.assets import Rig
from dtsvibe_cli.builders.body.shape_space import ShapeSpace
from dtsvibe_cli.geometry.joints import SMPL24, SMPL24_MIRROR

_SMOOTHING_PASSES: Final = 12
_SPINE_BLEND_M: Final = (("spine1", 0.075), ("spine2", 0.065), ("spine3", 0.055))
"""Half height of the band over which the torso changes from one spine joint to the next."""
_PARTS: Final = {
    "upperleg": "hip", "lowerleg": "knee", "foot": "ankle", "toe": "foot", "clavicle": "collar",
    "shoulder01": "collar", "upperarm": "shoulder", "lowerarm": "elbow", "wrist": "wrist",
    "metacarpal": "wrist", "finger1": "wrist", "finger": "hand",
}  # fmt: skip
"""Joint that moves the bones whose names begin like this; the first match counts."""


def joint_weights(
    rig: Rig,
    space: ShapeSpace,
    vertices: Int[np.ndarray, " vertex"],
    quads: Int[np.ndarray, "quad 4"],
) -> Float[np.ndarray, "vertex 24"]:
    """Symmetric weights of the 24 joints, at most four a vertex.

    Args:
        rig: The fine skeleton.
        space: Mean shape, for the heights of the spine.
        vertices: Base mesh vertices of the surface.
        quads: Faces in numbers of the surface's own vertices.
    """
    fine = rig.weights[vertices]
    weights = np.zeros((len(vertices), len(SMPL24)))
    torso = np.zeros(len(vertices))
    for column, bone in enumerate(rig.bones):
        joint = _joint_of(bone)
        if joint is None:
            torso += fine[:, column]
        else:
            weights[:, SMPL24.index(joint)] += fine[:, column]
    _split_torso(weights, torso, space)
    weights = _symmetric(weights, space.mirror)
    weights = _smooth_limbs(weights, quads)
    weights = _symmetric(weights, space.mirror)
    fourth = np.sort(weights, 1)[:, -4][:, None]
    return _normalised(np.where((weights >= fourth) & (weights > 1e-4), weights, 0))


def strongest_four(weights: Float[np.ndarray, "vertex 24"]) -> Float[np.ndarray, "vertex 24"]:
    """Exactly the four largest weights of each row (ties: the earlier joint), summing to one."""
    rank = np.argsort(np.argsort(-weights, 1, kind="stable"), 1)
    return _normalised(np.where(rank < 4, weights, 0))


def _normalised(weights: Float[np.ndarray, "vertex 24"]) -> Float[np.ndarray, "vertex 24"]:
    return np.asarray(weights / weights.sum(1, keepdims=True))


def _joint_of(bone: str) -> str | None:
    """The SMPL joint that a fine bone belongs to; None for the torso, which is split by height."""
    name, _, side = bone.partition(".")
    if name in ("root", "pelvis", "breast") or name.startswith("spine"):
        return None
    for beginning, part in _PARTS.items():
        if name.startswith(beginning):
            return f"{'left' if side == 'L' else 'right'}_{part}"
    return "neck" if name in ("neck01", "neck02") else "head"


def _split_torso(
    weights: Float[np.ndarray, "vertex 24"], torso: Float[np.ndarray, " vertex"], space: ShapeSpace
) -> None:
    """Share the torso out to pelvis and spine by height: MakeHuman's spine joints sit elsewhere."""
    height = space.mean[:, 1]
    above = []
    for name, half in _SPINE_BLEND_M:
        joint = space.mean_joints[SMPL24.index(name), 1]
        t = np.clip((height - (joint - half)) / (2 * half), 0, 1)
        above.append(t**2 * (3 - 2 * t))
    first, second, third = np.minimum.accumulate(np.array(above), 0)
    weights[:, SMPL24.index("pelvis")] += torso * (1 - first)
    weights[:, SMPL24.index("spine1")] += torso * (first - second)
    weights[:, SMPL24.index("spine2")] += torso * (second - third)
    weights[:, SMPL24.index("spine3")] += torso * third


def _symmetric(
    weights: Float[np.ndarray, "vertex 24"], mirror: Int[np.ndarray, " vertex"]
) -> Float[np.ndarray, "vertex 24"]:
    return _normalised(0.5 * (weights + weights[mirror][:, SMPL24_MIRROR]))


def _smooth_limbs(
    weights: Float[np.ndarray, "vertex 24"], quads: Int[np.ndarray, "quad 4"]
) -> Float[np.ndarray, "vertex 24"]:
    """Soften arms and legs, not hands and face: a twisted forearm would pinch the elbow."""

    def columns(*parts: str) -> list[int]:
        return [i for i, name in enumerate(SMPL24) if name.endswith(parts)]

    edges = np.concatenate([quads[:, [k, (k + 1) % 4]] for k in range(4)])
    edges = np.concatenate([edges, edges[:, ::-1]])
    shape = (len(weights), len(weights))
    adjacency = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=shape).tocsr()
    adjacency.data[:] = 1
    average = diags(1 / np.asarray(adjacency.sum(1)).ravel()) @ adjacency
    arms = np.clip(weights[:, columns("shoulder", "elbow", "wrist")].sum(1) * 1.2, 0, 1) * 0.5
    arms *= weights[:, columns("hand")].sum(1) < 0.02
    legs = np.clip(weights[:, columns("hip", "knee")].sum(1), 0, 1) * 0.25
    strength = (arms + legs)[:, None]
    for _ in range(_SMOOTHING_PASSES):
        weights = weights + strength * (average @ weights - weights)
    return weights
