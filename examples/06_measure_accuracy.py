"""How far is a result from the truth? Runs the synthetic clip, whose truth is known exactly.

python examples/06_measure_accuracy.py [VIDEO TRUTH] [--no-refine]
"""

import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from dtsvibe_cli import estimate_video
from dtsvibe_cli.evaluation.compare import compare
from dtsvibe_cli.synthetic.truth import load_truth

HERE = Path(__file__).parent
given = [Path(word) for word in sys.argv[1:] if not word.startswith("--")]
video, truth_file = given or (HERE / "synthetic_walk.mp4", HERE / "synthetic_walk_truth.npz")

truth = load_truth(truth_file)
motion, _ = estimate_video(
    video, focal=f"{truth.focal_length_px}px", refine="--no-refine" not in sys.argv
)
frames = np.arange(len(truth.joints_cam))
for person in motion.people:
    errors = compare(person, frames, truth.joints_cam, truth.joints_px)
    for name, value in asdict(errors).items():
        print(f"person {person.track.track_id}  {name:14} {value:.4g}")
