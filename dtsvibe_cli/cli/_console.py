"""What commands show: progress bars and log messages on stderr, results on stdout."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from dtsvibe_cli.progress import OnProgress, silent

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class _StderrHandler(logging.Handler):
    """Writes to the stderr of the moment, which a progress bar may have taken over."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "" if record.levelno <= logging.INFO else f"{record.levelname.capitalize()}: "
        click.echo(prefix + self.format(record), err=True)


def configure_logging(*, quiet: bool, debug: bool) -> None:
    """Show the package's messages on stderr: warnings only when quiet, all when debugging."""
    logger = logging.getLogger("dtsvibe_cli")
    logger.setLevel(logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO)
    if not any(isinstance(handler, _StderrHandler) for handler in logger.handlers):
        logger.addHandler(_StderrHandler())


@contextmanager
def progress_bars(*, quiet: bool) -> Iterator[OnProgress]:
    """One bar a stage, with its rate and the time left; nothing when quiet or not on a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield silent
        return
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:>10}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, redirect_stdout=False) as progress:
        bars = _Bars(progress)
        yield bars.show
        bars.finish()


class _Bars:
    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def show(self, stage: str, done: int, total: int | None) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total, rate="")
        task = self._tasks[stage]
        self._progress.update(task, completed=done, total=total)
        speed = self._progress.tasks[self._progress.task_ids.index(task)].speed
        if speed:
            self._progress.update(task, rate=f"{speed:.1f}/s")

    def finish(self) -> None:
        """Stages whose end nobody knew have reached it."""
        for task in self._progress.tasks:
            self._progress.update(task.id, total=task.completed)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout; paths and fractions as text."""
    click.echo(json.dumps(value, default=str, indent=1))
