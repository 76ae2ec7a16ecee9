"""The folder that a run writes to: tried before any work is done, and left clean when it fails."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.results import ResultPaths
from dtsvibe_cli.video import record_webcam

_LOG = logging.getLogger(__name__)


@contextmanager
def folder_to_write(out: Path) -> Iterator[None]:
    """Make the folder and try it before any work is done; when the block fails, take it away again.

    Raises:
        ConfigError: It cannot be made or written to.
    """
    new: list[Path] = []
    try:
        try:
            new = [folder for folder in (out, *out.parents) if not folder.exists()]
            out.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=out):
                pass
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(f"Cannot write to {out}: {reason}. Choose another --out.") from error
        yield
    except BaseException:
        for folder in new:
            with suppress(OSError):  # there is something in it, such as a webcam's recording
                folder.rmdir()
        raise


def free_paths(out: Path, source: str | Path, *, render: bool, overwrite: bool) -> ResultPaths:
    """Where the results go; files that are there already are an error unless they may go.

    Raises:
        ConfigError: One of the files exists.
    """
    paths = ResultPaths.of(out, source)
    wanted = [paths.motion, paths.vibe, paths.report, *([paths.overlay] if render else [])]
    there = [path for path in wanted if path.exists()]
    if there and not overwrite:
        raise ConfigError(f"{there[0]} exists: give --overwrite to replace it, or another --out.")
    return paths


def record_to(folder: Path, source: str, seconds: float | None) -> Path:
    """Record a webcam (``webcam:N``) into the folder, for so many seconds or until Ctrl-C.

    Raises:
        ConfigError: The source names no camera.
        VideoError: The camera cannot be read.
    """
    number = source.removeprefix("webcam:")
    if not number.isdecimal():
        raise ConfigError(f"'{source}' names no camera: the first one is webcam:0.")
    _LOG.info("Recording from camera %s; Ctrl-C ends it.", number)
    return record_webcam(int(number), folder / f"webcam_{number}.mp4", seconds=seconds)
