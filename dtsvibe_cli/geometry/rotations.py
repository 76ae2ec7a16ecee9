"""The only place that knows a rotation layout. Matrices act on column vectors.

6D rotations come in three layouts in the field; ours is ``columns``: the first three numbers are
the first column of the matrix, the last three the second (Zhou et al. 2019).
"""

import torch
from jaxtyping import Float
from torch import Tensor


def rotvec_to_rotmat(rotvec: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices of rotation vectors in radians (Rodrigues), smooth through zero."""
    angle = torch.linalg.vector_norm(rotvec, dim=-1, keepdim=True)
    small = angle < 1e-4
    safe = torch.where(small, torch.ones_like(angle), angle)
    sin_over = torch.where(small, 1 - angle**2 / 6, torch.sin(safe) / safe)[..., None]
    cos_over = torch.where(small, 0.5 - angle**2 / 24, (1 - torch.cos(safe)) / safe**2)[..., None]
    x, y, z = rotvec.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1)
    skew = skew.reshape(*rotvec.shape[:-1], 3, 3)
    eye = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    return eye + sin_over * skew + cos_over * (skew @ skew)


def rotmat_to_rotvec(rotmat: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Rotation vectors in radians, length at most pi."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (row.unbind(-1) for row in rotmat.unbind(-2))
    # the rotation's quaternion (w first) times each of its own numbers, times 4: of these multiples
    # the one by the largest number is exact
    multiples = torch.stack(
        [
            torch.stack([1 + xx + yy + zz, zy - yz, xz - zx, yx - xy], -1),
            torch.stack([zy - yz, 1 + xx - yy - zz, xy + yx, xz + zx], -1),
            torch.stack([xz - zx, xy + yx, 1 - xx + yy - zz, yz + zy], -1),
            torch.stack([yx - xy, xz + zx, yz + zy, 1 - xx - yy + zz], -1),
        ],
        -2,
    )
    largest = multiples.diagonal(dim1=-2, dim2=-1).argmax(-1)[..., None, None]
    quaternion = multiples.take_along_dim(largest, -2).squeeze(-2)
    quaternion = torch.nn.functional.normalize(quaternion, dim=-1)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    cos_half, axis = quaternion[..., :1], quaternion[..., 1:]
    sin_half = torch.linalg.vector_norm(axis, dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sin_half, cos_half)
    rotvec: Tensor = axis * torch.where(sin_half < 1e-12, 2 / cos_half, angle / sin_half)
    return rotvec


def rot6d_to_rotmat(rot6d: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices of 6D rotations in the ``columns`` layout (Gram-Schmidt)."""
    first, second = rot6d[..., :3], rot6d[..., 3:]
    x = torch.nn.functional.normalize(first, dim=-1)
    y = second - (x * second).sum(-1, keepdim=True) * x
    y = torch.nn.functional.normalize(y, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y, dim=-1)], dim=-1)


def rotmat_to_rot6d(rotmat: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 6"]:
    """6D rotations in the ``columns`` layout."""
    return torch.cat([rotmat[..., 0], rotmat[..., 1]], dim=-1)


def project_to_rotmat(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation nearest to each matrix (SVD): the mean of rotations that were added up."""
    u, _, vh = torch.linalg.svd(matrix)
    flip = torch.ones_like(matrix[..., 0])
    flip[..., 2] = torch.det(u @ vh)
    rotation: Tensor = (u * flip[..., None, :]) @ vh
    return rotation


def rotation_between(
    start: Float[Tensor, "*batch 3"], end: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3 3"]:
    """The smallest rotation that carries direction ``start`` to direction ``end``.

    Opposite directions are half a turn apart, about some axis square to both.
    """
    a = torch.nn.functional.normalize(start, dim=-1)
    b = torch.nn.functional.normalize(end, dim=-1)
    axis = torch.linalg.cross(a, b, dim=-1)
    sin = torch.linalg.vector_norm(axis, dim=-1, keepdim=True)
    cos = (a * b).sum(-1, keepdim=True)
    aside = torch.nn.functional.one_hot(a.abs().argmin(-1), 3).to(a.dtype)
    any_axis = torch.nn.functional.normalize(torch.linalg.cross(a, aside, dim=-1), dim=-1)
    opposite = (sin < 1e-6) & (cos < 0)
    axis = torch.where(opposite, any_axis, axis / sin.clamp_min(1e-9))
    return rotvec_to_rotmat(axis * torch.atan2(sin, cos))
