"""How far off people are while nobody sees them: the bundled clip with a detector that looks away.

Run: ``python tests/benchmarks/absences.py``. Its truth is exact. The detector misses the person in
21 frames, as behind a pillar; with the frames to the next looks that is an absence of 0.9 s.
"""

from pathlib import Path

import click
import numpy as np

from dtsvibe_cli import Detections, Frame, estimate_video
from dtsvibe_cli.stages.detection import Detector, make_detector
from dtsvibe_cli.synthetic.truth import load_truth

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
MISSED = (range(24, 45), range(60, 81), range(100, 121))


class LooksAway:
    """A detector that sees nobody in some frames."""

    def __init__(self, detector: Detector, missed: range) -> None:
        self.detector, self.missed = detector, missed

    def __call__(self, frame: Frame) -> Detections:
        """See :class:`Detector`."""
        if frame.index not in self.missed:
            return self.detector(frame)
        return Detections(boxes_xyxy=np.zeros((0, 4)), scores=np.zeros(0), keypoints=None)


def errors_mm(missed: range, refine: bool) -> list[float]:
    """Of the pelvis and of the joints around it, in frames in which nobody was seen, and others."""
    truth = load_truth(EXAMPLES / "synthetic_walk_truth.npz")
    motion, _ = estimate_video(
        EXAMPLES / "synthetic_walk.mp4",
        detector=LooksAway(make_detector("movenet"), missed),
        refine=refine,
        focal=f"{truth.focal_length_px}px",
        device="cpu",
    )
    (person,) = motion.people
    true = truth.joints_cam[person.track.frame_index]
    pelvis = np.linalg.norm(person.joints_cam[:, 0] - true[:, 0], axis=-1)
    around = (person.joints_cam - person.joints_cam[:, :1]) - (true - true[:, :1])
    joints = np.linalg.norm(around, axis=-1).mean(1)
    unseen = ~person.observed
    means = [error[rows].mean() for rows in (unseen, ~unseen) for error in (pelvis, joints)]
    return [1000 * float(mean) for mean in means]


def main() -> None:
    """Print one row a run."""
    click.echo("| missed frames | | pelvis, unseen | MPJPE, unseen | pelvis, seen | MPJPE, seen |")
    click.echo("|---|---|---|---|---|---|")
    for missed in MISSED:
        for name, refine in (("network alone", False), ("refined", True)):
            numbers = " | ".join(f"{error:.0f}" for error in errors_mm(missed, refine))
            click.echo(f"| {missed.start} to {missed.stop - 1} | {name} | {numbers} |")


if __name__ == "__main__":
    main()
