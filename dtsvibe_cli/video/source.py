"""Open an input: find its video stream, its clock and its picture geometry.

Limits: interlaced video is not deinterlaced, HDR is not tone-mapped, a mirroring display matrix is
not applied (its rotation is).
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import av
import numpy as np
from av.audio.stream import AudioStream
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import UInt8

from dtsvibe_cli.errors import VideoError

# PyAV's packets are generic to type checkers but not when the program runs.
if TYPE_CHECKING:
    VideoPacket = Packet[VideoStream]
    AudioPacket = Packet[AudioStream]
else:
    VideoPacket = AudioPacket = Packet

_MEASURED_PACKETS: Final = 240


class PictureGeometry(NamedTuple):
    """How a stored picture becomes an upright one with square pixels."""

    width_px: int
    """Width of the stored picture once its pixels are square."""
    height_px: int
    """Height of the stored picture."""
    rotation_deg: int
    """Anti-clockwise turn that makes it upright: 0, 90, 180 or 270."""

    @property
    def upright_size_px(self) -> tuple[int, int]:
        """Width and height as a viewer shows them."""
        turned = self.rotation_deg % 180 == 90
        return (self.height_px, self.width_px) if turned else (self.width_px, self.height_px)

    def upright_rgb(self, frame: VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
        """The frame's upright picture."""
        rgb = frame.to_ndarray(format="rgb24", width=self.width_px, height=self.height_px)
        turned = np.rot90(rgb, self.rotation_deg // 90)
        return np.ascontiguousarray(turned, dtype=np.uint8)


def require_exists(source: Path) -> None:
    """Refuse a path that is not there.

    Raises:
        VideoError: There is nothing at ``source``.
    """
    if not source.exists():
        raise VideoError(f"{source} does not exist; check the path.")


@contextmanager
def open_container(path: Path, hwaccel: HWAccel | None = None) -> Iterator[InputContainer]:
    """Open a media file, to be decoded in hardware if that is given.

    Raises:
        VideoError: The file is missing or is no media file.
    """
    require_exists(path)
    if path.stat().st_size == 0:
        raise VideoError(f"{path} is an empty file.")
    try:
        # "file:" keeps names with a colon from being read as protocols, and the list of allowed
        # protocols keeps playlists from reaching for the network.
        container = av.open(
            f"file:{path}",
            mode="r",
            options={"protocol_whitelist": "file"},
            hwaccel=hwaccel,
        )
    except av.FFmpegError as error:
        raise VideoError(
            f"{path} cannot be read as video ({error.strerror}): it is damaged, incomplete or of "
            "another kind."
        ) from error
    with container:
        if container.format.name == "tty":  # FFmpeg draws text files as pictures of a terminal
            raise VideoError(f"{path} is a text file, not a video.")
        yield container


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The stream that a player would show.

    Raises:
        VideoError: There is none, or no decoder for it.
    """
    stream = container.streams.best("video")
    # the cover of a song is stored as a video stream
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        raise VideoError(f"{path} holds no video stream.")
    if stream.codec_context is None:
        raise VideoError(f"{path} is stored with a codec that cannot be decoded here.")
    return stream


def stream_rate(stream: VideoStream, path: Path) -> Fraction:
    """Average frames a second, exact as the container states it.

    A recording of a browser or of a screen states none (FFmpeg then guesses the clock's ticks, a
    thousand): the usual time from one frame to the next of its first packets tells.
    """
    return stream.average_rate or _measured_rate(path) or stream.guessed_rate or Fraction(30)


def _measured_rate(path: Path) -> Fraction | None:
    """One over the median time between the first frames; None when they have no times."""
    with open_container(path) as container:
        stream = video_stream(container, path)
        stamps = set()
        with suppress(av.FFmpegError):  # damage is told when the frames are read
            for packet in islice(container.demux(stream), _MEASURED_PACKETS):
                if packet.pts is not None:
                    stamps.add(packet.pts)
        steps = np.diff(sorted(stamps))
        if not len(steps) or stream.time_base is None:
            return None
        return 1 / (Fraction(float(np.median(steps))) * stream.time_base)


def clock_start_s(container: InputContainer) -> Fraction:
    """Timestamp at which the container begins, if after zero: 1.4 s in many transport streams."""
    return Fraction(max(0, container.start_time or 0), 1_000_000)


def picture_geometry(stream: VideoStream, first: VideoFrame) -> PictureGeometry:
    """Size and rotation of a stream's pictures, from its first frame."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    return PictureGeometry(
        width_px=max(1, round(first.width * aspect)),
        height_px=first.height,
        rotation_deg=round(first.rotation / 90) % 4 * 90,
    )
