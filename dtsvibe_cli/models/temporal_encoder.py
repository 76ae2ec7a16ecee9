"""Temporal encoder of the RGB stream (paper, section 3.1): a transformer, or the ablation's GRU."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


def transformer_layers(
    width: int, heads: int, feedforward: int, layers: int, dropout: float
) -> nn.TransformerEncoder:
    """A stack of pre-norm transformer layers ending in a layer norm."""
    layer = nn.TransformerEncoderLayer(
        width, heads, feedforward, dropout, "gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(
        layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False
    )


class TransformerTemporalEncoder(nn.Module):
    """Every frame of the window looks at every other; positions are learned."""

    def __init__(
        self,
        *,
        d_model: int,
        heads: int,
        layers: int,
        feedforward: int,
        window: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(window, d_model) * 0.02)
        self.layers = transformer_layers(d_model, heads, feedforward, layers, dropout)

    def forward(
        self, features: Float[Tensor, "window time d_model"], valid: Bool[Tensor, "window time"]
    ) -> Float[Tensor, "window time d_model"]:
        """Latent features g_v; frames that are not valid are looked at by nobody."""
        positioned = features + self.position[: features.shape[1]]
        encoded: Tensor = self.layers(positioned, src_key_padding_mask=~valid)
        return encoded


class GruTemporalEncoder(nn.Module):
    """VIBE's encoder: a two-layer GRU, added to its input."""

    def __init__(self, *, d_model: int, layers: int = 2) -> None:
        super().__init__()
        self.gru = nn.GRU(d_model, d_model, layers, batch_first=True)
        self.out = nn.Linear(d_model, d_model)

    def forward(
        self, features: Float[Tensor, "window time d_model"], valid: Bool[Tensor, "window time"]
    ) -> Float[Tensor, "window time d_model"]:
        """Latent features g_v; frames that are not valid enter as zeros."""
        hidden, _ = self.gru(features * valid[..., None])
        encoded: Tensor = features + self.out(torch.relu(hidden))
        return encoded
