"""Pictures of people, drawn with a few lines: enough for MoveNet to see them."""

from fractions import Fraction

import cv2
import numpy as np

from dtsvibe_cli.datatypes import Frame

SKIN, SHIRT, TROUSERS, SHOES = (224, 172, 140), (170, 40, 40), (40, 50, 110), (30, 30, 30)


def draw_person(
    rgb: np.ndarray, feet_x: float, feet_y: float, height_px: float, shirt: tuple[int, ...] = SHIRT
) -> np.ndarray:
    """Draw somebody who faces the camera; the box (x0, y0, x1, y1) around them."""

    def at(x: float, y: float) -> tuple[int, int]:
        return round(feet_x + x * height_px / 100), round(feet_y - y * height_px / 100)

    def limb(start: tuple[int, int], end: tuple[int, int], color: object, width: float) -> None:
        cv2.line(rgb, start, end, color, max(round(width * height_px / 100), 1))  # type: ignore[call-overload]

    for side in (-1, 1):
        limb(at(6 * side, 50), at(8 * side, 26), TROUSERS, 11)
        limb(at(8 * side, 26), at(8 * side, 5), TROUSERS, 9)
        limb(at(8 * side, 3), at(12 * side, 2), SHOES, 5)
        limb(at(12 * side, 79), at(19 * side, 62), shirt, 7)
        limb(at(19 * side, 62), at(21 * side, 46), SKIN, 5)
    torso = np.array([at(-15, 82), at(15, 82), at(10, 48), at(-10, 48)])
    cv2.fillPoly(rgb, [torso], shirt)
    limb(at(0, 82), at(0, 88), SKIN, 6)
    unit = height_px / 100
    cv2.ellipse(rgb, at(0, 92), (round(6 * unit), round(8 * unit)), 0, 0, 360, SKIN, -1)
    cv2.ellipse(rgb, at(0, 95), (round(6 * unit),) * 2, 0, 180, 360, (50, 30, 20), -1)
    for side in (-1, 1):
        cv2.circle(rgb, at(2.3 * side, 93), max(round(0.9 * unit), 1), (20, 20, 20), -1)
    return np.array(
        [feet_x - 23.5 * unit, feet_y - 101 * unit, feet_x + 23.5 * unit, feet_y], dtype=np.float64
    )


def draw_scene(width_px: int, height_px: int) -> np.ndarray:
    """A picture of a lawn and the sky."""
    rgb = np.full((height_px, width_px, 3), (150, 170, 190), dtype=np.uint8)
    rgb[height_px * 2 // 3 :] = (110, 130, 100)
    return rgb


def as_frame(rgb: np.ndarray, index: int = 0, rate: int = 30) -> Frame:
    """A frame of a video of constant rate."""
    return Frame(index=index, rgb=rgb, pts=index, time_base=Fraction(1, rate))
