"""Pictures as H.264 takes them: BT.709 luma at full size, chroma at half of it.

FFmpeg's own conversion takes twice as long.
"""

from typing import Final

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

_RED, _BLUE = 0.2126, 0.0722


def _bt709() -> Float32[np.ndarray, "3 4"]:
    """From RGB to Y, Cb, Cr (ITU-R BT.709, section 3), with video's limited range of values."""
    luma = np.array([_RED, 1 - _RED - _BLUE, _BLUE])
    to_blue = (np.array([0, 0, 1]) - luma) / (2 * (1 - _BLUE))
    to_red = (np.array([1, 0, 0]) - luma) / (2 * (1 - _RED))
    turned = np.stack([219 / 255 * luma, 224 / 255 * to_blue, 224 / 255 * to_red])
    return np.column_stack([turned, [16, 128, 128]]).astype(np.float32)


_BT709: Final = _bt709()


def rgb_to_yuv420p(
    rgb: UInt8[np.ndarray, "height width 3"],
) -> UInt8[np.ndarray, "rows width"]:
    """The three planes below each other, as PyAV's ``yuv420p``; height and width must be even."""
    height, width, _ = rgb.shape
    planes = np.empty((height * 3 // 2, width), np.uint8)
    yuv = cv2.transform(rgb, _BT709)
    half = cv2.resize(yuv, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    cv2.extractChannel(yuv, 0, planes[:height])
    blue, red = planes[height:].reshape(2, height // 2, width // 2)
    cv2.extractChannel(half, 1, blue)
    cv2.extractChannel(half, 2, red)
    return planes
