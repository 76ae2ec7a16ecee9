"""Frames of a file or an image folder: one decode pass, in order, one frame in memory at a time."""

import logging
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import UInt8

from dtsvibe_cli.datatypes import Frame
from dtsvibe_cli.errors import ConfigError, VideoError
from dtsvibe_cli.video.hardware import choose_hwaccel
from dtsvibe_cli.video.images import image_rate, list_images, load_image
from dtsvibe_cli.video.source import (
    VideoPacket,
    clock_start_s,
    open_container,
    picture_geometry,
    stream_rate,
    video_stream,
)

_log = logging.getLogger(__name__)

# A file that ends this much before its header says it does is reported as cut off.
_MISSING_END_S = 0.5


class _Picture(NamedTuple):
    """A frame whose pixels are only made when they are asked for."""

    pts: int
    time_base: Fraction
    load_rgb: Callable[[], UInt8[np.ndarray, "height width 3"]]


def read_frames(
    source: Path | str,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    frame_rate: Fraction | None = None,
    device: str = "cpu",
    on_warning: Callable[[str], None] | None = None,
) -> Iterator[Frame]:
    """Upright frames with square pixels and exact, rising times.

    Damaged parts of a file are skipped and reported once, after its last frame. ``Frame.index``
    counts from the first frame of the file even where ``start_s`` leaves frames out.

    Args:
        source: A video file, an image, or a folder of images of one size.
        start_s: Leave out frames before this time.
        end_s: Leave out frames from this time on.
        frame_rate: Frames a second of an image folder, 30 when not given.
        device: Where networks run; on CUDA its decoder is used where it works.
        on_warning: Takes the report of damage; by default it is logged as a warning.

    Raises:
        VideoError: The source is missing, is no video, or holds no frame between the two times.
        ConfigError: The options contradict each other or the source.
    """
    path = Path(source)
    start_s = 0.0 if start_s is None else start_s
    if end_s is not None and end_s <= start_s:
        raise ConfigError(f"The end ({end_s:g} s) must lie after the start ({start_s:g} s).")
    images = list_images(path)
    rate = image_rate(frame_rate, is_images=images is not None, source=path)
    pictures = (
        _file_pictures(path, on_warning or _log.warning, device)
        if images is None
        else _image_pictures(images, rate)
    )
    num_given = 0
    time_s: float | None = None
    for index, (pts, time_base, load_rgb) in enumerate(pictures):
        time_s = float(pts * time_base)
        if end_s is not None and time_s >= end_s:
            break
        if time_s >= start_s:
            num_given += 1
            yield Frame(index=index, rgb=load_rgb(), pts=pts, time_base=time_base)
    if time_s is None:
        raise VideoError(f"{path} holds no frame that can be decoded.")
    if not num_given:
        raise VideoError(
            f"{path} has no frame between the given start and end; the last one read is at "
            f"{time_s:.2f} s."
        )


def decode_stream(
    container: InputContainer, stream: VideoStream, on_damage: Callable[[], None]
) -> Iterator[VideoFrame]:
    """Every frame that can be decoded; ``on_damage`` is called for each place where one cannot."""
    stream.thread_type = "AUTO"
    for packet in _packets(container, stream, on_damage):
        if packet is not None and packet.is_corrupt:
            on_damage()
        try:
            yield from stream.decode(packet)
        except av.FFmpegError:
            on_damage()


def _packets(
    container: InputContainer, stream: VideoStream, on_damage: Callable[[], None]
) -> Iterator[VideoPacket | None]:
    """The stream's packets, ending with the one that flushes the decoder, whatever happens."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError:
            on_damage()
            yield None
            return
        yield packet


def _file_pictures(path: Path, warn: Callable[[str], None], device: str) -> Iterator[_Picture]:
    """Pictures of a video file; damage is reported after the last one."""
    num_damaged = 0

    def count_damage() -> None:
        nonlocal num_damaged
        num_damaged += 1

    with open_container(path, choose_hwaccel(device)) as container:
        stream = video_stream(container, path)
        time_base = stream.time_base or Fraction(1, 1_000_000)
        clock_start = round(clock_start_s(container) / time_base)
        ticks_per_frame = max(1, round(1 / (stream_rate(stream, path) * time_base)))
        geometry = None
        pts, end = -1, 0
        for frame in decode_stream(container, stream, count_damage):
            geometry = geometry or picture_geometry(stream, frame)
            # some containers give no times, and damage can make them fall
            stamp = end if frame.pts is None else frame.pts - clock_start
            pts = max(stamp, pts + 1)
            end = pts + (frame.duration or ticks_per_frame)
            yield _Picture(pts, time_base, partial(geometry.upright_rgb, frame))
        declared_end_s = _declared_end_s(container, stream)
    end_s = float(end * time_base)
    if num_damaged:
        warn(f"{path} is damaged in {num_damaged} place(s); the frames there are left out.")
    elif declared_end_s - end_s > _MISSING_END_S:
        warn(f"{path} is cut off: it ends at {end_s:.2f} s of {declared_end_s:.2f} s.")


def _declared_end_s(container: InputContainer, stream: VideoStream) -> float:
    """When the pictures should end by the header, counted from the clock's start; 0 if unknown."""
    if stream.duration and stream.time_base:
        start_s = (stream.start_time or 0) * stream.time_base - clock_start_s(container)
        return float(start_s + stream.duration * stream.time_base)
    if container.duration and not container.streams.audio:
        return container.duration / 1_000_000
    return 0.0


def _image_pictures(images: list[Path], rate: Fraction) -> Iterator[_Picture]:
    """Pictures of an image folder, evenly spaced."""
    size: tuple[int, ...] | None = None

    def load(path: Path) -> UInt8[np.ndarray, "height width 3"]:
        nonlocal size
        rgb = load_image(path)
        size = size or rgb.shape
        if rgb.shape != size:
            raise VideoError(
                f"{path} is {rgb.shape[1]}x{rgb.shape[0]} pixels, but the images before it are "
                f"{size[1]}x{size[0]}; all images of a folder must have one size."
            )
        return rgb

    for index, path in enumerate(images):
        yield _Picture(index, 1 / rate, partial(load, path))
