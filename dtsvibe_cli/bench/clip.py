"""Clips of any size, length and number of people, made from the project's own synthetic one.

The synthetic walker (640x480, five seconds) is played forth and back, so that it never jumps. Each
person gets a tile of the picture's width, shows the walker at another moment, and every other one
is mirrored. Tiles stand side by side on the lower edge; beside them lies their mirror image, above
them their uppermost row. Clips longer than one round (about ten seconds) repeat it, packet by
packet.
"""

import logging
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import platformdirs
from jaxtyping import UInt8

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.synthetic.clip import make_clip
from dtsvibe_cli.video import VideoWriter, read_frames
from dtsvibe_cli.video.repeat import repeat_video

FRAME_RATE: Final = Fraction(30)
MIN_TILE_PX: Final = 48
"""Narrowest tile: a person is half as wide and not found any more."""
_WALKER_X_PX: Final = 365
"""Middle of where the walker is in the synthetic clip."""
_MIN_ASPECT: Final = 0.6
"""Width over height of the narrowest cut that holds the walker all the time."""
_BUNDLED: Final = Path(__file__).parents[2] / "examples" / "synthetic_walk.mp4"
_LOG = logging.getLogger(__name__)
Picture = UInt8[np.ndarray, "height width 3"]
Made = UInt8[np.ndarray, "rows columns 3"]


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """What a generated clip looks like."""

    people: int = 1
    width_px: int = 1280
    height_px: int = 720
    seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.people < 1:
            raise ConfigError(f"A clip needs at least one person, not {self.people}.")
        if min(self.width_px // self.people, self.height_px) < MIN_TILE_PX:
            raise ConfigError(
                f"{self.people} people do not fit into {self.width_px}x{self.height_px} pixels: "
                f"each needs {MIN_TILE_PX}."
            )
        if not 0 < self.seconds < math.inf:
            raise ConfigError(f"A clip have a length in seconds, not {self.seconds:g}.")

    def __str__(self) -> str:
        return f"{self.people} synthetic"


def make_bench_clip(spec: ClipSpec, out_path: Path, walker: Path | None = None) -> Path:
    """Write a clip at 30 frames a second; a long one has the closest whole number of rounds.

    Args:
        spec: What it shows.
        out_path: The .mp4 to write.
        walker: The synthetic clip; None for the bundled one.
    """
    pictures = [frame.rgb for frame in read_frames(walker or find_walker())]
    there_and_back = [*range(len(pictures)), *range(len(pictures) - 2, 0, -1)]
    num_frames = max(1, round(spec.seconds * FRAME_RATE))
    num_rounds = max(1, round(num_frames / len(there_and_back)))
    one_round = out_path if num_rounds == 1 else out_path.with_name(f"{out_path.stem}_round.mp4")
    with VideoWriter(one_round, frame_rate=FRAME_RATE) as writer:
        for index in range(min(num_frames, len(there_and_back))):
            moments = [
                there_and_back[
                    (index + k * len(there_and_back) // spec.people) % len(there_and_back)
                ]
                for k in range(spec.people)
            ]
            composed = _side_by_side([pictures[moment] for moment in moments], spec)
            writer.write(composed, pts=index, time_base=1 / FRAME_RATE)
    if num_rounds > 1:
        repeat_video(one_round, out_path, num_rounds)
        one_round.unlink()
    return out_path


def find_walker() -> Path:
    """The synthetic clip: of the source tree, else made anew in the cache folder, once."""
    if _BUNDLED.is_file():
        return _BUNDLED
    cache = Path(platformdirs.user_cache_dir("dtsvibe")) / "clips"
    made = cache / _BUNDLED.name
    if not made.is_file():
        _LOG.info("Drawing the synthetic clip, once: some minutes.")
        make_clip(cache)
    return made


def _side_by_side(pictures: list[Picture], spec: ClipSpec) -> Made:
    edges = [k * spec.width_px // len(pictures) for k in range(len(pictures) + 1)]
    return np.concatenate(
        [
            _tile(picture[:, ::-1] if k % 2 else picture, right - left, spec.height_px, k % 2 == 1)
            for k, (picture, left, right) in enumerate(
                zip(pictures, edges[:-1], edges[1:], strict=True)
            )
        ],
        axis=1,
    )


def _tile(picture: Picture, width: int, height: int, mirrored: bool) -> Made:
    """The walker as large as fits, standing on the lower edge."""
    rows, columns = picture.shape[:2]
    inner_height = min(height, round(width / _MIN_ASPECT))
    inner_width = min(width, round(inner_height * columns / rows))
    across = inner_width * rows / inner_height
    middle = columns - _WALKER_X_PX if mirrored else _WALKER_X_PX
    left = round(float(np.clip(middle - across / 2, 0, columns - across)))
    cut = np.ascontiguousarray(picture[:, left : left + round(across)])
    inner = cv2.resize(cut, (inner_width, inner_height), interpolation=cv2.INTER_LINEAR)
    beside = width - inner_width
    wide = cv2.copyMakeBorder(inner, 0, 0, beside // 2, beside - beside // 2, cv2.BORDER_REFLECT)
    full = cv2.copyMakeBorder(wide, height - inner_height, 0, 0, 0, cv2.BORDER_REPLICATE)
    return np.asarray(full, dtype=np.uint8)
