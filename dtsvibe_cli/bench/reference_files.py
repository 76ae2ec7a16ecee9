"""The PNG files between the steps of VIBE's demo.

The demo's steps hand frames to each other in folders (its ``demo.py``): one with every frame of
the video, which ffmpeg writes and which is read three times, by the tracker, for the crops of each
person, and for drawing; and one with the drawn frames, of which ffmpeg makes the video. Both are
removed in the end.
"""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import cv2
import numpy as np
from jaxtyping import UInt8

from dtsvibe_cli.datatypes import Frame
from dtsvibe_cli.errors import VideoError
from dtsvibe_cli.timing import Stage
from dtsvibe_cli.video import frames_to_pngs, pngs_to_video

Picture = UInt8[np.ndarray, "height width 3"]


class FrameFiles:
    """Both folders, as a context manager that removes them, also after an error.

    They lie in a temporary folder, so that what is written there is all that anybody finds.
    """

    def __init__(self, out: Path) -> None:
        """Choose the place.

        Args:
            out: Folder in which the temporary one is made.
        """
        self._out = out

    def __enter__(self) -> "FrameFiles":
        self._temporary = TemporaryDirectory(prefix=".frames-", dir=self._out)
        folder = Path(self._temporary.name)
        self._given, self._drawn = folder / "given", folder / "drawn"
        self._video = folder / "video.mp4"
        self._given.mkdir()
        self._drawn.mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._temporary.cleanup()

    @Stage("decode")
    def extract(self, frames: Iterable[Frame]) -> None:
        """Write the frames, by FFmpeg's encoder with its defaults."""
        frames_to_pngs(frames, self._given)

    def read_bgr(self, row: int) -> Picture:
        """A frame as OpenCV reads it.

        Args:
            row: Counted from 0.

        Raises:
            VideoError: The file is gone or damaged.
        """
        path = self._given / f"{row + 1:06d}.png"  # FFmpeg counts from 1
        picture = cv2.imread(str(path))
        if picture is None:
            raise VideoError(f"{path} cannot be read; nothing else may change the folder.")
        return np.asarray(picture, dtype=np.uint8)

    def read_rgb(self, row: int) -> Picture:
        """A frame as networks take it; see :meth:`read_bgr`."""
        return np.asarray(cv2.cvtColor(self.read_bgr(row), cv2.COLOR_BGR2RGB), dtype=np.uint8)

    def write_bgr(self, row: int, picture: Picture) -> None:
        """Keep a drawn frame, by OpenCV's encoder with its defaults.

        Raises:
            VideoError: The disk is full.
        """
        path = self._drawn / f"{row:06d}.png"  # the demo counts these from 0
        if not cv2.imwrite(str(path), picture):
            raise VideoError(f"{path} cannot be written; check the space on the disk.")

    @Stage("encode")
    def to_video(self, path: Path, *, frame_rate: Fraction) -> None:
        """Make a video of the drawn frames, by FFmpeg as the demo calls it; it is put in place."""
        pngs_to_video(self._drawn, self._video, frame_rate=frame_rate)
        self._video.replace(path)
