"""The two-stream network of DTS-VIBE (paper, figure 2).

RGB features go through the temporal encoder, flow features are added to them (late fusion), one
layer gives coarse SMPL parameters, the regressor the final ones.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dtsvibe_cli.geometry.joints import SMPL24_PARENTS
from dtsvibe_cli.geometry.rotations import rot6d_to_rotmat
from dtsvibe_cli.models.backbone import Backbone, LandmarkBackbone, ResNet50Backbone
from dtsvibe_cli.models.config import ModelConfig
from dtsvibe_cli.models.flow_encoder import ResNet50FlowEncoder, SmallFlowEncoder
from dtsvibe_cli.models.regressor import HmrRegressor, TransformerRegressor
from dtsvibe_cli.models.temporal_encoder import GruTemporalEncoder, TransformerTemporalEncoder


@dataclass(frozen=True, kw_only=True)
class Theta:
    """SMPL parameters and crop camera of every frame of every window."""

    full_pose: Float[Tensor, "window time 24 3 3"]
    """Rotation matrices; the first is ``global_orient`` as seen by a camera that looks straight at
    the person."""
    betas: Float[Tensor, "window time 10"]
    camera: Float[Tensor, "window time 3"]
    """Weak-perspective (s, tx, ty) of the crop."""


def split_theta(
    theta: Float[Tensor, "window time 157"], pose_frame: Literal["parent", "camera"]
) -> Theta:
    """Name the parts of the paper's 157 numbers; rotations become relative to the parents."""
    rotmat = rot6d_to_rotmat(theta[..., :144].unflatten(-1, (24, 6)))
    if pose_frame == "camera":
        before = rotmat[..., list(SMPL24_PARENTS[1:]), :, :]
        rotmat = torch.cat([rotmat[..., :1, :, :], before.mT @ rotmat[..., 1:, :, :]], dim=-3)
    return Theta(
        full_pose=rotmat,
        betas=theta[..., 144:154],
        camera=theta[..., 154:],
    )


class DtsVibe(nn.Module):
    """Two streams, late fusion, two transformers; every part is chosen by the configuration."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.d_model
        self.v_cnn: Backbone = (
            LandmarkBackbone(width, bone_directions=config.bone_directions)
            if config.v_cnn == "blazepose"
            else ResNet50Backbone(width)
        )
        self.o_cnn: Backbone | None = None
        if config.o_cnn != "none":
            encoder = SmallFlowEncoder if config.o_cnn == "small" else ResNet50FlowEncoder
            self.o_cnn = encoder(width, config.flow_side)
        self.encoder: TransformerTemporalEncoder | GruTemporalEncoder = (
            TransformerTemporalEncoder(
                d_model=width,
                heads=config.encoder_heads,
                layers=config.encoder_layers,
                feedforward=config.encoder_feedforward,
                window=config.window,
                dropout=config.dropout,
            )
            if config.encoder == "transformer"
            else GruTemporalEncoder(d_model=width)
        )
        self.regressor: TransformerRegressor | HmrRegressor = (
            TransformerRegressor(
                d_model=width,
                d_regressor=config.d_regressor,
                heads=config.regressor_heads,
                layers=config.regressor_layers,
                window=config.window,
                dropout=config.dropout,
                pose_frame=config.pose_frame,
            )
            if config.regressor == "transformer"
            else HmrRegressor(d_model=width, pose_frame=config.pose_frame)
        )

    @property
    def window(self) -> int:
        """Frames in a window."""
        return self.config.window

    @property
    def picture_cnn(self) -> Backbone | None:
        """V-CNN where it looks at pictures; None where landmarks are the appearance."""
        return None if self.v_cnn.side is None else self.v_cnn

    @property
    def flow_cnn(self) -> Backbone | None:
        """O-CNN; None without a flow stream."""
        return self.o_cnn

    def forward(
        self,
        appearance: Float[Tensor, "window time feature"],
        flow_features: Float[Tensor, "window time flow_feature"] | None,
        valid: Bool[Tensor, "window time"],
    ) -> Theta:
        """SMPL parameters of windows whose per-frame features are known.

        ``appearance`` comes from ``v_cnn.extract``, ``flow_features`` from ``o_cnn.extract``: a
        frame's convolutions run once, however many windows overlap it. ``valid`` marks frames that
        were seen.
        """
        latent = self.encoder(self.v_cnn(appearance), valid)
        if self.o_cnn is not None and flow_features is not None:
            latent = latent + self.o_cnn(flow_features)
        return split_theta(self.regressor(latent, valid).float(), self.config.pose_frame)

    def flow_features(
        self, flow: Float[Tensor, "window time 2 side side"]
    ) -> Float[Tensor, "window time flow_feature"] | None:
        """O-CNN's features of windows of flow; None when the network has no flow stream."""
        if self.o_cnn is None:
            return None
        features: Tensor = self.o_cnn.extract(flow.flatten(0, 1)).unflatten(0, flow.shape[:2])
        return features

    def num_parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


def build(config: ModelConfig, seed: int = 0) -> DtsVibe:
    """An untrained network, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DtsVibe(config)
