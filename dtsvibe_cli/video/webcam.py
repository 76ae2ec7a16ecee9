"""Record a webcam into a file, so that all later stages read a file."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from cv2.typing import MatLike

from dtsvibe_cli.errors import VideoError
from dtsvibe_cli.video.writer import VideoWriter

_log = logging.getLogger(__name__)

_TIME_BASE = Fraction(1, 90_000)
_FALLBACK_RATE = 30.0


def record_webcam(index: int, path: Path | str, *, seconds: float | None = None) -> Path:
    """Record a camera until the time is up or the user presses Ctrl-C; gives the path back.

    Frames carry the times at which they arrived, whatever rate the camera claims.

    Args:
        index: The system's number of the camera, from 0.
        path: The ``.mp4`` to write.
        seconds: Length of the recording; None records until Ctrl-C.

    Raises:
        VideoError: There is no such camera, it gives no pictures, or the file cannot be written.
    """
    path = Path(path)
    with _opencv_errors_only():
        camera = cv2.VideoCapture(index)
    try:
        if not camera.isOpened():
            raise VideoError(f"There is no camera {index} that can be opened; check its number.")
        rate = camera.get(cv2.CAP_PROP_FPS)
        rate = rate if rate > 0 else _FALLBACK_RATE
        nominal_rate = Fraction(rate).limit_denominator(1001)
        with VideoWriter(path, frame_rate=nominal_rate) as writer:
            num_frames = _record(camera.read, writer, seconds)
            if num_frames == 0:
                raise VideoError(f"Camera {index} gives no pictures; is another program using it?")
    finally:
        camera.release()
    _log.info("Recorded %d frames of camera %d into %s.", num_frames, index, path)
    return path


@contextmanager
def _opencv_errors_only() -> Iterator[None]:
    """Without OpenCV's warnings on stderr about each way in which it tried to open a camera."""
    log = cv2.utils.logging
    before = log.setLogLevel(log.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        log.setLogLevel(before)


def _record(
    read: Callable[[], tuple[bool, MatLike]], writer: VideoWriter, seconds: float | None
) -> int:
    """Write frames until the time is up, the camera stops, or Ctrl-C; gives their number."""
    num_frames = 0
    start_s: float | None = None
    try:
        while True:
            is_read, bgr = read()
            now_s = time.monotonic()
            start_s = now_s if start_s is None else start_s
            if not is_read:
                if num_frames:
                    _log.warning("The camera stopped after %.1f s.", now_s - start_s)
                return num_frames
            if seconds is not None and now_s - start_s >= seconds:
                return num_frames
            rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
            pts = round((now_s - start_s) / float(_TIME_BASE))
            writer.write(rgb, pts=pts, time_base=_TIME_BASE)
            num_frames += 1
    except KeyboardInterrupt:
        return num_frames
