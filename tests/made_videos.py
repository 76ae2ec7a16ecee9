"""Small videos and pictures that tests write, apart from the writer under test."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from dtsvibe_cli.video import VideoWriter, probe, read_frames

NTSC = Fraction(30000, 1001)
WIDTH, HEIGHT = 96, 64
# position of the display matrix after the name of the track header box (ISO/IEC 14496-12, 8.3.2)
TKHD_MATRIX_OFFSET = 44


def picture(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A red left half over a grey that brightens with time; the top right corner is blue."""
    rgb = np.full((height, width, 3), 40 + 4 * (index % 40), dtype=np.uint8)
    rgb[:, : width // 2] = (200, 30, 30)
    rgb[: height // 2, width // 2 :] = (30, 30, 200)
    return rgb


def make_video(
    path: Path,
    *,
    rate: Fraction = NTSC,
    rate_is_stated: bool = True,
    times: Iterable[int] = range(12),
    time_base: Fraction | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    movflags: str = "+faststart",
    noise: bool = False,
    sample_aspect_ratio: Fraction | None = None,
    metadata: dict[str, str] | None = None,
    audio: str | None = None,
    audio_rate: int = 8000,
) -> Path:
    """Write a video with plain PyAV, apart from the writer under test."""
    options = {"movflags": movflags} if movflags and path.suffix in (".mp4", ".mov") else {}
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options=options) as output:
        output.metadata.update(metadata or {})
        options = {"preset": "ultrafast", "g": "4", "crf": "12"}
        stream = output.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
        if sample_aspect_ratio is not None:
            stream.codec_context.sample_aspect_ratio = sample_aspect_ratio
        if audio is not None:
            sound = output.add_stream(audio, rate=audio_rate, layout="mono")
        stream.codec_context.time_base = time_base = time_base or 1 / rate
        if not rate_is_stated:
            stream.codec_context.framerate = Fraction(0, 1)
        end = 0
        for index, pts in enumerate(times):
            rgb = rng.integers(0, 256, (*size[::-1], 3), np.uint8) if noise else None
            frame = av.VideoFrame.from_ndarray(picture(index, *size) if rgb is None else rgb)
            frame.pts, frame.time_base, end = pts, time_base, pts + 1
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if audio is not None:
            samples = round(end * time_base * audio_rate)
            tone = (8000 * np.sin(np.arange(samples) * 0.3)).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            frame.rate, frame.pts, frame.time_base = audio_rate, 0, Fraction(1, audio_rate)
            output.mux(sound.encode(frame))
            output.mux(sound.encode(None))
    return path


def write_video(path: Path, source: Path, **options: Any) -> Path:
    """Copy a video through the reader and the writer under test."""
    with VideoWriter(path, frame_rate=probe(source).frame_rate, **options) as writer:
        for frame in read_frames(source):
            writer.write(frame.rgb, pts=frame.pts, time_base=frame.time_base)
    return path


def turn(path: Path, quarters: int) -> None:
    """Set the display matrix of an mp4: ``quarters`` quarter turns clockwise, as phones store."""
    cos, sin = [(1, 0), (0, 1), (-1, 0), (0, -1)][quarters]
    one = 1 << 16
    matrix = [cos * one, sin * one, 0, -sin * one, cos * one, 0, 0, 0, 1 << 30]
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + TKHD_MATRIX_OFFSET
    data[start : start + 36] = np.array(matrix, dtype=">i4").tobytes()
    path.write_bytes(bytes(data))


def times(source: Path, **options: Any) -> list[Fraction]:
    return [frame.pts * frame.time_base for frame in read_frames(source, **options)]


def audio_of(path: Path) -> tuple[str, list[tuple[float, bytes]]]:
    """Codec and (time, payload) of every audio packet."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        packets = [p for p in container.demux(stream) if p.size]
        return stream.codec_context.name, [(float(p.pts * p.time_base), bytes(p)) for p in packets]
