"""Choose the surface: skin and eyeballs, without what nobody can see from outside.

The base mesh has a mouth cavity, eye sockets and backs of eyeballs. They are found by drawing the
body from many random directions, in A-pose and rest pose, and counting how much of each face shows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from dtsvibe_cli.builders.body.assets import BodyAssets, QuadGroup
from dtsvibe_cli.builders.body.phenotypes import Phenotype, morph
from dtsvibe_cli.builders.body.rest_pose import rest_pose

_IMAGE_SIDE: Final = 900
_VIEWS_PER_TARGET: Final = 60
_MIN_VISIBLE: Final = 0.04
"""Share of its front-facing area that a face must show, summed over all views."""
_MIN_HIDDEN_FACES: Final = 12
"""Smaller hidden patches are folds of the skin: they stay."""
_CLOSE_UPS: Final = {
    "head": 0.17, "wrist.L": 0.16, "wrist.R": 0.16, "foot.L": 0.2, "foot.R": 0.2,
    "upperarm01.L": 0.2, "upperarm01.R": 0.2, "spine04": 0.25,
}  # fmt: skip
"""Bones that are looked at closely, and the half width of the view in metres."""

# Nipples are replaced by flat caps: these rings of the base mesh go, the faces inside close them.
_NIPPLE_VERTICES: Final = (*range(1778, 1794), *range(8450, 8466))
_NIPPLE_CAPS: Final = (
    (8437, 8438, 8439, 8440), (8436, 8437, 8440, 8441), (8435, 8436, 8441, 8442),
    (8434, 8435, 8442, 8443), (8449, 8434, 8443, 8444), (8448, 8449, 8444, 8445),
    (8447, 8448, 8445, 8446), (1762, 1771, 1770, 1763), (1763, 1770, 1769, 1764),
    (1764, 1769, 1768, 1765), (1765, 1768, 1767, 1766), (1762, 1777, 1772, 1771),
    (1777, 1776, 1773, 1772), (1776, 1775, 1774, 1773),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Surface:
    """The quads that the body model is made of."""

    quads: Int[np.ndarray, "quad 4"]
    """Vertices of the base mesh."""
    corners: Int[np.ndarray, "quad 4"]
    """Texture coordinates of the same corners."""

    @property
    def vertices(self) -> Int[np.ndarray, " vertex"]:
        """Vertices of the base mesh in use, rising."""
        return np.unique(self.quads)


def visible_surface(assets: BodyAssets) -> Surface:
    """Skin and eyeballs, as far as they can be seen."""
    skin = _without_nipples(assets.groups["body"])
    eyes = [assets.groups[name] for name in ("helper-l-eye", "helper-r-eye")]
    quads = np.concatenate([skin.quads, *(eye.quads for eye in eyes)])
    corners = np.concatenate([skin.corners, *(eye.corners for eye in eyes)])
    hidden = _large_patches(quads, _visible_share(assets, quads, skin.quads) <= _MIN_VISIBLE)
    # One ring of hidden faces stays as a margin around lids, lips and nostrils.
    on_surface = np.zeros(len(assets.vertices), bool)
    on_surface[quads[~hidden]] = True
    keep = ~hidden | on_surface[quads].any(1)
    return Surface(quads=quads[keep], corners=corners[keep])


def _without_nipples(skin: QuadGroup) -> QuadGroup:
    removed = np.isin(skin.quads, _NIPPLE_VERTICES).any(1)
    corner_of = dict(zip(skin.quads[removed].ravel(), skin.corners[removed].ravel(), strict=True))
    caps = np.array(_NIPPLE_CAPS)
    cap_corners = np.vectorize(corner_of.__getitem__)(caps)
    return QuadGroup(
        quads=np.concatenate([skin.quads[~removed], caps]),
        corners=np.concatenate([skin.corners[~removed], cap_corners]),
    )


def _visible_share(
    assets: BodyAssets, quads: Int[np.ndarray, "quad 4"], skin: Int[np.ndarray, "skin 4"]
) -> Float[np.ndarray, " quad"]:
    """Visible part of each face's front-facing area, summed over all views."""
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    quad_of = np.tile(np.arange(len(quads)), 2)
    visible, facing = np.zeros(len(quads)), np.zeros(len(quads))
    for points in _views(assets, np.unique(skin)):
        ids = draw_ids(points, triangles, _IMAGE_SIDE)
        visible += np.bincount(quad_of[ids[ids >= 0]], minlength=len(quads))
        a, b, c = (points[triangles[:, k], :2] for k in range(3))
        first, second = b - a, c - a
        area = -0.5 * (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
        inside = ((a > 0) & (a < _IMAGE_SIDE)).all(1)
        weights = np.maximum(area, 0) * inside
        facing += np.bincount(quad_of, weights=weights, minlength=len(quads))
    return visible / np.maximum(facing, 1e-9)


def _views(
    assets: BodyAssets, skin: Int[np.ndarray, " skin"]
) -> Iterator[Float[np.ndarray, "vertex 3"]]:
    """The body in pixels (x, y down, depth) from random directions, as a whole and close by."""
    a_posed = morph(assets, Phenotype(height=0.42))
    pose = rest_pose(assets.rig, a_posed)
    rng = np.random.default_rng(0)
    for vertices, heads in (
        (pose.skin(a_posed, assets.rig.weights), pose.posed_heads),
        (a_posed, pose.heads),
    ):
        targets = [(vertices[skin].mean(0), 1.05)]
        targets += [
            (_close_up_centre(assets, heads, bone), reach) for bone, reach in _CLOSE_UPS.items()
        ]
        for centre, reach in targets:
            for _ in range(_VIEWS_PER_TARGET):
                axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
                if np.linalg.det(axes) < 0:
                    axes[0] *= -1
                seen = (vertices - centre) @ axes.T
                scale = _IMAGE_SIDE / (2 * reach)
                x = _IMAGE_SIDE / 2 + seen[:, 0] * scale
                y = _IMAGE_SIDE / 2 - seen[:, 1] * scale
                yield np.stack([x, y, -seen[:, 2]], 1)


def _close_up_centre(
    assets: BodyAssets, heads: Float[np.ndarray, "bone 3"], bone: str
) -> Float[np.ndarray, "3"]:
    if bone.startswith("wrist"):
        bone = bone.replace("wrist", "metacarpal2")
    shift = {"head": (0, 0.05, 0.04), "foot": (0, -0.03, 0.08)}.get(bone[:4], (0, 0, 0))
    return np.asarray(heads[assets.rig.index[bone]] + np.array(shift))


def _large_patches(
    quads: Int[np.ndarray, "quad 4"], hidden: Bool[np.ndarray, " quad"]
) -> Bool[np.ndarray, " quad"]:
    """The hidden faces that hang together in patches of some size."""
    faces = np.where(hidden)[0]
    rows, columns = np.repeat(np.arange(len(faces)), 4), quads[faces].ravel()
    touches = coo_matrix(
        (np.ones(len(rows)), (rows, columns)), shape=(len(faces), quads.max() + 1)
    ).tocsr()
    _, patch = connected_components(touches @ touches.T, directed=False)
    large = np.zeros(len(quads), bool)
    large[faces] = np.bincount(patch)[patch] >= _MIN_HIDDEN_FACES
    return large


def draw_ids(
    points: Float[np.ndarray, "vertex 3"], triangles: Int[np.ndarray, "triangle 3"], side: int
) -> Int[np.ndarray, "side side"]:
    """Index of the triangle nearest to the eye at each pixel of a square image, -1 where none is.

    Args:
        points: x, y in pixels (pixel centres at whole numbers), depth growing away from the eye.
        triangles: Drawn from both sides; on equal depth the first one wins.
        side: Pixels along an edge of the image.
    """
    corners = points.astype(np.float32)[triangles]
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners.transpose(1, 2, 0)
    denominator = (by - cy) * (ax - cx) + (cx - bx) * (ay - cy)
    low = np.maximum(np.floor(corners[..., :2].min(1)).astype(np.int64), 0)
    high = np.minimum(np.ceil(corners[..., :2].max(1)).astype(np.int64), side - 1)
    width, height = (np.maximum(high - low + 1, 0)).T
    count = np.where(np.abs(denominator) < 1e-9, 0, width * height)
    # One entry for each pixel of each triangle's bounding box.
    triangle = np.repeat(np.arange(len(triangles)), count)
    position = np.arange(len(triangle)) - np.repeat(np.cumsum(count) - count, count)
    row, column = np.divmod(position, width[triangle])
    x, y = column + low[triangle, 0], row + low[triangle, 1]
    pixel = y * side + x
    dx, dy = x.astype(np.float32) - cx[triangle], y.astype(np.float32) - cy[triangle]
    scale = denominator[triangle]
    first = ((by - cy)[triangle] * dx + (cx - bx)[triangle] * dy) / scale
    second = ((cy - ay)[triangle] * dx + (ax - cx)[triangle] * dy) / scale
    third = 1 - first - second
    inside = (first >= 0) & (second >= 0) & (third >= 0)
    pixel, triangle = pixel[inside], triangle[inside]
    depth = (
        first[inside] * az[triangle] + second[inside] * bz[triangle] + third[inside] * cz[triangle]
    )
    nearest = np.full(side * side, np.inf, np.float32)
    np.minimum.at(nearest, pixel, depth)
    wins = depth == nearest[pixel]
    ids = np.full(side * side, -1, np.int64)
    ids[pixel[wins][::-1]] = triangle[wins][::-1]  # the last assignment stays: the first triangle
    return ids.reshape(side, side)
