"""Read saved results and tell how fast everybody's wrists move.

Run: dtsvibe run VIDEO --out OUT, then python examples/02_read_results.py OUT
"""

import sys
from pathlib import Path

import numpy as np

from dtsvibe_cli import load_results
from dtsvibe_cli.geometry.joints import SMPL24


def main(results: Path) -> None:
    """Print the highest speed of each wrist, relative to the pelvis, and when it was reached."""
    motion = load_results(results)
    for person in motion.people:
        time_s = motion.time_s[person.track.frame_index - motion.first_frame]
        for name in ("left_wrist", "right_wrist"):
            # relative to the pelvis, so that neither the camera nor walking counts
            path = person.joints_cam[:, SMPL24.index(name)] - person.joints_cam[:, 0]
            speed = np.linalg.norm(np.gradient(path, time_s, axis=0), axis=-1)
            fastest = int(np.argmax(speed))
            print(
                f"person {person.track.track_id}: {name} up to {speed[fastest]:.2f} m/s"
                f" at {time_s[fastest]:.2f} s, on average {speed.mean():.2f} m/s"
            )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Give the folder or the .npz file that dtsvibe run wrote.")
    main(Path(sys.argv[1]))
