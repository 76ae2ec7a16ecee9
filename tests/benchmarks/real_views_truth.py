"""The two real views as ground truth in our own format: how a multi-view truth is converted.

    python tests/benchmarks/real_views_truth.py BENCH_DIR OUT_DIR
    dtsvibe evaluate OUT_DIR --format ours [--no-refine]

BENCH_DIR is that of real_views.py, and is not part of the project. The videos are linked, not
copied.
"""

import argparse
import json
from pathlib import Path

import numpy as np

NAMES = {
    "Nose": "nose", "Shoulder": "shoulder", "Elbow": "elbow", "Wrist": "wrist", "Hip": "hip",
    "Knee": "knee", "Ankle": "ankle", "Heel": "heel", "Toe": "foot_index",
}  # fmt: skip
SIDES = {"L": "left_", "R": "right_"}


def our_name(name: str) -> str:
    """``LHip`` is ``left_hip``."""
    return NAMES[name] if name in NAMES else SIDES[name[0]] + NAMES[name[1:]]


def convert(bench: Path, out: Path) -> None:
    """Write truth.toml, the joints, and the cameras."""
    out.mkdir(parents=True, exist_ok=True)
    cameras = json.loads((bench / "balance_cameras.json").read_text())["persons"][0]["cameras"]
    (out / "cameras.json").write_text(
        json.dumps({c["name"]: {key: c[key] for key in ("K", "R", "t", "dist")} for c in cameras})
    )
    with np.load(bench / "balance_gt.npz") as truth:
        np.savez(
            out / "balance.npz",
            joint_names=np.array([our_name(str(name)) for name in truth["joint_names"]]),
            joints_world=truth["X_world"],
            valid=truth["valid"],
            frame_index=truth["frames"],
            person_names=truth["person_names"],
        )
    lines = ['format = "dtsvibe-truth"', "version = 1", 'title = "Two real views of one man"']
    for number, camera in enumerate(cameras, start=1):
        link = out / camera["file"]
        if not link.exists():
            link.symlink_to((bench / camera["file"]).resolve())
        lines += ["", "[[sequence]]", f'name = "view {number}"', 'truth = "balance.npz"']
        lines += [f'video = "{camera["file"]}"', f'camera = "{camera["name"]}"']
    (out / "truth.toml").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bench", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    convert(arguments.bench, arguments.out)
