"""Paints an outfit on the body's texture: skin, face, hair, cloth with patterns and folds."""

import numpy as np
from jaxtyping import Bool, Float

from dtsvibe_cli.synthetic.atlas import Atlas
from dtsvibe_cli.synthetic.outfit import Cloth, Colour, Outfit

Points = Float[np.ndarray, "point 3"]
Mask = Bool[np.ndarray, " point"]

_NECK = np.array([0.0, 0.256, -0.017])
_CREASE_BAND = 0.012


def is_hair(p: Points, style: str) -> Mask:
    """The part of the head under hair, or under a cap or scarf."""
    if style == "bald":
        return np.zeros(len(p), bool)
    ahead, above = p[:, 2] - 0.109, p[:, 1] - 0.396
    low = {"cropped": 0.012, "bob": -0.02, "long": -0.02, "scarf": -0.03}.get(style, 0.0)
    if style == "cap":
        return np.asarray(above > 0.032)
    hairline = np.interp(
        ahead,
        [-0.18, -0.11, -0.085, -0.045, -0.02, 0.0],
        [-0.065 + low, -0.05 + low, 0.01 + 2 * low, 0.02 + low, 0.055, 0.06],
    )
    is_ear = (np.abs(p[:, 0]) > 0.069) & (np.abs(p[:, 1] - 0.382) < 0.035)
    bare_ear = is_ear & (p[:, 2] > -0.007) & (style in ("cropped", "short", "bun"))
    return np.asarray((above > hairline) & ~bare_ear)


def is_top(p: Points, outfit: Outfit) -> Mask:
    """The part of the body under the shirt or jacket."""
    sleeve = outfit.sleeve_m
    across = np.hypot(p[:, 0], p[:, 2] - _NECK[2] - 0.01)
    deep = {"high": -0.04, "crew": 0.025, "open": 0.03, "vee": 0.03, "scoop": 0.06}[outfit.neckline]
    front = np.clip(p[:, 2] - _NECK[2], 0, 0.15)
    slope = {"vee": 1.3, "scoop": 0.7}.get(outfit.neckline, 0.25)
    collar = _NECK[1] - deep - slope * front + (0.9 * np.abs(p[:, 0]) if slope > 1 else 0)
    wide = {"scoop": 0.14}.get(outfit.neckline, 0.11)
    is_neck = (p[:, 1] > collar) & (across < wide)
    body = (p[:, 1] > outfit.top_hem_m) & (np.abs(p[:, 0]) < sleeve) & ~is_neck
    return np.asarray(body & (p[:, 1] < _NECK[1] + (0.05 if outfit.neckline == "high" else 0.01)))


def is_bottom(p: Points, outfit: Outfit) -> Mask:
    """The part of the body under trousers, shorts or pants."""
    return np.asarray(
        (p[:, 1] > outfit.bottom_hem_m) & (p[:, 1] < -0.10) & (np.abs(p[:, 0]) < 0.26)
    )


def is_shoe(p: Points, outfit: Outfit) -> Mask:
    """The feet, when there are shoes on them."""
    if outfit.shoe_top_m is None:
        return np.zeros(len(p), bool)
    return np.asarray(p[:, 1] < outfit.shoe_top_m)


def paint_body(
    atlas: Atlas, outfit: Outfit, rng: np.random.Generator
) -> Float[np.ndarray, "texel 3"]:
    """Albedo of each covered texel, 0 to 1, linear light."""
    p = atlas.points
    shade = 1 + 0.05 * atlas.noises[2] + 0.02 * atlas.noises[4]
    colour = np.array(outfit.skin) * shade[:, None]
    _paint_face(p, colour, outfit, atlas.noises[5])
    if outfit.sock_top_m > -1.1 and outfit.shoe_top_m is not None:
        _put(colour, p[:, 1] < outfit.sock_top_m, outfit.socks)
    chosen = is_bottom(p, outfit)
    if outfit.skirt_hem_m is None:
        colour[chosen] = paint_cloth(p[chosen], outfit.bottom, atlas.noises[:, chosen], rng)
        if outfit.side_stripe:
            stripe = chosen & (np.abs(p[:, 2] - 0.01) < 0.018) & (np.abs(p[:, 0]) > 0.11)
            _put(colour, stripe, outfit.bottom.colours[1])
    else:
        _put(colour, chosen, outfit.socks)
    chosen = is_top(p, outfit)
    colour[chosen] = paint_cloth(p[chosen], outfit.top, atlas.noises[:, chosen], rng)
    if outfit.neckline == "open":
        inner = chosen & (np.abs(p[:, 0]) < 0.03 + 0.1 * (p[:, 1] + 0.3)) & (p[:, 2] > 0)
        _put(colour, inner, outfit.top.colours[1])
    if outfit.belt and outfit.skirt_hem_m is None and outfit.top_hem_m > -0.15:
        _put(colour, np.abs(p[:, 1] + 0.13) < 0.018, (0.12, 0.08, 0.06))
    if outfit.gloves:
        _put(colour, np.abs(p[:, 0]) > 0.67, outfit.hat)
    chosen = is_shoe(p, outfit)
    shoe = np.array(outfit.shoes) * (1 + 0.08 * atlas.noises[3, chosen, None])
    laces = (np.mod(p[chosen, 2], 0.02) < 0.007) & (p[chosen, 2] > 0) & (p[chosen, 2] < 0.1)
    shoe[laces & (np.abs(np.abs(p[chosen, 0]) - 0.122) < 0.02)] = outfit.sole
    shoe[p[chosen, 1] < -1.172] = outfit.sole
    colour[chosen] = shoe
    return np.asarray(np.clip(colour, 0, 1) ** 2.2)


def _put(colour: Float[np.ndarray, "point 3"], chosen: Mask, paint: Colour) -> None:
    colour[chosen] = paint


def paint_cloth(
    p: Points,
    cloth: Cloth,
    noises: Float[np.ndarray, "noise point"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "point 3"]:
    """Colours of points of a garment as a screen shows them, pattern and folds included."""
    first, second = (np.array(colour) for colour in cloth.colours)
    share = _pattern(p, cloth, noises, rng)[:, None]
    folds = 0.13 * noises[1] + 0.06 * noises[2]
    # a crease is a thin dark line where coarse noise changes its sign
    folds -= 0.25 * np.exp(-((noises[1] / _CREASE_BAND / 4) ** 2))
    shade = 1 + cloth.creases * folds + 0.04 * noises[4]
    return np.asarray((first + share * (second - first)) * shade[:, None])


def _pattern(
    p: Points, cloth: Cloth, noises: Float[np.ndarray, "noise point"], rng: np.random.Generator
) -> Float[np.ndarray, " point"]:
    """How much of the second colour each point has."""
    period = cloth.period_m
    # rings round the trunk and legs and, as the arms are level, round the sleeves
    along = np.where(np.abs(p[:, 0]) > 0.2, np.abs(p[:, 0]), p[:, 1])
    around = np.arctan2(p[:, 2], p[:, 0]) * 0.13
    lines, columns = np.mod(along / period, 1), np.mod(around / period, 1)
    if cloth.pattern == "rings":
        return np.asarray((lines < 0.4) * 1.0)
    if cloth.pattern == "stripes":
        return np.asarray((columns < 0.3) * 1.0)
    if cloth.pattern == "checks":
        return np.asarray(0.5 * (lines < 0.5) + 0.5 * (columns < 0.5))
    if cloth.pattern == "dots":
        return np.asarray((np.hypot(lines - 0.5, columns - 0.5) < 0.28) * 1.0)
    if cloth.pattern == "blotches":
        field = noises[2 if period < 0.06 else 1]
        return np.asarray((field > 0.1) * 0.7 + (noises[0] > 0.3) * 0.3)
    if cloth.pattern == "print":
        centre = np.array([rng.normal(0, 0.02), 0.05 + rng.normal(0, 0.03)])
        size = rng.uniform(0.05, 0.11)
        inside = (np.abs(p[:, :2] - centre) < [size, size * rng.uniform(0.4, 1.2)]).all(1)
        return np.asarray((inside & (p[:, 2] > 0)) * np.where(noises[3] > 0, 1.0, 0.35))
    if cloth.pattern == "halves":
        return np.asarray((p[:, 1] < rng.choice([0.1, 0.0, -0.6])) * 1.0)
    return np.zeros(len(p))


def _paint_face(
    p: Points,
    colour: Float[np.ndarray, "point 3"],
    outfit: Outfit,
    strands: Float[np.ndarray, " point"],
) -> None:
    """Eyes, brows, nose, mouth, beard, hair and glasses over the skin, in place."""
    head = np.flatnonzero(p[:, 1] > 0.24)
    at, skin, hair = p[head], np.array(outfit.skin), np.array(outfit.hair)
    x, y, face = np.abs(at[:, 0]), at[:, 1], at[:, 2] > 0.05
    part = colour[head]

    def ellipse(cx: float, cy: float, width: float, height: float) -> Float[np.ndarray, " point"]:
        return np.asarray(np.hypot((x - cx) / width, (y - cy) / height))

    def put(chosen: Mask, paint: np.ndarray | Colour, strength: float = 1.0) -> None:
        part[chosen & face] += strength * (np.array(paint) - part[chosen & face])

    put(ellipse(0.042, 0.352, 0.022, 0.020) < 1, skin * [1.04, 0.86, 0.84], 0.5)
    put(ellipse(0.029, 0.395, 0.022, 0.014) < 1, skin * 0.78, 0.6)
    if outfit.beard > 0:
        chin = (y < 0.345 - 0.25 * np.clip(0.06 - x, 0, 1)) & (y > 0.27) & (at[:, 2] > 0.02)
        part[chin] += outfit.beard * (hair - part[chin])
    put((np.abs(y - 0.418 + 8 * (x - 0.033) ** 2) < 0.005) & (np.abs(x - 0.030) < 0.018), hair, 0.9)
    slit = ellipse(0.029, 0.3965, 0.0145, 0.0066)
    put((slit < 1.45) & (y > 0.393), skin * 0.4)
    put(slit < 1, (0.9, 0.89, 0.87))
    put((slit < 1) & (ellipse(0.029, 0.397, 0.0065, 0.0065) < 1), (0.16, 0.11, 0.08))
    put(ellipse(0.0065, 0.3475, 0.005, 0.003) < 1, skin * 0.4)
    put(ellipse(0.0, 0.328, 0.026, 0.0095) < 1, skin * [0.86, 0.54, 0.53])
    put((np.abs(y - 0.328) < 0.0015) & (x < 0.024), skin * 0.35)
    if outfit.glasses:
        rim = np.abs(ellipse(0.031, 0.394, 0.024, 0.018) - 1) < 0.16
        put(rim | ((np.abs(y - 0.398) < 0.003) & (x < 0.009)), (0.08, 0.08, 0.08))
    chosen = is_hair(at, outfit.hair_style)
    worn = np.array(outfit.hat if outfit.hair_style in ("cap", "scarf") else outfit.hair)
    part[chosen] = worn * (1 + 0.4 * strands[head][chosen, None])
    if outfit.hair_style == "cap":
        below = is_hair(at, "cropped") & ~chosen
        part[below] = hair * (1 + 0.4 * strands[head][below, None])
    colour[head] = part
