"""What a run writes down: a row of log.csv at each validation, TensorBoard, and a picture."""

import csv
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

_LOG = logging.getLogger(__name__)

LOG = "log.csv"
CURVE = "curve.png"
BOARD = "tensorboard"
TERMS: Final = (
    "joints_3d", "joints_2d", "smpl", "orientation", "velocity", "flow", "adversarial",
    "discriminator",
)  # fmt: skip
"""Terms of the loss, not weighted, as running means over training batches."""

LOG_FIELDS: Final = (
    "step", "minutes", "learning_rate", "train_mpjpe_mm", "val_mpjpe_mm", "val_pa_mpjpe_mm",
    "val_accel_mm", *(f"loss_{term}" for term in TERMS), "weights_sha256",
)  # fmt: skip
"""``weights_sha256``: of the averaged weights, so that a run can be compared with its repetition
(see :func:`~dtsvibe_cli.training.checkpointing.weights_digest`)."""


def append_row(path: Path, row: Mapping[str, str]) -> None:
    """Add a row to the log, in the columns it has; a new one has :data:`LOG_FIELDS`."""
    columns: list[str] = list(LOG_FIELDS)
    new = not path.is_file()
    if not new:
        with path.open(newline="") as file:
            columns = next(csv.reader(file), columns)
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow(row)


class Board:
    """TensorBoard's curves of a run, or nothing at all."""

    def __init__(self, writer: "SummaryWriter | None") -> None:
        self._writer = writer

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Points of curves named ``group/name``."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)


@contextmanager
def open_board(folder: Path, first_step: int, *, use: bool = True) -> Iterator[Board]:
    """Write below the run's folder, where TensorBoard is installed; what is after is replaced."""
    try:
        if use:
            from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        _LOG.info("Nothing is written for TensorBoard: pip install 'dtsvibe[train]' for it.")
        use = False
    if not use:
        yield Board(None)
        return
    with SummaryWriter(folder / BOARD, purge_step=first_step) as writer:
        yield Board(writer)


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
        ("val_mpjpe_mm", "MPJPE, held-out"),
        ("val_pa_mpjpe_mm", "PA-MPJPE, held-out"),
    ):
        axes.plot(steps, [float(row[key]) for row in rows], label=label, marker=".")
    axes.set(xlabel="step", ylabel="mm", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(picture, dpi=120)
