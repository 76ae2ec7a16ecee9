"""Dresses and paints a body in rest-pose coordinates: no texture map, no seams.

Clothes are the body's own surface moved outwards a little, so that a person has the outline of
clothes and not only their colours. Colours are functions of the rest-pose point, evaluated at every
visible pixel.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from dtsvibe_cli.errors import BodyModelError
from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.synthetic.motion import shaped_joints, shaped_vertices
from dtsvibe_cli.synthetic.noise import fractal_noise, value_noise
from dtsvibe_cli.synthetic.render import vertex_normals

SOLE_M = 0.014
"""Thickness of the shoes' soles."""
Points = Float[np.ndarray, "point 3"]
Mask = Bool[np.ndarray, " point"]
Colour = tuple[float, float, float]

_SKINS: tuple[Colour, ...] = ((0.89, 0.70, 0.58), (0.78, 0.57, 0.44), (0.62, 0.43, 0.31))
_HAIRS: tuple[Colour, ...] = ((0.16, 0.10, 0.07), (0.30, 0.19, 0.11), (0.09, 0.08, 0.08))
_SHIRTS: tuple[tuple[Colour, Colour], ...] = (
    ((0.86, 0.72, 0.30), (0.22, 0.25, 0.33)),
    ((0.16, 0.38, 0.52), (0.85, 0.87, 0.88)),
    ((0.72, 0.20, 0.17), (0.90, 0.86, 0.78)),
)
_TROUSERS: tuple[Colour, ...] = ((0.19, 0.25, 0.38), (0.24, 0.23, 0.22), (0.45, 0.40, 0.31))


@dataclass(frozen=True, kw_only=True)
class Look:
    """Colours of one person, and where the parts of the body are in the rest pose."""

    skin: Colour
    hair: Colour
    shirt: tuple[Colour, Colour]
    """Cloth and stripes."""
    trousers: Colour
    joints: dict[str, Float[np.ndarray, " 3"]]
    """Rest joints by name, metres."""
    face: dict[str, Float[np.ndarray, " 3"]]
    """Rest positions of the body model's named landmarks, metres."""


@dataclass(frozen=True, kw_only=True)
class DressedBody:
    """A body with clothes on: skinned like the bare one, by the same joints."""

    body: BodyModel
    rest_points: Float[np.ndarray, "vertex 3"]
    """Rest-pose points of the bare body: the coordinates in which it is painted."""
    look: Look


def dress(body: BodyModel, betas: Float[np.ndarray, " shape"], *, seed: int) -> DressedBody:
    """Clothes, hair and shoes for a body, with colours chosen by the seed.

    Raises:
        BodyModelError: The body model does not name the points of its face.
    """
    rest = shaped_vertices(body, betas)
    landmarks = body.meta.get("landmarks")
    if landmarks is None:
        raise BodyModelError(
            f"The body model {body.name!r} does not say where its face is; use the built-in one."
        )
    choice = np.random.default_rng(seed).integers(0, 3, 4) if seed else np.zeros(4, int)
    look = Look(
        skin=_SKINS[choice[0]],
        hair=_HAIRS[choice[1]],
        shirt=_SHIRTS[choice[2]],
        trousers=_TROUSERS[choice[3]],
        joints=dict(zip(SMPL24, shaped_joints(body, betas), strict=True)),
        face={name: rest[vertex] for name, vertex in landmarks.items()},
    )
    faces = body.faces.numpy()
    # toes disappear in shoes, ears do not disappear under hair
    feet = rest[:, 1] < look.joints["left_ankle"][1] - 0.01
    smooth = _smoothed(rest, faces, feet, rounds=25)
    out = vertex_normals(smooth, faces) * _thickness(rest, look)[:, None]
    offset = torch.from_numpy(smooth + out - rest).to(body.v_template)
    dressed = dataclasses.replace(body, v_template=body.v_template + offset)
    return DressedBody(body=dressed, rest_points=rest, look=look)


def _smoothed(points: Points, faces: np.ndarray, chosen: Mask, *, rounds: int) -> Points:
    """The chosen vertices drawn to the mean of their neighbours, again and again."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    degree = np.bincount(edges[:, 0], minlength=len(points))
    for _ in range(rounds):
        mean = [
            np.bincount(edges[:, 0], points[edges[:, 1], axis], len(points)) / degree
            for axis in range(3)
        ]
        points = np.where(chosen[:, None], np.stack(mean, axis=-1), points)
    return np.asarray(points)


def _thickness(rest: Points, look: Look) -> Float[np.ndarray, " point"]:
    """How far cloth, hair and shoes stand off the skin, metres."""
    folds = 1 + 0.5 * value_noise(rest * [14.0, 9.0, 14.0], seed=5)
    waist = np.clip((look.joints["spine2"][1] - rest[:, 1]) / 0.25, 0, 1)
    thickness = np.zeros(len(rest))
    thickness = np.where(_is_trousers(rest, look), 0.014 * folds, thickness)
    thickness = np.where(_is_shirt(rest, look), (0.010 + 0.015 * waist) * folds, thickness)
    thickness = np.where(_is_hair(rest, look), 0.016 + 0.004 * folds, thickness)
    return np.asarray(np.where(_is_shoe(rest, look), SOLE_M, thickness))


def _is_hair(p: Points, look: Look) -> Mask:
    eye, ear = look.face["left_eye"], look.face["left_ear"]
    ahead, above = p[:, 2] - eye[2], p[:, 1] - eye[1]
    hairline = np.interp(
        ahead, [-0.18, -0.11, -0.085, -0.045, -0.02, 0.0], [-0.065, -0.05, 0.01, 0.02, 0.055, 0.06]
    )
    is_ear = (np.abs(p[:, 0]) > ear[0] - 0.004) & (np.abs(p[:, 1] - ear[1]) < 0.035)
    return np.asarray((above > hairline) & ~(is_ear & (p[:, 2] > ear[2] - 0.03)))


def _is_shirt(p: Points, look: Look) -> Mask:
    hem = look.joints["left_hip"][1] + 0.035
    sleeve = look.joints["left_elbow"][0] - 0.07
    neck = look.joints["neck"]
    across = np.hypot(p[:, 0], p[:, 2] - neck[2] - 0.01)
    collar = neck[1] - 0.025 - 0.25 * np.clip(p[:, 2] - neck[2], 0, 0.15)
    is_neck = (p[:, 1] > collar) & (across < 0.11)
    return np.asarray(
        (p[:, 1] > hem) & (np.abs(p[:, 0]) < sleeve) & ~is_neck & (p[:, 1] < neck[1] + 0.01)
    )


def _is_trousers(p: Points, look: Look) -> Mask:
    hem = look.joints["left_ankle"][1] + 0.035
    return np.asarray((p[:, 1] > hem) & (p[:, 1] < look.joints["spine1"][1] - 0.05))


def _is_shoe(p: Points, look: Look) -> Mask:
    return np.asarray(p[:, 1] < look.joints["left_ankle"][1])


def paint(p: Points, look: Look) -> Float[np.ndarray, "point 3"]:
    """Albedo (0 to 1) of points of the body given in rest-pose coordinates."""
    colour = _skin(p, look)
    for chosen, painter in (
        (_is_trousers(p, look), _trousers),
        (_is_shirt(p, look), _shirt),
        (p[:, 1] < look.joints["left_ankle"][1] + 0.03, _shoe),
        (_is_hair(p, look), _hair),
    ):
        colour[chosen] = painter(p[chosen], look)
    return np.asarray(np.clip(colour, 0, 1))


def _skin(p: Points, look: Look) -> Float[np.ndarray, "point 3"]:
    shade = 1 + 0.05 * fractal_noise(p * 40.0, seed=11)
    colour = np.array(look.skin) * shade[:, None]
    head = np.flatnonzero(p[:, 1] > look.face["mouth_left"][1] - 0.06)
    front = head[p[head, 2] > look.face["left_ear"][2] + 0.02]
    colour[front] = _face(p[front], colour[front], look)
    return colour


def _face(
    p: Points, colour: Float[np.ndarray, "point 3"], look: Look
) -> Float[np.ndarray, "point 3"]:
    """Eyes, brows, nostrils and mouth over the skin."""
    eye, mouth, nose = look.face["left_eye"], look.face["mouth_left"], look.face["nose"]
    x, y = np.abs(p[:, 0]), p[:, 1]

    def ellipse(cx: float, cy: float, width: float, height: float) -> Float[np.ndarray, " point"]:
        return np.asarray(np.hypot((x - cx) / width, (y - cy) / height))

    def put(chosen: Mask, paint_colour: Colour | np.ndarray, strength: float = 1.0) -> None:
        colour[chosen] += strength * (np.array(paint_colour) - colour[chosen])

    skin, hair = np.array(look.skin), np.array(look.hair)
    put(ellipse(0.042, nose[1] - 0.005, 0.022, 0.020) < 1, skin * [1.04, 0.86, 0.84], 0.5)
    arch = eye[1] + 0.021 - 8.0 * (x - eye[0] - 0.004) ** 2
    put((np.abs(y - arch) < 0.004) & (np.abs(x - eye[0] - 0.001) < 0.018), hair, 0.85)
    slit = ellipse(eye[0], eye[1] + 0.0005, 0.0145, 0.0062)
    put((slit < 1.45) & (y > eye[1] - 0.003), skin * 0.42)
    put((slit < 1.2) & (y <= eye[1] - 0.003), skin * 0.7)
    put(slit < 1, (0.93, 0.92, 0.90))
    put((slit < 1) & (ellipse(eye[0], eye[1] + 0.001, 0.0060, 0.0060) < 1), (0.25, 0.17, 0.11))
    put((slit < 1) & (ellipse(eye[0], eye[1] + 0.001, 0.0030, 0.0030) < 1), (0.03, 0.03, 0.03))
    put(ellipse(0.0065, nose[1] - 0.0105, 0.0042, 0.0024) < 1, skin * 0.40)
    put(ellipse(0.0, mouth[1], mouth[0] + 0.004, 0.0095) < 1, skin * [0.86, 0.56, 0.54])
    put((np.abs(y - mouth[1]) < 0.0013) & (x < mouth[0] + 0.002), skin * 0.35)
    return colour


def _hair(p: Points, look: Look) -> Float[np.ndarray, "point 3"]:
    strands = 1 + 0.45 * fractal_noise(p * [160.0, 25.0, 45.0], seed=21)
    return np.asarray(np.array(look.hair) * strands[:, None])


def _shirt(p: Points, look: Look) -> Float[np.ndarray, "point 3"]:
    cloth, stripes = (np.array(colour) for colour in look.shirt)
    # rings around the trunk and, in the rest pose with level arms, around the sleeves
    sleeve = np.abs(p[:, 0]) > look.joints["left_shoulder"][0] + 0.01
    along = np.where(sleeve, np.abs(p[:, 0]), p[:, 1])
    striped = (np.mod(along, 0.085) < 0.024) & (p[:, 1] < look.joints["left_shoulder"][1] + 0.02)
    colour = np.where(striped[:, None], stripes, cloth)
    print_at = look.joints["spine3"] + [0.0, 0.02, 0.0]
    badge = np.hypot(p[:, 0] - print_at[0], p[:, 1] - print_at[1])
    front = p[:, 2] > print_at[2]
    colour[front & (badge < 0.065)] = stripes * 0.95
    colour[front & (badge < 0.045)] = cloth * 0.55
    folds = (
        1
        + 0.14 * fractal_noise(p * [16.0, 9.0, 16.0], seed=31)
        + 0.05 * value_noise(p * 90.0, seed=35)
    )
    return np.asarray(colour * folds[:, None])


def _trousers(p: Points, look: Look) -> Float[np.ndarray, "point 3"]:
    folds = (
        1
        + 0.20 * fractal_noise(p * [14.0, 10.0, 14.0], seed=41)
        + 0.10 * value_noise(p * 120.0, seed=45)
    )
    knee = look.joints["left_knee"]
    worn = np.exp(-(((p[:, 1] - knee[1] - 0.2) / 0.2) ** 2)) * (p[:, 2] > knee[2])
    seam = (np.abs(p[:, 2] - knee[2] + 0.01) < 0.004) & (np.abs(p[:, 0]) > knee[0])
    shade = folds * (1 + 0.25 * worn) * np.where(seam, 0.65, 1.0)
    return np.asarray(np.array(look.trousers) * shade[:, None])


def _shoe(p: Points, look: Look) -> Float[np.ndarray, "point 3"]:
    ankle, toe = look.joints["left_ankle"], look.face["left_big_toe"]
    sole = p[:, 1] < toe[1] - 0.002
    laces = (
        (np.mod(p[:, 2], 0.018) < 0.007)
        & (np.abs(np.abs(p[:, 0]) - 0.122) < 0.02)
        & (p[:, 2] > 0.0)
        & (p[:, 2] < 0.10)
    )
    sock = p[:, 1] > ankle[1] - 0.003
    colour = np.where(sole[:, None], [0.90, 0.89, 0.86], [0.17, 0.17, 0.20])
    colour = np.where((laces & ~sole)[:, None], [0.82, 0.82, 0.80], colour)
    colour = np.where(sock[:, None], [0.80, 0.80, 0.78], colour)
    return np.asarray(colour * (1 + 0.08 * value_noise(p * 60.0, seed=51))[:, None])
