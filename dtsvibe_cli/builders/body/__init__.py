"""Builder of the free body model: MakeHuman's CC0 assets in, a 24-joint SMPL-format file out."""

from dtsvibe_cli.builders.body.recipe import build

__all__ = ["build"]
