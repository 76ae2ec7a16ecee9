"""Training of torchvision's RAFT-small on drawn people whose flow is exactly known.

As in RAFT (Teed and Deng 2020, section 3.3): every update of the network is compared with the
truth, later ones more; AdamW with one cycle of the learning rate. ``dtsvibe run --flow
raft_small.safetensors`` takes what is written.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from dtsvibe_cli.devices import choose_device
from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.progress import OnProgress
from dtsvibe_cli.results import atomic_path
from dtsvibe_cli.stages.flow import FlowEstimator
from dtsvibe_cli.stages.raft_flow import RaftFlow, as_input
from dtsvibe_cli.training.flow_pairs import HELD_OUT_FROM, TUNED_BELOW, FlowPair, make_pair
from dtsvibe_cli.weights import write_tensors

CHECKPOINT: Final = "checkpoint.pt"
WEIGHTS: Final = "raft_small.safetensors"
LOG: Final = "log.csv"

_GAMMA: Final = 0.8  # RAFT, equation 7
_KEPT_PAIRS: Final = 4096
"""Pairs in memory: some hundred megabytes."""


@dataclass(frozen=True, kw_only=True)
class FlowTrainConfig:
    """The recipe."""

    steps: int = 20_000
    batch_size: int = 8
    num_pairs: int = 50_000
    """Different pairs; each is seen in eight mirror images."""
    updates: int = 12
    """Of the network's own estimate, in training."""
    learning_rate: float = 4e-4
    weight_decay: float = 1e-4
    validate_every: int = 500
    num_validation_pairs: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "num_pairs", "updates", "num_validation_pairs"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1.")


@dataclass(frozen=True, kw_only=True)
class FlowBatch:
    """Pairs as RAFT takes them: pictures from -1 to 1, and the flow from ``now`` back."""

    now: Float[Tensor, "pair 3 side side"]
    before: Float[Tensor, "pair 3 side side"]
    back_px: Float[Tensor, "pair 2 side side"]


_pair = lru_cache(maxsize=_KEPT_PAIRS)(make_pair)


def flow_batch(config: FlowTrainConfig, step: int) -> FlowBatch:
    """The batch of a step: the same whenever it is asked for."""
    rng = np.random.default_rng((config.seed, step))
    items = [
        _mirrored(_pair(TUNED_BELOW + int(rng.integers(config.num_pairs))), rng)
        for _ in range(config.batch_size)
    ]
    now, before, back = (torch.from_numpy(np.stack(parts)) for parts in zip(*items, strict=True))
    return FlowBatch(now=as_input(now), before=as_input(before), back_px=back)


def _mirrored(pair: FlowPair, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """A pair left and right, up and down, rows and columns exchanged, or not."""
    now, before, flow = pair.now, pair.before, pair.flow_px
    if rng.random() < 0.5:
        now, before = now[:, ::-1], before[:, ::-1]
        flow = np.stack([-flow[0, :, ::-1], flow[1, :, ::-1]])
    if rng.random() < 0.5:
        now, before = now[::-1], before[::-1]
        flow = np.stack([flow[0, ::-1], -flow[1, ::-1]])
    if rng.random() < 0.5:
        now, before = now.transpose(1, 0, 2), before.transpose(1, 0, 2)
        flow = np.stack([flow[1].T, flow[0].T])
    back = np.asarray(-flow, dtype=np.float32)
    return tuple(np.ascontiguousarray(part) for part in (now, before, back))


def sequence_loss(
    estimates: Sequence[Float[Tensor, "pair 2 side side"]],
    truth: Float[Tensor, "pair 2 side side"],
) -> Float[Tensor, ""]:
    """RAFT's loss: the distance of each estimate, weighted by 0.8 for each that follows it."""
    last = len(estimates) - 1
    total = truth.new_zeros(())
    for k, estimate in enumerate(estimates):
        total = total + _GAMMA ** (last - k) * (estimate - truth).abs().mean()
    return total


def end_point_error_px(estimator: FlowEstimator, pairs: Sequence[FlowPair]) -> float:
    """Mean distance between estimated and true flow over all pixels."""
    errors = []
    for pair in pairs:
        (flow,) = estimator(pair.before[None], pair.now[None]) * pair.now.shape[0]
        errors.append(float(np.linalg.norm(flow - pair.flow_px, axis=0).mean()))
    return float(np.mean(errors))


def train_flow(
    out: Path,
    *,
    config: FlowTrainConfig | None = None,
    resume: bool = False,
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> Path:
    """Train to the end; returns the weights file.

    Args:
        out: Folder of the run: checkpoint, log and weights.
        config: The recipe.
        resume: Go on from the folder's checkpoint.
        device: ``auto``, ``cpu`` or ``cuda``.
        on_progress: Called with the stage, steps done and steps in all.

    Raises:
        ConfigError: ``out`` holds a run and ``resume`` is off, or a run of another recipe.
    """
    from torchvision.models.optical_flow import raft_small

    config = config or FlowTrainConfig()
    checkpoint = out / CHECKPOINT
    if checkpoint.is_file() and not resume:
        raise ConfigError(f"{out} holds a run: give --resume to go on, or another --out.")
    chosen = choose_device(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network: nn.Module = raft_small(weights=None).to(chosen).train()
    optimizer = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        config.learning_rate,
        config.steps + 100,
        pct_start=0.05,
        anneal_strategy="linear",
    )
    parts: dict[str, Any] = {"network": network, "optimizer": optimizer, "schedule": schedule}
    first = _resume(parts, checkpoint, config) if resume else 0
    for step in range(first, config.steps):
        batch = flow_batch(config, step)
        estimates = network(
            batch.now.to(chosen), batch.before.to(chosen), num_flow_updates=config.updates
        )
        loss = sequence_loss(estimates, batch.back_px.to(chosen))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if on_progress is not None:
            on_progress("train", step + 1, config.steps)
        if (step + 1) % config.validate_every == 0 or step + 1 == config.steps:
            _save(parts, out, step + 1, config)
            _log(out, step + 1, float(loss.detach()), config, chosen)
    return out / WEIGHTS


def _resume(parts: dict[str, Any], path: Path, config: FlowTrainConfig) -> int:
    """Everything as it was at the checkpoint; gives the step to go on with."""
    if not path.is_file():
        return 0
    saved = torch.load(path, map_location="cpu", weights_only=True)
    if saved["config"] != vars(config):
        raise ConfigError(f"{path} is of another recipe: give its own, or another --out.")
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    return int(saved["step"])


def _save(parts: dict[str, Any], out: Path, step: int, config: FlowTrainConfig) -> None:
    states = {name: part.state_dict() for name, part in parts.items()}
    out.mkdir(parents=True, exist_ok=True)
    half = {name: tensor.half() for name, tensor in states["network"].items()}
    write_tensors(out / WEIGHTS, half, {"kind": "raft_small", "step": step, **vars(config)})
    with atomic_path(out / CHECKPOINT) as part:
        torch.save({**states, "step": step, "config": vars(config)}, part)


def _log(out: Path, step: int, loss: float, config: FlowTrainConfig, device: str) -> None:
    """One line: the loss of this step, and the error of the weights just written."""
    pairs = [_pair(HELD_OUT_FROM + 10**6 + k) for k in range(config.num_validation_pairs)]
    error = end_point_error_px(RaftFlow(out / WEIGHTS, device), pairs)
    path = out / LOG
    new = not path.is_file()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(("step", "train_loss", "val_end_point_error_px"))
        writer.writerow((step, f"{loss:.4f}", f"{error:.4f}"))
