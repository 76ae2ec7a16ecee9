"""What a person wears, as a colour histogram: enough to tell two people in one video apart."""

from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dtsvibe_cli.geometry.boxes import clip
from dtsvibe_cli.geometry.joints import COCO17

NUM_BINS: Final = 56
"""12 hues x 4 saturations, then 8 brightnesses."""

_TORSO: Final = [
    COCO17.index(name) for name in ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
]
_MIN_KEYPOINT_SCORE: Final = 0.2


def torso_histogram(
    rgb: UInt8[np.ndarray, "height width 3"],
    box_xyxy: Float[np.ndarray, "4"],
    keypoints: Float[np.ndarray, "17 3"] | None,
) -> Float[np.ndarray, "56"]:
    """Colours of a person's torso; sums to 1 (0 when the torso is outside the picture).

    The torso is the rectangle of shoulders and hips when all four are sure, else the middle of the
    box between a fifth and half of its height.
    """
    region = _torso_box(box_xyxy, keypoints)
    height, width = rgb.shape[:2]
    left, top, right, bottom = np.rint(clip(region, width, height)).astype(int)
    histogram = np.zeros(NUM_BINS)
    if right <= left or bottom <= top:
        return histogram
    hsv = cv2.cvtColor(np.ascontiguousarray(rgb[top:bottom, left:right]), cv2.COLOR_RGB2HSV)
    hue, saturation, brightness = hsv.reshape(-1, 3).astype(np.int64).T
    # OpenCV keeps hue in 0..179 and the others in 0..255.
    histogram[:48] = np.bincount(hue // 15 * 4 + saturation // 64, minlength=48)
    histogram[48:] = np.bincount(brightness // 32, minlength=8)
    histogram /= histogram.sum()
    return histogram


def likeness(first: Float[np.ndarray, "56"], second: Float[np.ndarray, "56"]) -> float:
    """Bhattacharyya coefficient of two histograms: 1 when equal, 0 when they share no colour."""
    return float(np.sqrt(first * second).sum())


def _torso_box(
    box_xyxy: Float[np.ndarray, "4"], keypoints: Float[np.ndarray, "17 3"] | None
) -> Float[np.ndarray, "4"]:
    if keypoints is not None and (keypoints[_TORSO, 2] >= _MIN_KEYPOINT_SCORE).all():
        points = keypoints[_TORSO, :2]
        return np.concatenate([points.min(axis=0), points.max(axis=0)])
    left, top, right, bottom = box_xyxy
    width, height = right - left, bottom - top
    return np.array(
        [left + 0.3 * width, top + 0.2 * height, right - 0.3 * width, top + 0.5 * height]
    )
