"""Accuracy on two real calibrated views, with and without refinement: a Markdown table.

    python tests/benchmarks/real_views.py BENCH_DIR [--weights NAME|FILE]

BENCH_DIR holds Pose2Sim's demo views (BSD-3) with triangulated ground truth: balance_cam01.mp4,
balance_cam02.mp4, balance_gt.npz, balance_cameras.json, and eval_multiview.py for the scoring.
It is not part of the project.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from dtsvibe_cli import VideoMotion, estimate_video

COLUMNS = {
    "MPJPE": "MPJPE mm",
    "PA": "PA-MPJPE mm",
    "accel_mm_f2": "accel. error mm/frame²",
    "jitter_mm_f2": "jitter mm/frame²",
    "px_frac_box": "2D of box",
    "LR_swapped_frames": "left/right swaps",
}


def _save(motion: VideoMotion, path: Path) -> None:
    people = motion.people
    np.savez(
        path,
        joints3d=np.concatenate([person.joints_cam for person in people]),
        joints2d=np.concatenate([person.joints_px for person in people]),
        frames=np.concatenate([person.track.frame_index for person in people]),
        track_id=np.concatenate(
            [np.full(len(person.joints_px), person.track.track_id) for person in people]
        ),
    )


def score(bench: Path, view: int, motion: VideoMotion, folder: Path) -> dict[str, Any]:
    _save(motion, folder / "pred.npz")
    subprocess.run(
        [
            sys.executable,
            str(bench / "eval_multiview.py"),
            *("--gt", str(bench / "balance_gt.npz"), "--cam", str(view), "--no-baselines"),
            *("--pred", str(folder / "pred.npz"), "--json", str(folder / "scores.json")),
        ],
        check=True,
        capture_output=True,
    )
    scores = json.loads((folder / "scores.json").read_text())
    result: dict[str, Any] = scores[f"cam{view}"]["fused"]["PREDICTION"]
    return result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bench", type=Path)
    parser.add_argument("--weights", default="lite")
    arguments = parser.parse_args()
    rows = []
    for refine in (False, True):
        for view in (1, 2):
            motion, _ = estimate_video(
                arguments.bench / f"balance_cam0{view}.mp4",
                weights=arguments.weights,
                refine=refine,
                device="cpu",
            )
            with tempfile.TemporaryDirectory() as folder:
                result = score(arguments.bench, view, motion, Path(folder))
            rows.append([("refined" if refine else "network alone"), f"view {view}", result])
        mean = {key: (rows[-2][2][key] + rows[-1][2][key]) / 2 for key in COLUMNS}
        rows.append([rows[-1][0], "mean", mean])
    lines = [
        "| | | " + " | ".join(COLUMNS.values()) + " |",
        "|---|---" + "|---" * len(COLUMNS) + "|",
    ]
    for kind, view, result in rows:
        values = [f"{result[key]:.{4 if key == 'px_frac_box' else 1}f}" for key in COLUMNS]
        lines.append(f"| {kind} | {view} | " + " | ".join(values) + " |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
