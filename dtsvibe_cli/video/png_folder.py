"""Videos into folders of PNG files and back, as the ``ffmpeg`` program does it by default."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter
from av.video.stream import VideoStream

from dtsvibe_cli.datatypes import Frame
from dtsvibe_cli.errors import VideoError
from dtsvibe_cli.video.writer import writing


def frames_to_pngs(frames: Iterable[Frame], folder: Path) -> None:
    """Write each frame as ``000001.png`` and so on.

    FFmpeg's PNG encoder with its defaults, in as many threads as it likes: the files of
    ``ffmpeg -i VIDEO -f image2 FOLDER/%06d.png``.

    Args:
        frames: Of one size.
        folder: One that is there.

    Raises:
        VideoError: A file cannot be written.
    """
    stream: VideoStream | None = None
    with writing(folder), av.open(_pattern(folder), mode="w", format="image2") as output:
        assert isinstance(output, OutputContainer)
        for number, frame in enumerate(frames, start=1):
            if stream is None:
                stream = output.add_stream("png", rate=30)
                assert isinstance(stream, VideoStream)
                stream.height, stream.width = frame.rgb.shape[:2]
                stream.pix_fmt, stream.thread_type = "rgb24", "FRAME"
            picture = VideoFrame.from_numpy_buffer(frame.rgb, format="rgb24")
            picture.pts = number
            output.mux(stream.encode(picture))
        if stream is not None:
            output.mux(stream.encode(None))


def pngs_to_video(folder: Path, path: Path, *, frame_rate: Fraction) -> None:
    """Make an mp4 of the files ``000000.png`` and so on, of even size.

    H.264 of the baseline profile, level 3.0, with x264's defaults (``medium``, quality 23): the
    video of ``ffmpeg -i FOLDER/%06d.png -profile:v baseline -level 3.0 -c:v libx264 -pix_fmt
    yuv420p -an PATH``.

    Raises:
        VideoError: There are no files, or the video cannot be written.
    """
    if not (folder / f"{0:06d}.png").is_file():
        raise VideoError(f"{path} was not written: there were no frames for it.")
    rate = {"framerate": str(frame_rate)}
    with (
        writing(path),
        av.open(_pattern(folder), format="image2", options=rate) as files,
        av.open(f"file:{path}", mode="w", format="mp4") as output,
    ):
        assert isinstance(files, InputContainer)
        assert isinstance(output, OutputContainer)
        pictures = files.streams.video[0]
        pictures.thread_type = "AUTO"
        options = {"profile": "baseline", "level": "3.0"}
        stream = output.add_stream("libx264", rate=frame_rate, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = pictures.width, pictures.height, "yuv420p"
        stream.thread_type = "AUTO"
        reformatter = VideoReformatter()
        for rgb in files.decode(pictures):
            yuv = reformatter.reformat(rgb, format="yuv420p", dst_color_range=ColorRange.MPEG)
            yuv.pict_type = PictureType.NONE  # a file's frame is marked I; x264 chooses anew
            output.mux(stream.encode(yuv))
        output.mux(stream.encode(None))


def _pattern(folder: Path) -> str:
    """The folder's files as FFmpeg names them."""
    return f"{str(folder).replace('%', '%%')}/%06d.png"
