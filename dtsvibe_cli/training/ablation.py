"""The paper's Tables 2 and 3: every row trained under one budget, and measured on the same motion.

The rows are in :mod:`~dtsvibe_cli.training.ablation_plan`, what is said of them in
:mod:`~dtsvibe_cli.training.ablation_tables`.
"""

import csv
import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Final

from dtsvibe_cli.devices import choose_device
from dtsvibe_cli.errors import ConfigError, DataError, WeightsError
from dtsvibe_cli.evaluation.benchmark import evaluate
from dtsvibe_cli.evaluation.ground_truth import TruthBodies
from dtsvibe_cli.evaluation.outcome import Evaluation, write_evaluation
from dtsvibe_cli.evaluation.readers import open_truth
from dtsvibe_cli.models.dts_vibe import build
from dtsvibe_cli.progress import OnProgress, silent
from dtsvibe_cli.run_folder import folder_to_write
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.training.ablation_plan import VARIANTS, Variant, open_plan, stages, write_plan
from dtsvibe_cli.training.ablation_tables import TrainedRow, describe
from dtsvibe_cli.training.config import TrainConfig
from dtsvibe_cli.training.held_out import evaluate_motion
from dtsvibe_cli.training.logs import LOG
from dtsvibe_cli.training.motion_bank import load_bank
from dtsvibe_cli.training.run import train
from dtsvibe_cli.weights import read_tensors

_LOG = logging.getLogger(__name__)

STEM: Final = "ablation"
"""Of ``ablation.md`` and ``ablation.json``."""
WEIGHTS: Final = "network.safetensors"


def run_ablation(
    motion: Path,
    out: Path,
    *,
    data: Sequence[Path] = (),
    config: str | Path | None = None,
    steps: int | None = None,
    width: int | None = None,
    seeds: int = 1,
    clips: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    workers: int = 1,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Train and measure all rows; ``ablation.md`` and ``ablation.json`` grow with each of them.

    Args:
        motion: Motion capture files: what is trained on, and what is held out to measure on.
        out: Folder for the tables and, in ``seedN/ROW``, both stages of every row.
        data: Folders of prepared sequences to train on as well.
        config: ``lite`` or a TOML file; None for that of the ablation which is resumed, else
            ``lite`` with :data:`~ablation_plan.DEFAULT_STEPS` steps.
        steps: Steps of each row, both stages together, instead of the configuration's.
        width: Width of the network, instead of the configuration's.
        seeds: How often to train everything, with another seed each time.
        clips: Folder of synthetic clips to run each row on as well, without refinement.
        resume: Go on in ``out``; rows that are finished are not trained again.
        device: ``auto``, ``cpu`` or ``cuda``.
        workers: Processes that draw batches.
        on_progress: Called with the row, steps done and steps in all.

    Raises:
        ConfigError: The configuration is impossible, or ``out`` holds another ablation.
        DataError: There is nothing to train or to measure on.
    """
    if seeds < 1:
        raise ConfigError("Give --seeds 1 or more.")
    chosen, plan = open_plan(
        out, motion, data, config=config, steps=steps, width=width, resume=resume
    )
    _check_clips(clips)
    with folder_to_write(out):
        trained_on = _describe_data(motion, data, out / "motion.npz")
        write_plan(out, plan)
        run = _Run(motion, out, tuple(data), chosen, clips, device, workers, on_progress)
        rows: list[TrainedRow] = []
        wanted = list(product(range(chosen.seed, chosen.seed + seeds), VARIANTS))
        for seed, variant in wanted:
            run.show("rows", len(rows), len(wanted))
            rows.append(run.row(variant, seed))
            evaluation = describe(
                rows, chosen, seeds=seeds, trained_on=trained_on, device=choose_device(device)
            )
            write_evaluation(evaluation, out, overwrite=True, stem=STEM)
        run.show("rows", len(rows), len(wanted))
    return evaluation


def _describe_data(motion: Path, data: Sequence[Path], cache: Path) -> str:
    """What is trained on, in words; there must be motion for it, and motion to measure on."""
    bank = load_bank(motion, load_body_model().joint_template.double().numpy(), cache)
    train, held_out = (bank.subset(held_out=apart) for apart in (False, True))
    text = f"{train.minutes:.1f} minutes of motion capture, observations simulated"
    text += "".join(f"; prepared sequences in {folder}" for folder in data)
    return f"{text}. Held out: {len(held_out.clips)} clips, {held_out.minutes:.1f} minutes"


def _check_clips(clips: Path | None) -> None:
    if clips is None:
        return
    if not clips.exists():
        raise DataError(f"There is no {clips}: give a folder of synthetic clips.")
    open_truth(clips, "synthetic", TruthBodies(built_in=load_body_model()))


class _Run:
    """What all rows have in common."""

    def __init__(
        self,
        motion: Path,
        out: Path,
        data: tuple[Path, ...],
        config: TrainConfig,
        clips: Path | None,
        device: str,
        workers: int,
        on_progress: OnProgress | None,
    ) -> None:
        self._motion, self._data, self._clips = motion, data, clips
        self._out, self._config = out, config
        self._device, self._workers = device, workers
        self.show = on_progress or silent

    def row(self, variant: Variant, seed: int) -> TrainedRow:
        """Train what is not trained yet, and measure."""
        config = replace(self._config, seed=seed)
        first, second = stages(config, variant)
        of_seed = self._out / f"seed{seed}"
        first_folder = of_seed / variant.network / "first"
        folder = of_seed / variant.key
        minutes = self._train(first_folder, first, variant, before=0)
        minutes += self._train(
            folder / "second", second, variant, before=first.steps, refine=first_folder
        )
        weights = folder / "second" / WEIGHTS
        row = TrainedRow(
            variant=variant,
            seed=seed,
            parameters=build(second.model).num_parameters(),
            minutes=minutes,
            on_motion=evaluate_motion(
                self._motion,
                weights=weights,
                out=folder,
                overwrite=True,
                device=self._device,
                cache=self._out / "motion.npz",
                on_progress=lambda _, done, total: self.show(f"{variant.key} clips", done, total),
            ),
            on_clips=self._measure_clips(folder / "clips", weights),
        )
        _LOG.info("Row %s of seed %d is trained and measured.", variant.key, seed)
        return row

    def _train(
        self,
        folder: Path,
        config: TrainConfig,
        variant: Variant,
        *,
        before: int,
        refine: Path | None = None,
    ) -> float:
        """One stage, from its checkpoint on if there is one; returns its minutes."""
        bar = f"{variant.key} train"
        if not _is_finished(folder, config):
            _LOG.info(
                "Row %s, seed %d: %s stage, %d steps.",
                variant.key,
                config.seed,
                folder.name,
                config.steps,
            )
            train(
                folder,
                motion=self._motion,
                data=self._data,
                config=config,
                refine=refine,
                resume=True,
                device=self._device,
                workers=self._workers,
                cache=self._out / "motion.npz",
                on_progress=lambda _, done, __: self.show(bar, before + done, self._config.steps),
            )
        self.show(bar, before + config.steps, self._config.steps)
        return _minutes(folder)

    def _measure_clips(self, out: Path, weights: Path) -> Evaluation | None:
        if self._clips is None:
            return None
        return evaluate(
            self._clips,
            format="synthetic",
            out=out,
            overwrite=True,
            weights=weights,
            refine=False,
            smooth_s=0.0,
            device=self._device,
        )


def _about(folder: Path) -> dict[str, Any]:
    """What the finished network of a stage says of its training."""
    about: dict[str, Any] = read_tensors(folder / WEIGHTS)[1]["about"]
    return about


def _minutes(folder: Path) -> float:
    """How long a finished stage was trained, by the last row of its log."""
    with (folder / LOG).open(newline="") as file:
        *_, last = csv.DictReader(file)
    return float(last["minutes"])


def _is_finished(folder: Path, config: TrainConfig) -> bool:
    try:
        about = _about(folder)
    except (WeightsError, KeyError):
        return False
    return about.get("steps") == config.steps
