"""Averages of frame errors: over everything, by sequence, by action and by view angle."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool

from dtsvibe_cli.evaluation.frame_errors import NAMES, FrameErrors
from dtsvibe_cli.evaluation.tables import Column, Table, Value
from dtsvibe_cli.evaluation.views import VIEWS, view_bins

MEASURE_COLUMNS: Final = (
    Column(key="frames", title="frames"),
    Column(key="coverage", title="found %"),
    Column(key="mpjpe_mm", title="MPJPE mm"),
    Column(key="pa_mpjpe_mm", title="PA-MPJPE mm"),
    Column(key="pve_mm", title="PVE mm"),
    Column(key="accel_mm", title="accel. error mm/frame²", decimals=2),
    Column(key="jitter_mm", title="jitter mm/frame²", decimals=2),
    Column(key="true_jitter_mm", title="true jitter mm/frame²", decimals=2),
    Column(key="of_box", title="2D of box", decimals=4),
    Column(key="root_mm", title="root position mm"),
    Column(key="swapped", title="left/right swapped %"),
)
"""``frames`` are those that were measured, ``coverage`` their share of the truth's."""

_PERCENT: Final = frozenset({"swapped"})
_Masks = Sequence[tuple[FrameErrors, Bool[np.ndarray, " _"]]]


def summary_table(errors: Sequence[FrameErrors], caption: str) -> Table:
    """Two averages: over all frames, and over sequences (each person of each counts once)."""
    whole = [(one, one.scored) for one in errors]
    over_frames = _row(whole)
    each = np.array([_row([pair])[1:] for pair in whole], dtype=np.float64)
    counted = np.isfinite(each)
    sums = np.where(counted, each, 0).sum(0)
    means = np.divide(
        sums, counted.sum(0), out=np.full(len(sums), np.nan), where=counted.any(0)
    ).tolist()
    return _table(
        "summary",
        "All sequences",
        caption,
        "mean over",
        [
            ("all frames", over_frames),
            (
                "1 sequence" if len(errors) == 1 else f"{len(errors)} sequences",
                [over_frames[0], *means],
            ),
        ],
    )


def sequence_table(errors: Sequence[FrameErrors], caption: str) -> Table:
    """A row for each person of each sequence."""
    several = len({one.sequence for one in errors}) < len(errors)
    rows: list[tuple[str, list[float | int]]] = []
    for one in errors:
        name = f"{one.sequence} / {one.person}" if several else one.sequence
        rows.append((name, _row([(one, one.scored)])))
    return _table("by_sequence", "By sequence", caption, "sequence", rows)


def action_table(errors: Sequence[FrameErrors], caption: str) -> Table | None:
    """A row for each action; None where the data set names none."""
    names = sorted({str(name) for one in errors for name in np.unique(one.actions)})
    if not any(names):
        return None
    rows = [
        (name or "(not named)", _row([(one, one.scored & (one.actions == name)) for one in errors]))
        for name in names
    ]
    return _table("by_action", "By action", caption, "action", rows)


def view_table(errors: Sequence[FrameErrors], caption: str) -> Table:
    """A row for each 45 degrees of the side from which the camera sees the true body."""
    rows = []
    for number, name in enumerate(VIEWS):
        masks = [(one, one.scored & (view_bins(one.yaw_deg) == number)) for one in errors]
        if any(mask.any() for _, mask in masks):
            rows.append((name, _row(masks)))
    return _table("by_view", "By view angle", caption, "camera sees", rows)


def all_tables(errors: Sequence[FrameErrors], caption: str) -> tuple[Table, ...]:
    """The tables there is something for."""
    tables = (
        summary_table(errors, caption),
        sequence_table(errors, caption),
        action_table(errors, caption),
        view_table(errors, caption),
    )
    made = [table.without_empty_columns() for table in tables if table is not None]
    return tuple(table for table in made if table.rows)


def _table(
    key: str, title: str, caption: str, first: str, rows: Sequence[tuple[str, list[float | int]]]
) -> Table:
    filled: list[tuple[Value, ...]] = [(name, *values) for name, values in rows]
    return Table(
        key=key,
        title=title,
        caption=caption,
        columns=(Column(key="name", title=first), *MEASURE_COLUMNS),
        rows=tuple(filled),
    )


def _row(masks: _Masks) -> list[float | int]:
    """Frames, coverage, and the mean of each measure over the chosen frames that have it."""
    chosen = sum(int(mask.sum()) for _, mask in masks)
    found = sum(int((mask & one.found).sum()) for one, mask in masks)
    row: list[float | int] = [found, 100 * found / chosen if chosen else np.nan]
    for name in NAMES:
        values = np.concatenate([getattr(one.measures, name)[mask] for one, mask in masks])
        values = values[np.isfinite(values)]
        scale = 100 if name in _PERCENT else 1
        row.append(scale * float(values.mean()) if len(values) else np.nan)
    return row
