"""One training run, from folders of data to a weights file and a curve."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dtsvibe_cli.devices import choose_device
from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.models.checkpoint import save_network
from dtsvibe_cli.models.dts_vibe import DtsVibe, build
from dtsvibe_cli.progress import OnProgress
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.training import distributed
from dtsvibe_cli.training.checkpointing import finished_run, read_checkpoint
from dtsvibe_cli.training.config import TrainConfig
from dtsvibe_cli.training.logs import CURVE, LOG, draw_curve
from dtsvibe_cli.training.recipes import read_config, refinement
from dtsvibe_cli.training.run_data import open_data, say_data
from dtsvibe_cli.training.starts import load_starts
from dtsvibe_cli.training.trainer import Trainer

_LOG = logging.getLogger(__name__)


def train(
    out: Path,
    *,
    motion: Path | None = None,
    data: Sequence[Path] = (),
    config: str | Path | TrainConfig | None = None,
    refine: Path | None = None,
    steps: int | None = None,
    window: int | None = None,
    image_network: Path | None = None,
    body_model: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    workers: int = 1,
    cache: Path | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Path, ...]:
    """Train to the end and write the averaged network; returns the files written.

    Started by ``torchrun`` it is one of several processes that train together; only the first of
    them writes, and returns anything.

    Args:
        out: Folder of the run.
        motion: Folder of motion capture: what ``lite`` is simulated from, and what the
            discriminator takes for real.
        data: Folders of prepared sequences.
        config: ``lite``, ``paper``, a TOML file, or the value itself; None for that of the run
            which is resumed or refined, else ``lite``.
        refine: Folder of a finished run: its second stage, with the flow loss and without the
            discriminator.
        steps: Number of steps, instead of the configuration's.
        window: Frames in a window, instead of the configuration's.
        image_network: ResNet-50 that made the features of ``data``, instead of the configuration's.
        body_model: Official SMPL file that ``data`` was prepared with; None for the built-in body.
        resume: Go on from the checkpoint in ``out``.
        device: ``auto``, ``cpu`` or ``cuda``.
        workers: Processes that draw batches.
        cache: File that keeps the motion once it is read; None for ``motion.npz`` in ``out``.
        on_progress: Called with the stage, steps done and steps in all.

    Raises:
        ConfigError: The configuration is impossible, or ``out`` holds a run and ``resume`` is off.
        DataError: There is nothing to train on.
        WeightsError: A file to start from is missing or damaged.
    """
    started = read_checkpoint(out)
    if started is not None and not resume:
        raise ConfigError(f"{out} holds a run: give --resume to go on, or another --out.")
    first_stage = None if refine is None else finished_run(refine)
    chosen = _choose_config(config, first_stage, started)
    chosen = chosen if steps is None else replace(chosen, steps=steps)
    if image_network is not None:
        chosen = replace(chosen, image_network=str(image_network))
    chosen = _with_window(chosen, window, fixed=first_stage is not None or started is not None)
    torch.backends.cudnn.deterministic = True
    with distributed.process_group(choose_device(device)) as own_device:
        body = load_body_model(body_model)
        trainer = Trainer(
            chosen,
            out,
            open_data(chosen, body, motion, data, cache=cache or out / "motion.npz"),
            body=body,
            network=_start(chosen, first_stage) if started is None else None,
            device=own_device,
            workers=workers,
        )
        if resume and trainer.resume():
            _LOG.info("Going on from step %d.", trainer.step)
        _run(trainer, on_progress)
        if not distributed.is_first():
            return ()
        about = {
            "config": chosen.to_dict(),
            "steps": trainer.step,
            "data": say_data(motion, data),
        }
        return save_network(trainer.averaged_network().cpu(), out / "network.safetensors", about)


def _choose_config(
    config: str | Path | TrainConfig | None,
    first_stage: dict[str, Any] | None,
    started: dict[str, Any] | None,
) -> TrainConfig:
    if started is not None and config is None:
        return TrainConfig.from_dict(started["config"])
    if first_stage is None:
        return _read("lite" if config is None else config)
    base = refinement(TrainConfig.from_dict(first_stage["config"]))
    chosen = base if config is None else _read(config, base)
    if chosen.model != base.model:
        raise ConfigError(
            "--refine goes on with the network as it is: take [model] out of --config."
        )
    return chosen


def _read(config: str | Path | TrainConfig, base: TrainConfig | None = None) -> TrainConfig:
    return config if isinstance(config, TrainConfig) else read_config(config, base)


def _with_window(config: TrainConfig, window: int | None, *, fixed: bool) -> TrainConfig:
    if window is None or window == config.model.window:
        return config
    if fixed:
        raise ConfigError(
            f"The network was started with windows of {config.model.window} frames and cannot go "
            f"on with {window}: leave --window out."
        )
    return replace(config, model=replace(config.model, window=window))


def _start(config: TrainConfig, first_stage: dict[str, Any] | None) -> DtsVibe:
    """The network before the first step."""
    network = build(config.model, config.seed)
    if first_stage is not None:
        network.load_state_dict(first_stage["average"])
        return network
    load_starts(network, config.image_network, config.imagenet_network)
    if network.picture_cnn is not None and not config.image_network:
        _LOG.warning(
            "V-CNN's convolutions are random: the result cannot be used on video unless "
            "--image-network is the file whose features the sequences hold."
        )
    return network


def _run(trainer: Trainer, on_progress: OnProgress | None = None) -> None:
    def on_step(step: int, error_mm: float) -> None:
        if on_progress is not None:
            on_progress("train", step, trainer.config.steps)

    for validation in trainer.run(on_step):
        _LOG.info(
            "Step %d: held-out MPJPE %.1f mm, PA-MPJPE %.1f mm, acceleration error %.1f mm.",
            trainer.step,
            validation.mpjpe_mm,
            validation.pa_mpjpe_mm,
            validation.accel_mm,
        )
        draw_curve(trainer.out / LOG, trainer.out / CURVE)
