"""What a training run is: one frozen value, kept in every checkpoint.

:mod:`dtsvibe_cli.training.recipes` has those with a name, and reads files.
"""

from dataclasses import asdict, dataclass, field
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
    """Windows in a batch of each process."""
    mix: dict[str, float] = field(default_factory=dict)
    """Share of each source in a batch: ``motion`` and the names of the data sets; empty: all the
    same."""
    learning_rate: float = 5e-4
    warmup_steps: int = 300
    cooldown: float = 0.35
    """Fraction of the steps, at the end, in which the learning rate falls to zero."""
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    ema_decay: float = 0.998
    """Of the running average of the weights, which is what is validated and shipped."""
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    """``fp16`` scales the loss as it needs, on CUDA only."""
    discriminator_learning_rate: float = 5e-4
    discriminator_width: int = 1024
    """Width of the motion discriminator, which is trained where its loss has a weight."""
    image_network: str = ""
    """PyTorch file of the ResNet-50 that made the features of prepared sequences (SPIN's): what was
    given to ``dtsvibe prepare --image-network``."""
    imagenet_network: str = ""
    """PyTorch file of an ImageNet ResNet-50, as torchvision has it, for the flow stream."""
    seed: int = 0
    validate_every: int = 500
    """Steps between validations, each of which also writes a checkpoint."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "validate_every", "discriminator_width"):
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
        except (DaciteError, ValueError, TypeError) as error:
            raise ConfigError(f"The training configuration does not fit: {error}.") from error
