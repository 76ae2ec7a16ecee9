"""The network's shape as one frozen value, and its configurations: ``lite`` and ``paper``."""

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from dacite import Config, DaciteError, from_dict

from dtsvibe_cli.errors import ConfigError

NUM_THETA: Final = 157
"""24 joints x 6D rotation + 10 betas + weak-perspective camera (s, tx, ty) (paper, section 3.1)."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything needed to build a :class:`~dtsvibe_cli.models.dts_vibe.DtsVibe` network."""

    name: str
    """Configuration name, for messages."""
    window: int = 16
    """Frames in a window, the paper's T."""
    v_cnn: Literal["blazepose", "resnet50"] = "blazepose"
    """What turns a crop into a feature. ``blazepose``: landmarks of the frozen pose network and the
    detector's keypoints, :data:`~dtsvibe_cli.models.backbone.LANDMARK_FEATURES` numbers.
    ``resnet50``: the paper's, 2048 numbers."""
    o_cnn: Literal["small", "resnet50", "none"] = "small"
    """What turns a flow field into a feature; ``none`` leaves the flow stream out."""
    flow_side: int = 32
    """Side of the flow field given to O-CNN, cells."""
    d_model: int = 512
    """Width of both streams after their fully connected layer."""
    encoder: Literal["transformer", "gru"] = "transformer"
    """Temporal encoder of the RGB stream."""
    encoder_layers: int = 6
    encoder_heads: int = 8
    encoder_feedforward: int = 1024
    regressor: Literal["transformer", "hmr"] = "transformer"
    """``transformer`` refines the coarse parameters; ``hmr`` is HMR's and VIBE's iterative one."""
    regressor_layers: int = 3
    regressor_heads: int = 4
    d_regressor: int = 256
    """157 is prime, so the regressor's tokens are embedded in this width first."""
    pose_frame: Literal["parent", "camera"] = "parent"
    """What the 24 rotations of the 157 numbers are relative to: the joint's parent, as in SMPL, or
    the camera. A limb's rotation before the camera shows directly in the landmarks and is learned
    faster; the answer is made relative to the parents at the end, either way."""
    bone_directions: bool = False
    """Whether V-CNN's ``blazepose`` feature is completed by the directions of bones in space."""
    dropout: float = 0.1
    """Dropout of both transformers, which normalise first and learn their positions."""

    def __post_init__(self) -> None:
        for width, heads in (("d_model", "encoder_heads"), ("d_regressor", "regressor_heads")):
            a, b = getattr(self, width), getattr(self, heads)
            if a < 1 or b < 1 or a % b:
                raise ConfigError(f"{width} = {a} must be a multiple of {heads} = {b}.")
        for name in ("window", "flow_side", "encoder_layers", "regressor_layers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a weights file's metadata."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """Build from plain values; an unknown or mistyped key is a ConfigError that names it."""
        try:
            return from_dict(cls, values, Config(strict=True))
        except DaciteError as error:
            raise ConfigError(f"The model configuration does not fit: {error}.") from error


LITE: Final = ModelConfig(name="lite", pose_frame="camera", bone_directions=True, dropout=0.0)
"""The default: rides on the embedded pose network, runs on a CPU. Its training batches are all new,
so it needs no dropout."""

PAPER: Final = ModelConfig(
    name="paper",
    v_cnn="resnet50",
    o_cnn="resnet50",
    flow_side=224,
    encoder_feedforward=2048,
    d_regressor=160,
)
"""The paper's sizes: two ResNet-50 streams at 224 px."""

TINY: Final = ModelConfig(
    name="tiny",
    pose_frame="camera",
    bone_directions=True,
    d_model=32,
    encoder_layers=1,
    encoder_heads=2,
    encoder_feedforward=48,
    regressor_layers=1,
    d_regressor=16,
)
"""For tests: the same blocks, a few thousand parameters."""

PRESETS: Final = {config.name: config for config in (LITE, PAPER, TINY)}


def preset(name: str) -> ModelConfig:
    """A configuration by name."""
    try:
        return PRESETS[name]
    except KeyError:
        raise ConfigError(
            f"There is no model configuration '{name}'; choose one of {', '.join(PRESETS)}."
        ) from None
