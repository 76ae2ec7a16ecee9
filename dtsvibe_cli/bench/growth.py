"""How dtsvibe's cost grows with the length of a clip, the people in it, and its resolution."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, cast, get_args

from dtsvibe_cli.bench.clip import ClipSpec, make_bench_clip
from dtsvibe_cli.bench.measured import Measured
from dtsvibe_cli.bench.product import measure_product
from dtsvibe_cli.bench.worker import Worker
from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.video import probe
from dtsvibe_cli.video.repeat import repeat_video

GrowthKind = Literal["length", "people", "resolution"]

DEFAULTS: Final[dict[GrowthKind, tuple[str, ...]]] = {
    "length": ("10", "20", "40"),
    "people": ("1", "2", "4"),
    "resolution": ("640x360", "1280x720", "1920x1080"),
}
"""Seconds, people, and width and height in pixels."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Growth:
    """What is varied, and how."""

    kind: GrowthKind
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class GrowthPoint:
    """One value and its run, in a process of its own."""

    value: str
    run: Measured


def parse_growth(text: str) -> Growth:
    """``length``, or with values of one's own ``length=60,1200`` or ``resolution=640x360,320x180``.

    Raises:
        ConfigError: It is none of these.
    """
    kind, _, values = text.partition("=")
    if kind not in get_args(GrowthKind):
        raise ConfigError(f"There is no growth with '{kind}': length, people or resolution.")
    known = cast(GrowthKind, kind)
    growth = Growth(kind=known, values=tuple(values.split(",")) if values else DEFAULTS[known])
    for value in growth.values:
        vary(ClipSpec(), growth.kind, value)
    return growth


def vary(spec: ClipSpec, kind: GrowthKind, value: str) -> ClipSpec:
    """The clip with one thing changed.

    Raises:
        ConfigError: The value cannot be that thing.
    """
    try:
        if kind == "length":
            return replace(spec, seconds=float(value))
        if kind == "people":
            return replace(spec, people=int(value))
        width, height = parse_size(value)
        return replace(spec, width_px=width, height_px=height)
    except ValueError as error:
        raise ConfigError(
            f"'{value}' is no {kind}: give seconds as 60, people as 3, sizes as 1280x720."
        ) from error


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of a text such as ``1280x720``.

    Raises:
        ValueError: It is no size.
    """
    width, height = text.lower().split("x")
    return int(width), int(height)


def measure_growth(
    growth: Growth,
    source: Path | ClipSpec,
    *,
    device: str = "auto",
    renderer: str = "auto",
    max_width_px: int = 1920,
    threads: int | None = None,
) -> Iterator[GrowthPoint]:
    """One run of dtsvibe for each value, in a fresh process, so that its peak memory is its own.

    Args:
        growth: What is varied.
        source: A clip of one's own, which can only be made longer, or what to generate.
        device: Where the networks run.
        renderer: What draws.
        max_width_px: Width of the overlay at most.
        threads: CPU threads of torch; None leaves them to the program.

    Raises:
        ConfigError: A clip of one's own cannot have other people or another size.
        DtsVibeError: What the runs raise.
    """
    check_growth(growth, source)
    for value in growth.values:
        with tempfile.TemporaryDirectory(prefix="dtsvibe-bench-") as folder, Worker() as worker:
            clip = _clip(growth.kind, value, source, Path(folder))
            run = worker.run(
                measure_product,
                clip,
                Path(folder),
                device=device,
                renderer=renderer,
                max_width_px=max_width_px,
                threads=threads,
            )
            _LOG.info("%s %s: %.1f ms a frame", growth.kind, value, run.ms_per_frame)
            yield GrowthPoint(value=value, run=run)


def check_growth(growth: Growth, source: Path | ClipSpec) -> None:
    """Refuse what cannot be made, before anything is measured.

    Raises:
        ConfigError: A clip of one's own cannot have other people or another size.
    """
    if isinstance(source, ClipSpec):
        for value in growth.values:
            vary(source, growth.kind, value)
    elif growth.kind != "length":
        raise ConfigError(
            f"The {growth.kind} of a given clip cannot be changed: leave VIDEO out to have clips "
            "generated, or ask for --growth length."
        )


def increase(points: Sequence[GrowthPoint]) -> tuple[float, float]:
    """Time a frame and peak memory of the last point, relative to the first."""
    first, last = points[0].run, points[-1].run
    return last.ms_per_frame / first.ms_per_frame, last.peak_memory_mib / first.peak_memory_mib


def _clip(kind: GrowthKind, value: str, source: Path | ClipSpec, folder: Path) -> Path:
    if isinstance(source, ClipSpec):
        return make_bench_clip(vary(source, kind, value), folder / "clip.mp4")
    video = probe(source)
    length_s = (video.num_frames or 1) / float(video.frame_rate)
    times = max(1, round(float(value) / length_s))
    return repeat_video(source, folder / f"clip{source.suffix}", times)
