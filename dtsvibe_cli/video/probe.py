"""What is known of an input before its frames are decoded."""

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from av.container import InputContainer

from dtsvibe_cli.datatypes import VideoInfo
from dtsvibe_cli.errors import VideoError
from dtsvibe_cli.geometry.cameras import focal_from_35mm
from dtsvibe_cli.video.images import (
    image_focal_length_px,
    image_rate,
    image_rotation_deg,
    list_images,
    load_image,
)
from dtsvibe_cli.video.reader import decode_stream
from dtsvibe_cli.video.source import (
    open_container,
    picture_geometry,
    stream_rate,
    video_stream,
)

# such as com.apple.quicktime.camera.focal_length.35mm_equivalent
_FOCAL_KEY = re.compile(r"focal.?length.*35.?mm", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(\.\d+)?")


def probe(source: Path | str, *, frame_rate: Fraction | None = None) -> VideoInfo:
    """Size, rate and metadata of a video file, an image, or a folder of images.

    Only the first picture is decoded.

    Args:
        source: The file or folder.
        frame_rate: Frames a second of an image folder, 30 when not given.

    Raises:
        VideoError: The source is missing or holds no picture that can be read.
        ConfigError: ``frame_rate`` was given for a video file, or is not positive.
    """
    path = Path(source)
    images = list_images(path)
    rate = image_rate(frame_rate, is_images=images is not None, source=path)
    return _probe_file(path) if images is None else _probe_images(path, images, rate)


def _probe_images(path: Path, images: list[Path], rate: Fraction) -> VideoInfo:
    """Facts of an image folder, from its first image."""
    height, width, _ = load_image(images[0]).shape
    return VideoInfo(
        path=path,
        width_px=width,
        height_px=height,
        frame_rate=rate,
        num_frames=len(images),
        rotation_deg=image_rotation_deg(images[0]),
        focal_length_px=image_focal_length_px(images[0]),
    )


def _probe_file(path: Path) -> VideoInfo:
    """Facts of a video file: rotation is only known once a frame is decoded."""
    with open_container(path) as container:
        stream = video_stream(container, path)
        first = next(decode_stream(container, stream, on_damage=lambda: None), None)
        if first is None:
            raise VideoError(f"{path} holds no frame that can be decoded.")
        geometry = picture_geometry(stream, first)
        width_px, height_px = geometry.upright_size_px
        equivalent_mm = next(_equivalent_focal_lengths_mm(container), None)
        return VideoInfo(
            path=path,
            width_px=width_px,
            height_px=height_px,
            frame_rate=stream_rate(stream, path),
            num_frames=stream.frames or None,
            rotation_deg=geometry.rotation_deg,
            has_audio=bool(container.streams.audio),
            focal_length_px=equivalent_mm and focal_from_35mm(equivalent_mm, width_px, height_px),
        )


def _equivalent_focal_lengths_mm(container: InputContainer) -> Iterator[float]:
    """35 mm equivalents among the tags of the file and its streams."""
    for tags in (container.metadata, *(stream.metadata for stream in container.streams)):
        for key, value in tags.items():
            number = _NUMBER.search(value)
            if _FOCAL_KEY.search(key) and number and float(number[0]) > 0:
                yield float(number[0])
