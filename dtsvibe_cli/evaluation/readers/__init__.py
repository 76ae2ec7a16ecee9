"""Data sets whose truth can be measured against, each one module behind ``GroundTruth``."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final, cast

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.evaluation.ground_truth import GroundTruth, TruthBodies

FORMATS: Final = {
    "ours": ("own_format", "OwnFormat"),
    "3dpw": ("threedpw", "ThreeDpw"),
    "h36m": ("human36m", "Human36m"),
    "3dhp": ("mpi_inf_3dhp", "MpiInf3dhp"),
    "synthetic": ("synthetic", "Synthetic"),
}
"""Module and class of each format."""


def open_truth(
    folder: Path, format: str, bodies: TruthBodies, split: str | None = None
) -> GroundTruth:
    """A data set by the name of its format.

    Args:
        folder: Where it is.
        format: One of :data:`FORMATS`.
        bodies: What its parameters may refer to.
        split: Which part of it; None for the one that the paper measures.

    Raises:
        ConfigError: There is no such format or split.
        DataError: The folder is missing or is not laid out as that set.
    """
    if format not in FORMATS:
        raise ConfigError(f"There is no format {format!r}: choose from {', '.join(FORMATS)}.")
    module, name = FORMATS[format]
    make = getattr(import_module(f"{__name__}.{module}"), name)
    return cast(Callable[..., GroundTruth], make)(folder, bodies, split)


def choose_split(split: str | None, known: tuple[str, ...], format: str) -> str:
    """The split, which is the first known one when none is named.

    Raises:
        ConfigError: It is not one of the known.
    """
    if split is not None and split not in known:
        choices = ", ".join(known) or "none"
        raise ConfigError(f"Format {format} has no split {split!r}: it has {choices}.")
    return split if split is not None else known[0] if known else ""
