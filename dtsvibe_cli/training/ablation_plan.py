"""What an ablation trains: the rows, their two stages, and one budget that all of them keep to.

As the paper trains, each row has two stages. The second takes a fifth of the steps at a small
learning rate, with the flow loss where the row has it. Rows of the same network share the first
stage, so that the loss is all that differs between them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.results import atomic_path
from dtsvibe_cli.training.config import TrainConfig
from dtsvibe_cli.training.motion_readers import motion_files
from dtsvibe_cli.training.recipes import read_config, refinement
from dtsvibe_cli.training.sequences import sequence_files

PLAN: Final = "plan.json"

DEFAULT_STEPS: Final = 1000
"""Of a row, both stages together: about an hour for everything, on two cores."""
SECOND_STAGE: Final = 0.2
"""Share of the steps: a quarter of the first stage's, as :func:`~recipes.refinement` has it."""
WARMUP: Final = 0.1
"""Largest share of the first stage in which the learning rate still rises."""

NETWORKS: Final[Mapping[str, Mapping[str, str]]] = {
    "full": {},
    "no_flow": {"o_cnn": "none"},
    "gru": {"encoder": "gru"},
    "hmr": {"regressor": "hmr"},
}
"""What is exchanged in each network."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One trained row; the tables may show it more than once."""

    key: str
    """Its folder, and its name in JSON."""
    network: str
    """One of :data:`NETWORKS`."""
    flow_loss: bool
    """Whether the second stage has it."""


VARIANTS: Final = (
    Variant(key="full", network="full", flow_loss=True),
    Variant(key="flow", network="full", flow_loss=False),
    Variant(key="no_flow", network="no_flow", flow_loss=False),
    Variant(key="gru", network="gru", flow_loss=True),
    Variant(key="hmr", network="hmr", flow_loss=True),
)


def stages(config: TrainConfig, variant: Variant) -> tuple[TrainConfig, TrainConfig]:
    """Both stages of a row; their steps add up to the configuration's."""
    second_steps = max(1, round(SECOND_STAGE * config.steps))
    steps = config.steps - second_steps
    model = config.model.to_dict() | dict(NETWORKS[variant.network])
    model["name"] = f"{config.model.name}-{variant.network}"
    first = replace(
        config,
        model=type(config.model).from_dict(model),
        steps=steps,
        warmup_steps=min(config.warmup_steps, int(WARMUP * steps)),
        validate_every=min(config.validate_every, -(-steps // 4)),
    )
    second = refinement(first)
    loss = second.loss if variant.flow_loss else replace(second.loss, flow=0.0)
    return first, replace(second, loss=loss, steps=second_steps)


def choose_config(
    config: str | Path | None, steps: int | None, width: int | None, base: TrainConfig | None
) -> TrainConfig:
    """The whole network's configuration, with the steps of a row.

    ``base`` is that of the ablation which is resumed: what is not given is taken from there.

    Raises:
        ConfigError: The configuration is impossible, or lacks a part that a row takes away.
    """
    if config is not None:
        chosen = read_config(config)
        if config == "lite":
            chosen = replace(chosen, steps=DEFAULT_STEPS)
    else:
        chosen = base or replace(read_config("lite"), steps=DEFAULT_STEPS)
    chosen = chosen if steps is None else replace(chosen, steps=steps)
    chosen = chosen if width is None else _with_width(chosen, width)
    model = chosen.model
    if model.o_cnn == "none" or (model.encoder, model.regressor) != ("transformer", "transformer"):
        raise ConfigError(
            f"{model.name} is not the whole network: an ablation starts from one with a flow "
            "stream, a transformer encoder and a transformer regressor."
        )
    if model.v_cnn != "blazepose":
        raise ConfigError(
            f"{model.name} looks at pictures, but the rows are measured on held-out motion, where "
            "there are none: give a --config with v_cnn = 'blazepose' under [model]."
        )
    if chosen.steps < 2:
        raise ConfigError("A row has two stages: give --steps 2 or more.")
    return chosen


def _with_width(config: TrainConfig, width: int) -> TrainConfig:
    """Both transformers narrower or wider in proportion."""
    model = config.model
    return replace(
        config,
        model=replace(
            model,
            name=f"{model.name}-{width}" if width != model.d_model else model.name,
            d_model=width,
            encoder_feedforward=max(1, model.encoder_feedforward * width // model.d_model),
            d_regressor=model.d_regressor * width // model.d_model,
        ),
    )


def open_plan(
    out: Path,
    motion: Path,
    data: Sequence[Path],
    *,
    config: str | Path | None,
    steps: int | None,
    width: int | None,
    resume: bool,
) -> tuple[TrainConfig, dict[str, Any]]:
    """The configuration of all rows, and the plan that goes with it, to be kept in ``out``.

    Raises:
        ConfigError: ``out`` holds an ablation and ``resume`` is off, or it has another budget or
            other data than this one.
        DataError: A folder of data is missing.
    """
    saved = _read_plan(out)
    if saved is not None and not resume:
        raise ConfigError(f"{out} holds an ablation: give --resume to go on, or another --out.")
    base = None if saved is None else TrainConfig.from_dict(saved["config"])
    chosen = choose_config(config, steps, width, base)
    plan = {"config": chosen.to_dict(), "data_sha256": _digest(motion, data)}
    if saved is not None and saved["config"] != plan["config"]:
        raise ConfigError(
            f"{out} was started with another configuration or other --steps: all rows must have "
            "the same. Leave them out, or give another --out."
        )
    if saved is not None and saved["data_sha256"] != plan["data_sha256"]:
        raise ConfigError(
            f"{out} was started with other files of motion or data: all rows must have the same. "
            "Give those, or another --out."
        )
    return chosen, plan


def write_plan(out: Path, plan: dict[str, Any]) -> None:
    """Keep a plan for those who resume."""
    with atomic_path(out / PLAN) as part:
        part.write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8")


def _read_plan(out: Path) -> dict[str, Any] | None:
    path = out / PLAN
    if not path.is_file():
        return None
    try:
        plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {name: plan[name] for name in ("config", "data_sha256")}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is damaged: give another --out.") from error


def _digest(motion: Path, data: Sequence[Path]) -> str:
    """Of the names and sizes of all files; the folders may move."""
    found = [(motion, path) for path in motion_files(motion)]
    found += [(folder, path) for folder in data for path in sequence_files(folder)]
    lines = [f"{path.relative_to(folder)} {path.stat().st_size}" for folder, path in found]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
