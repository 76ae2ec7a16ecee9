"""SMPL as four frozen steps: load, shape, pose, skin. Stateless linear blend skinning in torch.

Written from the SMPL paper (Loper et al. 2015) alone. Works for any 24-joint model in SMPL's
format: the free body that ships in ``weights/`` and, through :mod:`dtsvibe_cli.smpl_files`, the
official files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dtsvibe_cli.datatypes import SmplParams
from dtsvibe_cli.geometry.joints import SMPL24_PARENTS


@dataclass(frozen=True, kw_only=True)
class _Generation:
    """Joints equally far from the root: they can be posed together."""

    joints: list[int]
    parents_at: list[int]
    """Where the parents stand in the generation before."""


def _generations() -> tuple[tuple[_Generation, ...], list[int]]:
    """The tree below the root by generation, and how to put its joints back in order."""
    last, order, generations = [0], [0], []
    while len(order) < len(SMPL24_PARENTS):
        joints = [joint for joint, parent in enumerate(SMPL24_PARENTS) if parent in last]
        at = [last.index(SMPL24_PARENTS[joint]) for joint in joints]
        generations.append(_Generation(joints=joints, parents_at=at))
        last = joints
        order += joints
    return tuple(generations), [order.index(joint) for joint in range(len(order))]


def _ancestry() -> Float[Tensor, "24 24"]:
    """One where the second joint is the first or lies between it and the root."""
    above = torch.eye(len(SMPL24_PARENTS))
    for joint, parent in enumerate(SMPL24_PARENTS[1:], 1):
        above[joint] += above[parent]
    return above


def take(
    values: Float[Tensor, "batch point *axes"], chosen: Sequence[int]
) -> Float[Tensor, "batch chosen *axes"]:
    """Some points, in any order and as often as wanted.

    The same as ``values[:, chosen]``, whose gradient is slow, and differs from run to run where
    several threads add up what a point gets.
    """
    return values.index_select(1, torch.tensor(chosen, device=values.device))


_GENERATIONS, _IN_ORDER = _generations()
_PARENTS = list(SMPL24_PARENTS[1:])
_ANCESTRY = _ancestry()


@dataclass(frozen=True, kw_only=True)
class Posed:
    """Joints and their global transforms for a batch of poses."""

    joints: Float[Tensor, "batch 24 3"]
    """Joint positions, metres."""
    global_rotmat: Float[Tensor, "batch 24 3 3"]
    """Rotation of each joint's frame relative to the rest pose."""
    rest_joints: Float[Tensor, "#batch 24 3"]
    """Joint positions of the shaped body in the rest pose; one row when one body has all poses."""


@dataclass(frozen=True, kw_only=True)
class BodyModel:
    """The arrays of a 24-joint SMPL-format body model; never changed after loading."""

    name: str
    """What results and reports call it."""
    v_template: Float[Tensor, "vertex 3"]
    shapedirs: Float[Tensor, "vertex 3 shape"]
    posedirs: Float[Tensor, "vertex 3 207"] | None
    """Pose blend shapes; None when the model has none (all zero)."""
    joint_template: Float[Tensor, "24 3"]
    """Rest joints of the mean shape."""
    joint_shapedirs: Float[Tensor, "24 3 shape"]
    """How rest joints move with betas."""
    weights: Float[Tensor, "vertex 24"]
    """Skinning weights; rows sum to one."""
    faces: Int[Tensor, "face 3"]
    licence: str
    """Licence of the file, for the results' meta block."""
    sha256: str
    """Checksum of the file it was read from."""
    landmark_vertices: tuple[tuple[int, ...], ...] = ()
    """For each BlazePose landmark: the vertices whose mean it is; () where it is a joint."""
    meta: dict[str, Any] = field(default_factory=dict)
    """Whatever else the file says about itself."""

    @property
    def num_betas(self) -> int:
        """Number of shape coefficients."""
        return self.shapedirs.shape[-1]

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> "BodyModel":
        """The same model on another device or in another precision."""
        moved: dict[str, Any] = {
            f.name: value.to(device, dtype if value.is_floating_point() else None)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)

    def pose(
        self,
        full_pose: Float[Tensor, "batch 24 3 3"],
        betas: Float[Tensor, "#batch shape"],
    ) -> Posed:
        """Joints by forward kinematics, pelvis where the shaped body has it (no translation).

        One row of ``betas`` stands for all poses: one body.
        """
        rest = self.joint_template + torch.einsum("bk,jck->bjc", betas, self.joint_shapedirs)
        generations = [full_pose[:, :1]]
        for generation in _GENERATIONS:
            above = take(generations[-1], generation.parents_at)
            generations.append(above @ take(full_pose, generation.joints))
        rotmat = take(torch.cat(generations, 1), _IN_ORDER)
        bones = rest[:, 1:] - take(rest, _PARENTS)
        turned = (take(rotmat, _PARENTS) * bones[:, :, None]).sum(-1)
        steps = torch.cat([rest[:, :1].expand(len(turned), -1, -1), turned], 1)
        # a joint is where the bones from the root to it lead
        joints = (steps.transpose(1, 2) @ _ANCESTRY.to(steps).T).transpose(1, 2)
        return Posed(joints=joints, global_rotmat=rotmat, rest_joints=rest)

    def skin(
        self,
        posed: Posed,
        betas: Float[Tensor, "#batch shape"],
        full_pose: Float[Tensor, "batch 24 3 3"] | None = None,
        vertex_ids: Int[Tensor, " chosen"] | None = None,
    ) -> Float[Tensor, "batch vertices 3"]:
        """Vertices of a posed body, all of them or the chosen ones.

        ``full_pose`` is needed only when the model has pose blend shapes.
        """
        pick = slice(None) if vertex_ids is None else vertex_ids
        shaped = self.v_template[pick] + torch.einsum("bk,vck->bvc", betas, self.shapedirs[pick])
        if self.posedirs is not None and full_pose is not None:
            eye = torch.eye(3, dtype=shaped.dtype, device=shaped.device)
            feature = (full_pose[:, 1:] - eye).reshape(len(full_pose), -1)
            shaped = shaped + torch.einsum("bp,vcp->bvc", feature, self.posedirs[pick])
        offset = posed.joints - (posed.global_rotmat @ posed.rest_joints[..., None])[..., 0]
        transform = torch.cat([posed.global_rotmat, offset[..., None]], dim=-1)
        blended: Tensor = torch.einsum("vj,bjc->bvc", self.weights[pick], transform.flatten(2))
        blended = blended.unflatten(-1, (3, 4))
        return (blended[..., :3] @ shaped[..., None])[..., 0] + blended[..., 3]

    def vertices(
        self,
        full_pose: Float[Tensor, "batch 24 3 3"],
        betas: Float[Tensor, "batch shape"],
        transl: Float[Tensor, "batch 3"],
    ) -> Float[Tensor, "batch vertex 3"]:
        """Vertices in the frame of ``global_orient`` and ``transl``, as smplx has them."""
        posed = self.pose(full_pose, betas)
        return self.skin(posed, betas, full_pose) + transl[:, None]


@torch.inference_mode()
def vertices_of(body: BodyModel, smpl: SmplParams) -> Float[np.ndarray, "frame vertex 3"]:
    """All mesh points of a person's frames, metres, camera coordinates; posed a few at a time."""
    full_pose = np.concatenate([smpl.global_orient[:, None], smpl.body_pose], axis=1)
    parts = [
        body.vertices(
            *(
                torch.as_tensor(array[rows]).to(body.v_template)
                for array in (full_pose, smpl.betas, smpl.transl)
            )
        )
        .cpu()
        .numpy()
        for rows in np.array_split(np.arange(len(full_pose)), len(full_pose) // 64 + 1)
    ]
    return np.concatenate(parts)
