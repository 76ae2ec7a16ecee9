"""The training loop: draw, step, validate, checkpoint; resumes and repeats exactly."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.models.dts_vibe import DtsVibe, Theta, build
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.training import distributed
from dtsvibe_cli.training.adversary import Adversary
from dtsvibe_cli.training.batches import BatchSource, TrainingBatch
from dtsvibe_cli.training.checkpointing import (
    CHECKPOINT,
    read_checkpoint,
    weights_digest,
    write_checkpoint,
)
from dtsvibe_cli.training.config import TrainConfig
from dtsvibe_cli.training.logs import LOG, TERMS, Board, append_row, open_board
from dtsvibe_cli.training.losses import compute_losses
from dtsvibe_cli.training.motion_bank import MotionBank
from dtsvibe_cli.training.sources import StepData, Steps
from dtsvibe_cli.training.starts import freeze_convolutions
from dtsvibe_cli.training.validation import Validation, validate

_LOG = logging.getLogger(__name__)

BOARD_EVERY = 20
"""Steps between points on TensorBoard's curves of the losses."""


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a run draws from."""

    train: BatchSource
    held_out: BatchSource
    recorded: MotionBank | None = None
    """Real motion for the discriminator."""


def learning_rate(config: TrainConfig, step: int) -> float:
    """Warm up, stay, then fall to zero over the last part."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    left = (config.steps - step) / max(1.0, config.cooldown * config.steps)
    return config.learning_rate * warm * min(1.0, max(0.0, left))


class _OnWindows(nn.Module):
    """The whole network in one call, flow's convolutions included."""

    def __init__(self, network: DtsVibe) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: TrainingBatch) -> Theta:
        features = self.network.flow_features(batch.flow)
        theta: Theta = self.network(batch.appearance, features, batch.valid)
        return theta


class Trainer:
    """One run in one folder; picks up where its checkpoint stands."""

    def __init__(
        self,
        config: TrainConfig,
        out: Path,
        data: TrainingData,
        *,
        body: BodyModel,
        network: DtsVibe | None = None,
        device: str = "cpu",
        workers: int = 1,
    ) -> None:
        """``network``: weights to start from instead of random ones."""
        self.config, self.out, self.data = config, out, data
        self.device, self.body = torch.device(device), body.to(device)
        self.workers = workers
        self.step, self.minutes = 0, 0.0
        self.running: dict[str, float] = {}
        started = build(config.model, config.seed) if network is None else network
        self.network = freeze_convolutions(started).to(device).train()
        self.average: dict[str, Tensor] = {
            key: value.detach().clone() for key, value in self.network.state_dict().items()
        }
        self._on_windows = distributed.parallel(_OnWindows(self.network))
        self.optimizer = torch.optim.AdamW(
            [p for p in self.network.parameters() if p.requires_grad],
            config.learning_rate,
            weight_decay=config.weight_decay,
        )
        self.scaler = self._make_scaler()
        self.adversary = self._make_adversary()
        if distributed.is_first():
            out.mkdir(parents=True, exist_ok=True)

    def _make_scaler(self) -> torch.amp.GradScaler:
        half = self.config.precision == "fp16"
        if half and self.device.type != "cuda":
            raise ConfigError("precision = 'fp16' needs --device cuda; bf16 and fp32 do not.")
        return torch.amp.GradScaler(self.device.type, enabled=half)

    def _make_adversary(self) -> Adversary | None:
        if not self.config.loss.adversarial:
            return None
        if self.data.recorded is None:
            raise ConfigError(
                "The motion discriminator needs recorded motion: give --motion DIR, or set "
                "adversarial = 0 under [loss] in the configuration."
            )
        return Adversary(
            self.config.discriminator_width,
            self.config.discriminator_learning_rate,
            seed=self.config.seed + 1,
            device=self.device,
        )

    def resume(self) -> bool:
        """Load the folder's checkpoint; False when there is none.

        From there on the run is what it would have been without the interruption.

        Raises:
            ConfigError: The checkpoint is of another model.
            WeightsError: It is damaged.
        """
        saved = read_checkpoint(self.out)
        if saved is None:
            return False
        path = self.out / CHECKPOINT
        if saved["model"] != self.config.model.to_dict():
            raise ConfigError(f"{path} is of another model; give another --out or its own config.")
        changed = [k for k, v in self.config.to_dict().items() if saved["config"].get(k) != v]
        if changed:
            _LOG.warning("The run goes on with another %s than before.", ", ".join(changed))
        self.network.load_state_dict(saved["network"])
        self.average = {key: value.to(self.device) for key, value in saved["average"].items()}
        self.optimizer.load_state_dict(saved["optimizer"])
        if saved.get("scaler"):  # empty unless it was in use
            self.scaler.load_state_dict(saved["scaler"])
        if self.adversary is not None and "adversary" in saved:
            self.adversary.load_state_dict(saved["adversary"])
        self.step, self.minutes = saved["step"], saved["minutes"]
        self.running = dict(saved.get("running", {}))
        return True

    def save(self) -> None:
        """Write the checkpoint; the old one stays until the new one is whole."""
        state: dict[str, Any] = {
            "model": self.config.model.to_dict(),
            "config": self.config.to_dict(),
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "minutes": self.minutes,
            "running": self.running,
        }
        if self.adversary is not None:
            state["adversary"] = self.adversary.state_dict()
        write_checkpoint(self.out, state)

    def averaged_network(self) -> DtsVibe:
        """A copy with the averaged weights, which is what ships."""
        network = build(self.config.model).to(self.device)
        network.load_state_dict(self.average)
        return network.eval()

    @property
    def train_error(self) -> float:
        """Running mean of the error on training batches, millimetres."""
        return self.running.get("mpjpe_mm", math.nan)

    def run(self, on_step: Callable[[int, float], None] | None = None) -> Iterator[Validation]:
        """Train to the last step; yields each validation, after its checkpoint is written.

        Of several processes only the first validates and writes.
        """
        started = time.monotonic() - 60 * self.minutes
        with open_board(self.out, self.step + 1, use=distributed.is_first()) as board:
            for data in self._data():
                self._train_step(data.to(self.device))
                self.minutes = (time.monotonic() - started) / 60
                if on_step is not None:
                    on_step(self.step, self.train_error)
                if self.step % BOARD_EVERY == 0:
                    board.write(self.step, {f"train/{k}": v for k, v in self.running.items()})
                if self._validation_is_due() and distributed.is_first():
                    self.save()
                    validation = validate(self.averaged_network(), self.data.held_out, self.body)
                    self._log(validation, board)
                    yield validation

    def _validation_is_due(self) -> bool:
        return self.step % self.config.validate_every == 0 or self.step == self.config.steps

    def _data(self) -> DataLoader[StepData]:
        steps = Steps(
            self.data.train,
            self.data.recorded if self.adversary is not None else None,
            window=self.config.model.window,
            batch_size=self.config.batch_size,
            seed=self.config.seed,
            steps=range(self.step, self.config.steps),
            process=distributed.rank(),
        )
        return DataLoader(
            steps,
            batch_size=None,
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
            worker_init_fn=_one_thread if self.workers else None,
            generator=torch.Generator(),  # its own: others' must not depend on interruptions
        )

    def _train_step(self, data: StepData) -> None:
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, self.step)
        # dropout, too, is a function of seed, step and process
        torch.manual_seed(((config.seed * 2**32 + self.step) * 256 + distributed.rank()) % 2**63)
        with torch.autocast(self.device.type, *_autocast(config.precision)):
            theta: Theta = self._on_windows(data.batch)
        poses = theta.full_pose[:, :, 1:]
        doubt = None if self.adversary is None else self.adversary.doubt(poses, data.batch.valid)
        losses = compute_losses(theta, data.batch, self.body, config.loss, doubt)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(losses.total(config.loss)).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), config.gradient_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        numbers = losses.numbers()
        if self.adversary is not None and data.recorded is not None:
            numbers["discriminator"] = self.adversary.learn(data.recorded, poses, data.batch.valid)
        self.step += 1
        self._update_average()
        self._keep_running(numbers)

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.ema_decay, self.step / (self.step + 10))
        for key, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[key].lerp_(value, 1 - decay)
            else:  # counters of batch normalisation
                self.average[key].copy_(value)

    def _keep_running(self, numbers: dict[str, float]) -> None:
        for name, value in numbers.items():
            if math.isfinite(value):
                before = self.running.get(name, value)
                self.running[name] = 0.98 * before + 0.02 * value

    def _log(self, validation: Validation, board: Board) -> None:
        rate = learning_rate(self.config, self.step)
        row = {
            "step": str(self.step),
            "minutes": f"{self.minutes:.2f}",
            "learning_rate": f"{rate:.2e}",
            "train_mpjpe_mm": f"{self.train_error:.2f}",
            "val_mpjpe_mm": f"{validation.mpjpe_mm:.2f}",
            "val_pa_mpjpe_mm": f"{validation.pa_mpjpe_mm:.2f}",
            "val_accel_mm": f"{validation.accel_mm:.2f}",
            "weights_sha256": weights_digest(self.average),
        }
        row |= {f"loss_{term}": f"{self.running.get(term, 0.0):.6f}" for term in TERMS}
        append_row(self.out / LOG, row)
        numbers = {"mpjpe_mm": validation.mpjpe_mm, "pa_mpjpe_mm": validation.pa_mpjpe_mm}
        numbers["accel_mm"] = validation.accel_mm
        board.write(self.step, {f"held_out/{name}": value for name, value in numbers.items()})
        board.write(self.step, {"train/learning_rate": rate})


def _autocast(precision: str) -> tuple[torch.dtype, bool]:
    kind = torch.float16 if precision == "fp16" else torch.bfloat16
    return kind, precision != "fp32"


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
