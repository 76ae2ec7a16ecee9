"""Which frames a figure shows, and their pictures."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from dtsvibe_cli.datatypes import VideoMotion
from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.video import read_frames


def spread(first: int, last: int, count: int) -> list[int]:
    """``count`` frames evenly between two, away from the ends, where people come and go.

    >>> spread(0, 99, 4)
    [12, 37, 62, 87]
    """
    span = last - first + 1
    return sorted({first + int((k + 0.5) * span / count) for k in range(count)})


def chosen_frames(frames: Sequence[int], first: int, last: int) -> list[int]:
    """The frames asked for, in their order in the video.

    Raises:
        ConfigError: One of them is not there.
    """
    outside = [frame for frame in frames if not first <= frame <= last]
    if outside:
        raise ConfigError(f"There is no frame {outside[0]}: give frames from {first} to {last}.")
    return sorted(set(frames))


def names_of(results: Sequence[Path], labels: Sequence[str]) -> list[str]:
    """What the figure calls each result: its label, else its file, else its folder.

    >>> names_of([Path("a/walk_smpl.npz"), Path("b/walk_smpl.npz")], [])
    ['a', 'b']

    Raises:
        ConfigError: There are labels, but not as many as results.
    """
    if labels:
        if len(labels) != len(results):
            raise ConfigError(
                f"There are {len(results)} results and {len(labels)} labels: give each its own."
            )
        return list(labels)
    files = [path.name.removesuffix("_smpl.npz") for path in results]
    folders = [(path if path.is_dir() else path.resolve().parent).name for path in results]
    return folders if len(set(files)) < len(files) else files


def read_pictures(
    motion: VideoMotion, frames: Iterable[int], source: Path | None = None
) -> dict[int, UInt8[np.ndarray, "height width 3"]]:
    """Pictures of some frames of a result's video, by their index.

    Args:
        motion: The result.
        frames: Indices in the decoded video, as in ``Track.frame_index``.
        source: The video, when it is no longer where the result says.

    Raises:
        VideoError: The video cannot be read.
        ConfigError: It is another video: of another size, or too short.
    """
    source = source or motion.video.path
    missing = set(frames)
    rate = motion.video.frame_rate if source.is_dir() else None
    pictures = {}
    for frame in read_frames(source, frame_rate=rate) if missing else ():
        if frame.index in missing:
            height, width = frame.rgb.shape[:2]
            if (width, height) != (motion.video.width_px, motion.video.height_px):
                raise ConfigError(
                    f"{source} is {width}x{height} pixels, but the result was made from a video "
                    f"of {motion.video.width_px}x{motion.video.height_px}; give that video."
                )
            pictures[frame.index] = frame.rgb
            missing.remove(frame.index)
            if not missing:
                break
    if missing:
        raise ConfigError(f"{source} has no frame {min(missing)}; give the result's own video.")
    return pictures
