"""Pasting a drawn layer over an image: averaging its samples, then blending it in."""

import cv2
import numpy as np
from jaxtyping import UInt8

from dtsvibe_cli.stages.rendering.shading import Region

SUPERSAMPLE = 2
"""Back ends draw this many samples along each side of a pixel; the mean gives clean outlines."""


def composite(
    image: UInt8[np.ndarray, "height width 3"],
    layer_rgba: UInt8[np.ndarray, "samples_y samples_x 4"],
    region: Region,
    opacity: float,
) -> UInt8[np.ndarray, "height width 3"]:
    """A copy of the image with the layer over its region.

    A sample of the layer is a colour with alpha 255, or four zeros where nothing was drawn. The
    mean over a pixel is therefore a colour already multiplied by its coverage, and is added, not
    multiplied again.
    """
    size = (region.width, region.height)
    layer = cv2.resize(layer_rgba, size, interpolation=cv2.INTER_AREA)
    if opacity < 1:
        layer = cv2.convertScaleAbs(layer, alpha=opacity)
    drawn = image.copy()
    below = drawn[region.top : region.top + region.height, region.left : region.left + region.width]
    clear = cv2.cvtColor(255 - layer[..., 3], cv2.COLOR_GRAY2RGB)
    colour = cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB)
    below[...] = cv2.add(cv2.multiply(below, clear, scale=1 / 255), colour)
    return drawn
