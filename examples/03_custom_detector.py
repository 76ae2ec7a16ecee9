"""Use your own person detector: anything that turns a frame into boxes.

Here the boxes are known beforehand, from the ground truth of the synthetic clip; yours may come
from a file, from a network, or from a mouse.

Run: python examples/03_custom_detector.py [VIDEO TRUTH]
"""

import sys
from pathlib import Path

import numpy as np

from dtsvibe_cli import Detections, Frame, estimate_video
from dtsvibe_cli.synthetic.truth import load_truth

HERE = Path(__file__).parent


class KnownBoxes:
    """A detector that was told where the person is in each frame."""

    def __init__(self, boxes_xyxy: np.ndarray) -> None:
        self._boxes_xyxy = boxes_xyxy

    def __call__(self, frame: Frame) -> Detections:
        """The one known box. Keypoints may be left out."""
        box = self._boxes_xyxy[frame.index]
        return Detections(boxes_xyxy=box[None], scores=np.array([1.0]))


def main(video: Path, truth_path: Path) -> None:
    """Print whom the pipeline followed in the given boxes."""
    joints_px = load_truth(truth_path).joints_px
    margin = 20.0  # joints lie inside the body
    low, high = joints_px.min(axis=1) - margin, joints_px.max(axis=1) + margin
    detector = KnownBoxes(np.concatenate([low, high], axis=1))
    motion, _ = estimate_video(video, detector=detector)
    for person in motion.people:
        error = np.linalg.norm(person.joints_px - joints_px[person.track.frame_index], axis=-1)
        print(f"person {person.track.track_id}: {len(error)} frames, {error.mean():.1f} px off")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        main(HERE / "synthetic_walk.mp4", HERE / "synthetic_walk_truth.npz")
