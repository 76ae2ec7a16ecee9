"""The shape space: ten uncorrelated directions of unit variance that mean something to people.

Principal components of symmetrised, pelvis-aligned samples give the ten-dimensional space; a
rotation inside it names the first five betas: stature, weight, leg length, male, arm length.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from dtsvibe_cli.builders.body.assets import BodyAssets
from dtsvibe_cli.builders.body.joints import pelvis_ring
from dtsvibe_cli.builders.body.samples import ShapeSamples
from dtsvibe_cli.builders.body.visibility import Surface
from dtsvibe_cli.geometry.joints import SMPL24, SMPL24_MIRROR

NUM_BETAS: Final = 10
_NAMED: Final = ("stature", "bmi", "leg_ratio", "male", "arm_ratio")
"""What the first betas are; the others are sorted by the surface that they move."""
_FLIP: Final = np.array([-1.0, 1, 1])


@dataclass(frozen=True, kw_only=True)
class ShapeSpace:
    """Mean body and shape directions on the visible surface; pelvis joint at the origin, metres."""

    mean: Float[np.ndarray, "vertex 3"]
    directions: Float[np.ndarray, "vertex 3 10"]
    """Displacement for one standard deviation of each beta."""
    mean_joints: Float[np.ndarray, "24 3"]
    """Mean of the joints placed from the bones."""
    mirror: Int[np.ndarray, " vertex"]
    """The vertex on the other side of the body."""
    explained: float
    """Share of the samples' variance that ten betas explain."""
    samples: Float[np.ndarray, "sample vertex 3"]
    """The symmetrised, aligned samples."""
    shifts: Float[np.ndarray, "sample 3"]
    """What was subtracted from each sample to align it."""


def learn_shape_space(assets: BodyAssets, samples: ShapeSamples, surface: Surface) -> ShapeSpace:
    """Symmetrise, align and decompose the samples."""
    used = surface.vertices
    rest = assets.vertices[used]
    mirror = np.asarray(cKDTree(rest).query(rest * _FLIP)[1])
    column = np.searchsorted(used, surface.quads)
    vertices = samples.vertices[:, _positions(samples.kept, used)].astype(np.float64)
    vertices = 0.5 * (vertices + vertices[:, mirror] * _FLIP)
    joints = 0.5 * (samples.joints + samples.joints[:, SMPL24_MIRROR] * _FLIP)
    # The rig's own pelvis marker drifts by a centimetre or two between shapes: anchor the skin.
    shifts = np.einsum("v,nvc->nc", pelvis_ring(vertices.mean(0), mirror), vertices)
    vertices = vertices - shifts[:, None]
    joints = joints - shifts[:, None]
    joints[:, 0] = 0
    mean = vertices.mean(0)
    areas = _vertex_areas(mean, np.concatenate([column[:, [0, 1, 2]], column[:, [0, 2, 3]]]))
    betas, directions, variances = _principal(vertices - mean, areas)
    traits = _traits(samples, vertices, joints)
    rotation = _semantic_rotation(betas, variances, traits)
    betas, directions = betas @ rotation.T, directions @ rotation.T
    directions *= _signs(betas, traits)
    explained = (directions**2 * areas[:, None, None]).sum()
    total = ((vertices - mean) ** 2 * areas[:, None]).sum() / len(vertices)
    return ShapeSpace(
        mean=mean,
        directions=directions,
        mean_joints=joints.mean(0),
        mirror=mirror,
        explained=float(explained / total),
        samples=vertices.astype(np.float32),
        shifts=shifts,
    )


def _positions(
    kept: Int[np.ndarray, " kept"], used: Int[np.ndarray, " used"]
) -> Int[np.ndarray, " used"]:
    """Where each used vertex stands among the kept ones."""
    order = np.argsort(kept)
    found: Int[np.ndarray, " used"] = order[np.searchsorted(kept, used, sorter=order)]
    return found


def _vertex_areas(
    vertices: Float[np.ndarray, "vertex 3"], triangles: Int[np.ndarray, "triangle 3"]
) -> Float[np.ndarray, " vertex"]:
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    third = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    areas = np.zeros(len(vertices))
    for k in range(3):
        np.add.at(areas, triangles[:, k], third)
    return areas


def _principal(
    offsets: Float[np.ndarray, "sample vertex 3"], areas: Float[np.ndarray, " vertex"]
) -> tuple[
    Float[np.ndarray, "sample 10"],
    Float[np.ndarray, "vertex 3 10"],
    Float[np.ndarray, " 10"],
]:
    """Area-weighted principal components: unit-variance betas, directions, variances."""
    num_samples, num_vertices, _ = offsets.shape
    weights = np.sqrt(areas / areas.mean())
    flat = (offsets * weights[:, None]).reshape(num_samples, -1)
    values, vectors = np.linalg.eigh(flat @ flat.T)
    first = np.argsort(-values)[:NUM_BETAS]
    values, vectors = values[first], vectors[:, first]
    components = (flat.T @ vectors / np.sqrt(values)).reshape(num_vertices, 3, NUM_BETAS)
    deviations = np.sqrt(values / num_samples)
    directions = components / weights[:, None, None] * deviations
    return vectors * np.sqrt(num_samples), directions, values


def _traits(
    samples: ShapeSamples,
    vertices: Float[np.ndarray, "sample vertex 3"],
    joints: Float[np.ndarray, "sample 24 3"],
) -> dict[str, Float[np.ndarray, " sample"]]:
    """Measured facts about each sample, by which betas are named and signed."""

    def length(start: str, end: str) -> Float[np.ndarray, " sample"]:
        offset = joints[:, SMPL24.index(start)] - joints[:, SMPL24.index(end)]
        distance: Float[np.ndarray, " sample"] = np.linalg.norm(offset, axis=1)
        return distance

    stature = np.ptp(vertices[:, :, 1], axis=1)
    leg = length("left_hip", "left_knee") + length("left_knee", "left_ankle")
    arm = length("left_shoulder", "left_elbow") + length("left_elbow", "left_wrist")
    return {
        "stature": stature,
        "bmi": samples.traits["kg"] / stature**2,
        **samples.traits,
        "leg_ratio": leg / stature,
        "arm_ratio": arm / stature,
        "shoulder_width": length("left_shoulder", "right_shoulder") / stature,
        "hip_width": length("left_hip", "right_hip") / stature,
        "torso_ratio": length("neck", "pelvis") / stature,
        "foot": length("left_ankle", "left_foot") / stature,
        "hand": length("left_wrist", "left_hand") / stature,
    }


def _semantic_rotation(
    betas: Float[np.ndarray, "sample 10"],
    variances: Float[np.ndarray, " 10"],
    traits: dict[str, Float[np.ndarray, " sample"]],
) -> Float[np.ndarray, "10 10"]:
    """Rotation of the betas: named directions first, what is left by falling variance."""
    rows: list[Float[np.ndarray, " 10"]] = []
    for name in _NAMED:
        trait = (traits[name] - traits[name].mean()) / traits[name].std()
        row = betas.T @ trait / len(betas)
        for earlier in rows:
            row = row - earlier * (row @ earlier)
        rows.append(row / np.linalg.norm(row))
    named = np.array(rows)
    rest = np.eye(NUM_BETAS) - named.T @ named
    left, vectors = np.linalg.eigh(rest @ np.diag(variances) @ rest)
    others = np.argsort(-left)[: NUM_BETAS - len(named)]
    return np.concatenate([named, vectors[:, others].T])


def _signs(
    betas: Float[np.ndarray, "sample 10"], traits: dict[str, Float[np.ndarray, " sample"]]
) -> Float[np.ndarray, " 10"]:
    """+1 or -1 for each beta, so that more of it means more of what it resembles most."""
    signs = np.ones(NUM_BETAS)
    for k in range(NUM_BETAS):
        likeness = {n: float(np.corrcoef(t, betas[:, k])[0, 1]) for n, t in traits.items()}
        name = _NAMED[k] if k < len(_NAMED) else max(likeness, key=lambda n: abs(likeness[n]))
        signs[k] = -1.0 if likeness[name] < 0 else 1.0
    return signs
