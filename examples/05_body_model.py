"""Pose the built-in body and write it as a mesh that Blender and MeshLab open.

Run: python examples/05_body_model.py [body.obj]   (.ply, .stl and .glb work as well)
"""

import math
import sys
from pathlib import Path

import torch
import trimesh

from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.geometry.rotations import rotvec_to_rotmat
from dtsvibe_cli.smpl_files import load_body_model


def main(out_path: Path) -> None:
    """Write a tall person who lets one arm hang and flexes the other."""
    body = load_body_model()
    rotvec = torch.zeros(1, 24, 3)  # all zero is the T-pose; each joint turns against its parent
    rotvec[0, SMPL24.index("right_shoulder"), 2] = math.radians(70)
    rotvec[0, SMPL24.index("left_elbow"), 1] = -math.radians(90)
    betas = torch.zeros(1, body.num_betas)
    betas[0, 0] = 1.5  # of this body, the first number is the height
    vertices = body.vertices(rotvec_to_rotmat(rotvec), betas, transl=torch.zeros(1, 3))[0]
    trimesh.Trimesh(vertices.numpy(), body.faces.numpy(), process=False).export(out_path)
    height_m = float(vertices[:, 1].max() - vertices[:, 1].min())
    print(f"{out_path}: {len(vertices)} vertices, {height_m:.2f} m tall")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("body.obj"))
