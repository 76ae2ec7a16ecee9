"""Many random adults in the rest pose: what the shape space is learned from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from dtsvibe_cli.builders.body.assets import BodyAssets
from dtsvibe_cli.builders.body.joints import place_joints
from dtsvibe_cli.builders.body.phenotypes import make_shape, sample_person
from dtsvibe_cli.builders.body.rest_pose import rest_pose

_SEED: Final = 1234
_BODY_DENSITY_KG_M3: Final = 1010.0

Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class ShapeSamples:
    """Random people, one row each, pelvis joint at the origin, metres."""

    vertices: Float[np.ndarray, "sample kept 3"]
    """Skin and eyes in the rest pose."""
    kept: Int[np.ndarray, " kept"]
    """Base mesh vertex of each column."""
    joints: Float[np.ndarray, "sample 24 3"]
    """Joints placed from the bones."""
    traits: dict[str, Float[np.ndarray, " sample"]]
    """Facts about each person that betas are named after: kg, male, age, muscle, adiposity."""


def draw_samples(
    assets: BodyAssets, num_samples: int, on_progress: Progress | None = None
) -> ShapeSamples:
    """Draw people and pose them; always the same ones."""
    eyes = [assets.groups[name].quads for name in ("helper-l-eye", "helper-r-eye")]
    kept = np.concatenate([assets.body_vertices, np.unique(np.concatenate(eyes))])
    rng = np.random.default_rng(_SEED)
    vertices = np.zeros((num_samples, len(kept), 3), np.float32)
    joints = np.zeros((num_samples, 24, 3))
    traits = {name: np.zeros(num_samples) for name in ("kg", "male", "age", "muscle", "adiposity")}
    for i in range(num_samples):
        person = sample_person(rng)
        phenotype, a_posed = make_shape(assets, person)
        pose = rest_pose(assets.rig, a_posed)
        placed = place_joints(assets.rig, pose.posed_heads)
        vertices[i] = pose.skin(a_posed[kept], assets.rig.weights[kept]) - placed[0]
        joints[i] = placed - placed[0]
        volume = _volume(a_posed, assets.groups["body"].quads)
        traits["kg"][i] = volume * _BODY_DENSITY_KG_M3
        traits["male"][i] = 1 - phenotype.gender
        traits["age"][i] = phenotype.age
        traits["muscle"][i] = phenotype.muscle
        traits["adiposity"][i] = person.adiposity
        if on_progress is not None:
            on_progress(i + 1, num_samples)
    return ShapeSamples(vertices=vertices, kept=kept, joints=joints, traits=traits)


def _volume(vertices: Float[np.ndarray, "vertex 3"], quads: Int[np.ndarray, "quad 4"]) -> float:
    """Volume inside a closed surface, cubic metres."""
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    return float((np.cross(a, b) * c).sum() / 6)
