"""Training configurations with a name, those in files, and the paper's second stage."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.models import config as models
from dtsvibe_cli.training.config import TrainConfig
from dtsvibe_cli.training.losses import LossWeights

PAPER_LOSS: Final = LossWeights(
    joints_3d=300.0, joints_2d=200.0, smpl=120.0, betas=1 / 24, adversarial=60.0, form="squared"
)
"""Equation 3 with the paper's lambda; equation 6 weighs a joint's rotation and the shape alike."""

REFINEMENT_LEARNING_RATE: Final = 1e-5
FLOW_WEIGHT: Final = 200.0
"""The paper gives none: that of the 2D joints, whose units it shares."""

RECIPES: Final = {
    "lite": TrainConfig(),
    "paper": TrainConfig(
        model=models.PAPER,
        loss=PAPER_LOSS,
        steps=15000,
        batch_size=32,
        learning_rate=5e-5,
        discriminator_learning_rate=5e-4,
        warmup_steps=0,
        cooldown=0.0,
        weight_decay=0.0,  # AdamW without decay is the paper's Adam
    ),
}
"""``lite`` trains what ships; ``paper`` is section 3 of the paper, where the paper says it."""


def read_config(source: str | Path, base: TrainConfig | None = None) -> TrainConfig:
    """A recipe by name, or a TOML file with what should differ from one.

    The file's ``recipe`` names the one it starts from: ``base`` when it is given, else ``lite``.

    Raises:
        ConfigError: There is neither such a recipe nor such a file, or the file is wrong.
    """
    if isinstance(source, str) and source in RECIPES:
        return RECIPES[source]
    path = Path(source)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path} is no recipe ({', '.join(RECIPES)}) and cannot be read: {error.strerror}."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error
    name = values.pop("recipe", None)
    if name is not None and (name not in RECIPES or base is not None):
        raise ConfigError(f"{path}: recipe = '{name}' must be one of {', '.join(RECIPES)}.")
    start = base or RECIPES[name or "lite"]
    return TrainConfig.from_dict(_merged(start.to_dict(), values))


def refinement(first_stage: TrainConfig) -> TrainConfig:
    """The second stage (section 3.2): no discriminator, flow loss instead, a small step size.

    It takes a quarter of the first stage's steps, since the paper gives no number.
    """
    return replace(
        first_stage,
        loss=replace(first_stage.loss, adversarial=0.0, flow=FLOW_WEIGHT),
        steps=max(1, first_stage.steps // 4),
        learning_rate=REFINEMENT_LEARNING_RATE,
        warmup_steps=0,
    )


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested tables merged key by key."""
    merged = dict(values)
    for key, value in changes.items():
        inner = merged.get(key)
        if isinstance(inner, dict) and isinstance(value, dict):
            merged[key] = _merged(inner, value)
        else:
            merged[key] = value
    return merged
