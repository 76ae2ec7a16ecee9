"""A drawing of people that pose networks take for people: the same pixels everywhere, no file."""

import numpy as np
from jaxtyping import UInt8

_SKIN, _SHIRT, _TROUSERS, _DARK = (205, 160, 135), (150, 60, 50), (60, 62, 90), (40, 30, 25)

# Capsules, far ones first: ends (x, y), radius, colour; units of the figure's height.
_CAPSULES = (
    (0.43, 0.52, 0.42, 0.74, 0.058, _TROUSERS),
    (0.42, 0.74, 0.42, 0.93, 0.042, _TROUSERS),
    (0.57, 0.52, 0.59, 0.74, 0.058, _TROUSERS),
    (0.59, 0.74, 0.60, 0.93, 0.042, _TROUSERS),
    (0.42, 0.945, 0.40, 0.965, 0.027, _DARK),
    (0.60, 0.945, 0.63, 0.965, 0.027, _DARK),
    (0.445, 0.25, 0.45, 0.50, 0.075, _SHIRT),
    (0.555, 0.25, 0.55, 0.50, 0.075, _SHIRT),
    (0.5, 0.25, 0.5, 0.5, 0.08, _SHIRT),
    (0.5, 0.15, 0.5, 0.22, 0.035, _SKIN),
    (0.39, 0.24, 0.33, 0.38, 0.040, _SHIRT),
    (0.33, 0.38, 0.30, 0.50, 0.030, _SKIN),
    (0.30, 0.50, 0.295, 0.54, 0.027, _SKIN),
    (0.61, 0.24, 0.69, 0.37, 0.040, _SHIRT),
    (0.69, 0.37, 0.76, 0.26, 0.030, _SKIN),
    (0.76, 0.26, 0.775, 0.225, 0.027, _SKIN),
    (0.5, 0.075, 0.5, 0.115, 0.058, _SKIN),
    (0.5, 0.055, 0.5, 0.06, 0.062, _DARK),
    (0.5, 0.10, 0.5, 0.125, 0.052, _SKIN),
    (0.478, 0.098, 0.479, 0.098, 0.007, _DARK),
    (0.522, 0.098, 0.523, 0.098, 0.007, _DARK),
    (0.488, 0.14, 0.512, 0.14, 0.004, _SHIRT),
)


def draw_people(
    height: int, width: int, figures: tuple[tuple[float, float, float], ...]
) -> UInt8[np.ndarray, "height width 3"]:
    """People who stand and wave with their left hand, before sky and ground.

    Args:
        height: Of the picture.
        width: Of the picture.
        figures: Left, top and height of each, pixels; somebody is 0.56 of the height wide.
    """
    y, x = np.mgrid[:height, :width] + 0.5
    sky = [150 + 40 * y / height, 165 + 30 * y / height, 175 - 40 * y / height]
    picture = np.where((y > 0.8 * height)[..., None], (110, 105, 95), np.stack(sky, axis=-1))
    for left, top, size in figures:
        for x0, y0, x1, y1, radius, colour in _CAPSULES:
            start = np.array([left + x0 * size, top + y0 * size])
            along = np.array([(x1 - x0) * size, (y1 - y0) * size])
            offset_x, offset_y = x - start[0], y - start[1]
            t = np.clip((offset_x * along[0] + offset_y * along[1]) / (along @ along), 0, 1)
            away = np.hypot(offset_x - t * along[0], offset_y - t * along[1]) / (radius * size)
            cover = np.clip((1 - away) * radius * size + 0.5, 0, 1)[..., None]
            shade = (0.65 + 0.35 * np.sqrt(np.clip(1 - away**2, 0, 1)))[..., None]
            picture = picture * (1 - cover) + np.array(colour) * shade * cover
    return np.clip(picture, 0, 255).astype(np.uint8)
