"""Estimate everybody's motion in a video and print where their joints are.

Run: python examples/01_python_api.py [VIDEO]
"""

import sys
from pathlib import Path

from dtsvibe_cli import estimate_video
from dtsvibe_cli.geometry.joints import SMPL24

CLIP = Path(__file__).parent / "synthetic_walk.mp4"


def main(video: Path) -> None:
    """Print each person's joints in the first frame in which they are followed."""
    motion, _ = estimate_video(video)
    print(f"{len(motion.people)} people in {video.name}")
    for person in motion.people:
        frames = person.track.frame_index
        print(f"\nperson {person.track.track_id}, frames {frames[0]} to {frames[-1]}")
        print("joint            x, y, z in metres (right, down, away)    pixel")
        for name, metres, pixel in zip(
            SMPL24, person.joints_cam[0], person.joints_px[0], strict=True
        ):
            x, y, z = metres
            print(f"{name:16} {x:8.3f} {y:8.3f} {z:8.3f}      {pixel[0]:10.1f} {pixel[1]:7.1f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else CLIP)
