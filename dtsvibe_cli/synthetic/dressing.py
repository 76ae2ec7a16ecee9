"""A dressed person: the body's surface moved outwards under cloth, with skirt, long hair, bag.

What does not follow the skin is a lofted sheet with skinning weights of its own. Everything ends up
in one mesh with one texture, so that a person is drawn in one go.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.smpl import BodyModel, Posed
from dtsvibe_cli.synthetic.atlas import SIDE_PX, SIZE_PX, TILE_PX, body_atlas
from dtsvibe_cli.synthetic.motion import shaped_vertices
from dtsvibe_cli.synthetic.noise import fractal_noise, value_noise
from dtsvibe_cli.synthetic.outfit import Outfit
from dtsvibe_cli.synthetic.painting import (
    Points,
    is_bottom,
    is_hair,
    is_shoe,
    is_top,
    paint_body,
    paint_cloth,
)
from dtsvibe_cli.synthetic.render import vertex_normals

_SOLE_M = 0.014


@dataclass(frozen=True, kw_only=True)
class DressedPerson:
    """One person's mesh in the rest pose of their own shape, and its texture."""

    skin: BodyModel
    """Vertices and weights; the shape is in the template, so betas no longer matter."""
    betas: Float[np.ndarray, "10"]
    faces: Int[np.ndarray, "face 3"]
    corner_uv_px: Float[np.ndarray, "face 3 2"]
    texture: Float[np.ndarray, "texture_height texture_width 3"]
    """Albedo, linear light."""

    def vertices(self, posed: Posed) -> Float[Tensor, "frame vertex 3"]:
        """The clothes on posed joints of the same shape, metres."""
        return self.skin.skin(posed, posed.joints.new_zeros(len(posed.joints), 1))


@dataclass(frozen=True, kw_only=True)
class _Sheet:
    """A lofted sheet: rows of points, its weights, and its tile of the texture."""

    points: Float[np.ndarray, "row column 3"]
    weights: Float[np.ndarray, "row column 24"]
    tile: Float[np.ndarray, "tile tile 3"]
    tile_row: int
    """Which of the two tiles beside the body's square it takes."""


def dress_person(
    body: BodyModel, betas: Float[np.ndarray, "10"], outfit: Outfit, rng: np.random.Generator
) -> DressedPerson:
    """Put an outfit on a body of the given shape."""
    atlas = body_atlas()
    faces = body.faces.numpy()
    mean, rest = body.v_template.double().numpy(), shaped_vertices(body, betas)
    smooth = _smoothed(rest, faces, is_shoe(mean, outfit) & (mean[:, 1] < -1.1))
    dressed = smooth + vertex_normals(smooth, faces) * _thickness(mean, outfit, rng)[:, None]
    texture = np.zeros((SIZE_PX[1], SIZE_PX[0], 3), np.float32)
    texture[:, :SIDE_PX] = atlas.fill(paint_body(atlas, outfit, rng))
    points, weights = [dressed], [body.weights.numpy()]
    triangles, corners = [faces], [atlas.corner_uv_px]
    for sheet in _sheets(dressed, mean, outfit, rng):
        new_faces, uv = _triangulate(sheet)
        triangles.append(new_faces + sum(len(part) for part in points))
        corners.append(uv)
        points.append(sheet.points.reshape(-1, 3))
        weights.append(sheet.weights.reshape(-1, len(SMPL24)).astype(np.float32))
        row = sheet.tile_row * TILE_PX
        texture[row : row + TILE_PX, SIDE_PX:] = sheet.tile
    vertices = np.concatenate(points)
    return DressedPerson(
        skin=BodyModel(
            name="dressed",
            v_template=torch.from_numpy(vertices).float(),
            shapedirs=torch.zeros(len(vertices), 3, 1),
            posedirs=None,
            joint_template=body.joint_template,
            joint_shapedirs=body.joint_shapedirs[..., :1] * 0,
            weights=torch.from_numpy(np.concatenate(weights)),
            faces=torch.from_numpy(np.concatenate(triangles)),
            licence=body.licence,
            sha256=body.sha256,
        ),
        betas=betas,
        faces=np.concatenate(triangles),
        corner_uv_px=np.concatenate(corners).astype(np.float32),
        texture=texture,
    )


def _smoothed(points: Points, faces: np.ndarray, chosen: np.ndarray) -> Points:
    """The chosen vertices drawn to the mean of their neighbours, so that toes vanish in shoes."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = edges[chosen[edges[:, 0]]]
    degree = np.maximum(np.bincount(edges[:, 0], minlength=len(points)), 1)
    for _ in range(20):
        mean = [
            np.bincount(edges[:, 0], points[edges[:, 1], axis], len(points)) / degree
            for axis in range(3)
        ]
        points = np.where(chosen[:, None], np.stack(mean, axis=-1), points)
    return np.asarray(points)


def _thickness(
    mean: Points, outfit: Outfit, rng: np.random.Generator
) -> Float[np.ndarray, " vertex"]:
    """How far cloth, hair and shoes stand off the skin, metres."""
    seed = int(rng.integers(1 << 16))
    folds = 1 + 0.6 * value_noise(mean * [14.0, 9.0, 14.0], seed=seed)
    out = np.zeros(len(mean))
    if outfit.skirt_hem_m is None:
        down = np.clip((-0.35 - mean[:, 1]) / max(0.1, -0.35 - outfit.bottom_hem_m), 0, 1)
        loose = outfit.bottom_thickness_m * (1 + outfit.flare * down) * folds
        out = np.where(is_bottom(mean, outfit), loose, out)
    waist = np.clip((0.05 - mean[:, 1]) / 0.3, 0, 1)
    cuff = np.clip((np.abs(mean[:, 0]) - 0.2) / 0.45, 0, 1)
    loose = outfit.top_thickness_m * (1 + outfit.flare * np.maximum(waist, cuff)) * folds
    out = np.where(is_top(mean, outfit), np.maximum(out, loose), out)
    style = outfit.hair_style
    high = {"cropped": 0.004, "cap": 0.018, "scarf": 0.02}.get(style, rng.uniform(0.012, 0.035))
    out = np.where(is_hair(mean, style), high * (1 + 0.15 * folds), out)
    return np.asarray(np.where(is_shoe(mean, outfit), _SOLE_M, out))


def _sheets(
    dressed: Points, mean: Points, outfit: Outfit, rng: np.random.Generator
) -> list[_Sheet]:
    sheets = []
    if outfit.skirt_hem_m is not None:
        sheets.append(_skirt(dressed, mean, outfit, outfit.skirt_hem_m, rng))
    if outfit.hair_style in ("long", "bob", "scarf"):
        sheets.append(_curtain(dressed, mean, outfit, rng))
    elif outfit.bag or outfit.hair_style == "bun":
        sheets.append(_lump(dressed, mean, outfit, rng))
    return sheets


def _skirt(
    dressed: Points, mean: Points, outfit: Outfit, hem: float, rng: np.random.Generator
) -> _Sheet:
    """A tube round hips and legs that follows both thighs, half of each in the middle."""
    rows, columns = 12, 40
    trunk = np.abs(mean[:, 0]) < 0.26
    angles = np.linspace(-np.pi, np.pi, columns)
    heights = np.linspace(-0.06, hem, rows)
    flare = rng.uniform(0.0, 0.22)
    points = np.zeros((rows, columns, 3))
    reach = np.zeros(columns)
    pleats = 1 + rng.uniform(0, 0.06) * np.sin(angles * rng.integers(6, 14))
    for row, height in enumerate(heights):
        band = trunk & (np.abs(mean[:, 1] - max(height, -0.62)) < 0.03)
        ring = dressed[band]
        centre = np.array([0.0, ring[:, 2].mean()])
        offset = ring[:, [0, 2]] - centre
        at, far = np.arctan2(offset[:, 0], offset[:, 1]), np.hypot(*offset.T)
        near = np.abs(np.angle(np.exp(1j * (angles[:, None] - at[None])))) < 0.22
        ring_reach = np.where(near, far[None], 0).max(1) + 0.012
        reach = np.maximum(ring_reach, reach * 0.985) if row else ring_reach
        down = (heights[0] - height) / (heights[0] - heights[-1])
        out = reach * (1 + flare * down) * (1 + (pleats - 1) * down)
        points[row, :, 0] = centre[0] + out * np.sin(angles)
        points[row, :, 2] = centre[1] + out * np.cos(angles)
        points[row, :, 1] = ring[:, 1].mean() + (height - max(height, -0.62))
    points[:, -1] = points[:, 0]
    weights = np.zeros((rows, columns, 24))
    down = np.clip((-0.2 - heights) / 0.35, 0, 1)[:, None] * 0.85
    left = 1 / (1 + np.exp(-points[..., 0] / 0.035))
    knee = np.clip((-0.62 - heights) / 0.3, 0, 0.5)[:, None]
    for side, share in (("left", left), ("right", 1 - left)):
        weights[..., SMPL24.index(f"{side}_hip")] = down * share * (1 - knee)
        weights[..., SMPL24.index(f"{side}_knee")] = down * share * knee
    weights[..., 0] = 1 - weights.sum(-1)
    return _Sheet(points=points, weights=weights, tile=_cloth_tile(outfit, points, rng), tile_row=0)


def _cloth_tile(
    outfit: Outfit, points: Float[np.ndarray, "row column 3"], rng: np.random.Generator
) -> Float[np.ndarray, "tile tile 3"]:
    """The cloth of a sheet, painted at the sheet's own points."""
    rows, columns = (np.linspace(0, 1, TILE_PX) * (count - 1) for count in points.shape[:2])
    low, left = rows.astype(int), columns.astype(int)
    spread = points[low][:, left].reshape(-1, 3)
    spread[:, 1] = np.repeat(np.interp(rows, range(len(points)), points[:, 0, 1]), TILE_PX)
    turn = np.linspace(0, 2 * np.pi, TILE_PX)
    spread[:, 0], spread[:, 2] = (
        np.tile(0.18 * np.sin(turn), TILE_PX),
        np.tile(0.18 * np.cos(turn), TILE_PX),
    )
    scales = ([5, 2, 5], [22, 5, 22], [40, 10, 40], [60, 60, 60], [110, 110, 110], [160, 25, 45])
    seed = int(rng.integers(1 << 16))
    noises = np.stack(
        [fractal_noise(spread * s, seed=seed + k, octaves=1) for k, s in enumerate(scales)]
    )
    colours = np.clip(paint_cloth(spread, outfit.bottom, noises, rng), 0, 1) ** 2.2
    return np.asarray(colours.reshape(TILE_PX, TILE_PX, 3), dtype=np.float32)


def _curtain(dressed: Points, mean: Points, outfit: Outfit, rng: np.random.Generator) -> _Sheet:
    """Long hair or a scarf's ends: a sheet round the back of the head, down to the shoulders."""
    rows, columns = 8, 20
    long = {"bob": 0.16, "long": rng.uniform(0.25, 0.5), "scarf": 0.2}[outfit.hair_style]
    ear = dressed[mean[:, 1] > 0.3]
    centre = np.array([0.0, ear[:, 2].mean() - 0.01])
    band = dressed[np.abs(mean[:, 1] - 0.39) < 0.02]
    half = np.deg2rad(rng.uniform(95, 130))
    angles = np.linspace(np.pi - half, np.pi + half, columns)
    radius_x = np.abs(band[:, 0]).max() * 1.08
    radius_z = np.abs(band[:, 2] - centre[1]).max() * 1.05
    top = dressed[:, 1].max() - 0.10
    points = np.zeros((rows, columns, 3))
    for row, down in enumerate(np.linspace(0, 1, rows)):
        wide = 1 + 0.35 * np.sin(np.pi * min(down * 0.8, 1.0)) * rng.uniform(0.6, 1.0)
        points[row, :, 0] = radius_x * np.sin(angles) * wide
        points[row, :, 2] = centre[1] + radius_z * np.cos(angles) * (1 + 0.25 * down)
        points[row, :, 1] = top - down * (long + 0.06)
    weights = np.zeros((rows, columns, 24))
    fall = np.clip((np.linspace(0, 1, rows) * (long + 0.06) - 0.18) / 0.25, 0, 0.8)[:, None]
    weights[..., SMPL24.index("head")] = 1 - fall
    weights[..., SMPL24.index("spine3")] = fall
    colour = outfit.hat if outfit.hair_style == "scarf" else outfit.hair
    return _Sheet(points=points, weights=weights, tile=_strands(colour, rng), tile_row=1)


def _strands(colour: tuple[float, float, float], rng: np.random.Generator) -> np.ndarray:
    streaks = np.repeat(rng.normal(0, 0.22, (8, TILE_PX)), TILE_PX // 8, axis=0)
    streaks = streaks + rng.normal(0, 0.04, streaks.shape)
    tile = np.clip(np.array(colour) * (1 + streaks[..., None]), 0, 1) ** 2.2
    return np.asarray(tile, dtype=np.float32)


def _lump(dressed: Points, mean: Points, outfit: Outfit, rng: np.random.Generator) -> _Sheet:
    """A rucksack on the back, or a bun of hair: an ellipsoid fixed to one joint."""
    rows, columns = 9, 16
    if outfit.bag:
        joint, size = "spine3", np.array([0.15, 0.22, 0.10]) * rng.uniform(0.8, 1.2)
        back = dressed[(np.abs(mean[:, 1] - 0.05) < 0.05) & (np.abs(mean[:, 0]) < 0.05), 2].min()
        middle, colour, power = np.array([0.0, 0.03, back - 0.07]), outfit.hat, 0.5
    else:
        joint, size = "head", np.array([0.045, 0.045, 0.04])
        back = dressed[np.abs(mean[:, 1] - 0.43) < 0.02, 2].min()
        middle, colour, power = np.array([0.0, 0.43, back - 0.02]), outfit.hair, 1.0
    polar = np.linspace(0.02, np.pi - 0.02, rows)[:, None]
    turn = np.linspace(0, 2 * np.pi, columns)[None]
    ball = np.stack(
        [
            np.sin(polar) * np.sin(turn),
            np.cos(polar) + 0 * turn,
            np.sin(polar) * np.cos(turn),
        ],
        -1,
    )
    ball = np.sign(ball) * np.abs(ball) ** power
    weights = np.zeros((rows, columns, 24))
    weights[..., SMPL24.index(joint)] = 1
    return _Sheet(
        points=middle + ball * size, weights=weights, tile=_strands(colour, rng), tile_row=1
    )


def _triangulate(
    sheet: _Sheet,
) -> tuple[Int[np.ndarray, "face 3"], Float[np.ndarray, "face 3 2"]]:
    rows, columns = sheet.points.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = np.concatenate(
        [np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)]
    )
    across, down = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
    uv = np.stack([across, down], -1).reshape(-1, 2) * (TILE_PX - 2) + 1
    uv += [SIDE_PX, sheet.tile_row * TILE_PX]
    return faces, uv[faces]
