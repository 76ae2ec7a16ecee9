"""Video in hardware: NVENC and NVDEC through the FFmpeg inside PyAV, where they really work.

That FFmpeg knows their names says little: the driver may be missing, the chip may have no such
unit, or refuse the size. So a few pictures are encoded, or decoded, in memory before it is trusted.
"""

import io
import logging
from functools import cache
from typing import Final, NamedTuple

import av
import numpy as np
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer, OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

_LOG = logging.getLogger(__name__)

SOFTWARE: Final = "libx264"
NVENC: Final = "h264_nvenc"

_X264: Final = "b-adapt=0:scenecut=0:weightp=0"
"""No look at coming pictures to place B-frames and key frames: a quarter quicker, and files of the
same size have the same quality within a decibel."""

_PROBE_FRAMES: Final = 4
_PROBE_SIZE_PX: Final = (320, 240)


class EncoderChoice(NamedTuple):
    """What encodes H.264: FFmpeg's name and its options."""

    name: str
    options: dict[str, str]


def choose_encoder(
    device: str, size_px: tuple[int, int], *, crf: int = 22, preset: str = "superfast"
) -> EncoderChoice:
    """NVENC for networks on CUDA when it works here for pictures of this size, else x264.

    Args:
        device: Where the networks run.
        size_px: Width and height of the video, even.
        crf: x264's quality; NVENC's constant quality has about the same scale.
        preset: x264's trade of speed for size.
    """
    if device.startswith("cuda"):
        options = {"preset": "p4", "rc": "vbr", "cq": str(crf), "b": "0", "gpu": _index(device)}
        if _encodes(NVENC, tuple(options.items()), size_px):
            return EncoderChoice(NVENC, options)
        _LOG.info("NVENC does not work here: the video is encoded on the CPU.")
    return EncoderChoice(SOFTWARE, {"crf": str(crf), "preset": preset, "x264-params": _X264})


def choose_hwaccel(device: str) -> HWAccel | None:
    """NVDEC for :func:`av.open` when it works here, for networks on CUDA; else None.

    Streams that it cannot decode are decoded on the CPU.
    """
    if not device.startswith("cuda"):
        return None
    if _decodes(_index(device)):
        return HWAccel("cuda", device=_index(device), allow_software_fallback=True)
    _LOG.info("NVDEC does not work here: the video is decoded on the CPU.")
    return None


def _index(device: str) -> str:
    """``cuda`` is the first GPU."""
    return device.partition(":")[2] or "0"


@cache
def _encodes(name: str, options: tuple[tuple[str, str], ...], size_px: tuple[int, int]) -> bool:
    """Whether a few pictures can be encoded."""
    try:
        return bool(_encoded(EncoderChoice(name, dict(options)), size_px))
    except (av.FFmpegError, ValueError):  # no such codec; no driver, unit or such size
        return False


@cache
def _decodes(index: str) -> bool:
    """Whether a few pictures can be decoded on this GPU, and are decoded there."""
    if "cuda" not in hwdevices_available():
        return False
    video = _encoded(EncoderChoice(SOFTWARE, {}), _PROBE_SIZE_PX)
    accel = HWAccel("cuda", device=index, allow_software_fallback=False)
    try:
        opened = av.open(io.BytesIO(video), hwaccel=accel)
        assert isinstance(opened, InputContainer)
        with opened:
            return sum(1 for _ in opened.decode(video=0)) == _PROBE_FRAMES
    except (av.FFmpegError, NotImplementedError, RuntimeError):
        return False


def _encoded(encoder: EncoderChoice, size_px: tuple[int, int]) -> bytes:
    """A short video of a moving gradient."""
    width, height = size_px
    file = io.BytesIO()
    output = av.open(file, mode="w", format="mp4")
    assert isinstance(output, OutputContainer)
    with output:
        stream = output.add_stream(encoder.name, rate=30, options=encoder.options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        gradient = np.add.outer(np.arange(height), np.arange(width))
        for k in range(_PROBE_FRAMES):
            gray = (gradient + 8 * k).astype(np.uint8)
            output.mux(stream.encode(VideoFrame.from_ndarray(gray, format="gray")))
        output.mux(stream.encode(None))
    return file.getvalue()
