"""The closed triangle mesh: quads cut in two, holes capped, vertices thinned out."""

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int

from dtsvibe_cli.builders.body.decimate import decimate
from dtsvibe_cli.builders.body.shape_space import ShapeSpace
from dtsvibe_cli.builders.body.visibility import Surface
from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.geometry.rotations import rotvec_to_rotmat
from dtsvibe_cli.smpl import BodyModel

_HOLE_RIMS: Final = {
    "right lids": 1128, "left lids": 7820, "back of left eye": 14647, "mouth": 531,
    "back of right eye": 14682,
}  # fmt: skip
"""A base mesh vertex on the rim of each hole; the order numbers the virtual vertices."""

_BENT_POSES_DEG: Final[tuple[dict[str, tuple[float, float, float]], ...]] = (
    {"elbow": (0, -90, 0)},
    {"shoulder": (0, 0, -75)},
    {"hip": (-90, 0, 0), "knee": (90, 0, 0), "shoulder": (0, 0, -60)},
)
"""Left side rotation vectors of poses in which a thinned mesh must still look right."""
_BENT_SHAPES: Final = ((1, 2), (2, 2), (3, 2), (3, -2))
"""Betas (index, value) for which it must look right, too."""

_Values = TypeVar("_Values", bound=np.ndarray)


@dataclass(frozen=True, kw_only=True)
class ClosedMesh:
    """A watertight triangle mesh over the surface's vertices and one virtual vertex a hole."""

    triangles: Int[np.ndarray, "triangle 3"]
    corners: Int[np.ndarray, "triangle 3"]
    """Texture coordinates; numbers above the base mesh's belong to the virtual vertices."""
    hole_means: Float[np.ndarray, "hole vertex"]
    """Each virtual vertex as a mean of surface vertices: the rim of its hole."""
    first_virtual_corner: int
    """Texture coordinate of the first virtual vertex."""

    def extend(self, values: _Values) -> _Values:
        """Values of the surface's vertices, with those of the virtual vertices behind."""
        caps = np.tensordot(self.hole_means, values, 1)
        return np.concatenate([values, caps], 0)  # type: ignore[return-value]


@dataclass(frozen=True, kw_only=True)
class ThinMesh:
    """A mesh that kept some vertices of the closed one."""

    kept: Int[np.ndarray, " vertex"]
    """Vertices of the closed mesh, rising."""
    triangles: Int[np.ndarray, "triangle 3"]
    """In numbers of the kept vertices."""
    corners: Int[np.ndarray, "triangle 3"]
    mirror: Int[np.ndarray, " vertex"]
    """The kept vertex on the other side of the body."""


def close_mesh(surface: Surface, mean: Float[np.ndarray, "vertex 3"]) -> ClosedMesh:
    """Cut each quad along its shorter diagonal (so both sides agree) and cap the holes."""
    quads = np.searchsorted(surface.vertices, surface.quads)
    triangles: list[list[int]] = []
    corners: list[list[int]] = []
    corner_of: dict[int, int] = {}
    for quad, corner in zip(quads.tolist(), surface.corners.tolist(), strict=True):
        first = np.linalg.norm(mean[quad[0]] - mean[quad[2]])
        second = np.linalg.norm(mean[quad[1]] - mean[quad[3]])
        cuts = ((0, 1, 2), (0, 2, 3)) if first <= second + 1e-9 else ((1, 2, 3), (1, 3, 0))
        for cut in cuts:
            triangles.append([quad[i] for i in cut])
            corners.append([corner[i] for i in cut])
        for vertex, number in zip(quad, corner, strict=True):
            corner_of.setdefault(vertex, number)
    rims = _hole_rims(surface, quads)
    means = np.zeros((len(rims), len(mean)))
    first_virtual = int(surface.corners.max()) + 1
    for hole, rim in enumerate(rims):
        means[hole, rim] = 1 / len(rim)
        for start, end in zip(rim, rim[1:] + rim[:1], strict=True):
            triangles.append([start, end, len(mean) + hole])
            corners.append([corner_of[start], corner_of[end], first_virtual + hole])
    return ClosedMesh(
        triangles=np.array(triangles),
        corners=np.array(corners),
        hole_means=means,
        first_virtual_corner=first_virtual,
    )


def _hole_rims(surface: Surface, quads: Int[np.ndarray, "quad 4"]) -> list[list[int]]:
    """The vertices around each hole, in the direction in which a cap must run."""
    edges = {(q[k], q[(k + 1) % 4]) for q in quads.tolist() for k in range(4)}
    following = {end: start for start, end in edges if (end, start) not in edges}
    rims = []
    for vertex in _HOLE_RIMS.values():
        rim = [int(np.searchsorted(surface.vertices, vertex))]
        while (after := following.pop(rim[-1])) != rim[0]:
            rim.append(after)
        rims.append(rim)
    if following:
        raise AssertionError(f"the surface has another hole at {sorted(following)[:3]}")
    return rims


def thin_mesh(
    mesh: ClosedMesh,
    space: ShapeSpace,
    weights: Float[np.ndarray, "vertex 24"],
    num_vertices: int,
) -> ThinMesh:
    """Keep the vertices that shape and pose need most, the same on both sides of the body.

    Args:
        mesh: The closed mesh.
        space: Shape space of the surface.
        weights: Skinning weights of the closed mesh.
        num_vertices: How many to keep.
    """
    mean, directions = mesh.extend(space.mean), mesh.extend(space.directions)
    mirror = _extended_mirror(mesh, space)
    shapes = [mean, *(mean + value * directions[:, :, k] for k, value in _BENT_SHAPES)]
    shapes += _bend(mean, weights, space.mean_joints)
    kept, triangles, corners = decimate(
        np.stack(shapes),
        mesh.triangles,
        mesh.corners,
        mirror,
        num_vertices,
        _importance(mean, weights, space.mean_joints),
    )
    position = np.full(len(mean), -1)
    position[kept] = np.arange(len(kept))
    return ThinMesh(kept=kept, triangles=triangles, corners=corners, mirror=position[mirror[kept]])


def _extended_mirror(mesh: ClosedMesh, space: ShapeSpace) -> Int[np.ndarray, " vertex"]:
    caps = mesh.hole_means @ space.mean
    flipped = caps * [-1, 1, 1]
    partner = [int(np.argmin(np.linalg.norm(flipped - cap, axis=1))) for cap in caps]
    return np.concatenate([space.mirror, len(space.mean) + np.array(partner)])


def _importance(
    mean: Float[np.ndarray, "vertex 3"],
    weights: Float[np.ndarray, "vertex 24"],
    joints: Float[np.ndarray, "24 3"],
) -> Float[np.ndarray, " vertex"]:
    """How dear each vertex is: ears and toes would otherwise take most of the mesh."""

    def moved_by(*names: str) -> Float[np.ndarray, " vertex"]:
        total: Float[np.ndarray, " vertex"] = weights[
            :, [i for i, name in enumerate(SMPL24) if name.endswith(names)]
        ].sum(1)
        return total

    importance = np.ones(len(mean))
    head = mean[:, 1] > joints[SMPL24.index("head"), 1] - 0.02
    importance[head] = 0.6
    importance[moved_by("_foot") > 0.5] = 0.35
    importance[head & (np.abs(mean[:, 0]) > 0.062) & (mean[:, 2] < 0.03)] = 0.25
    importance[moved_by("_wrist", "_hand") > 0.5] = 0.6
    return importance


def _bend(
    mean: Float[np.ndarray, "vertex 3"],
    weights: Float[np.ndarray, "vertex 24"],
    joints: Float[np.ndarray, "24 3"],
) -> list[Float[np.ndarray, "vertex 3"]]:
    """The mean body in the poses of :data:`_BENT_POSES_DEG`."""
    none = torch.zeros(0, dtype=torch.float64)
    body = BodyModel(
        name="mean",
        v_template=torch.from_numpy(mean),
        shapedirs=none.new_zeros(len(mean), 3, 1),
        posedirs=None,
        joint_template=torch.from_numpy(joints),
        joint_shapedirs=none.new_zeros(len(SMPL24), 3, 1),
        weights=torch.from_numpy(weights),
        faces=torch.zeros(0, 3, dtype=torch.int64),
        licence="",
        sha256="",
    )
    poses = np.zeros((len(_BENT_POSES_DEG), len(SMPL24), 3))
    for pose, parts in zip(poses, _BENT_POSES_DEG, strict=True):
        for part, (x, y, z) in parts.items():
            pose[SMPL24.index(f"left_{part}")] = np.deg2rad([x, y, z])
            pose[SMPL24.index(f"right_{part}")] = np.deg2rad([x, -y, -z])
    rotations = rotvec_to_rotmat(torch.from_numpy(poses))
    betas, origin = none.new_zeros(len(poses), 1), none.new_zeros(len(poses), 3)
    return list(body.vertices(rotations, betas, origin).numpy())
