"""The training loop: simulate, step, validate, checkpoint; resumes exactly."""

import csv
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from dtsvibe_cli.errors import ConfigError, WeightsError
from dtsvibe_cli.evaluation.metrics import acceleration_error, pa_mpjpe
from dtsvibe_cli.models.dts_vibe import DtsVibe, Theta, build
from dtsvibe_cli.smpl import BodyModel
from dtsvibe_cli.training.batches import TrainingBatch
from dtsvibe_cli.training.config import TrainConfig
from dtsvibe_cli.training.losses import compute_losses, predicted_joints
from dtsvibe_cli.training.simulation import Simulator

_LOG = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
LOG = "log.csv"
LOG_FIELDS = (
    "step", "minutes", "learning_rate", "train_mpjpe_mm", "val_mpjpe_mm", "val_pa_mpjpe_mm",
    "val_accel_mm",
)  # fmt: skip
VALIDATION_SEED = 2**40
NUM_VALIDATION_BATCHES = 6


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Errors on held-out motion, not varied, in millimetres (per frame squared)."""

    mpjpe_mm: float
    pa_mpjpe_mm: float
    accel_mm: float


class _Batches(Dataset[TrainingBatch]):
    """Batch ``step`` of a run; the same whoever computes it."""

    def __init__(self, simulator: Simulator, config: TrainConfig, first: int) -> None:
        self.simulator, self.config, self.first = simulator, config, first

    def __len__(self) -> int:
        return max(0, self.config.steps - self.first)

    def __getitem__(self, index: int) -> TrainingBatch:
        if index >= len(self):
            raise IndexError(index)
        seed = self.config.seed * 2**32 + self.first + index
        return self.simulator.batch(self.config.batch_size, seed)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Warm up, stay, then fall to zero over the last part."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    left = (config.steps - step) / max(1.0, config.cooldown * config.steps)
    return config.learning_rate * warm * min(1.0, max(0.0, left))


def run_network(network: DtsVibe, batch: TrainingBatch, precision: str) -> Theta:
    """Forward pass of a training batch that is on the network's device."""
    with torch.autocast(batch.valid.device.type, torch.bfloat16, enabled=precision == "bf16"):
        theta: Theta = network(batch.appearance, network.flow_features(batch.flow), batch.valid)
    return theta


def validate(network: DtsVibe, simulator: Simulator, body: BodyModel) -> Validation:
    """Errors over a fixed set of held-out windows, only frames that were seen."""
    device = next(network.parameters()).device
    network.eval()
    errors: list[tuple[float, float, float]] = []
    with torch.inference_mode():
        for k in range(NUM_VALIDATION_BATCHES):
            batch = simulator.batch(64, VALIDATION_SEED + k, vary=False).to(device)
            joints = predicted_joints(run_network(network, batch, "fp32"), body)
            distance = torch.linalg.vector_norm(joints - batch.joints_m, dim=-1).mean(-1)
            aligned = pa_mpjpe(joints, batch.joints_m)
            accel = acceleration_error(joints, batch.joints_m)
            errors.append(
                (
                    float(distance[batch.valid].mean()),
                    float(aligned[batch.valid].mean()),
                    float(accel.mean()),
                )
            )
    mean = [1000 * sum(column) / len(errors) for column in zip(*errors, strict=True)]
    return Validation(mpjpe_mm=mean[0], pa_mpjpe_mm=mean[1], accel_mm=mean[2])


class Trainer:
    """One run in one folder; picks up where its checkpoint stands."""

    def __init__(
        self,
        config: TrainConfig,
        out: Path,
        *,
        train: Simulator,
        held_out: Simulator,
        body: BodyModel,
        device: str = "cpu",
        workers: int = 1,
    ) -> None:
        self.config, self.out = config, out
        self.train, self.held_out = train, held_out
        self.device, self.body = torch.device(device), body.to(device)
        self.workers = workers
        self.step, self.minutes = 0, 0.0
        torch.manual_seed(config.seed)
        self.network = build(config.model, config.seed).to(device).train()
        self.average: dict[str, Tensor] = {
            key: value.detach().clone() for key, value in self.network.state_dict().items()
        }
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        self.train_error = math.nan
        out.mkdir(parents=True, exist_ok=True)

    def resume(self) -> bool:
        """Load the folder's checkpoint; False when there is none.

        From there on the run is what it would have been without the interruption.

        Raises:
            ConfigError: The checkpoint is of another model.
            WeightsError: It is damaged.
        """
        path = self.out / CHECKPOINT
        if not path.is_file():
            return False
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, UnpicklingError, EOFError) as error:
            raise WeightsError(f"{path} is damaged: delete it and start again.") from error
        if saved["model"] != self.config.model.to_dict():
            raise ConfigError(f"{path} is of another model; give another --out or its own config.")
        changed = [k for k, v in self.config.to_dict().items() if saved["config"].get(k) != v]
        if changed:
            _LOG.warning("The run goes on with another %s than before.", ", ".join(changed))
        self.network.load_state_dict(saved["network"])
        self.average = {key: value.to(self.device) for key, value in saved["average"].items()}
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.minutes = saved["step"], saved["minutes"]
        self.train_error = saved.get("train_error", math.nan)
        torch.set_rng_state(saved["rng"])
        if self.device.type == "cuda" and "cuda_rng" in saved:
            torch.cuda.set_rng_state(saved["cuda_rng"], self.device)
        return True

    def save(self) -> None:
        """Write the checkpoint; the old one stays until the new one is whole."""
        state: dict[str, Any] = {
            "model": self.config.model.to_dict(),
            "config": self.config.to_dict(),
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "minutes": self.minutes,
            "train_error": self.train_error,
            "rng": torch.get_rng_state(),  # dropout's
        }
        if self.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        part = self.out / (CHECKPOINT + ".part")
        torch.save(state, part)
        part.replace(self.out / CHECKPOINT)

    def averaged_network(self) -> DtsVibe:
        """A copy with the averaged weights, which is what ships."""
        network = build(self.config.model).to(self.device)
        network.load_state_dict(self.average)
        return network.eval()

    def run(self, on_step: Callable[[int, float], None] | None = None) -> Iterator[Validation]:
        """Train to the last step; yields each validation, after its checkpoint is written."""
        batches = DataLoader(
            _Batches(self.train, self.config, self.step),
            batch_size=None,
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
            worker_init_fn=_one_thread if self.workers else None,
            generator=torch.Generator(),  # its own: dropout's must not depend on interruptions
        )
        started = time.monotonic() - 60 * self.minutes
        for batch in batches:
            self._train_step(batch.to(self.device))
            self.minutes = (time.monotonic() - started) / 60
            if on_step is not None:
                on_step(self.step, self.train_error)
            if self.step % self.config.validate_every == 0 or self.step == self.config.steps:
                self.save()
                validation = validate(self.averaged_network(), self.held_out, self.body)
                self._log(validation)
                yield validation

    def _train_step(self, batch: TrainingBatch) -> None:
        rate = learning_rate(self.config, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        theta = run_network(self.network, batch, self.config.precision)
        losses = compute_losses(theta, batch, self.body, self.config.loss)
        self.optimizer.zero_grad(set_to_none=True)
        losses.total(self.config.loss).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        error = float(losses.mpjpe_mm.detach())
        fresh = math.isnan(self.train_error)
        self.train_error = error if fresh else 0.98 * self.train_error + 0.02 * error

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.ema_decay, self.step / (self.step + 10))
        for key, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[key].lerp_(value, 1 - decay)
            else:  # counters of batch normalisation
                self.average[key].copy_(value)

    def _log(self, validation: Validation) -> None:
        path = self.out / LOG
        new = not path.is_file()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(LOG_FIELDS)
            writer.writerow(
                [
                    self.step,
                    f"{self.minutes:.2f}",
                    f"{learning_rate(self.config, self.step):.2e}",
                    f"{self.train_error:.2f}",
                    f"{validation.mpjpe_mm:.2f}",
                    f"{validation.pa_mpjpe_mm:.2f}",
                    f"{validation.accel_mm:.2f}",
                ]
            )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
