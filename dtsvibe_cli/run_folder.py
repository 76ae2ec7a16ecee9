"""The folder that a run writes to: tried before any work is done, and left clean when it fails."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.results import ResultPaths
from dtsvibe_cli.video import record_webcam

_LOG = logging.getLogger(__name__)

_WEBCAM: Final = "webcam:"


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


def free_paths(out: Path, source: str | Path, *, overwrite: bool) -> ResultPaths:
    """Where the results go; files that are there already are an error unless they may go.

    An overlay counts even when none is to be drawn: it would show other motion.

    Raises:
        ConfigError: One of the files exists.
    """
    paths = ResultPaths.of(out, source)
    wanted = [paths.motion, paths.vibe, paths.report, paths.overlay]
    if is_webcam(source):
        wanted.append(_recording(out, str(source)))
    there = [path for path in wanted if path.exists()]
    if there and not overwrite:
        raise ConfigError(f"{there[0]} exists: give --overwrite to replace it, or another --out.")
    return paths


def remove_of_earlier_run(paths: ResultPaths) -> None:
    """Take away what would tell of an earlier run when this one breaks off or draws nothing."""
    paths.overlay.unlink(missing_ok=True)
    paths.report.unlink(missing_ok=True)


def record_to(folder: Path, source: str, seconds: float | None) -> Path:
    """Record a webcam (``webcam:N``) into the folder, for so many seconds or until Ctrl-C.

    Raises:
        ConfigError: The source names no camera.
        VideoError: The camera cannot be read.
    """
    path = _recording(folder, source)
    number = source.removeprefix(_WEBCAM)
    _LOG.info("Recording from camera %s; Ctrl-C ends it.", number)
    return record_webcam(int(number), path, seconds=seconds)


def is_webcam(source: str | Path) -> bool:
    """Whether an input is a camera (``webcam:N``)."""
    return str(source).startswith(_WEBCAM)


def _recording(folder: Path, source: str) -> Path:
    """What a camera's recording is called.

    Raises:
        ConfigError: The source names no camera.
    """
    number = source.removeprefix(_WEBCAM)
    if not number.isdecimal():
        raise ConfigError(f"'{source}' names no camera: the first one is webcam:0.")
    return folder / f"webcam_{number}.mp4"
