"""Which joints are compared, and what stands for the root: part of every number.

Joints of different data sets may have the same everyday name and be different points of the body.
Names here are of points: ``left_hip`` is the hip joint's centre as well as each source knows it,
but ``neck`` is SMPL's joint and ``neck_lsp`` the base of the neck that LSP and Human3.6M mark.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.geometry.joints import BLAZEPOSE33, SMPL24, mirror_indices
from dtsvibe_cli.smpl import BodyModel

LSP14: Final = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist",
    "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck_lsp",
    "head_top",
)  # fmt: skip
"""The joints that the field's numbers on 3DPW, Human3.6M and MPI-INF-3DHP are of."""

H36M17: Final = (
    "pelvis_h36m", "left_hip", "left_knee", "left_ankle", "right_hip", "right_knee", "right_ankle",
    "spine_h36m", "neck_lsp", "head_h36m", "head_top", "left_shoulder", "left_elbow", "left_wrist",
    "right_shoulder", "right_elbow", "right_wrist",
)  # fmt: skip
"""Rows of ``J_regressor_h36m.npy`` in order."""

KNOWN: Final = frozenset((*SMPL24, *LSP14, *H36M17, *BLAZEPOSE33))
"""Every joint name that a truth may use; not all of them can be measured."""

HIPS: Final = ("left_hip", "right_hip")


@dataclass(frozen=True, kw_only=True)
class JointSet:
    """The joints that are compared, in order."""

    title: str
    """How tables call it."""
    names: tuple[str, ...]
    regressed: bool = False
    """Whether they are regressed from the mesh; otherwise each is a joint of SMPL's tree."""

    @property
    def roots(self) -> tuple[int, ...]:
        """Joints whose mean is moved onto the true one before MPJPE."""
        roots = ("pelvis",) if "pelvis" in self.names else HIPS
        return tuple(self.names.index(name) for name in roots)

    @property
    def root_title(self) -> str:
        """The root in words."""
        return "pelvis" if "pelvis" in self.names else "middle of the hips"

    @property
    def mirror(self) -> tuple[int, ...] | None:
        """Each joint's partner on the other side; None when one has none in the set."""
        try:
            return mirror_indices(self.names)
        except ValueError:
            return None

    def index_in(self, names: tuple[str, ...]) -> list[int]:
        """Where the set's joints stand among other names."""
        return [names.index(name) for name in self.names]


LSP_SET: Final = JointSet(title="14 LSP joints (H36M regressor)", names=LSP14, regressed=True)


def common_with_smpl(names: tuple[str, ...]) -> JointSet:
    """The joints of a truth that are also joints of SMPL's tree.

    Raises:
        DataError: There are too few, or none that can be the root.
    """
    common = tuple(name for name in SMPL24 if name in names)
    if "pelvis" not in common and not set(HIPS) <= set(common):
        raise DataError(
            "The truth has neither a pelvis nor both hips, so bodies cannot be aligned: name them "
            f"as SMPL does (it has {', '.join(names)})."
        )
    if len(common) < 4:
        raise DataError(f"The truth shares only {len(common)} joints with SMPL: 4 are needed.")
    if common == SMPL24:
        return JointSet(title="24 SMPL joints", names=common)
    if set(common) == set(LSP14) & set(SMPL24):
        return JointSet(title="12 limb joints of SMPL", names=common)
    return JointSet(title=f"{len(common)} of SMPL's 24 joints", names=common)


def load_regressor(path: Path, body: BodyModel) -> Float[torch.Tensor, "14 vertex"]:
    """LSP's 14 rows of ``J_regressor_h36m.npy`` (17 x 6890) for an official SMPL mesh.

    Raises:
        DataError: The file is missing, is another one, or does not fit the body.
    """
    try:
        matrix = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"The H36M regressor {path} cannot be read ({error}): give the J_regressor_h36m.npy "
            "that SPIN and VIBE distribute."
        ) from error
    num_vertices = len(body.v_template)
    if matrix.shape != (len(H36M17), num_vertices):
        raise DataError(
            f"The H36M regressor {path} is {matrix.shape}, not {(len(H36M17), num_vertices)}: it "
            "needs SMPL's official mesh, given as --body-model."
        )
    rows = torch.from_numpy(matrix[LSP_SET.index_in(H36M17)]).float()
    across = (rows @ body.v_template)[:, 0]
    left, right = LSP14.index("left_wrist"), LSP14.index("right_wrist")
    hips = LSP14.index("left_hip"), LSP14.index("right_hip")
    if not (across[left] > across[right] and across[hips[0]] > across[hips[1]]):
        raise DataError(f"The H36M regressor {path} has its joints in another order.")
    return rows
