"""Random adults: MakeHuman's sliders drawn so that stature, build and limbs are like people's.

The spreads follow published anthropometry (ANSUR-like): stature 1.755 m +- 7 cm for men and 1.628 m
+- 6.5 cm for women, right-skewed weight, relative leg length +- 1.3 % and arm length +- 3 %.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from jaxtyping import Float

from dtsvibe_cli.builders.body.assets import BodyAssets

_RACES: Final = ("african", "asian", "caucasian")
_SLIDERS: Final[dict[str, dict[str, float]]] = {
    "gender": {"male": 0, "female": 1},
    "age": {"newborn": -1 / 3, "baby": 0, "child": 1 / 3, "young": 2 / 3, "old": 1},
    "muscle": {"minmuscle": 0, "averagemuscle": 0.5, "maxmuscle": 1},
    "weight": {"minweight": 0, "averageweight": 0.5, "maxweight": 1},
    "height": {"minheight": 0, "maxheight": 1},
    "proportions": {"idealproportions": 0, "uncommonproportions": 1},
    "cupsize": {"mincup": 0, "averagecup": 0.5, "maxcup": 1},
    "firmness": {"minfirmness": 0, "averagefirmness": 0.5, "maxfirmness": 1},
}
"""Where on each slider MakeHuman's extreme shapes sit."""


@dataclass(frozen=True, kw_only=True)
class Phenotype:
    """Positions of MakeHuman's sliders, 0 to 1; the defaults are its neutral adult."""

    gender: float = 0.5
    age: float = 2 / 3
    muscle: float = 0.5
    weight: float = 0.5
    height: float = 0.5
    proportions: float = 0.5
    cupsize: float = 0.5
    firmness: float = 0.5
    race: tuple[float, ...] = (1 / 3, 1 / 3, 1 / 3)
    """Shares of the three face and body types; they sum to one."""
    details: Mapping[str, float] = field(default_factory=dict)
    """Strength of local shape targets."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """A drawn adult."""

    phenotype: Phenotype
    stature_m: float
    """Wanted height; the height slider is solved for it."""
    adiposity: float
    """Roughly normal, 0 for lean."""


def sample_person(rng: np.random.Generator) -> Person:
    """Draw one adult. The order of the draws is part of the recipe: keep it."""
    male = bool(rng.random() < 0.5)
    androgyny = min(abs(rng.normal(0, 0.12)), 0.5)
    stature = rng.normal(1.755, 0.070) if male else rng.normal(1.628, 0.065)
    adiposity = rng.normal(0.65, 1)
    adiposity = adiposity if adiposity < 0 else adiposity * 1.3
    muscle = rng.normal(0.2 if male else -0.1, 1)
    age = 2 / 3 + rng.beta(1.1, 2.6) / 3
    first_guess = (0.356 if male else 0.370) + (stature - (1.756 if male else 1.629)) / 1.085
    details = _skeleton_details(rng, male, adiposity) | _soft_details(rng, adiposity)
    phenotype = Phenotype(
        gender=androgyny if male else 1 - androgyny,
        age=age,
        muscle=float(np.clip(0.5 + 0.2 * muscle, 0, 1)),
        weight=float(np.clip(0.5 + 0.24 * adiposity, 0, 1)),
        height=float(first_guess),
        proportions=float(rng.beta(2.2, 2.2)),
        cupsize=float(np.clip(rng.normal(0.45, 0.2), 0, 1)),
        firmness=float(rng.random()),
        race=tuple(rng.dirichlet([1, 1, 1])),
        details=details,
    )
    return Person(phenotype=phenotype, stature_m=float(stature), adiposity=float(adiposity))


def _skeleton_details(rng: np.random.Generator, male: bool, adiposity: float) -> dict[str, float]:
    """Lengths and widths of bones beyond the macro sliders."""
    leg, arm, torso, shoulder, hip, head = rng.normal(0, 1, 6)
    return _both_sides(
        {
            "legs/upperlegs-height": 0.125 * leg + 0.03 * rng.normal(),
            "legs/lowerlegs-height": 0.13 * leg + 0.05 * rng.normal(),
            "torso/torso-scale-vert": -0.16 * leg + 0.06 * torso,
            "arms/measure-upperarm-length": 0.22 * arm
            + 0.05 * rng.normal()
            + (0 if male else 0.12),
            "arms/measure-lowerarm-length": 0.22 * arm
            + 0.05 * rng.normal()
            + (0 if male else 0.08),
            "hands/*-hand-scale": 0.12 * arm + 0.1 * rng.normal(),
            "feet/*-foot-scale": 0.10 * leg + 0.1 * rng.normal(),
            "torso/measure-shoulder-dist": 0.35 * shoulder,
            "hip/hip-scale-horiz": 0.28 * hip + 0.10 * max(adiposity, -1),
            "neck/neck-scale-vert": 0.2 * rng.normal(),
            "head/head-scale-vert": 0.25 * head,
            "head/head-scale-horiz": 0.25 * head + 0.15 * rng.normal(),
            "head/head-scale-depth": 0.2 * head,
        }
    )


def _soft_details(rng: np.random.Generator, adiposity: float) -> dict[str, float]:
    """Fat beyond the macro slider."""
    return _both_sides(
        {
            "torso/torso-scale-depth": 0.18 * adiposity,
            "stomach/stomach-tone": -0.30 * adiposity + 0.15 * rng.normal(),
            "legs/*-upperleg-fat": 0.30 * adiposity,
            "legs/*-lowerleg-fat": 0.22 * adiposity,
            "arms/*-upperarm-fat": 0.30 * adiposity,
            "arms/*-lowerarm-fat": 0.22 * adiposity,
            "buttocks/buttocks-volume": 0.25 * adiposity + 0.2 * rng.normal(),
            "head/head-fat": 0.22 * adiposity,
            "neck/neck-scale-horiz": 0.12 * adiposity,
        }
    )


def _both_sides(changes: Mapping[str, float]) -> dict[str, float]:
    """Signed changes as strengths of MakeHuman's one-way targets; ``*`` means left and right."""
    strengths = {}
    for name, change in changes.items():
        target = name + ("-incr" if change >= 0 else "-decr")
        for side in "lr" if "*" in name else "_":
            strengths[target.replace("*", side)] = abs(float(change))
    return strengths


def make_shape(
    assets: BodyAssets, person: Person
) -> tuple[Phenotype, Float[np.ndarray, "vertex 3"]]:
    """The person's A-posed mesh in metres, with the height slider solved for the wanted stature."""
    phenotype = person.phenotype
    vertices = morph(assets, phenotype)
    for _ in range(2):
        error = person.stature_m - np.ptp(vertices[assets.body_vertices, 1])
        if abs(error) < 0.004:
            break
        height = float(np.clip(phenotype.height + error / 1.08, 0.02, 0.98))
        phenotype = dataclasses.replace(phenotype, height=height)
        vertices = morph(assets, phenotype)
    return phenotype, vertices


def morph(assets: BodyAssets, phenotype: Phenotype) -> Float[np.ndarray, "vertex 3"]:
    """The base mesh moved to a phenotype, A-pose, metres."""
    vertices = assets.vertices.copy()
    for path, strength in _macro_targets(phenotype):
        _add(assets, vertices, path, strength)
    for path, strength in phenotype.details.items():
        if assets.target(path) is None:
            raise KeyError(path)
        _add(assets, vertices, path, strength)
    return vertices


def _add(
    assets: BodyAssets, vertices: Float[np.ndarray, "vertex 3"], path: str, strength: float
) -> None:
    target = assets.target(path)
    if target is not None and strength:
        vertices[target.vertices] += strength * target.offsets


def _macro_targets(phenotype: Phenotype) -> list[tuple[str, float]]:
    """Macro targets, which are the corners of a grid of sliders: those around the phenotype."""
    corners = {name: _corners(name, getattr(phenotype, name)) for name in _SLIDERS}
    targets: list[tuple[str, float]] = []
    for (gender, g), (age, a) in itertools.product(
        corners["gender"].items(), corners["age"].items()
    ):
        targets += [
            (f"macrodetails/{race}-{gender}-{age}", share * g * a)
            for race, share in zip(_RACES, phenotype.race, strict=True)
        ]
        for (muscle, m), (weight, w) in itertools.product(
            corners["muscle"].items(), corners["weight"].items()
        ):
            build = f"{gender}-{age}-{muscle}-{weight}"
            strength = g * a * m * w
            targets.append((f"macrodetails/universal-{build}", strength))
            for kind in ("height", "proportions"):
                targets += [
                    (f"macrodetails/{kind}/{build}-{name}", strength * share)
                    for name, share in corners[kind].items()
                ]
            if gender == "female":
                targets += [
                    (f"breast/{build}-{cup}-{firmness}", strength * c * f)
                    for cup, c in corners["cupsize"].items()
                    for firmness, f in corners["firmness"].items()
                ]
    return targets


def _corners(slider: str, value: float) -> dict[str, float]:
    """The two named positions around a slider's value, and their shares."""
    names, positions = list(_SLIDERS[slider]), list(_SLIDERS[slider].values())
    value = min(max(value, positions[0]), positions[-1])
    upper = min(max(int(np.searchsorted(positions, value)), 1), len(positions) - 1)
    t = (value - positions[upper - 1]) / (positions[upper] - positions[upper - 1])
    shares = {names[upper - 1]: 1 - t, names[upper]: t}
    return {name: share for name, share in shares.items() if share > 0}
