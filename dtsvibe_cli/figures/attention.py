"""What the temporal encoder looks at (paper, figure 4): each head's map, averaged over windows."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dtsvibe_cli.devices import choose_device
from dtsvibe_cli.errors import ConfigError, DataError
from dtsvibe_cli.figures.canvas import WIDTH_IN, check_target, figure_to_save
from dtsvibe_cli.models.checkpoint import load_network
from dtsvibe_cli.models.dts_vibe import DtsVibe, Theta
from dtsvibe_cli.models.temporal_encoder import TransformerTemporalEncoder
from dtsvibe_cli.pipeline import estimate_video
from dtsvibe_cli.progress import OnProgress
from dtsvibe_cli.results import load_results
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.training.motion_bank import load_bank
from dtsvibe_cli.training.simulation import Simulator

NUM_WINDOWS: Final = 1000
"""The paper's."""

_ACROSS: Final = 4
_SIMULATED_TOGETHER: Final = 64


@dataclass(frozen=True, kw_only=True)
class AttentionMaps:
    """Attention of the encoder's first layer; the rows of each map sum to one."""

    mean: Float[np.ndarray, "head time time"]
    """How much each frame (row) looks at each other (column)."""
    num_windows: int
    """Windows averaged over."""


def attention_weights(
    layer: nn.TransformerEncoderLayer,
    tokens: Float[Tensor, "window time d_model"],
    valid: Bool[Tensor, "window time"],
) -> Float[Tensor, "window head time time"]:
    """How much each frame looks at each other, for each head, in a layer that is given ``tokens``.

    Worked out from the layer's own projections: torch's fast path returns no weights. Frames that
    are not ``valid`` are looked at by nobody.
    """
    attention = layer.self_attn
    seen = layer.norm1(tokens) if layer.norm_first else tokens
    width, heads = attention.embed_dim, attention.num_heads
    assert attention.in_proj_weight is not None
    projected = nn.functional.linear(
        seen,
        attention.in_proj_weight[: 2 * width],
        None if attention.in_proj_bias is None else attention.in_proj_bias[: 2 * width],
    )
    query, key = projected.unflatten(-1, (2, heads, width // heads)).unbind(-3)
    scores = torch.einsum("wihc,wjhc->whij", query, key) / math.sqrt(width // heads)
    weights: Tensor = scores.masked_fill(~valid[:, None, None], -torch.inf).softmax(-1)
    return weights


class AttentionRecorder:
    """A motion model that also keeps the first layer's attention in every whole window it is given.

    Raises:
        ConfigError: The network's temporal encoder is no transformer.
    """

    flow_cnn = None
    """The encoder sees the RGB stream only, so flow is left out."""

    def __init__(self, network: DtsVibe) -> None:
        if not isinstance(network.encoder, TransformerTemporalEncoder):
            raise ConfigError(
                f"The temporal encoder of '{network.config.name}' is a "
                f"{network.config.encoder.upper()}, which has no attention to draw."
            )
        self._network = network
        self._layer: nn.TransformerEncoderLayer = network.encoder.layers.layers[0]
        self.maps: list[Float[np.ndarray, "window head time time"]] = []

    @property
    def window(self) -> int:
        """Frames in a window."""
        return self._network.window

    @property
    def picture_cnn(self) -> Any:
        """V-CNN where it looks at pictures."""
        return self._network.picture_cnn

    def __call__(
        self,
        appearance: Float[Tensor, "window time feature"],
        flow_features: Float[Tensor, "window time flow_feature"] | None,
        valid: Bool[Tensor, "window time"],
    ) -> Theta:
        """The network's answer without flow."""
        with self._listening(valid):
            theta: Theta = self._network(appearance, None, valid)
        return theta

    @contextmanager
    def _listening(self, valid: Bool[Tensor, "window time"]) -> Iterator[None]:
        whole = valid.all(1)

        def keep(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            weights = attention_weights(self._layer, arguments[0][whole], valid[whole])
            self.maps.append(weights.float().cpu().numpy())

        hook = self._layer.register_forward_pre_hook(keep)
        try:
            yield
        finally:
            hook.remove()

    @property
    def num_windows(self) -> int:
        """Whole windows seen so far."""
        return sum(len(part) for part in self.maps)

    def mean(self, windows: int = NUM_WINDOWS) -> AttentionMaps:
        """The average over at most so many windows, evenly chosen from all that were seen.

        Raises:
            DataError: There was no whole window.
        """
        if not self.num_windows:
            raise DataError(
                f"Nobody is seen for {self.window} frames on end: give longer videos of people."
            )
        count = min(windows, self.num_windows)
        chosen = np.linspace(0, self.num_windows - 1, count).round().astype(int)
        maps = np.concatenate(self.maps)[chosen]
        return AttentionMaps(mean=maps.mean(0, dtype=np.float64), num_windows=count)


def attention_of_videos(
    network: DtsVibe,
    sources: Iterable[str | Path],
    *,
    windows: int = NUM_WINDOWS,
    device: str = "cpu",
    on_progress: OnProgress | None = None,
) -> AttentionMaps:
    """Over windows of the people in some videos: one window starts in every frame.

    Args:
        network: On ``device``, ready for inference.
        sources: Videos, or results (their video is looked at again, as far as they go).
        windows: How many windows to average over, if there are so many.
        device: Where to compute.
        on_progress: Called with the stage, items done, and items in all.

    Raises:
        DtsVibeError: A source cannot be read, or shows nobody for long enough.
    """
    recorder = AttentionRecorder(network)
    for source in sources:
        estimate_video(
            **_video_of(Path(source)),
            weights=recorder,
            window_stride=1,
            refine=False,
            smooth_s=0.0,
            device=device,
            on_progress=on_progress,
        )
    return recorder.mean(windows)


def _video_of(source: Path) -> dict[str, Any]:
    """Keywords of ``estimate_video`` for a video, or for that of a result."""
    if source.suffix != ".npz" and not (source.is_dir() and any(source.glob("*_smpl.npz"))):
        return {"source": source}
    motion = load_results(source)
    half_frame_s = float(Fraction(1, 2) / motion.video.frame_rate)
    return {
        "source": motion.video.path,
        "start_s": max(0.0, float(motion.time_s[0]) - half_frame_s),
        "end_s": float(motion.time_s[-1]) + half_frame_s,
        "frame_rate": motion.video.frame_rate if motion.video.path.is_dir() else None,
    }


def attention_of_motion(
    network: DtsVibe,
    motion: Path,
    *,
    windows: int = NUM_WINDOWS,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> AttentionMaps:
    """Over windows of motion capture, seen through the simulator that ``dtsvibe train`` trains on.

    Raises:
        ConfigError: The network looks at pictures, which the simulator does not make.
        DataError: There is no motion in the folder.
    """
    if network.picture_cnn is not None:
        raise ConfigError("This network looks at pictures: give videos instead of --motion.")
    body = load_body_model()
    bank = load_bank(motion, body.joint_template.double().numpy())
    simulator = Simulator(bank, body, window=network.window, flow_side=network.config.flow_side)
    recorder = AttentionRecorder(network)
    device = next(network.parameters()).device
    with torch.inference_mode():
        while recorder.num_windows < windows:
            batch = simulator.batch(_SIMULATED_TOGETHER, seed, vary=False).to(device)
            recorder(batch.appearance, None, batch.valid)
            seed += 1
            if on_progress is not None:
                on_progress("simulate", min(windows, recorder.num_windows), windows)
    return recorder.mean(windows)


def draw_attention(
    sources: Sequence[str | Path],
    out: Path,
    *,
    motion: Path | None = None,
    windows: int = NUM_WINDOWS,
    weights: str | Path = "lite",
    device: str = "auto",
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> AttentionMaps:
    """Draw figure 4 and return what it shows.

    Args:
        sources: Videos or results; empty when ``motion`` is given.
        out: The .png, .pdf or .svg to write.
        motion: Folder of motion capture to look at instead.
        windows: How many windows to average over, if there are so many.
        weights: Built-in network by name, or the path of a .safetensors file.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        overwrite: Replace the file.
        on_progress: Called with the stage, items done, and items in all.

    Raises:
        DtsVibeError: Whatever a user can mend: an option, a source, the weights, no matplotlib.
    """
    check_target(out, overwrite=overwrite)
    if bool(sources) == (motion is not None):
        raise ConfigError("Give either videos or --motion with a folder of motion capture.")
    chosen = choose_device(device)
    network = load_network(weights, chosen)
    if motion is None:
        maps = attention_of_videos(
            network, sources, windows=windows, device=chosen, on_progress=on_progress
        )
    else:
        maps = attention_of_motion(network, motion, windows=windows, on_progress=on_progress)
    _plot(maps, out)
    return maps


def _plot(maps: AttentionMaps, out: Path) -> None:
    heads, time = maps.mean.shape[:2]
    across = min(_ACROSS, heads)
    rows = math.ceil(heads / across)
    marks = [1, *range(4, time + 1, 4)] if time >= 8 else list(range(1, time + 1))
    with figure_to_save(out, height_in=0.35 + rows * WIDTH_IN / across * 0.93) as figure:
        from matplotlib.colors import PowerNorm

        # attention sums to one a row: shown linearly, heads that spread it would be all pale
        norm = PowerNorm(0.5, vmin=0, vmax=1)
        grid = figure.subplots(rows, across, sharex=True, sharey=True, squeeze=False)
        for axes in grid.flat[heads:]:
            axes.set_axis_off()
        for head, axes in enumerate(grid.flat[:heads]):
            picture = axes.imshow(
                maps.mean[head],
                cmap="Blues",
                norm=norm,
                extent=(0.5, time + 0.5, time + 0.5, 0.5),
                interpolation="nearest",
            )
            axes.set(title=f"head {head + 1}", xticks=marks, yticks=marks)
            axes.spines[:].set_visible(True)
        figure.supxlabel("frame looked at", fontsize=8)
        figure.supylabel("frame that looks", fontsize=8)
        bar = figure.colorbar(picture, ax=grid, fraction=0.02, pad=0.015, aspect=40)
        bar.set_label(f"attention, mean of {maps.num_windows} windows")
        bar.set_ticks(
            [0, 0.05, 0.2, 0.4, 0.6, 0.8, 1], labels=["0", "0.05", "0.2", "0.4", "0.6", "0.8", "1"]
        )
        bar.outline.set_linewidth(0.6)
