import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from dtsvibe_cli.video.yuv import rgb_to_yuv420p


def by_ffmpeg(rgb: np.ndarray) -> np.ndarray:
    frame = VideoReformatter().reformat(
        VideoFrame.from_ndarray(rgb, format="rgb24"),
        format="yuv420p",
        src_colorspace=Colorspace.ITU709,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
    )
    return frame.to_ndarray().astype(int)


@pytest.mark.parametrize(
    ("rgb", "yuv"),
    [
        ((0, 0, 0), (16, 128, 128)),
        ((255, 255, 255), (235, 128, 128)),
        ((255, 0, 0), (63, 102, 240)),
        ((0, 255, 0), (173, 42, 26)),
        ((0, 0, 255), (32, 240, 118)),
    ],
)
def test_colours_of_the_standard(rgb: tuple[int, ...], yuv: tuple[int, ...]) -> None:
    planes = rgb_to_yuv420p(np.full((4, 6, 3), rgb, np.uint8))
    assert planes.shape == (6, 6)
    parts = planes[:4].ravel(), planes[4:].ravel()[:6], planes[4:].ravel()[6:]
    assert [set(part.tolist()) for part in parts] == [{value} for value in yuv]


def test_much_as_ffmpeg_converts() -> None:
    rng = np.random.default_rng(0)
    rough = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    smooth = cv2.resize(rough, (192, 144), interpolation=cv2.INTER_CUBIC)
    apart = np.abs(rgb_to_yuv420p(smooth) - by_ffmpeg(smooth))
    assert apart.mean() < 0.6
    assert np.percentile(apart, 99) <= 3  # they average chroma over other neighbours
