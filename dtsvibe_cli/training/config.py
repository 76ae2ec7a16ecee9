"""What a training run is: one frozen value, read from a TOML file, kept in every checkpoint."""

import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from dacite import Config, DaciteError, from_dict

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.models.config import LITE, ModelConfig
from dtsvibe_cli.training.losses import LossWeights


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides the outcome of a run."""

    model: ModelConfig = LITE
    loss: LossWeights = field(
        default_factory=lambda: LossWeights(
            joints_3d=300.0,
            joints_2d=100.0,
            smpl=60.0,
            orientation=60.0,
            velocity=200.0,
            form="distance",
        )
    )
    steps: int = 5000
    batch_size: int = 64
    """Windows in a batch."""
    learning_rate: float = 5e-4
    warmup_steps: int = 300
    cooldown: float = 0.35
    """Fraction of the steps, at the end, in which the learning rate falls to zero."""
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    ema_decay: float = 0.998
    """Of the running average of the weights, which is what is validated and shipped."""
    precision: Literal["bf16", "fp32"] = "bf16"
    seed: int = 0
    validate_every: int = 500
    """Steps between validations, each of which also writes a checkpoint."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "validate_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for checkpoints and weights files."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainConfig":
        """Build from plain values; an unknown or mistyped key is a ConfigError that names it."""
        try:
            return from_dict(cls, values, Config(strict=True, cast=[float]))
        except DaciteError as error:
            raise ConfigError(f"The training configuration does not fit: {error}.") from error

    @classmethod
    def from_toml(cls, path: Path) -> "TrainConfig":
        """Read a configuration file; what it leaves out keeps its default."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not valid TOML: {error}.") from error
        return cls.from_dict(values)
