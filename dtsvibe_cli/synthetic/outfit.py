"""What somebody wears, drawn at random: cuts, colours and patterns, as plain numbers.

Heights are metres in the mean body's rest pose (soles at -1.18, hips at -0.31, neck at 0.26, crown
at 0.51), lengths along the level arms are distances from the middle (shoulder 0.18, elbow 0.44,
wrist 0.68).
"""

import colorsys
from dataclasses import dataclass
from typing import Final

import numpy as np

Colour = tuple[float, float, float]
"""Red, green and blue, 0 to 1, as a screen shows them."""

PATTERNS: Final = ("plain", "rings", "stripes", "checks", "dots", "blotches", "print", "halves")

_SKINS: Final[tuple[Colour, ...]] = (
    (0.96, 0.80, 0.69), (0.91, 0.72, 0.59), (0.85, 0.64, 0.50), (0.76, 0.56, 0.42),
    (0.65, 0.46, 0.33), (0.52, 0.36, 0.25), (0.40, 0.27, 0.19), (0.29, 0.20, 0.15),
)  # fmt: skip
_HAIRS: Final[tuple[Colour, ...]] = (
    (0.08, 0.07, 0.07), (0.14, 0.10, 0.08), (0.27, 0.18, 0.11), (0.42, 0.29, 0.17),
    (0.72, 0.56, 0.34), (0.55, 0.24, 0.11), (0.62, 0.60, 0.58), (0.86, 0.85, 0.83),
)  # fmt: skip
_NEUTRALS: Final[tuple[Colour, ...]] = (
    (0.08, 0.08, 0.09), (0.15, 0.16, 0.19), (0.30, 0.30, 0.31), (0.52, 0.52, 0.52),
    (0.80, 0.80, 0.78), (0.94, 0.94, 0.93), (0.16, 0.20, 0.31), (0.24, 0.32, 0.46),
    (0.45, 0.55, 0.70), (0.58, 0.50, 0.38), (0.37, 0.31, 0.22), (0.30, 0.34, 0.24),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Cloth:
    """One garment's colours."""

    pattern: str
    """One of :data:`PATTERNS`."""
    colours: tuple[Colour, Colour]
    period_m: float
    """Distance from one stripe, dot or check to the next."""
    creases: float
    """How strongly folds shade it."""


@dataclass(frozen=True, kw_only=True)
class Outfit:
    """Everything about somebody's looks but the shape."""

    skin: Colour
    hair: Colour
    top: Cloth
    bottom: Cloth
    shoes: Colour
    sole: Colour
    socks: Colour
    hat: Colour
    sleeve_m: float
    """Where the sleeves end, from the middle; less than 0.16 leaves the shoulders bare."""
    top_hem_m: float
    neckline: str
    """``crew``, ``vee``, ``scoop``, ``high`` or ``open`` (a jacket over a shirt)."""
    bottom_hem_m: float
    """Where trousers end."""
    skirt_hem_m: float | None
    """Where the skirt ends; None without one."""
    shoe_top_m: float | None
    """How high the shoes reach; None for bare feet."""
    sock_top_m: float
    hair_style: str
    """``bald``, ``cropped``, ``short``, ``bob``, ``long``, ``bun``, ``cap`` or ``scarf``."""
    beard: float
    """How dense, 0 to 1."""
    glasses: bool
    gloves: bool
    top_thickness_m: float
    bottom_thickness_m: float
    flare: float
    """How far hems stand off, as a multiple of the cloth's thickness."""
    side_stripe: bool
    belt: bool
    bag: bool
    """A rucksack."""


def random_outfit(rng: np.random.Generator) -> Outfit:
    """Somebody's clothes."""
    warm = rng.random() < 0.35
    skirt = rng.random() < 0.16
    shorts = rng.random() < 0.28
    dress = skirt and rng.random() < 0.5
    bottom = _cloth(rng, 0.78)
    top = bottom if dress else _cloth(rng, 0.45)
    sleeves = (0.645, 0.60, 0.50) if warm else (0.645, 0.42, 0.34, 0.31, 0.29, 0.19, 0.12)
    hem = rng.uniform(-1.12, -1.05)
    if shorts or skirt:
        hem = rng.choice([-0.40, -0.48, -0.58, -0.66, -0.72]) if shorts else -0.40
    elif rng.random() < 0.12:
        hem = rng.uniform(-0.98, -0.85)
    shoe_tops: tuple[float | None, ...] = (-1.10, -1.10, -1.10, -1.10, -1.06, -0.95, -0.80, None)
    styles = ("bald", "cropped", "short", "short", "short", "bob", "long", "bun", "cap", "scarf")
    return Outfit(
        skin=_near(rng, _SKINS[rng.integers(len(_SKINS))], 0.03),
        hair=_near(rng, _HAIRS[rng.integers(len(_HAIRS))], 0.03),
        top=top,
        bottom=bottom,
        shoes=_colour(rng, 0.7),
        sole=_near(rng, (0.9, 0.9, 0.88) if rng.random() < 0.6 else (0.15, 0.14, 0.13), 0.05),
        socks=_colour(rng, 0.9),
        hat=_colour(rng, 0.5),
        sleeve_m=float(rng.choice(sleeves)) + rng.uniform(-0.015, 0.015),
        top_hem_m=float(rng.choice([-0.06, -0.20, -0.30, -0.34, -0.36, -0.46]))
        + rng.uniform(-0.02, 0.02),
        neckline=str(rng.choice(["high", "open", "crew"] if warm else ["crew", "vee", "scoop"])),
        bottom_hem_m=float(hem),
        skirt_hem_m=float(rng.choice([-0.55, -0.65, -0.75, -0.95])) if skirt else None,
        shoe_top_m=shoe_tops[rng.integers(len(shoe_tops))],
        sock_top_m=float(rng.choice([-1.09, -1.06, -1.02, -0.85])),
        hair_style=styles[rng.integers(len(styles))],
        beard=max(0.0, rng.uniform(-1.5, 0.9)),
        glasses=rng.random() < 0.12,
        gloves=warm and rng.random() < 0.15,
        top_thickness_m=rng.uniform(0.014, 0.034) if warm else rng.uniform(0.004, 0.018),
        bottom_thickness_m=rng.choice([0.003, rng.uniform(0.006, 0.018), rng.uniform(0.015, 0.03)]),
        flare=rng.uniform(0, 1.2),
        side_stripe=rng.random() < 0.15,
        belt=rng.random() < 0.3,
        bag=rng.random() < 0.08,
    )


def _cloth(rng: np.random.Generator, plain: float) -> Cloth:
    pattern = "plain" if rng.random() < plain else str(rng.choice(PATTERNS[1:]))
    return Cloth(
        pattern=pattern,
        colours=(_colour(rng, 0.55), _colour(rng, 0.5)),
        period_m=float(np.exp(rng.uniform(np.log(0.02), np.log(0.16)))),
        creases=rng.uniform(0.4, 1.6),
    )


def _colour(rng: np.random.Generator, neutral: float) -> Colour:
    """A colour that cloth has: mostly greys, blues and browns, now and then a loud one."""
    if rng.random() < neutral:
        return _near(rng, _NEUTRALS[rng.integers(len(_NEUTRALS))], 0.05)
    loud = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.25, 0.95), rng.uniform(0.25, 0.95))
    return (float(loud[0]), float(loud[1]), float(loud[2]))


def _near(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    values = np.clip(np.array(colour) * (1 + rng.normal(0, spread, 3)) + rng.normal(0, 0.01), 0, 1)
    return (float(values[0]), float(values[1]), float(values[2]))
