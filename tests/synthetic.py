"""Small made-up inputs that several tests share."""

import hashlib

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from dtsvibe_cli.geometry.joints import BLAZEPOSE33, SMPL24, SMPL24_PARENTS
from dtsvibe_cli.smpl import BodyModel


def smpl_arrays(
    num_vertices: int = 120, num_betas: int = 10, seed: int = 0
) -> dict[str, np.ndarray]:
    """Arrays in the layout of an official SMPL file: a random tree of joints with skin around."""
    rng = np.random.default_rng(seed)
    joints = np.zeros((24, 3))
    for joint, parent in enumerate(SMPL24_PARENTS):
        if parent >= 0:
            joints[joint] = joints[parent] + rng.uniform(-0.3, 0.3, 3)
    owner = np.arange(num_vertices) % 24
    regressor = (owner == np.arange(24)[:, None]).astype(float)
    skinning = rng.random((num_vertices, 24)) ** 8 + 3 * regressor.T
    parents = np.array(SMPL24_PARENTS, np.int64).astype(np.uint32)  # the root's is 4294967295
    return {
        "v_template": joints[owner] + rng.normal(0, 0.05, (num_vertices, 3)),
        "shapedirs": rng.normal(0, 0.01, (num_vertices, 3, num_betas)),
        "posedirs": rng.normal(0, 0.002, (num_vertices, 3, 207)),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": skinning / skinning.sum(1, keepdims=True),
        "kintree_table": np.stack([parents, np.arange(24, dtype=np.uint32)]),
        "f": rng.integers(0, num_vertices, (2 * num_vertices, 3)).astype(np.uint32),
    }


def small_body(*, posedirs: bool = False, seed: int = 0) -> BodyModel:
    """A body of 120 vertices in double precision, with made-up landmark vertices."""
    arrays = {name: torch.from_numpy(a.astype(float)) for name, a in smpl_arrays(seed=seed).items()}
    regressor, template = arrays["J_regressor"], arrays["v_template"]
    rings = tuple(() if name in SMPL24 else (i, i + 40) for i, name in enumerate(BLAZEPOSE33))
    return BodyModel(
        name="small",
        v_template=template,
        shapedirs=arrays["shapedirs"],
        posedirs=arrays["posedirs"] if posedirs else None,
        joint_template=regressor @ template,
        joint_shapedirs=torch.einsum("jv,vck->jck", regressor, arrays["shapedirs"]),
        weights=arrays["weights"],
        faces=arrays["f"].long(),
        licence="CC0-1.0",
        sha256=hashlib.sha256(b"small").hexdigest(),
        landmark_vertices=rings,
    )


def random_rotations(*batch: int, seed: int = 0) -> Float[torch.Tensor, "*batch 3 3"]:
    """Rotation matrices, uniform over all rotations, double precision."""
    generator = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(*batch, 3, 3, generator=generator, dtype=torch.float64))
    q = q * torch.diagonal(r, dim1=-2, dim2=-1).sign()[..., None, :]
    return q * torch.linalg.det(q)[..., None, None]


def textured_picture(
    height: int, width: int, *, seed: int = 0
) -> UInt8[np.ndarray, "height width 3"]:
    """Smooth random colours, with detail of a few pixels everywhere: flow can be measured on it."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return np.clip(128 + 45 * smooth / smooth.std(), 0, 255).astype(np.uint8)
