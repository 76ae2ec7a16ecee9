"""Keypoints of a posed body: the same 33 points that BlazePose looks for, and COCO's 17 among them.

A landmark is either one of the 24 joints or the mean of a few vertices of the skin. Only those
vertices (about sixty) are skinned, so training and refinement never touch the whole mesh.
"""

import dataclasses
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from dtsvibe_cli.errors import BodyModelError
from dtsvibe_cli.geometry.joints import (
    BLAZEPOSE33,
    COCO17_TO_BLAZEPOSE33,
    SMPL24,
    SMPL24_PARENTS,
)
from dtsvibe_cli.smpl import BodyModel, Posed, take

BLAZEPOSE33_JOINT: Final = tuple(
    SMPL24.index(name) if name in SMPL24 else None for name in BLAZEPOSE33
)
"""The joint that each BlazePose landmark is; None for landmarks on the skin."""


class LandmarkRegressor:
    """The 33 BlazePose landmarks of posed bodies, differentiable in pose and shape.

    Built once from a body model; lives on that model's device and in its precision.
    """

    def __init__(self, body: BodyModel) -> None:
        rings = body.landmark_vertices
        if len(rings) != len(BLAZEPOSE33):
            raise BodyModelError(
                f"The body model {body.name!r} does not say where its landmarks are; "
                "use the built-in body or an official SMPL file."
            )
        chosen = sorted({vertex for ring in rings for vertex in ring})
        device, dtype = body.v_template.device, body.v_template.dtype
        ids = torch.tensor(chosen, dtype=torch.long, device=device)
        self._skin = dataclasses.replace(
            body,
            v_template=body.v_template[ids],
            shapedirs=body.shapedirs[ids],
            posedirs=None if body.posedirs is None else body.posedirs[ids],
            weights=body.weights[ids],
        )
        points = torch.zeros(len(rings), len(SMPL24) + len(chosen), dtype=dtype)
        for row, (name, ring, joint) in enumerate(
            zip(BLAZEPOSE33, rings, BLAZEPOSE33_JOINT, strict=True)
        ):
            for vertex in ring:
                points[row, len(SMPL24) + chosen.index(vertex)] += 1 / len(ring)
            if not ring:
                if joint is None:
                    raise BodyModelError(f"The body model {body.name!r} has no landmark {name!r}.")
                points[row, joint] = 1
        self._points = points.to(device)
        self._of_joints = self._points[:, : len(SMPL24)]
        # how much of each joint's motion a landmark takes from each of its vertices
        self._shares = self._points[:, len(SMPL24) :, None] * self._skin.weights

    def __call__(
        self, posed: Posed, betas: Float[Tensor, "#batch shape"]
    ) -> Float[Tensor, "batch 33 3"]:
        """Landmarks in the frame of ``posed`` (pelvis where the shaped body has it), metres."""
        if len(betas) == 1 and self._skin.posedirs is None:
            return self._of_one_body(posed, betas)
        full_pose = None if self._skin.posedirs is None else _local_rotations(posed)
        vertices = self._skin.skin(posed, betas, full_pose)
        return self._points @ torch.cat([posed.joints, vertices], dim=1)

    def _of_one_body(
        self, posed: Posed, betas: Float[Tensor, "1 shape"]
    ) -> Float[Tensor, "batch 33 3"]:
        """The same for many poses of one body, several times faster.

        A landmark is then the same sum in every pose, of points fixed to the joints: two matrix
        products, and no vertex is skinned.
        """
        skin = self._skin
        shaped = skin.v_template + skin.shapedirs @ betas[0]
        shares = self._shares.sum(1)
        fixed = torch.einsum("lvj,vc->jcl", self._shares, shaped)
        fixed = fixed - shares.T[:, None] * posed.rest_joints[0, :, :, None]
        turned = posed.global_rotmat.transpose(1, 2).flatten(2) @ fixed.flatten(0, 1)
        moved = posed.joints.transpose(1, 2) @ (self._of_joints + shares).T
        return (turned + moved).transpose(1, 2)


def coco17(landmarks: Float[Tensor, "*batch 33 axis"]) -> Float[Tensor, "*batch 17 axis"]:
    """COCO's 17 keypoints out of the 33 BlazePose landmarks, in 2D or 3D."""
    chosen = torch.tensor(COCO17_TO_BLAZEPOSE33, device=landmarks.device)
    return landmarks.index_select(-2, chosen)


def _local_rotations(posed: Posed) -> Float[Tensor, "batch 24 3 3"]:
    """Each joint's rotation relative to its parent, undone from the global ones."""
    parents = take(posed.global_rotmat, SMPL24_PARENTS[1:])
    local = parents.transpose(-1, -2) @ posed.global_rotmat[:, 1:]
    return torch.cat([posed.global_rotmat[:, :1], local], dim=1)
