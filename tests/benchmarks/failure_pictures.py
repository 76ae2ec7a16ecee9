"""What the shipped network gets wrong, as a picture: input and overlay of rendered people.

    python tests/benchmarks/failure_pictures.py MOTION_DIR OUT.webp

Held-out motion on made-up bodies before made-up backgrounds (no photographs, so that the picture
may be passed on), through the whole product as a user would run it. The scenes were picked because
something is wrong in them.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np

from dtsvibe_cli.pipeline import run
from dtsvibe_cli.synthetic.film import draw_frame
from dtsvibe_cli.training.rendered import make_studio

SEED = 5
PICKED = ((0, 10), (0, 30), (3, 10), (8, 10))
"""Scene and frame."""
HEIGHT_PX = 420


def film(motion: Path, index: int, path: Path) -> None:
    """Write one scene as a video."""
    cache = path.with_name("motion.npz")
    studio = make_studio(motion, None, cache=cache, held_out=True, frames=(40, 48))
    scene = studio._director.scene(SEED, index)
    frames = [draw_frame(scene.film, k).rgb for k in range(len(scene.film.cameras))]
    rate = round(float(scene.rate_hz))
    iio.imwrite(path, np.stack(frames), plugin="pyav", codec="libx264", fps=rate)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("motion", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    tiles = []
    with tempfile.TemporaryDirectory() as temporary:
        for index, frame in PICKED:
            path = Path(temporary) / f"scene{index}.mp4"
            if not path.is_file():
                film(arguments.motion, index, path)
                run(path, Path(temporary))
            tile = iio.imread(path.with_name(f"{path.stem}_overlay.mp4"), plugin="pyav")[frame]
            width = round(tile.shape[1] * HEIGHT_PX / tile.shape[0])
            tiles.append(cv2.resize(tile, (width, HEIGHT_PX), interpolation=cv2.INTER_AREA))
    iio.imwrite(arguments.out, np.hstack(tiles), quality=80)


if __name__ == "__main__":
    main()
