"""Boxes in pixels of the full image: corners, square crops, overlaps.

``xyxy`` are the corners (left, top, right, bottom); ``cxcys`` is a square: centre x, y and side.
All functions take any number of boxes at once and never change their input.
"""

import numpy as np
from jaxtyping import Float

CROP_SCALE = 1.25
"""Side of a person's crop relative to the box's longer side, as in MediaPipe's landmark crop."""


def square_crops(
    boxes_xyxy: Float[np.ndarray, "*batch 4"], scale: float = CROP_SCALE
) -> Float[np.ndarray, "*batch 3"]:
    """Squares around the centres of boxes, ``scale`` times as large as their longer sides.

    Example:
        >>> square_crops(np.array([10.0, 0.0, 30.0, 40.0]))
        array([20., 20., 50.])
    """
    centers = (boxes_xyxy[..., :2] + boxes_xyxy[..., 2:]) / 2
    sides = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).max(axis=-1, keepdims=True)
    return np.concatenate([centers, sides * scale], axis=-1)


def crops_to_xyxy(crops_cxcys: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 4"]:
    """Corners of square crops.

    Example:
        >>> crops_to_xyxy(np.array([20.0, 20.0, 50.0]))
        array([-5., -5., 45., 45.])
    """
    half = crops_cxcys[..., 2:] / 2
    return np.concatenate([crops_cxcys[..., :2] - half, crops_cxcys[..., :2] + half], axis=-1)


def sizes(boxes_xyxy: Float[np.ndarray, "*batch 4"]) -> Float[np.ndarray, "*batch"]:
    """Longer side of each box, pixels."""
    return np.asarray((boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).max(axis=-1))


def pad(
    boxes_xyxy: Float[np.ndarray, "*batch 4"], fraction: float
) -> Float[np.ndarray, "*batch 4"]:
    """Boxes grown on every side by ``fraction`` of their width and height.

    Example:
        >>> pad(np.array([0.0, 0.0, 10.0, 20.0]), 0.5)
        array([-5., -10., 15., 30.])
    """
    margin = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]) * fraction
    return np.concatenate([boxes_xyxy[..., :2] - margin, boxes_xyxy[..., 2:] + margin], axis=-1)


def clip(
    boxes_xyxy: Float[np.ndarray, "*batch 4"], width_px: int, height_px: int
) -> Float[np.ndarray, "*batch 4"]:
    """The parts of boxes that lie in an image of the given size; a box outside gets no area."""
    corner = np.array([width_px, height_px, width_px, height_px], dtype=boxes_xyxy.dtype)
    clipped: Float[np.ndarray, "*batch 4"] = np.clip(boxes_xyxy, 0, corner)
    return clipped


def move_inside(
    boxes_xyxy: Float[np.ndarray, "*batch 4"], width_px: int, height_px: int
) -> Float[np.ndarray, "*batch 4"]:
    """Boxes moved into an image of the given size as far as they fit, not shrunk.

    Example:
        >>> move_inside(np.array([-10.0, 5.0, 30.0, 45.0]), 100, 100)
        array([ 0.,  5., 40., 45.])
    """
    size = boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]
    room = np.maximum(np.array([width_px, height_px]) - size, 0)
    corner = np.clip(boxes_xyxy[..., :2], 0, room)
    return np.concatenate([corner, corner + size], axis=-1)


def around_points(
    boxes_xyxy: Float[np.ndarray, "box 4"],
    points: Float[np.ndarray, "box point 3"],
    min_score: float,
) -> Float[np.ndarray, "box 4"]:
    """The smallest boxes that hold the given boxes and those points (x, y, score) that are sure."""
    sure = points[..., 2:] >= min_score
    lowest = np.where(sure, points[..., :2], np.inf).min(axis=1)
    highest = np.where(sure, points[..., :2], -np.inf).max(axis=1)
    return np.concatenate(
        [np.minimum(boxes_xyxy[:, :2], lowest), np.maximum(boxes_xyxy[:, 2:], highest)], axis=1
    )


def areas(boxes_xyxy: Float[np.ndarray, "*batch 4"]) -> Float[np.ndarray, "*batch"]:
    """Areas in square pixels; 0 for boxes turned inside out."""
    extent = np.clip(boxes_xyxy[..., 2:] - boxes_xyxy[..., :2], 0, None)
    return np.asarray(extent.prod(axis=-1))


def intersections(
    first: Float[np.ndarray, "one 4"], second: Float[np.ndarray, "other 4"]
) -> Float[np.ndarray, "one other"]:
    """Area that each box of ``first`` shares with each of ``second``, square pixels."""
    corners = np.concatenate(
        [
            np.maximum(first[:, None, :2], second[None, :, :2]),
            np.minimum(first[:, None, 2:], second[None, :, 2:]),
        ],
        axis=-1,
    )
    return areas(corners)


def iou(
    first: Float[np.ndarray, "one 4"], second: Float[np.ndarray, "other 4"]
) -> Float[np.ndarray, "one other"]:
    """Intersection over union of each box of ``first`` with each of ``second``.

    It is 0 where neither box has an area.

    Example:
        >>> iou(np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[1.0, 0.0, 3.0, 2.0]]))
        array([[0.33333333]])
    """
    shared = intersections(first, second)
    union = areas(first)[:, None] + areas(second)[None] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))
