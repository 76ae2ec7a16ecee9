"""Builders: each makes one weights file again from public sources, byte for byte where possible."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path

from dtsvibe_cli.errors import WeightsError
from dtsvibe_cli.weights import registry, spec

BUILDERS: Mapping[str, str] = {
    "body7k": "dtsvibe_cli.builders.body:build",
    "blazepose_landmark_full": "dtsvibe_cli.builders.networks:build_blazepose",
    "movenet_multipose": "dtsvibe_cli.builders.networks:build_movenet",
}
"""For each name in the registry that has one, the function that builds it: (folder) -> file."""


def build(name: str, folder: Path) -> Path:
    """Build the weights ``name`` in a folder, which is made when needed.

    Raises:
        WeightsError: There is no such builder, or it fails.
    """
    if name not in BUILDERS and name in registry():
        raise WeightsError(
            f"{name} is not rebuilt from a package but trained: {spec(name).builder}."
        )
    if name not in BUILDERS:
        raise WeightsError(f"There is no builder for {name!r}: choose from {', '.join(BUILDERS)}.")
    module, function = BUILDERS[name].split(":")
    builder: Callable[[Path], Path] = getattr(importlib.import_module(module), function)
    folder.mkdir(parents=True, exist_ok=True)
    return builder(folder)
