"""Pictures and their cameras at a smaller size."""

import cv2
import numpy as np
from jaxtyping import UInt8

from dtsvibe_cli.datatypes import PinholeCamera


def shrink(
    image: UInt8[np.ndarray, "height width 3"], size: tuple[int, int]
) -> UInt8[np.ndarray, "rows columns 3"]:
    """An image at the size of a panel; an odd row or column is cut off, not resampled."""
    image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
    scale_x, scale_y = _scales((image.shape[1], image.shape[0]), size)
    if scale_x == scale_y == 1:
        return image
    # a little smaller: the straight line between pixels is as good, and four times as fast
    little = min(scale_x, scale_y) > 2 / 3
    method = cv2.INTER_LINEAR if little else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, size, interpolation=method))


def _scales(image_size: tuple[int, int], size: tuple[int, int]) -> tuple[float, float]:
    """How much smaller a panel is, across and down."""
    width, height = image_size
    return size[0] / (width // 2 * 2), size[1] / (height // 2 * 2)


def shrunk_camera(
    camera: PinholeCamera, image_size: tuple[int, int], size: tuple[int, int]
) -> PinholeCamera:
    """The camera of an image at the size of a panel."""
    scale_x, scale_y = _scales(image_size, size)
    (cx, cy) = camera.center_px
    return PinholeCamera(
        focal_length_px=camera.focal_length_px * scale_x,
        center_px=(cx * scale_x, cy * scale_y),
        source=camera.source,
    )
