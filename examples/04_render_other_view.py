"""Draw saved results again, from the side. No network runs; the input video must be there.

Run: dtsvibe run VIDEO --out OUT, then python examples/04_render_other_view.py OUT side.mp4
"""

import sys
from pathlib import Path

from dtsvibe_cli import load_results, render_video


def main(results: Path, out_path: Path) -> None:
    """Write a video of the bodies over the input and, beside it, of the bodies from the side."""
    motion = load_results(results)
    render_video(motion, out_path, view="side", layout="overlay")
    print(out_path)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("Give the folder that dtsvibe run wrote, and the .mp4 file to write.")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
