"""Write H.264 mp4 files that every player shows, whole or not at all."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream
from jaxtyping import UInt8

from dtsvibe_cli.errors import VideoError
from dtsvibe_cli.timing import Stage
from dtsvibe_cli.video.audio import AudioTrack
from dtsvibe_cli.video.hardware import choose_encoder
from dtsvibe_cli.video.source import VideoPacket, require_exists
from dtsvibe_cli.video.yuv import rgb_to_yuv420p


class VideoWriter:
    """A video under way: a context manager that puts the file in place when it ends well.

    H.264, yuv420p, BT.709 colours, index at the front of the file. Pictures of odd size are padded
    by one repeated row or column. Frame times are kept as they are. Until the end the file has a
    temporary name beside its own; an exception inside the ``with`` block removes it::

        with VideoWriter(path, frame_rate=info.frame_rate, audio_from=info.path) as writer:
            for frame in read_frames(info.path):
                writer.write(frame.rgb, pts=frame.pts, time_base=frame.time_base)
    """

    def __init__(
        self,
        path: Path | str,
        *,
        frame_rate: Fraction,
        audio_from: Path | str | None = None,
        start_s: float = 0.0,
        crf: int = 22,
        preset: str = "superfast",
        device: str = "cpu",
    ) -> None:
        """Check that the file can be written; nothing is kept on disk before the first frame.

        Args:
            path: The file to write, ``.mp4``; one that is there is replaced.
            frame_rate: Nominal frames a second; the times given to ``write`` are what counts.
            audio_from: A source whose sound, if it has any, is copied (or encoded as AAC where mp4
                cannot carry it), from ``start_s`` to the end of the last frame.
            start_s: Time, in the clock of the frames and of ``audio_from``, that becomes 0.
            crf: x264's quality, 0 (lossless) to 51.
            preset: x264's trade of speed for size.
            device: Where networks run; on CUDA its encoder is used where it works.

        Raises:
            VideoError: The folder is missing or cannot be written to, or the name is not an mp4's.
        """
        self._path = Path(path)
        self._part = self._path.with_name(f".{self._path.stem}.{os.getpid()}.part.mp4")
        self._frame_rate = frame_rate
        self._audio_from = None if audio_from is None else Path(audio_from)
        self._start_s = Fraction(start_s).limit_denominator(90_000)
        self._choose_encoder = partial(choose_encoder, device, crf=crf, preset=preset)
        self._encoding: _Encoding | None = None
        if self._path.suffix.lower() != ".mp4":
            raise VideoError(f"{self._path} must end in .mp4, the only kind of video written.")
        if self._path.is_dir():
            raise VideoError(f"{self._path} is a folder; give the name of a file.")
        if self._audio_from is not None:
            require_exists(self._audio_from)
        with writing(self._path):
            self._part.touch()
            self._part.unlink()

    def __enter__(self) -> "VideoWriter":
        return self

    @Stage("encode")
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._abandon()
            return
        if self._encoding is None:
            raise VideoError(f"{self._path} was not written: there were no frames for it.")
        try:
            with writing(self._path):
                self._encoding.finish()
                self._part.replace(self._path)
        except BaseException:
            self._abandon()
            raise

    @Stage("encode")
    def write(
        self, rgb: UInt8[np.ndarray, "height width 3"], *, pts: int, time_base: Fraction
    ) -> None:
        """Add a frame.

        Args:
            rgb: The picture; all pictures of one video have one size.
            pts: Presentation time in units of ``time_base``; one that does not rise is moved to
                the next unit after the frame before it.
            time_base: Seconds in one unit of ``pts``.

        Raises:
            VideoError: The file cannot be written, or ``audio_from`` cannot be read.
        """
        with writing(self._path):
            if self._encoding is None:
                self._encoding = self._begin(rgb, time_base)
            self._encoding.write(rgb, pts * time_base - self._start_s)

    def _begin(self, rgb: UInt8[np.ndarray, "height width 3"], time_base: Fraction) -> "_Encoding":
        """Open the temporary file, with streams for pictures of this size and for sound."""
        output = av.open(
            f"file:{self._part}", mode="w", format="mp4", options={"movflags": "+faststart"}
        )
        try:
            height, width, _ = rgb.shape
            size_px = width + width % 2, height + height % 2
            name, options = self._choose_encoder(size_px)
            stream = output.add_stream(name, rate=self._frame_rate, options=options)
            assert isinstance(stream, VideoStream)
            stream.width, stream.height = size_px
            stream.pix_fmt = "yuv420p"
            context = stream.codec_context
            context.time_base = stream.time_base = _tick_s(time_base, self._start_s)
            context.colorspace = Colorspace.ITU709
            context.color_primaries = ColorPrimaries.BT709
            context.color_trc = ColorTrc.BT709
            context.color_range = ColorRange.MPEG
            audio = (
                AudioTrack(self._audio_from, output, start_s=self._start_s)
                if self._audio_from is not None
                else None
            )
        except BaseException:
            output.close()
            raise
        return _Encoding(output, stream, audio, frame_s=1 / self._frame_rate)

    def _abandon(self) -> None:
        """Leave nothing behind."""
        if self._encoding is not None:
            with suppress(av.FFmpegError):  # the file may be beyond closing well
                self._encoding.close()
        self._part.unlink(missing_ok=True)


class _Encoding:
    """The open output: one video stream, and perhaps sound."""

    def __init__(
        self,
        output: OutputContainer,
        stream: VideoStream,
        audio: AudioTrack | None,
        *,
        frame_s: Fraction,
    ) -> None:
        self._output, self._stream, self._audio, self._frame_s = output, stream, audio, frame_s
        self._time_base = stream.codec_context.time_base
        self._last_pts: int | None = None
        self._size_px = stream.width, stream.height

    def write(self, rgb: UInt8[np.ndarray, "height width 3"], time_s: Fraction) -> None:
        """Encode a frame and the sound up to it."""
        height, width, _ = rgb.shape
        if (width + width % 2, height + height % 2) != self._size_px:
            raise ValueError(f"picture of {width}x{height} in a video of {self._size_px}")
        pts = round(time_s / self._time_base)
        if self._last_pts is not None:
            pts = max(pts, self._last_pts + 1)
        self._last_pts = pts
        if (width, height) != self._size_px:
            rgb = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = VideoFrame.from_ndarray(rgb_to_yuv420p(rgb), format="yuv420p")
        frame.colorspace, frame.color_range = Colorspace.ITU709, ColorRange.MPEG
        frame.pts, frame.time_base = pts, self._time_base
        self._mux(self._stream.encode(frame))
        if self._audio is not None:
            self._audio.write_until(pts * self._time_base)

    def finish(self) -> None:
        """Write what the encoders still hold and close the file."""
        self._mux(self._stream.encode(None))
        if self._audio is not None and self._last_pts is not None:
            self._audio.write_until(self._last_pts * self._time_base + self._frame_s)
        self.close()

    def close(self) -> None:
        """Close the files."""
        if self._audio is not None:
            self._audio.close()
        self._output.close()

    def _mux(self, packets: list[VideoPacket]) -> None:
        """Write packets, the last of which is shown for one nominal frame."""
        for packet in packets:
            packet.duration = packet.duration or round(self._frame_s / packet.time_base)
            self._output.mux(packet)


def _tick_s(time_base: Fraction, start_s: Fraction) -> Fraction:
    """The coarsest unit of time in which the frames stay exact once the start is taken off."""
    ticks = math.lcm(time_base.denominator, start_s.denominator)
    # far finer than any frame: rounding the start does no harm then, and mp4's clock has 32 bits
    return Fraction(1, ticks if ticks <= 1_000_000 else time_base.denominator)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn failures of the disk and of the encoder into one sentence."""
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        reason = error.strerror or error
        raise VideoError(
            f"{path} cannot be written ({reason}); check the folder and the space on the disk."
        ) from error
