"""Smooth random values in space: the grain of cloth, wood and plaster."""

import numpy as np
from jaxtyping import Float


def value_noise(
    points: Float[np.ndarray, "point axis"], *, seed: int
) -> Float[np.ndarray, " point"]:
    """Value noise, about -1 to 1, with features one unit across; any number of axes."""
    axes = points.shape[1]
    table = np.random.default_rng(seed).uniform(-1, 1, 4096).astype(np.float32)
    cell = np.floor(points).astype(np.int64)
    part = (points - cell).astype(np.float32)
    part = part * part * (3 - 2 * part)
    primes = np.array([73856093, 19349663, 83492791])[:axes]
    total = np.zeros(len(points), np.float32)
    for corner in np.ndindex(*(2,) * axes):
        weight = np.prod(np.where(np.array(corner) == 1, part, 1 - part), axis=1)
        spot = ((cell + np.array(corner)) * primes).sum(axis=1)
        total += weight * table[(spot ^ (spot >> 7)) % len(table)]
    return total


def fractal_noise(
    points: Float[np.ndarray, "point axis"], *, seed: int, octaves: int = 3
) -> Float[np.ndarray, " point"]:
    """Several layers of value noise, each twice as fine and half as strong."""
    total = np.zeros(len(points), np.float32)
    for octave in range(octaves):
        total += 0.5**octave * value_noise(points * 2.0**octave, seed=seed + octave)
    return total
