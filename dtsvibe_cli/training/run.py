"""One training run from a folder of motion to a weights file and a curve."""

import csv
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dtsvibe_cli.devices import choose_device
from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.models.checkpoint import save_network
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.training.config import TrainConfig
from dtsvibe_cli.training.loop import CHECKPOINT, LOG, Trainer
from dtsvibe_cli.training.motion_bank import MotionBank, load_bank
from dtsvibe_cli.training.simulation import Simulator

_LOG = logging.getLogger(__name__)

ACKNOWLEDGEMENT = (
    "Motion from mocap.cs.cmu.edu. The database was created with funding from NSF EIA-0196217."
)


def train(
    motion: Path,
    out: Path,
    *,
    config: Path | None = None,
    steps: int | None = None,
    resume: bool = False,
    device: str = "auto",
    workers: int = 1,
    on_progress: Callable[[str, int, int | None], None] | None = None,
) -> tuple[Path, ...]:
    """Train to the end and write the averaged network; returns the files written.

    Args:
        motion: Folder of motion capture files.
        out: Folder of the run.
        config: TOML file; None for the ``lite`` recipe.
        steps: Number of steps, instead of the configuration's.
        resume: Go on from the checkpoint in ``out``.
        device: ``auto``, ``cpu`` or ``cuda``.
        workers: Processes that simulate batches.
        on_progress: Called with the stage, steps done and steps in all.

    Raises:
        ConfigError: The configuration is impossible, or ``out`` holds a run and ``resume`` is off.
        DataError: There is no motion to train on.
    """
    chosen = TrainConfig() if config is None else TrainConfig.from_toml(config)
    chosen = chosen if steps is None else replace(chosen, steps=steps)
    if (out / CHECKPOINT).is_file() and not resume:
        raise ConfigError(f"{out} holds a run: give --resume to go on, or another --out.")
    trainer = _make_trainer(chosen, motion, out, choose_device(device), workers)
    if resume and trainer.resume():
        _LOG.info("Going on from step %d.", trainer.step)

    def on_step(step: int, error_mm: float) -> None:
        if on_progress is not None:
            on_progress("train", step, chosen.steps)

    for validation in trainer.run(on_step):
        _LOG.info(
            "Step %d: held-out MPJPE %.1f mm, PA-MPJPE %.1f mm, acceleration error %.1f mm.",
            trainer.step,
            validation.mpjpe_mm,
            validation.pa_mpjpe_mm,
            validation.accel_mm,
        )
        draw_curve(out / LOG, out / "curve.png")
    about = {
        "config": chosen.to_dict(),
        "steps": trainer.step,
        "minutes": round(trainer.minutes, 1),
        "data": ACKNOWLEDGEMENT,
    }
    return save_network(trainer.averaged_network().cpu(), out / "network.safetensors", about)


def _make_trainer(
    config: TrainConfig, motion: Path, out: Path, device: str, workers: int
) -> Trainer:
    model = config.model
    if model.v_cnn != "blazepose":
        raise ConfigError("This stage simulates landmarks; it cannot train a network on images.")
    body = load_body_model()
    bank = load_bank(motion, body.joint_template.double().numpy(), out / "motion.npz")

    def simulator(part: MotionBank) -> Simulator:
        return Simulator(part, body, window=model.window, flow_side=model.flow_side)

    return Trainer(
        config,
        out,
        train=simulator(bank.subset(held_out=False)),
        held_out=simulator(bank.subset(held_out=True)),
        body=body,
        device=device,
        workers=workers,
    )


def draw_curve(log: Path, picture: Path) -> None:
    """Training and held-out errors over the steps; needs matplotlib, else nothing is drawn."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        _LOG.info("No curve is drawn: pip install 'dtsvibe[train]' for matplotlib.")
        return
    with log.open() as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for key, label in (
        ("train_mpjpe_mm", "MPJPE, training (varied, hard)"),
        ("val_mpjpe_mm", "MPJPE, held-out motion"),
        ("val_pa_mpjpe_mm", "PA-MPJPE, held-out motion"),
    ):
        axes.plot(steps, [float(row[key]) for row in rows], label=label, marker=".")
    axes.set(xlabel="step", ylabel="mm", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(picture, dpi=120)
