"""What a person wears, as a colour histogram: a hint of who is who within one video.

Pixels with enough colour are counted by hue and saturation, the others by brightness (Perez et al.
2002, "Color-Based Probabilistic Tracking"): hue hardly changes with the light, and has no meaning
in grey and black.
"""

from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dtsvibe_cli.geometry.boxes import clip
from dtsvibe_cli.geometry.joints import COCO17

NUM_BINS: Final = 56
"""12 hues x 4 saturations for coloured pixels, then 8 brightnesses for the others."""

MIN_SATURATION: Final = 25
"""Of 255: a tenth, as in the paper."""
MIN_BRIGHTNESS: Final = 50
"""Of 255: a fifth, as in the paper."""

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
    coloured = (saturation > MIN_SATURATION) & (brightness > MIN_BRIGHTNESS)
    # OpenCV keeps hue in 0..179 and the others in 0..255.
    colour_bin = (hue // 15 * 4 + saturation // 64)[coloured]
    colours = np.bincount(colour_bin, minlength=48).reshape(12, 4)
    greys = np.bincount(brightness[~coloured] // 32, minlength=8)
    # Neighbouring bins share, so that a little more light does not make a new colour.
    colours = _shared(np.pad(colours, ((1, 1), (0, 0)), "wrap"))
    histogram[:48] = _shared(np.pad(colours.T, ((1, 1), (0, 0)), "edge")).T.ravel()
    histogram[48:] = _shared(np.pad(greys, 1, "edge"))
    histogram /= histogram.sum()
    return histogram


def _shared(padded: np.ndarray) -> Float[np.ndarray, "..."]:
    """Each bin keeps half, and has a quarter of either neighbour, along the first axis."""
    return np.asarray(0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:])


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
