"""What an ablation says: the paper's Tables 2 and 3 beside the paper's own numbers."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float

from dtsvibe_cli.evaluation.benchmark import UNITS, made_with
from dtsvibe_cli.evaluation.outcome import Evaluation
from dtsvibe_cli.evaluation.tables import Column, Table, Value
from dtsvibe_cli.training.ablation_plan import VARIANTS, Variant, stages
from dtsvibe_cli.training.config import TrainConfig

MEASURES: Final = ("mpjpe_mm", "pa_mpjpe_mm", "accel_mm")
_TITLES: Final = {
    "mpjpe_mm": "MPJPE mm",
    "pa_mpjpe_mm": "PA-MPJPE mm",
    "accel_mm": "accel. error mm/frame²",
}


@dataclass(frozen=True, kw_only=True)
class TrainedRow:
    """One row, trained from one seed, and its measures."""

    variant: Variant
    seed: int
    parameters: int
    minutes: float
    """Of both stages."""
    on_motion: Evaluation
    """On held-out motion."""
    on_clips: Evaluation | None
    """On synthetic clips, where some were given."""


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """A row of the paper's table: what it is called, and its numbers on 3DPW."""

    key: str
    names: tuple[str, ...]
    pa_mpjpe_mm: float
    accel_mm: float


TABLE_2: Final = (
    PaperRow(key="gru", names=("GRU", "transformer"), pa_mpjpe_mm=51.1, accel_mm=31.6),
    PaperRow(key="hmr", names=("transformer", "HMR"), pa_mpjpe_mm=50.6, accel_mm=17.6),
    PaperRow(key="full", names=("transformer", "transformer"), pa_mpjpe_mm=50.3, accel_mm=11.0),
)
TABLE_3: Final = (
    PaperRow(key="no_flow", names=("none",), pa_mpjpe_mm=54.7, accel_mm=12.9),
    PaperRow(key="flow", names=("flow",), pa_mpjpe_mm=52.7, accel_mm=13.2),
    PaperRow(key="full", names=("flow and flow loss",), pa_mpjpe_mm=52.9, accel_mm=12.3),
)

CHANGES: Final = (
    ("transformer encoder instead of GRU", TABLE_2[0], TABLE_2[2]),
    ("transformer regressor instead of HMR's", TABLE_2[1], TABLE_2[2]),
    ("flow instead of none", TABLE_3[0], TABLE_3[1]),
    ("flow loss as well", TABLE_3[1], TABLE_3[2]),
)

LEAST_MM: Final = 0.05
"""Half of the last digit that the paper prints: less is no difference."""

_CAPTION: Final = (
    "Held-out motion under simulated observation, the network alone: 24 SMPL joints, pelvis "
    "aligned, PA by Procrustes. The paper's columns are 3DPW, 14 joints: compare rows, not columns."
)


def describe(
    rows: Sequence[TrainedRow],
    config: TrainConfig,
    *,
    seeds: int,
    trained_on: str,
    device: str,
) -> Evaluation:
    """The tables of the rows there are, with everything that their numbers depend on.

    Args:
        rows: In the order in which they were trained.
        config: Of the whole network; its steps are those of a row.
        seeds: How many there will be in the end.
        trained_on: The data, in words.
        device: What trained.
    """
    missing = seeds * len(VARIANTS) - len(rows)
    remarks = ["Not finished: --resume trains what is missing."] if missing else []
    if seeds == 1:
        remarks.append(
            "One seed: how much a row changes when it is trained again is not known (--seeds)."
        )
    metas = [meta for row in rows for meta in row.on_motion.made_with["results"]]
    return Evaluation(
        title="Ablation: the paper's Tables 2 and 3",
        facts=tuple(_facts(config, seeds, trained_on, device).items()),
        tables=ablation_tables(rows),
        remarks=tuple(remarks),
        made_with={"config": config.to_dict(), "seeds": seeds} | made_with(metas),
    )


def ablation_tables(rows: Sequence[TrainedRow]) -> tuple[Table, ...]:
    """Encoder and regressor, flow, and which way each change goes beside the paper's."""
    by_key = {v.key: [row for row in rows if row.variant == v] for v in VARIANTS}
    encoders = (Column(key="encoder", title="encoder"), Column(key="regressor", title="regressor"))
    tables = (
        _table("table_2", "Encoder and regressor (the paper's Table 2)", encoders, TABLE_2, by_key),
        _table("table_3", "Flow (Table 3)", (Column(key="flow", title="flow"),), TABLE_3, by_key),
        _changes(by_key),
    )
    return tuple(table.without_empty_columns() for table in tables if table.rows)


def _table(
    key: str,
    title: str,
    names: tuple[Column, ...],
    paper: Sequence[PaperRow],
    by_key: Mapping[str, Sequence[TrainedRow]],
) -> Table:
    measured = [
        column
        for name in MEASURES
        for column in (
            Column(key=name, title=_TITLES[name], decimals=2 if name == "accel_mm" else 1),
            Column(key=f"{name}_sd", title="± seeds", decimals=2),
        )
    ]
    of_clips = [Column(key=f"clips_{name}", title=f"clips: {_TITLES[name]}") for name in MEASURES]
    columns = (
        *names,
        Column(key="parameters_m", title="parameters, million", decimals=2),
        Column(key="minutes", title="minutes"),
        Column(key="frames", title="frames"),
        *measured,
        *of_clips,
        Column(key="paper_pa_mpjpe_mm", title="paper: PA-MPJPE mm"),
        Column(key="paper_accel_mm", title="paper: accel. error"),
    )
    filled = tuple(
        (*row.names, *_numbers(by_key[row.key]), row.pa_mpjpe_mm, row.accel_mm) for row in paper
    )
    return Table(key=key, title=title, caption=_CAPTION, columns=columns, rows=filled)


def _numbers(rows: Sequence[TrainedRow]) -> list[Value]:
    """Parameters, minutes, frames, and every measure with its spread over seeds; then of clips."""
    if not rows:
        return [None] * (3 + 3 * len(MEASURES))
    found = [_summary(row.on_motion) for row in rows]
    clips = [_summary(row.on_clips) for row in rows if row.on_clips is not None]
    numbers: list[Value] = [
        rows[0].parameters / 1e6,
        float(np.mean([row.minutes for row in rows])),
        found[0]["frames"],
    ]
    for name in MEASURES:
        values = [float(one[name]) for one in found]
        numbers += [float(np.mean(values)), _deviation(values)]
    numbers += [
        float(np.mean([one[name] for one in clips])) if clips else None for name in MEASURES
    ]
    return numbers


def _changes(by_key: Mapping[str, Sequence[TrainedRow]]) -> Table:
    """Both tables' differences; less is better everywhere."""
    rows = [
        (title, _TITLES[name], *_change(by_key[a.key], by_key[b.key], name, theirs), theirs)
        for title, a, b in CHANGES
        if by_key[a.key] and by_key[b.key]
        for name in ("pa_mpjpe_mm", "accel_mm")
        for theirs in (getattr(b, name) - getattr(a, name),)
    ]
    return Table(
        key="changes",
        title="Which way each change goes",
        caption=(
            "Differences of the rows above; less is better. Noise: twice the standard error over "
            "held-out clips, or over seeds where that is more. Where the difference is smaller, it "
            f"is undecided; below {LEAST_MM} mm there is none."
        ),
        columns=(
            Column(key="change", title="change"),
            Column(key="measure", title="measure"),
            Column(key="ours", title="here", decimals=2),
            Column(key="noise", title="noise", decimals=2),
            Column(key="clips_better", title="better in clips"),
            Column(key="verdict", title="against the paper"),
            Column(key="paper", title="paper"),
        ),
        rows=tuple(rows),
    )


def _change(
    before: Sequence[TrainedRow], after: Sequence[TrainedRow], name: str, theirs: float
) -> tuple[float, float, str, str]:
    """Difference, its noise, in how many clips it is for the better, and what that says."""
    pairs = [(a, b) for a in before for b in after if a.seed == b.seed]
    by_clip = np.array([_by_clip(b, name) - _by_clip(a, name) for a, b in pairs])
    by_seed = [
        float(_summary(b.on_motion)[name]) - float(_summary(a.on_motion)[name]) for a, b in pairs
    ]
    ours = float(np.mean(by_seed))
    errors = [_standard_error(by_clip.mean(0)), _standard_error(np.array(by_seed))]
    noise = 2 * float(np.nanmax(errors)) if np.isfinite(errors).any() else float("nan")
    better = f"{int((by_clip < 0).sum())} of {by_clip.size}"
    if abs(ours) < LEAST_MM:
        verdict = "no difference"
    elif not abs(ours) > noise:
        verdict = "undecided"
    else:
        verdict = "same direction" if ours * theirs > 0 else "opposite"
    return ours, noise, better, verdict


def _summary(evaluation: Evaluation) -> dict[str, Any]:
    """Means over all frames."""
    return _rows_of(evaluation, "summary")[0]


def _by_clip(row: TrainedRow, name: str) -> Float[np.ndarray, " clip"]:
    return np.array([one[name] for one in _rows_of(row.on_motion, "by_sequence")], dtype=float)


def _rows_of(evaluation: Evaluation, key: str) -> list[dict[str, Any]]:
    table = next(table for table in evaluation.tables if table.key == key)
    rows: list[dict[str, Any]] = table.to_json()["rows"]
    return rows


def _deviation(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _standard_error(values: Float[np.ndarray, " _"]) -> float:
    """Of their mean; NaN for a single one."""
    return float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")


def _facts(config: TrainConfig, seeds: int, trained_on: str, device: str) -> dict[str, str]:
    first, second = stages(config, VARIANTS[0])
    model = config.model
    return {
        "Budget of each row": (
            f"{config.steps} steps of {config.batch_size} windows of {model.window} frames: "
            f"{first.steps}, then {second.steps} at a learning rate of {second.learning_rate:g}, "
            "with the flow loss where the row has it (all rows of Table 2). Rows of the same "
            "network share the first stage; the last rows of both tables are one training"
        ),
        "Network": (
            f"{model.name}: width {model.d_model}; encoder: {model.encoder_layers} layers, "
            f"feed-forward {model.encoder_feedforward}; regressor: {model.regressor_layers} layers "
            f"of width {model.d_regressor}. GRU: VIBE's two layers; HMR: its three rounds, width "
            "1024, dropout 0.5. Measured as saved, in 8-bit weights"
        ),
        "Trained on": trained_on,
        "Seeds": ", ".join(str(config.seed + k) for k in range(seeds)),
        "Measured on": (
            "held-out motion before random cameras, every row on the same windows; the clips, "
            "where measured, without refinement and smoothing"
        ),
        "Units": UNITS,
        "Minutes": (
            f"training alone, both stages, on {device} (threads: {torch.get_num_threads()}, "
            f"cores: {os.cpu_count()}); whatever else the machine did is in them"
        ),
        "Paper": "DTS-VIBE's Tables 2 and 3 on 3DPW; its Table 3 is trained without Human3.6M",
    }
